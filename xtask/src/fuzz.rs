//! Inputs made by chance for every parser of what others send.

use crate::phase::{self, cargo};

/// Runs the program of `crates/fuzz`, with its arguments.
pub fn run(words: &[&str]) -> Result<(), String> {
    let mut command = cargo();
    // Not a release: overflowing numbers and broken assertions are what is looked for.
    command.args(["run", "--locked", "--quiet", "--package", "matrix-podman-fuzz", "--"]).args(words);
    phase::run(&mut command)
}
