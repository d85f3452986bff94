//! `agent`: the side of the connection that is inside the guest.

use std::io;

use matrix_podman_host::{agent, failure::Failure, own_program};

use crate::{error::Error, output};

pub fn run(digest: bool) -> Result<u8, Error> {
    if digest {
        output::data(&own_program::digest()?);
        return super::OK;
    }
    agent::serve(io::stdin(), io::stdout(), || agent::until_gone(io::stdin()))
        .map_err(|e| Failure::new("serve the connection", e))?;
    super::OK
}
