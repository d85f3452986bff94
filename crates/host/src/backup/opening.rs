//! The way to a repository: whether it is there, who may write to it, and what
//! rustic reads it through.

use std::{
    fs::{self, File, OpenOptions},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Arc,
    time::SystemTime,
};

use matrix_podman_core::{
    backup::{self, Location, RepositoryName},
    layout,
    name::{Digest, Mode, Owner},
};
use rustic_backend::BackendOptions;
use rustic_core::{
    BytesList, ErrorKind, FileType, Id, ReadBackend, RepositoryBackends, RusticError, RusticResult,
    WriteBackend, repofile::MasterKey,
};
use rustix::fs::{FlockOperation, flock};

use super::{
    Tell,
    lease::{Current, FolderShelf, Lease, Notes, Shelf, Use, Wanted},
    limit::Limits,
    repository::explained,
    source::Unreadable,
    store::{self, Item, Name, Remote, Store, StoreTraffic},
    waits::Waits,
};
use crate::{
    failure::{Doing, Failure},
    file,
};

/// Lies in a folder's repository and is locked while this program writes there.
const LOCK: &str = ".matrix-podman-lock";
/// Folder of such locks for repositories that are elsewhere.
const LOCKS: &str = "locks";

/// Where a repository is, and how it is reached.
#[derive(Debug)]
pub struct Place {
    pub(super) name: RepositoryName,
    location: Location,
    traffic: StoreTraffic,
    kind: Kind,
    /// How current our lock is that others see.
    current: Current,
}

#[derive(Debug)]
enum Kind {
    Folder(PathBuf),
    Store(Arc<dyn Store>),
}

impl Place {
    /// The way to a repository; it is not gone yet. `tell` says what is waited for
    /// on it.
    pub fn of(repository: &backup::Repository, tell: Tell) -> Result<Self, Failure> {
        let location = repository.location.clone();
        let traffic = StoreTraffic { limits: Limits::of(&repository.terms.limits), waits: Waits::new(tell) };
        let kind = match (location.folder(), store::open(repository, &traffic)?) {
            (Some(folder), _) => Kind::Folder(PathBuf::from(folder.as_str())),
            (None, Some(store)) => Kind::Store(store),
            (None, None) => return Err(Failure::new(format!("reach {location}"), "it is of no known kind")),
        };
        Ok(Self { name: repository.name.clone(), location, traffic, kind, current: Current::default() })
    }

    /// Has the disk hold what was written here, where that is one of this machine's:
    /// the names of its files, too, which are not flushed one by one.
    pub(super) fn flush(&self) -> Result<(), Failure> {
        match &self.kind {
            Kind::Folder(folder) => file::flush(folder),
            Kind::Store(_) => Ok(()),
        }
    }

    pub(super) fn waits(&self) -> &Waits {
        &self.traffic.waits
    }

    /// What messages call it.
    pub(super) fn shown(&self) -> String {
        match &self.kind {
            Kind::Folder(folder) => format!("in {}", folder.display()),
            Kind::Store(_) => format!("at {}", self.location),
        }
    }

    /// Makes ready for a new repository.
    pub(super) fn prepare(&self) -> Result<(), Failure> {
        let doing = || format!("make a repository {}", self.shown());
        let folder = match &self.kind {
            Kind::Folder(folder) => folder,
            Kind::Store(store) => {
                return match store.look(&Name::Config)? {
                    Some(_) => Err(Failure::new(doing(), "there is one already")),
                    None => store.prepare(),
                };
            }
        };
        if folder.join("config").exists() {
            return Err(Failure::new(doing(), "there is one already"));
        }
        let empty = match fs::read_dir(folder) {
            Ok(mut items) => items.next().is_none(),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => true,
            Err(e) => return Err(e).doing(doing),
        };
        // What an interrupted `init` left has no config yet, and no snapshot.
        let half = folder.join("keys").exists() && !folder.join("config").exists();
        if !empty && !half {
            return Err(Failure::new(doing(), "there is something else in it")
                .hint("choose an empty folder: matrix-podman set backup.repository FOLDER"));
        }
        file::make_dir(folder, Mode(0o700), Owner::ROOT)?;
        // restic locks a repository that it looks at.
        file::make_dir(&folder.join("locks"), Mode(0o700), Owner::ROOT)
    }

    /// Fails where there is no repository.
    pub fn is_there(&self) -> Result<(), Failure> {
        let doing = || format!("open the repository {}", self.shown());
        let folder = match &self.kind {
            Kind::Folder(folder) => folder,
            Kind::Store(store) => {
                return match store.look(&Name::Config)? {
                    Some(_) => Ok(()),
                    None => Err(match &self.location {
                        // rclone does not tell apart what is not there and what it cannot reach.
                        Location::Rclone(remote) => {
                            Failure::new(doing(), "rclone shows no repository at this place").hint(format!(
                                "does `rclone lsf {}` show one? `matrix-podman backup init` makes a new one",
                                remote.as_str()
                            ))
                        }
                        _ => Failure::new(doing(), "there is no repository at this place")
                            .hint("`matrix-podman backup init` makes a new one"),
                    }),
                };
            }
        };
        if folder.join("config").exists() {
            return Ok(());
        }
        let (why, hint) = if folder.is_dir() {
            (
                "there is no repository in this folder",
                "is the disk mounted? `matrix-podman backup init` makes a new one in an empty folder",
            )
        } else {
            (
                "there is no such folder",
                "is the disk mounted? `matrix-podman backup init` makes a new repository",
            )
        };
        Err(Failure::new(doing(), why).hint(hint))
    }

    /// Keeps other runs of this machine from writing to it.
    pub(super) fn lock(&self) -> Result<File, Failure> {
        let doing = || format!("lock the repository {}", self.shown());
        let path = match &self.kind {
            Kind::Folder(folder) => folder.join(LOCK),
            Kind::Store(_) => {
                let folder = Path::new(layout::STATE).join(LOCKS);
                file::make_dir(&folder, Mode(0o700), Owner::ROOT)?;
                folder.join(format!("{}.lock", self.digest()))
            }
        };
        let lock = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .doing(doing)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Failure::new(doing(), "another run of matrix-podman is at work in it")
                .hint("wait until it is over, then run the same again")
        })?;
        Ok(lock)
    }

    /// Tells this repository apart from others in the names of files.
    fn digest(&self) -> String {
        let digest = Digest::of_sha256(&sha2_of(&self.location.to_string()));
        digest.hex().get(..32).unwrap_or_default().to_owned()
    }

    /// Takes a lock that restic and other machines see.
    pub(super) fn lease(&self, wanted: Use, key: MasterKey) -> Result<Lease, Failure> {
        let shelf: Arc<dyn Shelf> = match &self.kind {
            Kind::Folder(folder) => Arc::new(FolderShelf(folder.join(store::LOCKS))),
            Kind::Store(store) => Arc::new(StoreShelf(Arc::clone(store))),
        };
        let folder = Path::new(layout::STATE).join(LOCKS);
        file::make_dir(&folder, Mode(0o700), Owner::ROOT)?;
        let notes = Some(Notes::of(&folder, &self.digest()));
        let wanted = Wanted { wanted, key, notes, current: &self.current };
        Lease::take(shelf, wanted, &|| format!("lock the repository {}", self.shown()))
    }

    /// What rustic reads and writes through.
    pub(super) fn backends(&self, unread: &Unreadable) -> Result<RepositoryBackends, Failure> {
        let inner: Arc<dyn WriteBackend> = match &self.kind {
            Kind::Folder(folder) => BackendOptions::default()
                .repository(format!("local:{}", folder.display()))
                .to_backends()
                .map_err(|error| explained(&error, &format!("open the repository {}", self.shown())))?
                .repository(),
            Kind::Store(store) => {
                Arc::new(Remote { store: Arc::clone(store), location: self.location.to_string() })
            }
        };
        // A store keeps to them on its own, piece by piece.
        let limits = match &self.kind {
            Kind::Folder(_) => self.traffic.limits.clone(),
            Kind::Store(_) => Limits::default(),
        };
        let current = self.current.clone();
        Ok(RepositoryBackends::new(Arc::new(Gate { inner, unread: unread.clone(), limits, current }), None))
    }
}

fn sha2_of(text: &str) -> [u8; 32] {
    use sha2::Digest as _;
    sha2::Sha256::digest(text.as_bytes()).into()
}

/// A repository that takes no snapshot of which something could not be read, and
/// is used no faster than it may be.
#[derive(Debug)]
struct Gate {
    inner: Arc<dyn WriteBackend>,
    unread: Unreadable,
    limits: Limits,
    current: Current,
}

impl Gate {
    /// Fails when others may take our lock for one that was left behind: they may remove
    /// by now what we are about to name, and name what we are about to remove.
    fn still_locked(&self) -> RusticResult<()> {
        if self.current.is_fit() {
            return Ok(());
        }
        let failure = Failure::new(
            "go on in the repository",
            "its lock could not be refreshed for too long, and others need not respect it any more",
        )
        .hint("run the same again");
        Err(RusticError::with_source(ErrorKind::Backend, "the lock is too old", failure))
    }

    fn read(&self, read: RusticResult<bytes::Bytes>) -> RusticResult<bytes::Bytes> {
        read.inspect(|bytes| self.limits.down.pass(bytes.len()))
    }
}

impl ReadBackend for Gate {
    fn location(&self) -> String {
        self.inner.location()
    }
    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        self.inner.list_with_size(kind)
    }
    fn list(&self, kind: FileType) -> RusticResult<Vec<Id>> {
        self.inner.list(kind)
    }
    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<bytes::Bytes> {
        self.read(self.inner.read_full(kind, id))
    }
    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<bytes::Bytes> {
        self.read(self.inner.read_partial(kind, id, cacheable, offset, length))
    }
    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        self.inner.warmup_path(kind, id)
    }
}

impl WriteBackend for Gate {
    fn create(&self) -> RusticResult<()> {
        self.inner.create()
    }
    fn write_bytes(&self, kind: FileType, id: &Id, cacheable: bool, content: BytesList) -> RusticResult<()> {
        if kind == FileType::Snapshot && !self.unread.is_empty() {
            return Err(RusticError::new(ErrorKind::InputOutput, "not everything could be read"));
        }
        if matches!(kind, FileType::Snapshot | FileType::Index) {
            self.still_locked()?;
        }
        self.limits.up.pass(content.size());
        self.inner.write_bytes(kind, id, cacheable, content)
    }
    fn remove(&self, kind: FileType, id: &Id, cacheable: bool) -> RusticResult<()> {
        self.still_locked()?;
        self.inner.remove(kind, id, cacheable)
    }
}

/// The locks of a repository that is elsewhere.
#[derive(Debug)]
struct StoreShelf(Arc<dyn Store>);

impl StoreShelf {
    fn name(name: &str) -> Name {
        Name::In(store::LOCKS, name.to_owned())
    }
}

impl Shelf for StoreShelf {
    fn list(&self) -> Result<Vec<Item>, Failure> {
        self.0.list(store::LOCKS)
    }
    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, Failure> {
        match self.0.read(&Self::name(name), None) {
            Ok(content) => Ok(Some(content.to_vec())),
            Err(failure) => match self.0.look(&Self::name(name))? {
                None => Ok(None),
                Some(_) => Err(failure),
            },
        }
    }
    fn written(&self, name: &str) -> Option<SystemTime> {
        self.0.look(&Self::name(name)).ok()??.written
    }
    fn write(&self, name: &str, content: &[u8]) -> Result<(), Failure> {
        self.0.write(&Self::name(name), &BytesList::from(bytes::Bytes::copy_from_slice(content)))
    }
    fn remove(&self, name: &str) -> Result<(), Failure> {
        self.0.remove(&Self::name(name))
    }
}
