//! A repository in restic's format.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use matrix_podman_core::backup::{self, Keep, Manifest, MediaList, RepositoryName, Snapshot, place};
use rustic_core::{
    CheckOptions, ConfigOptions, Credentials, IndexedFullStatus, KeepOptions, KeyOptions, LsOptions,
    OpenStatus, PruneOptions, RepositoryOptions, RusticError, RusticResult,
    jiff::Timestamp,
    repofile::{Node, SnapshotFile},
};
use serde::Serialize;

use super::{Password, Tell, opening::Place, progress::Counter, source::Unread};
use crate::{
    apply::Sink,
    failure::{Doing, Failure},
};

/// The least that files are cut into; restic's own is half of it. Most media stay
/// whole then, and no time is spent on looking for places to cut them.
const LEAST_CHUNK: &str = "1MiB";

/// An open repository.
pub struct Repository {
    place: Arc<Place>,
    inner: rustic_core::Repository<OpenStatus>,
    counter: Counter,
    unread: Unread,
}

/// What `verify` found.
#[derive(Debug, Default, Serialize)]
pub struct Found {
    /// How many snapshots were looked at.
    pub snapshots: usize,
    /// Whether every byte was read.
    pub all_data: bool,
    /// What is wrong, in sentences.
    pub wrong: Vec<String>,
}

/// What `prune` did.
#[derive(Debug, Default, Serialize)]
pub struct Pruned {
    /// Snapshots that are kept.
    pub kept: usize,
    /// Ids of snapshots that were removed.
    pub removed: Vec<String>,
}

impl Repository {
    /// Makes a repository where there is nothing yet.
    pub fn init(at: &backup::Repository, password: &Password, tell: Tell) -> Result<(), Failure> {
        let place = Place::of(at, tell)?;
        let doing = || format!("make a repository {}", place.shown());
        let mut config = ConfigOptions::default();
        config.set_chunk_min_size =
            Some(LEAST_CHUNK.parse().map_err(|why: String| Failure::new(doing(), why))?);
        place.prepare()?;
        rustic_core::Repository::new(&options(), &place.backends(&Unread::default())?)
            .and_then(|repository| repository.init(&password.credentials(), &KeyOptions::default(), &config))
            .map_err(|error| explained(&error, &doing()))?;
        place.flush()
    }

    /// Opens a repository.
    pub fn open(at: &backup::Repository, password: &Password, tell: Tell) -> Result<Self, Failure> {
        let place = Place::of(at, tell)?;
        place.is_there()?;
        Self::at(place, password)
    }

    /// Opens one that is there.
    pub fn at(place: Place, password: &Password) -> Result<Self, Failure> {
        let (counter, unread) = (Counter::new(place.waits().clone()), Unread::default());
        let open = |credentials: &Credentials| opened(&place, credentials, &counter, &unread);
        let inner = match password.key().map(|key| open(&Credentials::Masterkey(key))) {
            Some(Ok(inner)) => inner,
            // Another repository may be at the place by now.
            Some(Err(_)) | None => {
                let inner = open(&password.credentials())?;
                password.keep(inner.key());
                inner
            }
        };
        Ok(Self { place: Arc::new(place), inner, counter, unread })
    }

    /// Opens it once more, for what takes the whole of it. Its key is known now,
    /// so that the password, which is slow to try on purpose, is not needed.
    pub(super) fn again(&self) -> Result<rustic_core::Repository<OpenStatus>, Failure> {
        opened(&self.place, &Credentials::Masterkey(self.inner.key()), &self.counter, &self.unread)
    }

    /// Has the disk hold what was written to it.
    pub(super) fn flush(&self) -> Result<(), Failure> {
        self.place.flush()
    }

    /// Keeps other runs from writing to it.
    pub(super) fn lock(&self) -> Result<File, Failure> {
        self.place.lock()
    }

    /// What it is called in the config.
    pub fn name(&self) -> &RepositoryName {
        &self.place.name
    }

    pub(super) fn counter(&self) -> &Counter {
        &self.counter
    }

    pub(super) fn unread(&self) -> &Unread {
        &self.unread
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} the repository {}", self.place.shown())
    }

    fn snapshot_files(&self) -> Result<Vec<SnapshotFile>, Failure> {
        let mut all = self
            .inner
            .get_all_snapshots()
            .map_err(|error| explained(&error, &self.doing("list the snapshots of")))?;
        all.retain(|snapshot| snapshot.tags.contains(TAG));
        all.sort_by(|a, b| a.time.cmp(&b.time));
        Ok(all)
    }

    /// All snapshots of servers, oldest first.
    pub fn snapshots(&self) -> Result<Vec<Snapshot>, Failure> {
        Ok(self.snapshot_files()?.iter().map(described).collect())
    }

    /// The snapshot that `wanted` names by the beginning of its id; `latest` is
    /// the newest.
    pub fn snapshot(&self, wanted: &str) -> Result<Opened, Failure> {
        let doing = || format!("find the snapshot {wanted}");
        let mut all = self.snapshot_files()?;
        let found = if wanted == "latest" {
            all.pop().ok_or_else(|| {
                Failure::new(doing(), "there is none in the repository")
                    .hint("`matrix-podman backup now` makes one")
            })?
        } else {
            let mut named = all.into_iter().filter(|s| s.id.to_hex().as_str().starts_with(wanted));
            match (named.next(), named.next()) {
                (Some(one), None) => one,
                (Some(_), Some(_)) => {
                    return Err(Failure::new(doing(), "several begin so").hint("write more of it"));
                }
                (None, _) => {
                    return Err(Failure::new(doing(), "there is none that begins so")
                        .hint("`matrix-podman backup list` shows what is there"));
                }
            }
        };
        self.opened(found)
    }

    /// The newest snapshot of a server, if there is one and its list of media can
    /// be read.
    pub(super) fn newest(&self, server_name: &str) -> Result<Option<Newest>, Failure> {
        let Some(file) = self.snapshot_files()?.into_iter().rfind(|file| file.hostname == server_name) else {
            return Ok(None);
        };
        let id = file.id.to_hex().to_string();
        // All is read anew then, which mends what is broken.
        Ok(self.opened(file).and_then(|opened| opened.media()).ok().map(|media| Newest { id, media }))
    }

    /// The newest snapshot that was made until `at`.
    pub fn snapshot_until(&self, at: Timestamp) -> Result<Opened, Failure> {
        let all = self.snapshot_files()?;
        let found = all.into_iter().rfind(|snapshot| snapshot.time.timestamp() <= at).ok_or_else(|| {
            Failure::new(format!("find a snapshot that was made until {at:.0}"), "the first one is younger")
                .hint("`matrix-podman backup list` shows what is there")
        })?;
        self.opened(found)
    }

    fn opened(&self, snapshot: SnapshotFile) -> Result<Opened, Failure> {
        let repository = self
            .again()?
            .to_indexed()
            .map_err(|error| explained(&error, &self.doing("read the index of")))?;
        Ok(Opened { snapshot, repository })
    }

    /// Whether everything in it is whole. With `all_data` every byte is read.
    pub fn verify(&self, all_data: bool, sink: &Sink) -> Result<Found, Failure> {
        let doing = self.doing("verify");
        let snapshots = self.snapshot_files()?;
        let mut found = Found { snapshots: snapshots.len(), all_data, wrong: Vec::new() };
        let results = self
            .counter
            .while_doing(sink, || self.inner.check(CheckOptions::default().read_data(all_data)))
            .map_err(|error| explained(&error, &doing))?;
        if results.is_ok().is_err() {
            found.wrong.extend(results.0.iter().map(|(_, error)| one_line(&error.to_string())));
        }
        Ok(found)
    }

    /// Removes snapshots that need not be kept, and what only they held.
    pub fn prune(&self, server_name: &str, keep: Keep, sink: &Sink) -> Result<Pruned, Failure> {
        let doing = self.doing("prune");
        let failed = |error: Box<RusticError>| explained(&error, &doing);
        let _lock = self.lock()?;
        let all: Vec<SnapshotFile> =
            self.snapshot_files()?.into_iter().filter(|s| s.hostname == server_name).collect();
        let number = |count: u32| Some(i32::try_from(count).unwrap_or(i32::MAX)).filter(|count| *count > 0);
        let mut options = KeepOptions::default();
        options.keep_last = Some(1);
        options.keep_daily = number(keep.daily);
        options.keep_weekly = number(keep.weekly);
        options.keep_monthly = number(keep.monthly);
        options.keep_yearly = number(keep.yearly);
        let decided = options.apply(all, &rustic_core::jiff::Zoned::now()).map_err(failed)?;
        let (kept, gone): (Vec<_>, Vec<_>) = decided.into_iter().partition(|decided| decided.keep);
        let ids: Vec<_> = gone.iter().map(|decided| decided.snapshot.id).collect();
        self.inner.delete_snapshots(&ids).map_err(failed)?;
        // Nobody else writes here now, so nobody can count on what is removed.
        let options = PruneOptions::default().instant_delete(true);
        self.counter
            .while_doing(sink, || {
                let plan = self.inner.prune_plan(&options)?;
                self.inner.prune(&options, plan)
            })
            .map_err(failed)?;
        self.flush()?;
        Ok(Pruned { kept: kept.len(), removed: ids.iter().map(|id| short(&id.to_hex())).collect() })
    }
}

/// What is known from the snapshot before.
pub(super) struct Newest {
    /// Its whole id.
    pub id: String,
    /// The digests of its media.
    pub media: MediaList,
}

/// A snapshot that is read from.
pub struct Opened {
    snapshot: SnapshotFile,
    repository: rustic_core::Repository<IndexedFullStatus>,
}

impl Opened {
    /// What `list` says of it.
    pub fn described(&self) -> Snapshot {
        described(&self.snapshot)
    }

    /// What it says of itself.
    pub fn manifest(&self) -> Result<Manifest, Failure> {
        let text = self.text(place::MANIFEST)?;
        Manifest::parse(&text).map_err(|why| Failure::new(self.doing("read the manifest of"), why))
    }

    /// The digests of its media.
    pub fn media(&self) -> Result<MediaList, Failure> {
        MediaList::parse(&self.text(place::MEDIA)?)
            .ok_or_else(|| Failure::new(self.doing("read the list of media of"), "it is no list of digests"))
    }

    /// The config that was applied.
    pub fn config(&self) -> Result<String, Failure> {
        self.text(&format!("{}/matrix.toml", place::FILES))
    }

    /// What a small file in it holds.
    pub fn text(&self, path: &str) -> Result<String, Failure> {
        let doing = || self.doing(&format!("read {path} in"));
        let mut bytes = Vec::new();
        self.copy(&self.node(path)?, &mut bytes).map_err(|failure| Failure { doing: doing(), ..failure })?;
        String::from_utf8(bytes).doing(doing)
    }

    pub(super) fn node(&self, path: &str) -> Result<Node, Failure> {
        self.repository
            .node_from_path(self.snapshot.tree, Path::new(path))
            .map_err(|error| explained(&error, &self.doing(&format!("find {path} in"))))
    }

    /// The parts of the dump, in their order.
    pub(super) fn dump(&self) -> Result<Vec<Node>, Failure> {
        let mut parts = self.below(place::DATABASE)?;
        parts.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(parts.into_iter().map(|(_, node)| node).collect())
    }

    pub(super) fn copy(&self, node: &Node, mut to: &mut dyn Write) -> Result<(), Failure> {
        self.repository
            .dump(node, &mut to)
            .map_err(|error| explained(&error, &self.doing(&format!("read {} in", node.name().display()))))
    }

    /// Everything below `path`: paths relative to it, parents first.
    pub(super) fn below(&self, path: &str) -> Result<Vec<(PathBuf, Node)>, Failure> {
        let failed = |error: Box<RusticError>| explained(&error, &self.doing(&format!("list {path} in")));
        let node = self.node(path)?;
        self.repository
            .ls(&node, &LsOptions::default())
            .map_err(failed)?
            .collect::<RusticResult<Vec<_>>>()
            .map_err(failed)
    }

    fn doing(&self, what: &str) -> String {
        format!("{what} the snapshot {}", short(&self.snapshot.id.to_hex()))
    }
}

/// Marks snapshots that this program made.
pub(super) const TAG: &str = "matrix-podman";

fn short(id: &str) -> String {
    id.chars().take(8).collect()
}

pub(super) fn described(snapshot: &SnapshotFile) -> Snapshot {
    let summary = snapshot.summary.clone().unwrap_or_default();
    Snapshot {
        id: short(&snapshot.id.to_hex()),
        time: snapshot.time.timestamp().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        server_name: snapshot.hostname.clone(),
        bytes: summary.total_bytes_processed,
        added: summary.data_added_packed,
    }
}

fn opened(
    place: &Place,
    credentials: &Credentials,
    counter: &Counter,
    unread: &Unread,
) -> Result<rustic_core::Repository<OpenStatus>, Failure> {
    let doing = || format!("open the repository {}", place.shown());
    rustic_core::Repository::new_with_progress(&options(), &place.backends(unread)?, counter.clone())
        .and_then(|repository| repository.open(credentials))
        .map_err(|error| {
            if error.is_incorrect_password() {
                return Failure::new(doing(), "the password is wrong")
                    .hint("the right one is the one that `backup key` showed when the repository was made");
            }
            explained(&error, &doing())
        })
}

fn options() -> RepositoryOptions {
    // A copy of the index elsewhere would have to be kept true, and gains little.
    RepositoryOptions::default().no_cache(true)
}

/// rustic's words, which are many, as one sentence and its evidence.
pub(super) fn explained(error: &RusticError, doing: &str) -> Failure {
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        // A store says by itself what it was at, and what to do.
        if let Some(failure) = inner.downcast_ref::<Failure>() {
            let why = format!("could not {}: {}", failure.doing, failure.why);
            return Failure { doing: doing.to_owned(), why, ..failure.clone() };
        }
        cause = inner.source();
    }
    let mut why = one_line(&error.display_log());
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        why = format!("{why}: {}", one_line(&cause.to_string()));
        source = cause.source();
    }
    Failure::new(doing, why).about_full_disk("the repository's")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
