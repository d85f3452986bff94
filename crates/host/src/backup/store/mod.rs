//! Where a repository's files are, when it is not a folder of this machine.
//!
//! A store does five things with whole files, in restic's layout; what restic's
//! format is, it does not know. So it can be small, and needs no second HTTP
//! client or TLS (see decision 0009).

mod credentials;
mod http;
mod rclone;
mod s3;
mod sftp;

use std::{
    fmt::Debug,
    sync::Arc,
    thread,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use matrix_podman_core::backup::{self, Location};
use rustic_core::{BytesList, ErrorKind, FileType, Id, ReadBackend, RusticError, RusticResult, WriteBackend};

use super::{
    limit::{Limit, Limits},
    waits::Waits,
};
use crate::failure::Failure;

/// Pauses before something is tried again that failed in a way that may pass.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5), Duration::from_secs(10)];

/// The folders of a repository.
const FOLDERS: [&str; 5] = ["keys", "snapshots", "index", "locks", DATA];
/// The folder of packs, which has a folder for each two letters that a name begins with.
const DATA: &str = "data";
/// The folder of restic's locks.
pub(super) const LOCKS: &str = "locks";

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Name {
    /// The repository's own config.
    Config,
    /// A file in one of its folders.
    In(&'static str, String),
}

impl Name {
    fn of(kind: FileType, id: &Id) -> Self {
        match kind {
            FileType::Config => Self::Config,
            kind => Self::In(kind.dirname(), id.to_hex().to_string()),
        }
    }

    /// Its path, with packs in folders of two letters.
    fn path(&self) -> String {
        match self {
            Self::Config => "config".to_owned(),
            Self::In(DATA, name) => format!("{DATA}/{}/{name}", name.get(..2).unwrap_or_default()),
            Self::In(folder, name) => format!("{folder}/{name}"),
        }
    }

    /// Its path without those.
    fn flat(&self) -> String {
        match self {
            Self::Config => "config".to_owned(),
            Self::In(folder, name) => format!("{folder}/{name}"),
        }
    }
}

/// What is known of a file without reading it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Item {
    pub name: String,
    pub size: u64,
    /// When it was written; not every store says so in a list.
    pub written: Option<SystemTime>,
}

/// Where a repository's files are.
pub(super) trait Store: Debug + Send + Sync {
    /// Makes ready for a new repository; fails where there is something else.
    fn prepare(&self) -> Result<(), Failure>;
    /// The files in a folder; none when there is no such folder.
    fn list(&self, folder: &'static str) -> Result<Vec<Item>, Failure>;
    /// A file's size and age, when it is there.
    fn look(&self, name: &Name) -> Result<Option<Item>, Failure>;
    /// So many bytes of a file from some byte on, or all of it.
    fn read(&self, name: &Name, part: Option<(u32, u32)>) -> Result<Bytes, Failure>;
    /// Writes a whole file: it is there whole, or not at all.
    fn write(&self, name: &Name, content: &BytesList) -> Result<(), Failure>;
    /// Removes a file; one that is not there is no failure.
    fn remove(&self, name: &Name) -> Result<(), Failure>;
}

/// How a store is used: how fast, and who is told when it is waited for.
#[derive(Debug, Clone)]
pub(super) struct StoreTraffic {
    pub limits: Limits,
    pub waits: Waits,
}

/// The store of a repository that is not a folder. Nothing is asked of it yet but what is needed to reach it.
pub(super) fn open(
    repository: &backup::Repository,
    traffic: &StoreTraffic,
) -> Result<Option<Arc<dyn Store>>, Failure> {
    Ok(Some(match &repository.location {
        Location::Folder(_) => return Ok(None),
        Location::Sftp(place) => Arc::new(sftp::Sftp::new(place, traffic)?),
        Location::S3(place) => Arc::new(s3::S3::new(place, &repository.terms, traffic)?),
        Location::Rclone(place) => Arc::new(rclone::Rclone::new(place, traffic)?),
    }))
}

/// A failure, and whether it may be gone a moment later.
#[derive(Debug)]
struct Trouble {
    failure: Failure,
    passing: bool,
}

impl Trouble {
    fn passing(failure: Failure) -> Self {
        Self { failure, passing: true }
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        Self { failure, passing: false }
    }
}

impl StoreTraffic {
    /// Does something, and again as long as what is in its way may pass.
    fn again<T>(&self, mut act: impl FnMut() -> Result<T, Trouble>) -> Result<T, Failure> {
        let mut pauses = PAUSES.into_iter();
        loop {
            match act() {
                Ok(done) => return Ok(done),
                Err(trouble) => match pauses.next() {
                    Some(pause) if trouble.passing => {
                        self.waits.note(format!("{}; trying again in {pause:?}", trouble.failure));
                        thread::sleep(pause);
                    }
                    _ => return Err(trouble.failure),
                },
            }
        }
    }
}

/// A store, as rustic wants it.
#[derive(Debug, Clone)]
pub(super) struct Remote {
    pub store: Arc<dyn Store>,
    pub location: String,
}

fn failed(failure: Failure) -> Box<RusticError> {
    RusticError::with_source(ErrorKind::Backend, "the repository's store failed", failure)
}

impl ReadBackend for Remote {
    fn location(&self) -> String {
        self.location.clone()
    }

    fn list_with_size(&self, kind: FileType) -> RusticResult<Vec<(Id, u32)>> {
        if kind == FileType::Config {
            let config = self.store.look(&Name::Config).map_err(failed)?;
            return Ok(config.map(|item| (Id::default(), small(item.size))).into_iter().collect());
        }
        let items = self.store.list(kind.dirname()).map_err(failed)?;
        // What has another name is a file on its way, or not of the repository.
        Ok(items.iter().filter_map(|item| Some((item.name.parse().ok()?, small(item.size)))).collect())
    }

    fn read_full(&self, kind: FileType, id: &Id) -> RusticResult<Bytes> {
        self.store.read(&Name::of(kind, id), None).map_err(failed)
    }

    fn read_partial(
        &self,
        kind: FileType,
        id: &Id,
        _cacheable: bool,
        offset: u32,
        length: u32,
    ) -> RusticResult<Bytes> {
        self.store.read(&Name::of(kind, id), Some((offset, length))).map_err(failed)
    }

    fn warmup_path(&self, kind: FileType, id: &Id) -> String {
        Name::of(kind, id).path()
    }
}

impl WriteBackend for Remote {
    fn create(&self) -> RusticResult<()> {
        self.store.prepare().map_err(failed)
    }

    fn write_bytes(&self, kind: FileType, id: &Id, _cacheable: bool, content: BytesList) -> RusticResult<()> {
        self.store.write(&Name::of(kind, id), &content).map_err(failed)
    }

    fn remove(&self, kind: FileType, id: &Id, _cacheable: bool) -> RusticResult<()> {
        self.store.remove(&Name::of(kind, id)).map_err(failed)
    }
}

/// No file of a repository is as large as 4 GiB; one that is fails when it is read.
fn small(size: u64) -> u32 {
    u32::try_from(size).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn names_stand_where_restic_looks_for_them() {
        let id: Id = "0123456789abcdef".repeat(4).parse().unwrap();
        assert_eq!(Name::of(FileType::Config, &id).path(), "config");
        let hex = id.to_hex();
        assert_eq!(Name::of(FileType::Pack, &id).path(), format!("data/01/{}", hex.as_str()));
        assert_eq!(Name::of(FileType::Pack, &id).flat(), format!("data/{}", hex.as_str()));
        assert_eq!(Name::of(FileType::Snapshot, &id).path(), format!("snapshots/{}", hex.as_str()));
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_may_not_is_not() {
        static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
        let waits = Waits::new(|why| TOLD.lock().unwrap().push(why.to_owned()));
        let traffic = StoreTraffic { limits: Limits::default(), waits };
        let mut tried = 0;
        let done = traffic.again(|| {
            tried += 1;
            if tried == 1 { Err(Trouble::passing(Failure::new("do it", "not now"))) } else { Ok(tried) }
        });
        assert_eq!(done.unwrap(), 2);
        let mut tried = 0;
        let failed = traffic.again(|| {
            tried += 1;
            Err::<(), _>(Trouble::from(Failure::new("do it", "never")))
        });
        assert_eq!((failed.unwrap_err().why.as_str(), tried), ("never", 1));
        assert_eq!(*TOLD.lock().unwrap(), ["could not do it: not now; trying again in 500ms"]);
    }
}
