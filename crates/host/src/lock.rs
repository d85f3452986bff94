//! One run at a time: a lock file that says who holds it.
//!
//! The kernel holds the lock for as long as the file is open, so a killed run
//! leaves none behind.

use std::{
    fs::{File, OpenOptions},
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use matrix_podman_core::layout;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::{
    failure::{Doing, Failure},
    file::folder::Folder,
    progress::{Saying, Sink},
};

/// How long a run waits for another one's last act. A killed run's guest side
/// finishes what it had begun, such as an installation of packages.
const PATIENCE: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 600 });
/// How long the guest's side of a killed run takes at most to notice that.
const NOTICES: Duration = Duration::from_millis(if cfg!(test) { 200 } else { 1500 });

/// The file whose lock keeps a second run of the same kind out.
pub fn file_here(name: &str) -> PathBuf {
    Path::new(layout::STATE).join(format!("{name}.lock"))
}

/// Who holds the lock.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LockHolder {
    /// Which command.
    pub command: String,
    /// Its process id, on the side that it was typed on.
    pub pid: u32,
    /// Since when, as a timestamp (RFC 3339).
    pub since: String,
    /// The host that it was typed on.
    pub host: String,
    /// Whether it was cut off, and only its last act is being finished.
    #[serde(default)]
    pub finishing: bool,
}

impl LockHolder {
    /// This process, now, for `command`.
    pub fn this(command: &str) -> Self {
        let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
        Self {
            command: command.to_owned(),
            pid: std::process::id(),
            since: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            host: host.trim().to_owned(),
            finishing: false,
        }
    }
}

/// A lock that is held; dropping it lets go.
#[derive(Debug)]
pub struct RunLock {
    file: File,
    holder: LockHolder,
}

impl RunLock {
    /// Takes the lock of `path`. While the holder is the remnant of a killed
    /// run, it waits; a holder that lives is named in the failure.
    pub fn take(path: &Path, holder: &LockHolder, sink: &Sink) -> Result<Self, Failure> {
        let doing = || format!("lock {}", path.display());
        if let Some(folder) = path.parent() {
            Folder::make(folder).doing(doing)?;
        }
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .doing(doing)?;
        let started = Instant::now();
        while let Err(error) = flock(&file, FlockOperation::NonBlockingLockExclusive) {
            if error != rustix::io::Errno::WOULDBLOCK {
                return Err(error).doing(doing);
            }
            let other = read_holder(&mut file);
            let lives = other.as_ref().is_some_and(|o| !o.finishing);
            if lives && started.elapsed() > NOTICES || started.elapsed() > PATIENCE {
                return Err(held_by(other));
            }
            let who = other
                .map_or_else(|| "an earlier run".to_owned(), |o| format!("`{}` of {}", o.command, o.since));
            if !lives {
                sink(Saying::WaitsFor(format!("{who} to finish its last act")));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
        let mut lock = Self { file, holder: holder.clone() };
        lock.write().doing(doing)?;
        Ok(lock)
    }

    /// Who holds the lock of `path` now; nobody where it is free or was never taken.
    pub fn holder(path: &Path) -> Option<LockHolder> {
        let mut file = File::open(path).ok()?;
        match flock(&file, FlockOperation::NonBlockingLockShared) {
            Err(rustix::io::Errno::WOULDBLOCK) => read_holder(&mut file),
            _ => None,
        }
    }

    /// Says that its holder was cut off and that only what it had begun is
    /// still being finished. That nobody can be told is no reason to stop.
    pub fn finishing(&mut self) {
        self.holder.finishing = true;
        let _ = self.write();
    }

    fn write(&mut self) -> std::io::Result<()> {
        let text = serde_json::to_vec(&self.holder)?;
        self.file.set_len(0)?;
        self.file.rewind()?;
        self.file.write_all(&text)
    }
}

fn read_holder(file: &mut File) -> Option<LockHolder> {
    let mut text = String::new();
    file.rewind().ok()?;
    file.read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn held_by(holder: Option<LockHolder>) -> Failure {
    let failure = |why: String| Failure::new("begin", why);
    match holder {
        Some(h) if h.finishing => failure(format!(
            "`matrix-podman {}` of {} was cut off, and its last act in the guest has not ended yet",
            h.command, h.since
        ))
        .hint("wait some minutes, then run the same again"),
        Some(h) => failure(format!(
            "`matrix-podman {}` (process {} on {}) has been at work on this site since {}",
            h.command, h.pid, h.host, h.since
        ))
        .hint("wait until it has ended; its own output says what it does"),
        None => failure("another matrix-podman is at work on this site".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_run_is_told_who_holds_the_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let holder = LockHolder::this("up");
        let held = RunLock::take(&path, &holder, &|_| {}).unwrap();
        let refused = RunLock::take(&path, &LockHolder::this("destroy"), &|_| {}).unwrap_err();
        assert!(
            refused.why.contains("`matrix-podman up`") && refused.why.contains(&holder.since),
            "{refused}"
        );
        drop(held);
        RunLock::take(&path, &LockHolder::this("destroy"), &|_| {}).unwrap();
    }

    #[test]
    fn the_last_act_of_a_run_that_was_cut_off_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let mut held = RunLock::take(&path, &LockHolder::this("up"), &|_| {}).unwrap();
        held.finishing();
        let ends = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            drop(held);
        });
        RunLock::take(&path, &LockHolder::this("up"), &|_| {}).unwrap();
        ends.join().unwrap();
    }
}
