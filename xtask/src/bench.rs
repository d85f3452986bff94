//! Speed and size, with the floor beside each figure.

use crate::phase::{self, cargo};

/// Measures and prints the table; `arguments` are handed on.
pub fn run(arguments: &[String]) -> Result<(), String> {
    phase::run(cargo().args(["build", "--release", "--locked", "--package", "matrix-podman"]))?;
    // The bench, and the stand-in that it needs beside it.
    phase::run(cargo().args(["build", "--release", "--locked", "--package", "matrix-podman-e2e", "--bins"]))?;
    let mut command = cargo();
    command.args([
        "run",
        "--quiet",
        "--release",
        "--locked",
        "--package",
        "matrix-podman-e2e",
        "--bin",
        "bench",
        "--",
    ]);
    phase::run(command.args(arguments))
}
