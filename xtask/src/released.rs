//! What this version leaves behind, recorded for the versions that come after it.

use crate::phase::{self, cargo};

/// The tests that read what was released; told to, they record what this version leaves first.
const TESTS: [&[&str]; 3] = [
    &["--package", "matrix-podman-core", "--lib", "config::tests::released"],
    &["--package", "matrix-podman-core", "--test", "planning", "released"],
    &["--package", "matrix-podman-host", "--lib", "released"],
];

/// Records into fixtures/released, below the program's version.
pub fn record() -> Result<(), String> {
    for test in TESTS {
        let mut command = cargo();
        command.args(["test", "--locked"]).args(test).env("MATRIX_PODMAN_RECORD", "1");
        phase::run(&mut command)?;
    }
    println!("recorded below fixtures/released: look at `git status` there and add it");
    Ok(())
}
