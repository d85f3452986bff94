//! The command line of `matrix-podman`: arguments, wiring, printers. What
//! should be is decided in the core, and done by the host; here is neither.

mod args;
mod commands;
mod error;
mod handed;
mod interrupt;
mod output;
mod remote;
mod site;

use std::process::ExitCode;

use clap::FromArgMatches as _;

use crate::output::{OutputForm, Reporter};

/// Runs the program with the process's own arguments.
pub fn main() -> ExitCode {
    // What is made here and by programs that are run here must not depend on where it was
    // typed: neither open to others, nor closed to the services that read it.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // Whoever types the bare name wants to know where they are, not the options.
    if std::env::args_os().len() <= 1 {
        let out = Reporter::new(OutputForm::Words);
        return end(commands::overview::run(&out), &out);
    }
    let matches = args::command().try_get_matches().unwrap_or_else(|error| args::harmless(error).exit());
    let out = Reporter::new(args::form(&matches));
    let args = match args::Args::from_arg_matches(&matches) {
        Ok(args) => args,
        Err(error) => error.format(&mut args::command()).exit(),
    };
    end(commands::run(args, &out), &out)
}

fn end(result: Result<u8, error::Error>, out: &Reporter) -> ExitCode {
    match result {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            out.error(&error);
            ExitCode::from(error.exit_code())
        }
    }
}
