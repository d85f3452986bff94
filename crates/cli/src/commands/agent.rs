//! `agent`: the side of the connection that is inside the guest.

use std::io;

use matrix_podman_host::{agent, failure::Failure, own_program};

use crate::{error::Error, output::Reporter};

pub fn run(digest: bool, out: &Reporter) -> Result<u8, Error> {
    if digest {
        out.document(&own_program::digest()?);
        return super::OK;
    }
    agent::serve(io::stdin(), io::stdout(), || agent::until_gone(io::stdin()))
        .map_err(|e| Failure::new("serve the connection", e))?;
    super::OK
}
