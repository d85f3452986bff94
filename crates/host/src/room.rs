//! Room on the guest's disk.

use std::path::Path;

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
        format!("{} MiB are free in the guest, and {} MiB are needed", free >> 20, needs >> 20),
    )
    .hint("give the guest a larger disk (guest.disk), or make room on it, then run the same again"))
}
