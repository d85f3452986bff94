//! The guest's half of a restore: files of a snapshot, put beside their place.

use std::{
    io::Read,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use matrix_podman_core::{
    layout,
    name::{Mode, Owner},
    stack,
};

use super::switch;
use crate::{
    failure::{Doing, Failure},
    file,
    guest::calls::{Beside, Step, below_root},
    room,
};

/// Does one act here.
pub fn serve(beside: Beside, step: &Step, mut data: impl Read) -> Result<(), Failure> {
    match step {
        Step::Begin { needs } => {
            file::remove_partial(beside.folder())?;
            room::check(beside.folder(), *needs)?;
            // In a guest that was just made there is nothing of a server yet.
            if let Some(root) = beside.folder().parent().filter(|root| !root.exists()) {
                file::make_dir(root, Mode(0o755), Owner::ROOT)?;
            }
            file::make_dir(beside.folder(), Mode(0o700), Owner::ROOT)
        }
        Step::Folder { path, mode, owner } => file::make_dir(&target(beside, path)?, plain(*mode), *owner),
        Step::File { path, mode, owner, modified } => {
            let target = target(beside, path)?;
            file::write_from(&target, &mut data, plain(*mode), *owner)
                .map_err(|failure| failure.about_full_disk("the guest's"))?;
            let time = SystemTime::UNIX_EPOCH + Duration::from_nanos(*modified);
            file::open(&target)
                .and_then(|file| file.set_modified(time))
                .doing(|| format!("write {}", target.display()))
        }
        Step::End => file::remove_partial(beside.folder()),
        Step::Switch(switch) if beside == Beside::Restore => switch::carry_out(switch),
        Step::Switch(_) => Err(Failure::new("end a drill", "nothing of it may take the server's place")),
    }
}

/// A mode without the bits that would let whoever runs a file be somebody else: nothing of
/// a server has them, so whatever has them in a snapshot was put there.
const fn plain(mode: u32) -> Mode {
    Mode(mode & 0o777)
}

/// The place beside that a path below `/opt/matrix` has.
fn target(beside: Beside, path: &str) -> Result<PathBuf, Failure> {
    let dumps = stack::databases().into_iter().map(|database| database.dump_at(&layout::restore_dump()));
    if stack::is_saved(path) || dumps.chain([layout::dumps()]).any(|own| below_root(&own) == path) {
        return Ok(beside.folder().join(path));
    }
    Err(Failure::new(format!("restore {path}"), "it does not belong into a backup"))
}
