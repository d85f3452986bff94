//! Making a snapshot while the server runs.

use std::{
    collections::BTreeMap,
    io::{BufReader, Read},
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
};

use matrix_podman_core::{
    backup::{Content, Entry, Manifest, MediaList, MediaSum, Rows, format_with, is_media, place},
    layout,
    lock::Lock,
    stack::{self, RoomDatabase},
};
use rustic_core::{BackupOptions, RusticError, SnapshotOptions, jiff::Timestamp};
use serde::Serialize;

use super::{
    Password, Place, Repository, Snapshot, config,
    lease::Use,
    media_place, parts,
    repository::{Newest, TAG, described, explained},
    seen::Seen,
    source::{Dumped, Material, Source},
};
use crate::{
    bounded,
    failure::{Doing, Failure},
    guest::{Connection, calls::Call},
    progress::{Saying, Sink},
    world::{World, stream},
};

/// A snapshot that was made.
#[derive(Debug, Serialize)]
pub struct Made {
    /// The snapshot.
    #[serde(flatten)]
    pub snapshot: Snapshot,
    /// What it says of itself.
    pub manifest: Manifest,
}

/// Makes a snapshot of the server in the repository at `place`, which is unlocked
/// while the dump of the database begins. Nothing is read twice, and the dump is
/// saved while it comes.
pub fn make(
    world: &World,
    place: Place,
    password: &Password,
    sink: &Sink,
) -> Result<(Made, Repository), Failure> {
    let _lock = place.lock()?;
    let server_name = world.site().config.server_name.clone();
    sink(Saying::Line("counting and dumping the database".to_owned()));
    let made_at = Timestamp::now();
    // All begin now, whenever they are read: what they hold is of this moment.
    let begin = |database: RoomDatabase| Ok((database.called(), world.stream(Call::Dump(database.name))?));
    let dumps = stack::databases().into_iter().map(begin).collect::<Result<Vec<_>, Failure>>()?;
    let repository = Repository::at(place, password)?;
    let _lease = repository.lease(Use::Shared)?;
    let newest = repository.newest(server_name.as_str())?;
    let (begun, dumps) = begun(dumps, &folder_of(world))?;
    // A file is written before the row that names it: what is listed now holds
    // all that the dump knows of.
    sink(Saying::Line("looking for what changed".to_owned()));
    let entries = entries(world)?;
    let manifest = Manifest {
        format: format_with(&begun.databases),
        server_name: server_name.clone(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: made_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        versions: versions(world)?,
        content: begun.content,
        databases: begun.databases,
        media: MediaSum::default(),
    };
    let config = config::Kept::signed(
        server_name.as_str(),
        &manifest.made_at,
        config::applied(world.site()),
        &repository.master_key(),
    )?;
    let (described_to, described_by) = mpsc::channel();
    let about = About {
        guest: world.guest()?,
        media: entries.iter().filter(|entry| is_media(entry)).cloned().collect(),
        known: newest.as_ref().map(|newest| newest.media.clone()).unwrap_or_default(),
        manifest,
    };
    let source = Source::new(Material {
        guest: world.guest()?,
        dumps,
        entries,
        documents: Box::new(move |seen| {
            let (manifest, media) = about.write(seen)?;
            let text = manifest.render().doing(|| "write the manifest")?;
            // Whoever does not listen any more has failed otherwise.
            let _ = described_to.send(manifest);
            Ok(vec![(place::CONFIG, config), (place::MANIFEST, text), (place::MEDIA, media.render())])
        }),
        unread: repository.unread().clone(),
        counter: repository.counter().clone(),
        now: made_at,
    });
    let snapshot = archive(&repository, newest, &source, server_name.as_str(), made_at, sink)?;
    repository.flush()?;
    let manifest =
        described_by.try_recv().map_err(|_| Failure::new("write the snapshot", "it has no manifest"))?;
    Ok((Made { snapshot, manifest }, repository))
}

/// Writes all of `source`, or no snapshot.
pub(super) fn archive(
    repository: &Repository,
    newest: Option<Newest>,
    source: &Source,
    server_name: &str,
    made_at: Timestamp,
    sink: &Sink,
) -> Result<Snapshot, Failure> {
    let doing = "write the snapshot";
    let failed = |error: Box<RusticError>| {
        let unread = repository.unread();
        if let Some(failure) = unread.failure() {
            return failure;
        }
        if unread.is_empty() {
            return explained(&error, doing);
        }
        let why = "not everything could be read, so no snapshot was made of it";
        Failure::new(doing, why).evidence(unread.files()).hint("run `matrix-podman backup now` again")
    };
    let options = SnapshotOptions::default()
        .host(server_name.to_owned())
        .add_tags(TAG)
        .and_then(|options| options.to_snapshot());
    let mut snapshot = options.map_err(failed)?;
    snapshot.time = made_at.to_zoned(rustic_core::jiff::tz::TimeZone::UTC);
    let mut options = BackupOptions::default();
    // The one whose digests hold for what is not read again.
    options.parent_opts.force = newest.is_none();
    options.parent_opts.parents = newest.into_iter().map(|newest| newest.id).collect();
    let open = repository.again()?;
    let snapshot = repository
        .counter()
        .while_doing(sink, || {
            open.to_indexed_ids()?.archive(&options, source, snapshot, &[PathBuf::from(place::ROOT)])
        })
        .map_err(failed)?;
    Ok(described(&snapshot))
}

/// Where the parts of a dump wait that come faster than they are saved.
fn folder_of(world: &World) -> PathBuf {
    PathBuf::from(layout::machine_state(world.site().config.site()).as_str())
}

/// What dumps hold that have begun.
struct Begun {
    /// Of Synapse's database.
    content: Content,
    /// Of the others that are there.
    databases: BTreeMap<String, Rows>,
}

/// What comes of a database, and its name if it is a further one.
type Coming = (Option<&'static str>, Box<dyn Read + Send>);

/// What the dumps hold, and the dumps, in the order of their places.
fn begun(all: Vec<Coming>, folder: &Path) -> Result<(Begun, Vec<Dumped>), Failure> {
    let doing = || "dump the database";
    let (mut content, mut databases, mut dumps) = (None, BTreeMap::new(), Vec::new());
    for (called, from) in all {
        let mut from = BufReader::with_capacity(1 << 20, from);
        let head = bounded::line(&mut from, bounded::LINE)
            .map_err(|e| Failure::carried(e, doing()))?
            .unwrap_or_default();
        match called {
            None => content = Some(serde_json::from_str(&head).doing(doing)?),
            Some(name) => match serde_json::from_str::<Option<Rows>>(&head).doing(doing)? {
                None => continue,
                Some(rows) => drop(databases.insert(name.to_owned(), rows)),
            },
        }
        dumps.push(Dumped { called, parts: Box::new(parts::ahead(from, folder.to_owned())) });
    }
    let content = content.ok_or_else(|| Failure::new(doing(), "Synapse's is not among them"))?;
    Ok((Begun { content, databases }, dumps))
}

fn entries(world: &World) -> Result<Vec<Entry>, Failure> {
    let doing = "list what is in the guest";
    world.lines(Call::List, doing)?.iter().map(|line| entry(line)).collect()
}

/// One entry of the guest's list. The guest says what it likes: a path that leads to
/// another place in the snapshot is refused, and so are bits that would let whoever runs the
/// file be somebody else.
fn entry(line: &str) -> Result<Entry, Failure> {
    let doing = || "list what is in the guest";
    let entry: Entry = serde_json::from_str(line).doing(doing)?;
    if !stack::is_saved(&entry.path) {
        return Err(Failure::new(
            doing(),
            format!("it names {:?}, which does not belong into a backup", entry.path),
        )
        .hint("somebody may have changed the program in the guest: `matrix-podman doctor`"));
    }
    Ok(Entry { mode: entry.mode & 0o777, ..entry })
}

/// What the documents of a snapshot are written from.
struct About {
    guest: Option<Arc<Connection>>,
    /// The media that are there.
    media: Vec<Entry>,
    /// Digests of those in the snapshot before.
    known: MediaList,
    manifest: Manifest,
}

impl About {
    /// Manifest and digests, when all media were read or passed over.
    fn write(self, seen: &Seen) -> Result<(Manifest, MediaList), Failure> {
        let mut found = seen.digests();
        let mut list = MediaList::default();
        let mut unknown = Vec::new();
        for path in self.media.iter().filter_map(Entry::media_path) {
            // One that was passed over is as it was in the snapshot before.
            let before = || {
                let same = found.passed_over.contains(path);
                self.known.get(path).filter(|_| same).map(str::to_owned)
            };
            match found.read.remove(path).or_else(before) {
                Some(digest) => list.insert(path.to_owned(), digest),
                None => unknown.push(path.to_owned()),
            }
        }
        if !unknown.is_empty() {
            let doing = "read the media";
            let asked = Call::Digests(unknown.iter().map(|path| media_place(path)).collect());
            let answers = stream::lines(self.guest, asked, doing)?;
            if answers.len() != unknown.len() {
                return Err(Failure::new(doing, "the guest did not answer for every file"));
            }
            for (path, digest) in unknown.into_iter().zip(answers) {
                list.insert(path, digest);
            }
        }
        let media = list.sum(&self.media);
        Ok((Manifest { media, ..self.manifest }, list))
    }
}

fn versions(world: &World) -> Result<BTreeMap<String, String>, Failure> {
    let doing = || "read which versions run";
    let mut lock = world.stream(Call::Read("matrix.lock".to_owned()))?;
    let text = bounded::text(&mut lock, bounded::TEXT).map_err(|e| Failure::carried(e, doing()))?;
    let lock = Lock::parse(&text).map_err(|why| Failure::unread(doing(), &why))?;
    Ok(lock
        .images
        .iter()
        .map(|(service, image)| (service.name().to_owned(), image.version.clone()))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    #[test]
    fn each_database_says_what_it_holds_and_one_that_is_not_there_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let coming = |called, text: &'static str| -> Coming { (called, Box::new(text.as_bytes())) };
        let synapses =
            || coming(None, "{\"schema\":93,\"tables\":{\"users\":3},\"signing_key\":[\"a\",\"b\"]}\nDUMP");
        let all = vec![
            synapses(),
            coming(Some("accounts"), "{\"sessions\":7}\nOTHER"),
            coming(Some("off"), "null\n"),
        ];
        let (begun, dumps) = begun(all, folder.path()).unwrap();
        assert_eq!((begun.content.schema, begun.content.tables["users"]), (93, 3));
        assert_eq!(begun.databases, [("accounts".to_owned(), [("sessions".to_owned(), 7)].into())].into());
        let dumped = dumps.into_iter().map(|Dumped { called, parts }| {
            let parts = parts.map(|part| io::read_to_string(part.unwrap()).unwrap());
            (called, parts.collect::<String>())
        });
        let wanted = [(None, "DUMP".to_owned()), (Some("accounts"), "OTHER".to_owned())];
        assert_eq!(dumped.collect::<Vec<_>>(), wanted);
        assert!(super::begun(vec![coming(None, "null\n")], folder.path()).is_err());
    }

    #[test]
    fn what_the_guest_lists_stays_among_its_files_and_keeps_no_set_id_bits() {
        let line = |path: &str, mode: u32| {
            format!(
                r#"{{"path":{path:?},"kind":"File","size":0,"mode":{mode},"uid":0,"gid":0,"modified":0,"changed":0}}"#
            )
        };
        assert_eq!(entry(&line("secrets/signing.key", 0o6755)).unwrap().mode, 0o755);
        for path in
            ["../machine-config.json", "/matrix/machine-config.json", "a/../../manifest.json", "", "dumps/x"]
        {
            let refused = entry(&line(path, 0o644)).unwrap_err().to_string();
            assert!(refused.contains("does not belong into a backup"), "{path}: {refused}");
        }
    }
}
