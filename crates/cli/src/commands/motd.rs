//! `motd`: what people who enter the guest should know.

use matrix_podman_host::motd;

use crate::{error::Error, output::Reporter};

pub fn run(out: &Reporter) -> Result<u8, Error> {
    if let Some(text) = motd::greeting() {
        out.document(&text);
    }
    super::OK
}
