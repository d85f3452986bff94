//! The command line of `matrix-podman`: arguments, wiring, printers. What
//! should be is decided in the core, and done by the host; here is neither.

mod args;
mod commands;
mod error;
mod handed;
mod output;
mod remote;
mod site;

use std::process::ExitCode;

use clap::Parser as _;

/// Runs the program with the process's own arguments.
pub fn main() -> ExitCode {
    // What is made here and by programs that are run here must not depend on where it was
    // typed: neither open to others, nor closed to the services that read it.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // Whoever types the bare name wants to know where they are, not the options.
    if std::env::args_os().len() <= 1 {
        return end(commands::overview::run(), false);
    }
    let args = args::Args::parse();
    let json = args.json();
    end(commands::run(args), json)
}

fn end(result: Result<u8, error::Error>, json: bool) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            output::error(&error, json);
            ExitCode::from(error.exit_code())
        }
    }
}
