//! `motd`: what whoever enters the guest should know.

use matrix_podman_host::motd;

use crate::{error::Error, output};

pub fn run() -> Result<u8, Error> {
    if let Some(text) = motd::greeting() {
        output::data(text.trim_end());
    }
    super::OK
}
