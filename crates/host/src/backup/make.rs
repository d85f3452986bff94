//! Making a snapshot while the server runs.

use std::{
    collections::BTreeMap,
    io::{self, BufRead as _, BufReader, Read as _},
    path::PathBuf,
};

use matrix_podman_core::{
    backup::{Content, Entry, FORMAT, Manifest, MediaList, is_media, place},
    layout,
    lock::Lock,
};
use rustic_core::{BackupOptions, SnapshotOptions, jiff::Timestamp};
use serde::Serialize;

use super::{
    Call, Repository, Snapshot, ask, guests, lines,
    repository::{TAG, described, explained},
    source::Source,
};
use crate::{
    apply::Sink,
    failure::{Doing, Failure},
    guest::wire::Saying,
    world::World,
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

/// Makes a snapshot of the server.
pub fn make(world: &World, repository: &Repository, sink: &Sink) -> Result<Made, Failure> {
    let _lock = repository.lock()?;
    let server_name = world.site().config.server_name.clone();
    // Read before the database is, so that nothing newer stands beside it.
    sink(Saying::Line("counting and dumping the database".to_owned()));
    let made_at = Timestamp::now();
    let (content, dump) = database(world, sink)?;
    // A file is written before the row that names it: what is listed now holds
    // all that the dump knows of.
    sink(Saying::Line("looking for what changed".to_owned()));
    let entries = entries(world)?;
    let known = known_media(repository, server_name.as_str());
    let media = digests(world, &entries, known.as_ref())?;
    let manifest = Manifest {
        format: FORMAT,
        server_name: server_name.clone(),
        program: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: made_at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
        versions: versions(world)?,
        content,
        media: media.sum(&entries),
    };
    let text = manifest.render().doing(|| "write the manifest")?;
    let source = Source {
        guest: world.guest()?,
        entries,
        dump,
        documents: vec![(place::MANIFEST, text), (place::MEDIA, media.render())],
        unread: repository.unread().clone(),
        now: made_at,
    };
    let doing = "write the snapshot";
    let failed = |error: Box<rustic_core::RusticError>| {
        let unread = repository.unread().all();
        if unread.is_empty() {
            return explained(&error, doing);
        }
        let why = "not everything could be read, so no snapshot was made of it";
        Failure::new(doing, why).evidence(unread).hint("run `matrix-podman backup now` again")
    };
    let options = SnapshotOptions::default()
        .host(server_name.to_string())
        .add_tags(TAG)
        .and_then(|options| options.to_snapshot());
    let mut snapshot = options.map_err(failed)?;
    snapshot.time = made_at.to_zoned(rustic_core::jiff::tz::TimeZone::UTC);
    let open = repository.again()?;
    let snapshot = repository
        .counter()
        .while_doing(sink, || {
            let indexed = open.to_indexed_ids()?;
            let mut options = BackupOptions::default();
            // Only content counts: another guest has other times of change.
            options.parent_opts.ignore_inode = true;
            indexed.archive(&options, &source, snapshot, &[PathBuf::from(place::ROOT)])
        })
        .map_err(failed)?;
    Ok(Made { snapshot: described(&snapshot), manifest })
}

/// The dump in a file without a name, so that nothing of it stays whatever
/// happens, and what it holds.
fn database(world: &World, sink: &Sink) -> Result<(Content, (std::fs::File, u64)), Failure> {
    let doing = || "dump the database";
    let mut from = BufReader::with_capacity(1 << 20, ask(world, Call::Dump)?);
    let mut head = String::new();
    from.read_line(&mut head).map_err(|e| guests(e, doing()))?;
    let content: Content = serde_json::from_str(&head).doing(doing)?;
    let folder = layout::machine_state(world.site().config.site());
    std::fs::create_dir_all(folder.as_str()).doing(|| format!("make {folder}"))?;
    let mut file = tempfile::tempfile_in(folder.as_str()).doing(|| format!("make a file in {folder}"))?;
    let mut size = 0;
    let mut buffer = vec![0; 1 << 20];
    loop {
        let count = from.read(&mut buffer).map_err(|e| guests(e, doing()))?;
        if count == 0 {
            return Ok((content, (file, size)));
        }
        io::Write::write_all(&mut file, &buffer[..count])
            .doing(|| format!("keep the dump in {folder}"))
            .map_err(|failure| failure.about_full_disk("the machine's"))?;
        size += count as u64;
        sink(Saying::Bytes { done: size, total: None });
    }
}

fn entries(world: &World) -> Result<Vec<Entry>, Failure> {
    let doing = "list what is in the guest";
    lines(world, Call::List, doing)?.iter().map(|line| serde_json::from_str(line).doing(|| doing)).collect()
}

/// What is known of media from another snapshot.
struct Known {
    digests: MediaList,
    /// Size and time of change of each file.
    states: BTreeMap<String, (u64, i64)>,
}

/// Digests and entries of the newest snapshot: media never change under their
/// name, so those of the same size and time need not be read again.
fn known_media(repository: &Repository, server_name: &str) -> Option<Known> {
    let newest = repository.snapshots().ok()?.into_iter().rfind(|s| s.server_name == server_name)?;
    let opened = repository.snapshot(&newest.id).ok()?;
    let list = opened.media().ok()?;
    let store = format!("{}/synapse/media_store", place::FILES);
    let states = opened
        .below(&store)
        .ok()?
        .into_iter()
        .filter_map(|(path, node)| {
            let modified = i64::try_from(node.meta.mtime?.as_nanosecond()).ok()?;
            Some((path.to_str()?.to_owned(), (node.meta.size, modified)))
        })
        .collect();
    Some(Known { digests: list, states })
}

fn digests(world: &World, entries: &[Entry], known: Option<&Known>) -> Result<MediaList, Failure> {
    let doing = "read the media";
    let mut list = MediaList::default();
    let mut unknown = Vec::new();
    for entry in entries.iter().filter(|entry| is_media(entry)) {
        let Some(path) = entry.media_path() else { continue };
        let digest = known.and_then(|known| {
            let same = known.states.get(path) == Some(&(entry.size, entry.modified));
            known.digests.get(path).filter(|_| same)
        });
        match digest {
            Some(digest) => list.insert(path.to_owned(), digest.to_owned()),
            None => unknown.push((entry.path.clone(), path.to_owned())),
        }
    }
    if unknown.is_empty() {
        return Ok(list);
    }
    let asked = unknown.iter().map(|(path, _)| path.clone()).collect();
    let answers = lines(world, Call::Digests(asked), doing)?;
    if answers.len() != unknown.len() {
        return Err(Failure::new(doing, "the guest did not answer for every file"));
    }
    for ((_, path), digest) in unknown.into_iter().zip(answers) {
        list.insert(path, digest);
    }
    Ok(list)
}

fn versions(world: &World) -> Result<BTreeMap<String, String>, Failure> {
    let doing = || "read which versions run";
    let mut text = String::new();
    ask(world, Call::Read("matrix.lock".to_owned()))?
        .read_to_string(&mut text)
        .map_err(|e| guests(e, doing()))?;
    let lock = Lock::parse(&text).map_err(|why| Failure::new(doing(), why))?;
    Ok(lock.images.into_iter().map(|(service, image)| (service.name().to_owned(), image.version)).collect())
}
