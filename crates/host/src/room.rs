//! Room on the guest's disk.

use std::path::Path;

use matrix_podman_core::size::Bytes;

use crate::failure::{Doing, Failure};

/// Fails unless the disk that `folder` is on, or will be, has `needs` bytes left:
/// a server must not find it full because of what is put beside it.
pub(crate) fn check(folder: &Path, needs: u64) -> Result<(), Failure> {
    let disk = folder.ancestors().skip(1).find(|place| place.exists()).unwrap_or(folder);
    let doing = || format!("find room in {}", disk.display());
    let stat = rustix::fs::statvfs(disk).doing(doing)?;
    let free = stat.f_bavail.saturating_mul(stat.f_frsize);
    if free >= needs {
        return Ok(());
    }
    Err(Failure::new(
        doing(),
        format!("{} are free in the guest, and {} are needed", Bytes(free).rounded(), Bytes(needs).rounded()),
    )
    .hint("give the guest a larger disk (guest.disk), or make room on it, then run the same again"))
}
