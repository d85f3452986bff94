//! The command line of `matrix-podman`: arguments, wiring, printers. What
//! should be is decided in the core, and done by the host; here is neither.

mod args;
mod commands;
mod error;
mod output;
mod remote;
mod site;

use std::process::ExitCode;

use clap::Parser as _;

/// Runs the program with the process's own arguments.
pub fn main() -> ExitCode {
    let args = args::Args::parse();
    let json = args.json();
    match commands::run(args) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::error(&error, json);
            ExitCode::from(error.exit_code())
        }
    }
}
