//! Cut off at many moments: power cuts and kills.

use crate::{
    docs,
    phase::{self, cargo},
    tools,
};

/// Runs a campaign with a program that is built for it, or the one that
/// `MATRIX_PODMAN_BINARY` names; `arguments` are handed on.
pub fn run(arguments: &[String]) -> Result<(), String> {
    tools::install()?;
    let mut command = cargo();
    command.args(["run", "--quiet", "--locked", "--package", "matrix-podman-e2e", "--bin", "campaign", "--"]);
    if std::env::var_os("MATRIX_PODMAN_BINARY").is_none() {
        command.env("MATRIX_PODMAN_BINARY", docs::program()?);
    }
    phase::run(command.args(arguments))
}
