//! Locks in a repository that other machines and restic see.
//!
//! Whoever removes packs must be alone: what another one is just about to refer to would be
//! gone. So everybody who is at work says so by a file in the repository, writes it anew
//! every five minutes, and looks at the files of the others first. One that is half an
//! hour old was left behind.

mod document;

use std::{
    fmt, fs,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant, SystemTime},
};

use matrix_podman_core::name::{Mode, Owner};
use rustic_core::repofile::MasterKey;

pub(super) use document::Use;
use document::{Found, Lock, STALE, Verdict, judge};

use super::store::Item;
use crate::{
    failure::{Doing, Failure},
    file,
};

/// How long others are given to see our lock before theirs are looked at once more.
const SEEN: Duration = Duration::from_millis(200);
/// How often a lock is written anew.
const REFRESH: Duration = Duration::from_secs(5 * 60);
/// How long it takes until that is tried again when it failed.
const AGAIN: Duration = Duration::from_secs(30);
/// Ours, before it counts as left behind for others: nothing is removed or named any
/// more from then on.
const FIT: Duration = STALE.saturating_sub(Duration::from_secs(5 * 60));

/// The folder of a repository with its locks.
pub(super) trait Shelf: fmt::Debug + Send + Sync {
    /// The locks that are there.
    fn list(&self) -> Result<Vec<Item>, Failure>;
    /// What one holds; none when it is gone meanwhile.
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure>;
    /// When one was written, where that can be known.
    fn written(&self, name: &str) -> Option<SystemTime>;
    /// Writes one.
    fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure>;
    /// Removes one; one that is not there is no failure.
    fn remove(&self, name: &str) -> Result<(), Failure>;
}

/// How current our lock is; shared with whatever writes to the repository.
#[derive(Debug, Clone, Default)]
pub(super) struct Current(Arc<Mutex<Option<Refreshed>>>);

#[derive(Debug, Clone, Copy)]
struct Refreshed {
    at: Instant,
    /// A machine that sleeps stops the other clock.
    on_the_wall: SystemTime,
}

impl Current {
    fn set(&self, refreshed: Option<Refreshed>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = refreshed;
    }

    /// Whether others still have to respect our lock; true when there is none to respect.
    pub(super) fn is_fit(&self) -> bool {
        let refreshed = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        refreshed.is_none_or(|refreshed| {
            let wall = refreshed.on_the_wall.elapsed().unwrap_or_default();
            refreshed.at.elapsed().max(wall) < FIT
        })
    }
}

/// Our lock in a repository, as long as this lives.
#[derive(Debug)]
pub(super) struct Lease {
    stop: Option<mpsc::Sender<()>>,
    refresher: Option<JoinHandle<()>>,
    writer: Arc<Writer>,
}

/// Writes our lock, and knows which is the newest.
#[derive(Debug)]
struct Writer {
    shelf: Arc<dyn Shelf>,
    key: MasterKey,
    wanted: Use,
    /// Where the names of our locks are noted, for whoever comes after a run that is killed.
    notes: Option<Notes>,
    current: Current,
    name: Mutex<Option<String>>,
}

/// What is asked for.
pub(super) struct Wanted<'a> {
    /// What for.
    pub wanted: Use,
    /// The repository's key.
    pub key: MasterKey,
    /// Where the names of our locks are noted.
    pub notes: Option<Notes>,
    /// Is told how current the lock is.
    pub current: &'a Current,
}

impl Lease {
    /// Takes a lock; who is in the way is named in the failure.
    pub(super) fn take(
        shelf: Arc<dyn Shelf>,
        wanted: Wanted<'_>,
        doing: &dyn Fn() -> String,
    ) -> Result<Self, Failure> {
        let writer = Writer {
            shelf,
            key: wanted.key,
            wanted: wanted.wanted,
            notes: wanted.notes,
            current: wanted.current.clone(),
            name: Mutex::new(None),
        };
        writer.clear_own()?;
        writer.look(doing)?;
        writer.renew()?;
        // Two that looked at the same time both see both now.
        thread::sleep(SEEN);
        if let Err(failure) = writer.look(doing) {
            writer.end();
            return Err(failure);
        }
        let writer = Arc::new(writer);
        let (stop, stopped) = mpsc::channel::<()>();
        let refreshing = Arc::clone(&writer);
        let refresher = thread::spawn(move || {
            let mut pause = REFRESH;
            // The end of the channel is the end of the work.
            while stopped.recv_timeout(pause) == Err(mpsc::RecvTimeoutError::Timeout) {
                pause = if refreshing.renew().is_ok() { REFRESH } else { AGAIN };
            }
        });
        Ok(Self { stop: Some(stop), refresher: Some(refresher), writer })
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(refresher) = self.refresher.take() {
            let _ = refresher.join();
        }
        self.writer.end();
    }
}

impl Writer {
    /// Fails when somebody is in the way; removes what was left behind, when that is asked
    /// of whoever is alone.
    fn look(&self, doing: &dyn Fn() -> String) -> Result<(), Failure> {
        let own = self.name.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut found = Vec::new();
        for item in self.shelf.list()? {
            if !is_name(&item.name) || own.as_deref() == Some(&item.name) {
                continue;
            }
            let Some(content) = self.shelf.read(&item.name)? else { continue };
            let lock = Lock::opened(&self.key, &content);
            let written = match &lock {
                Some(_) => None,
                None => item.written.or_else(|| self.shelf.written(&item.name)),
            };
            found.push(Found { name: item.name, lock, written });
        }
        match judge(&found, self.wanted, SystemTime::now()) {
            Verdict::Held(who) => {
                Err(Failure::new(doing(), format!("restic is at work in it, or another machine: {who}"))
                    .hint("wait until it is over; `restic unlock` removes a lock that a killed restic left"))
            }
            Verdict::Free { left_behind } if self.wanted == Use::Exclusive => {
                left_behind.iter().try_for_each(|name| self.shelf.remove(name))
            }
            Verdict::Free { .. } => Ok(()),
        }
    }

    /// Writes our lock with the date of now, and removes the one before.
    fn renew(&self) -> Result<(), Failure> {
        let doing = || "lock the repository";
        let refreshed = Refreshed { at: Instant::now(), on_the_wall: SystemTime::now() };
        let mut nonce = [0; 16];
        getrandom::fill(&mut nonce).doing(doing)?;
        let lock = Lock::own(self.wanted, refreshed.on_the_wall);
        let (name, content) = lock
            .sealed(&self.key, nonce)
            .ok_or_else(|| Failure::new(doing(), "the repository's key is none of restic's"))?;
        let before = self.name.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.remember(before.iter().chain([&name]));
        self.shelf.write(&name, &content)?;
        *self.name.lock().unwrap_or_else(PoisonError::into_inner) = Some(name.clone());
        self.current.set(Some(refreshed));
        if let Some(before) = before {
            self.shelf.remove(&before)?;
        }
        self.remember([&name]);
        Ok(())
    }

    /// Removes our lock. Where that fails, it is left behind: whoever of this machine comes
    /// next removes it, and others need not wait for long.
    fn end(&self) {
        self.current.set(None);
        let name = self.name.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(name) = name
            && self.shelf.remove(&name).is_ok()
        {
            self.remember([]);
        }
    }

    /// Removes what runs of this machine left that were killed.
    fn clear_own(&self) -> Result<(), Failure> {
        let Some(notes) = &self.notes else { return Ok(()) };
        for note in notes.left_behind() {
            let Ok(names) = fs::read_to_string(&note) else { continue };
            for name in names.lines().filter(|name| is_name(name)) {
                self.shelf.remove(name)?;
            }
            file::remove(&note)?;
        }
        Ok(())
    }

    /// Notes the names of our locks. Without the note they are only in others' way for longer.
    fn remember<'a>(&self, names: impl IntoIterator<Item = &'a String>) {
        let Some(notes) = &self.notes else { return };
        let text: String = names.into_iter().map(|name| format!("{name}\n")).collect();
        let _ = if text.is_empty() {
            file::remove(&notes.own)
        } else {
            file::write(&notes.own, text.as_bytes(), Mode(0o600), Owner::ROOT)
        };
    }
}

/// Whether it is the name of a lock; a file on its way has another one.
fn is_name(name: &str) -> bool {
    name.len() == 64 && name.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Notes about our locks in one repository: a file for each, which names the process that
/// holds it.
#[derive(Debug)]
pub(super) struct Notes {
    folder: PathBuf,
    /// What the names of all of them begin with.
    prefix: String,
    own: PathBuf,
}

impl Notes {
    /// Those in `folder` about the repository that `repository` tells apart.
    pub(super) fn of(folder: &Path, repository: &str) -> Self {
        static LEASES: AtomicU32 = AtomicU32::new(0);
        let prefix = format!("{repository}.");
        let lease = LEASES.fetch_add(1, Ordering::Relaxed);
        let own = folder.join(format!("{prefix}{}-{lease}{HELD}", std::process::id()));
        Self { folder: folder.to_owned(), prefix, own }
    }

    /// The notes of processes that are no more.
    fn left_behind(&self) -> Vec<PathBuf> {
        let process = |name: &str| -> Option<u32> {
            name.strip_prefix(&self.prefix)?.strip_suffix(HELD)?.split('-').next()?.parse().ok()
        };
        fs::read_dir(&self.folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| {
                process(&entry.file_name().to_string_lossy())
                    .is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
            })
            .map(|entry| entry.path())
            .collect()
    }
}

/// Ends the name of such a note.
const HELD: &str = ".held";

/// The locks of a repository that is a folder of this machine.
#[derive(Debug)]
pub(super) struct FolderShelf(pub PathBuf);

impl FolderShelf {
    fn at(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Shelf for FolderShelf {
    fn list(&self) -> Result<Vec<Item>, Failure> {
        let doing = || format!("list the locks in {}", self.0.display());
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e).doing(doing),
        };
        let mut items = Vec::new();
        for entry in entries {
            let entry = entry.doing(doing)?;
            // One that is gone meanwhile keeps nobody out.
            let Ok(meta) = entry.metadata() else { continue };
            let name = entry.file_name().to_string_lossy().into_owned();
            items.push(Item { name, size: meta.len(), written: meta.modified().ok() });
        }
        Ok(items)
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        match fs::read(self.at(name)) {
            Ok(content) => Ok(Some(content)),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(e).doing(|| format!("read the lock {name} in {}", self.0.display())),
        }
    }

    fn written(&self, name: &str) -> Option<SystemTime> {
        fs::metadata(self.at(name)).ok()?.modified().ok()
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        let folder_owner = |folder: &Path| {
            use std::os::unix::fs::MetadataExt as _;
            fs::metadata(folder).map_or(Owner::ROOT, |meta| Owner { uid: meta.uid(), gid: meta.gid() })
        };
        file::write(&self.at(name), content, Mode(0o600), folder_owner(&self.0))
    }

    fn remove(&self, name: &str) -> Result<(), Failure> {
        file::remove(&self.at(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted<'a>(key: &MasterKey, wanted: Use, notes: Option<Notes>, current: &'a Current) -> Wanted<'a> {
        Wanted { wanted, key: key.clone(), notes, current }
    }

    fn doing() -> String {
        "lock it".to_owned()
    }

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn two_machines_see_each_other() {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::new();
        let current = Current::default();
        let shelf: Arc<dyn Shelf> = Arc::new(FolderShelf(folder.path().to_owned()));
        let take = |kind| Lease::take(Arc::clone(&shelf), wanted(&key, kind, None, &current), &doing);
        let one = take(Use::Shared).unwrap();
        let two = take(Use::Shared).unwrap();
        assert_eq!(names(folder.path()).len(), 2);
        let refused = take(Use::Exclusive).unwrap_err();
        assert!(refused.why.contains("at work in it"), "{refused}");
        drop((one, two));
        assert_eq!(names(folder.path()).len(), 0);
        let alone = take(Use::Exclusive).unwrap();
        take(Use::Shared).unwrap_err();
        assert_eq!(names(folder.path()).len(), 1, "whoever was refused left nothing");
        drop(alone);
        take(Use::Shared).unwrap();
    }

    #[test]
    fn what_a_killed_run_of_this_machine_left_is_in_nobodys_way() {
        let folder = tempfile::tempdir().unwrap();
        let (locks, notes) = (folder.path().join("locks"), folder.path().join("notes"));
        fs::create_dir(&locks).unwrap();
        let key = MasterKey::new();
        let current = Current::default();
        let shelf: Arc<dyn Shelf> = Arc::new(FolderShelf(locks.clone()));
        let take = |kind| {
            let notes = Some(Notes::of(&notes, "repository"));
            Lease::take(Arc::clone(&shelf), wanted(&key, kind, notes, &current), &doing)
        };
        let killed = take(Use::Exclusive).unwrap();
        // What the next one finds of it; no process has such a number.
        let name = names(&locks)[0].clone();
        let (noted, left) =
            (fs::read(notes.join(&names(&notes)[0])).unwrap(), fs::read(locks.join(&name)).unwrap());
        drop(killed);
        assert_eq!((names(&locks).len(), names(&notes).len()), (0, 0));
        fs::write(notes.join("repository.999999999-0.held"), noted).unwrap();
        fs::write(locks.join(&name), &left).unwrap();
        let next = take(Use::Shared).unwrap();
        assert!(!names(&locks).contains(&name));
        assert_eq!(names(&notes).len(), 1);
        drop(next);
        // Another machine has no such note: it waits until the lock's time is over.
        fs::write(locks.join(&name), &left).unwrap();
        take(Use::Shared).unwrap_err();
    }

    #[test]
    fn a_lock_is_written_anew_and_the_one_before_goes() {
        let folder = tempfile::tempdir().unwrap();
        let key = MasterKey::new();
        let current = Current::default();
        let shelf: Arc<dyn Shelf> = Arc::new(FolderShelf(folder.path().to_owned()));
        let lease = Lease::take(shelf, wanted(&key, Use::Shared, None, &current), &doing).unwrap();
        let before = names(folder.path());
        lease.writer.renew().unwrap();
        let after = names(folder.path());
        assert_eq!((before.len(), after.len()), (1, 1));
        assert_ne!(before, after);
    }

    #[test]
    fn without_a_refreshed_lock_nothing_is_removed_any_more() {
        let current = Current::default();
        assert!(current.is_fit(), "nothing was locked yet");
        let (at, on_the_wall) = (Instant::now(), SystemTime::now());
        current.set(Some(Refreshed { at, on_the_wall }));
        assert!(current.is_fit());
        // The machine slept.
        current.set(Some(Refreshed { at, on_the_wall: on_the_wall - FIT }));
        assert!(!current.is_fit());
    }
}
