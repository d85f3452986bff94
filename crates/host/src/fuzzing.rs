//! Parsers that are nobody else's business, for the fuzz targets alone.

use std::io;

use matrix_podman_core::{fact::SrvRecord, name::ImageRef};

use crate::{apply::image, probe::dns};

/// The SRV records in the answer of a name server.
pub fn srv_records(answer: &[u8]) -> Option<Vec<SrvRecord>> {
    dns::read_srv(answer)
}

/// The name of the image in an archive, which is unpacked into a folder that is gone again
/// afterwards.
pub fn unpack(archive: &[u8]) -> io::Result<Result<Option<ImageRef>, String>> {
    let folder = tempfile::tempdir()?;
    image::unpack_into(archive, folder.path().join("layout"))
}
