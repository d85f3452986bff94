//! The `matrix-podman` program.

use std::process::ExitCode;

fn main() -> ExitCode {
    matrix_podman_cli::main()
}
