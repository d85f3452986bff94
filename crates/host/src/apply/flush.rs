//! What was done, held by the disks.

use std::{
    collections::BTreeSet,
    fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use matrix_podman_core::layout;

use crate::{
    failure::{Doing, Failure},
    file,
    probe::disk,
};

/// Has the disks hold all that was written to the file systems that a site's
/// things are on, on this side.
pub fn flush_all() -> Result<(), Failure> {
    let mut flushed = BTreeSet::new();
    let folders = ["/", "/var/lib/lxc", "/var/lib/containers/storage", layout::STATE, layout::ROOT];
    // What is on guests' disks goes into their images first.
    for path in disk::mounted()?.iter().map(PathBuf::as_path).chain(folders.map(Path::new)) {
        match fs::metadata(path) {
            Ok(meta) if flushed.insert(meta.dev()) => file::flush(path)?,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).doing(|| format!("look at {}", path.display())),
        }
    }
    Ok(())
}
