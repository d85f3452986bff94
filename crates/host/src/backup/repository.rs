//! A repository in restic's format.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    sync::Arc,
};

use matrix_podman_core::{
    backup::{self, Keep, Manifest, MediaList, RepositoryName, Snapshot, place},
    config::restored::Origin,
    format::UPGRADE,
    stack::{self, RoomDatabase},
};
use rustic_core::{
    CheckOptions, ConfigOptions, Credentials, IndexedFullStatus, KeepOptions, KeyOptions, LsOptions,
    OpenStatus, PruneOptions, RepositoryOptions, RusticError, RusticResult,
    jiff::Timestamp,
    repofile::{MasterKey, Node, SnapshotFile},
};
use serde::Serialize;

use super::{
    Password, SnapshotConfig, Tell,
    config::Kept,
    lease::{Lease, Use},
    opening::Place,
    progress::Counter,
    source::Unreadable,
    unhurried,
};
use crate::{
    failure::{Doing, Failure},
    progress::Sink,
};

/// The least that files are cut into; restic's own is half of it. Most media stay
/// whole then, and no time is spent on looking for places to cut them.
const LEAST_CHUNK: &str = "1MiB";

/// An open repository.
pub struct Repository {
    place: Arc<Place>,
    inner: rustic_core::Repository<OpenStatus>,
    counter: Counter,
    unread: Unreadable,
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
        rustic_core::Repository::new(&options(), &place.backends(&Unreadable::default())?)
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
        let (counter, unread) = (Counter::new(place.waits().clone()), Unreadable::default());
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

    /// Keeps other runs of this machine from writing to it.
    pub(super) fn lock(&self) -> Result<File, Failure> {
        self.place.lock()
    }

    /// Takes a lock that restic and other machines see.
    pub(super) fn lease(&self, wanted: Use) -> Result<Lease, Failure> {
        self.place.lease(wanted, self.master_key())
    }

    /// Lets restic and other machines know that somebody reads. What only reads harms
    /// nobody, and may have to be read in a hurry, from a place that cannot be written
    /// to: where there can be no lock, it goes on without.
    fn reading(&self) -> Option<Lease> {
        self.place
            .lease(Use::Shared, self.master_key())
            .inspect_err(|failure| {
                self.place.waits().note(format!("reading without a lock, because: {}", failure.why));
            })
            .ok()
    }

    /// What it is called in the config.
    pub fn name(&self) -> &RepositoryName {
        &self.place.name
    }

    /// The key that everything in it is encrypted with.
    pub(super) fn master_key(&self) -> MasterKey {
        self.inner.key()
    }

    pub(super) fn counter(&self) -> &Counter {
        &self.counter
    }

    pub(super) fn unread(&self) -> &Unreadable {
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
        self.opened(found, self.reading())
    }

    /// The newest snapshot of a server, if there is one and its list of media can
    /// be read.
    pub(super) fn newest(&self, server_name: &str) -> Result<Option<Newest>, Failure> {
        let Some(file) = self.snapshot_files()?.into_iter().rfind(|file| file.hostname == server_name) else {
            return Ok(None);
        };
        let id = file.id.to_hex().to_string();
        // All is read anew then, which mends what is broken.
        Ok(self.opened(file, None).and_then(|opened| opened.media()).ok().map(|media| Newest { id, media }))
    }

    /// The newest snapshot that was made until `at`.
    pub fn snapshot_until(&self, at: Timestamp) -> Result<Opened, Failure> {
        let all = self.snapshot_files()?;
        let found = all.into_iter().rfind(|snapshot| snapshot.time.timestamp() <= at).ok_or_else(|| {
            Failure::new(format!("find a snapshot that was made until {at:.0}"), "the first one is younger")
                .hint("`matrix-podman backup list` shows what is there")
        })?;
        self.opened(found, self.reading())
    }

    fn opened(&self, snapshot: SnapshotFile, lease: Option<Lease>) -> Result<Opened, Failure> {
        let repository = self
            .again()?
            .to_indexed()
            .map_err(|error| explained(&error, &self.doing("read the index of")))?;
        Ok(Opened { snapshot, repository, _lease: lease })
    }

    /// Whether everything in it is whole. With `all_data` every byte is read.
    pub fn verify(&self, all_data: bool, sink: &Sink) -> Result<Found, Failure> {
        let doing = self.doing("verify");
        let _lease = self.reading();
        let snapshots = self.snapshot_files()?;
        let mut found = Found { snapshots: snapshots.len(), all_data, wrong: Vec::new() };
        let check = || self.inner.check(CheckOptions::default().read_data(all_data));
        let results = self
            .counter
            .while_doing(sink, || unhurried::reading(&doing, check))?
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
        let _lease = self.lease(Use::Exclusive)?;
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
        // Nobody else reads or writes here now, so nobody can count on what is removed.
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
    /// Keeps others from removing what is read.
    _lease: Option<Lease>,
}

impl Opened {
    /// What `list` says of it.
    pub fn described(&self) -> Snapshot {
        described(&self.snapshot)
    }

    /// What it says of itself.
    pub fn manifest(&self) -> Result<Manifest, Failure> {
        let text = self.text(place::MANIFEST)?;
        Manifest::parse(&text).map_err(|why| Failure::unread(self.doing("read the manifest of"), &why))
    }

    /// The digests of its media.
    pub fn media(&self) -> Result<MediaList, Failure> {
        MediaList::parse(&self.text(place::MEDIA)?)
            .ok_or_else(|| Failure::new(self.doing("read the list of media of"), "it is no list of digests"))
    }

    /// The config that was applied, in the guest's own words: it fits the files, and
    /// whoever was in the guest can have written it.
    pub fn guests_config(&self) -> Result<String, Failure> {
        self.text(&format!("{}/matrix.toml", place::FILES))
    }

    /// The config that was applied: the machine's copy, where there is one that the
    /// machine signed, else the guest's.
    pub fn config(&self) -> Result<SnapshotConfig, Failure> {
        let (name, key) = (&self.snapshot.hostname, self.repository.key());
        let kept = self.node(place::CONFIG).ok().and_then(|_| self.text(place::CONFIG).ok());
        let authentic = kept.and_then(|text| Kept::authentic(&text, name, &self.described().time, &key));
        Ok(match authentic {
            Some(text) => SnapshotConfig { text, origin: Origin::Machine },
            None => SnapshotConfig { text: self.guests_config()?, origin: Origin::Guest },
        })
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

    /// The databases that it holds. One that this program does not know is no reason to leave it
    /// behind without a word.
    pub(super) fn databases(&self) -> Result<Vec<RoomDatabase>, Failure> {
        let manifest = self.manifest()?;
        let known = |called: Option<&str>| {
            stack::databases().into_iter().find(|database| database.called() == called).ok_or_else(|| {
                let why = format!("this program knows no database {}", called.unwrap_or_default());
                Failure::new(self.doing("read the databases of"), why).hint(UPGRADE)
            })
        };
        manifest.saved().map(known).collect()
    }

    /// The parts of the dump of a database, in their order.
    pub(super) fn dump(&self, database: &RoomDatabase) -> Result<Vec<Node>, Failure> {
        let mut parts = self.below(&place::parts(database.called()))?;
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
    unread: &Unreadable,
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
        // A store already says what it was doing, and what to do.
        if let Some(failure) = inner.downcast_ref::<Failure>() {
            let why = format!("could not {}: {}", failure.doing, failure.why);
            return Failure { doing: doing.to_owned(), why, ..failure.clone() }.in_their_words();
        }
        cause = inner.source();
    }
    let mut why = one_line(&error.display_log());
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        why = format!("{why}: {}", one_line(&cause.to_string()));
        source = cause.source();
    }
    Failure::new(doing, why).in_their_words().about_full_disk("the repository's")
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
pub(super) mod tests {
    use matrix_podman_core::{
        backup::{Location, Terms},
        name::AbsPath,
    };

    use super::*;
    use crate::backup::{
        make,
        source::{Material, Source},
    };

    const GUESTS: &str = "domain = \"chat.home.arpa\"\nhost = \"ssh://root@evil.home.arpa\"\n";
    const MACHINES: &str = "domain = \"chat.home.arpa\"\n";
    const NAME: &str = "matrix.chat.home.arpa";

    /// An empty repository in `folder`.
    pub(in crate::backup) fn empty(folder: &Path) -> Repository {
        let at = backup::Repository {
            name: RepositoryName::main(),
            location: Location::Folder(AbsPath::parse(folder.to_str().unwrap()).unwrap()),
            terms: Terms::default(),
        };
        let (key, place) = (MasterKey::new(), Place::of(&at, |_| {}).unwrap());
        place.prepare().unwrap();
        rustic_core::Repository::new(&options(), &place.backends(&Unreadable::default()).unwrap())
            .unwrap()
            .init(&Credentials::Masterkey(key.clone()), &KeyOptions::default(), &ConfigOptions::default())
            .unwrap();
        let password = Password::with_key(key, folder.with_extension("key"));
        Repository::at(place, &password).unwrap()
    }

    /// A snapshot with the guest's `matrix.toml` and, perhaps, the machine's document.
    fn snapshot(folder: &Path, machines: impl FnOnce(&str, &MasterKey) -> Option<String>) -> Opened {
        let repository = empty(folder);
        let now = Timestamp::from_second(1_767_323_045).unwrap();
        let mut documents = vec![("/matrix/files/matrix.toml", GUESTS.to_owned())];
        let time = "2026-01-02T03:04:05Z";
        documents.extend(machines(time, &repository.master_key()).map(|text| (place::CONFIG, text)));
        let source = Source::new(Material {
            guest: None,
            dumps: Vec::new(),
            entries: Vec::new(),
            documents: Box::new(|_| Ok(documents)),
            unread: repository.unread().clone(),
            counter: repository.counter().clone(),
            now,
        });
        make::archive(&repository, None, &source, NAME, now, &|_| {}).unwrap();
        let opened = repository.snapshot("latest").unwrap();
        assert_eq!(opened.described().time, time);
        opened
    }

    #[test]
    fn the_config_of_a_snapshot_is_the_machines_only_when_the_machine_signed_it() {
        let folder = tempfile::tempdir().unwrap();
        let config = |name: &str, machines: &dyn Fn(&str, &MasterKey) -> Option<String>| {
            snapshot(&folder.path().join(name), machines).config().unwrap()
        };
        let signed = |name: &'static str| {
            move |time: &str, key: &MasterKey| {
                Some(Kept::signed(name, time, MACHINES.to_owned(), key).unwrap())
            }
        };
        let good = config("good", &signed(NAME));
        assert_eq!((good.text.as_str(), good.origin), (MACHINES, Origin::Machine));
        let old = config("old", &|_, _| None);
        assert_eq!((old.text.as_str(), old.origin), (GUESTS, Origin::Guest));
        // One that somebody made up who has not the repository's key, or is of another server.
        let made_up = |time: &str, _: &MasterKey| {
            Some(Kept::signed(NAME, time, "planted".to_owned(), &MasterKey::new()).unwrap())
        };
        assert_eq!(config("made-up", &made_up), old);
        assert_eq!(config("another", &signed("another")), old);
        assert_eq!(config("broken", &|_, _| Some("{".to_owned())), old);
    }
}
