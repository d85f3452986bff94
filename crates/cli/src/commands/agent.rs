//! `agent`: the side of the connection that is inside the guest.

use std::io;

use matrix_podman_core::service::Service;
use matrix_podman_host::{agent, failure::Failure, front, own_program};

use crate::{error::Error, output::Reporter};

pub fn run(digest: bool, release: Option<(Service, u32)>, out: &Reporter) -> Result<u8, Error> {
    if digest {
        out.document(&own_program::digest()?);
        return super::OK;
    }
    if let Some((service, holder)) = release {
        front::release_after(service, holder)?;
        return super::OK;
    }
    agent::serve(io::stdin(), io::stdout(), || agent::until_gone(io::stdin()))
        .map_err(|e| Failure::new("serve the connection", e))?;
    super::OK
}
