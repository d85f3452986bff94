//! `exec` and `psql`: a command in a service's container, with the terminal
//! that there is.

use std::{
    io::{IsTerminal as _, stdin, stdout},
    path::Path,
};

use matrix_podman_core::{service::Service, stack};

use crate::{args, error::Error, output::Reporter};

pub fn exec(config: Option<&Path>, args: &args::Exec, out: &Reporter) -> Result<u8, Error> {
    inside(config, args.service.into(), &args.command, out)
}

pub fn psql(config: Option<&Path>, args: &args::Psql, out: &Reporter) -> Result<u8, Error> {
    let mut command = vec!["psql".to_owned()];
    command.extend(stack::synapse::DATABASE.login());
    command.extend(args.arguments.iter().cloned());
    inside(config, stack::postgres::ID, &command, out)
}

fn inside(config: Option<&Path>, service: Service, command: &[String], out: &Reporter) -> Result<u8, Error> {
    let (world, _) = super::world(config, out)?;
    let mut argv = vec!["podman".to_owned(), "exec".to_owned(), "--interactive".to_owned()];
    if stdin().is_terminal() && stdout().is_terminal() {
        argv.push("--tty".to_owned());
    }
    argv.push(service.name().to_owned());
    argv.extend(command.iter().cloned());
    Ok(world.attach(&argv)?)
}
