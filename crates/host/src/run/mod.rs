//! Carrying out a plan: one run at a time, with a journal, side by side.

mod act;
mod event;
mod executor;
mod journal;
mod lock;

use std::{io::Read as _, path::PathBuf, sync::OnceLock};

use matrix_podman_core::{layout, name::Digest};
use sha2::{Digest as _, Sha256};

pub use act::act;
pub use event::{Event, Listener};
pub use executor::{Ended, run};
#[cfg(test)]
pub(crate) use journal::journal_of_a_run_that_was_cut_off;
pub use journal::{Journal, Unfinished, last_took};
pub use lock::{LockHolder, RunLock};

use crate::failure::{Doing, Failure};

/// Folder of what the program remembers on the side that it runs on.
pub const STATE: &str = layout::STATE;

/// The file whose lock keeps a second run of the same kind out.
pub fn lock_file_here(name: &str) -> PathBuf {
    PathBuf::from(STATE).join(format!("{name}.lock"))
}

/// Whether the program where people and units find it is the running one.
pub fn installed_is_own() -> Result<bool, Failure> {
    let Ok(installed) = std::fs::File::open(layout::BINARY) else { return Ok(false) };
    let own = std::fs::metadata("/proc/self/exe").doing(|| "look at the program's own file")?;
    let meta = installed.metadata().doing(|| format!("look at {}", layout::BINARY))?;
    Ok(meta.len() == own.len() && digest_of(installed)? == own_digest()?)
}

/// SHA-256 of the running program's own file, in hexadecimal.
pub fn own_digest() -> Result<String, Failure> {
    static DIGEST: OnceLock<Result<String, Failure>> = OnceLock::new();
    DIGEST
        .get_or_init(|| {
            digest_of(std::fs::File::open("/proc/self/exe").doing(|| "read the program's own file")?)
        })
        .clone()
}

fn digest_of(mut file: std::fs::File) -> Result<String, Failure> {
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = file.read(&mut buffer).doing(|| "read a program's file")?;
        if count == 0 {
            return Ok(Digest::of_sha256(&hash.finalize()).hex().to_owned());
        }
        hash.update(&buffer[..count]);
    }
}
