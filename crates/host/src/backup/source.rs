//! What goes into a snapshot, as rustic reads it: the dumps of the databases while
//! they come, files of the guest, read when their turn comes, and documents about
//! all that.

use std::{
    collections::VecDeque,
    io::{self, Cursor, Read},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};

use matrix_podman_core::backup::{Entry, Kind, explanation, place};
use rustic_core::{
    ReadSource, ReadSourceEntry, RusticResult,
    jiff::Timestamp,
    repofile::{Metadata, Node, NodeType},
};

use super::{
    parts::Part,
    progress::Counter,
    seen::{Seeing, Seen},
};
use crate::{
    failure::Failure,
    guest::{Connection, calls::Call},
    world::stream,
};

/// What could not be read. rustic leaves such a file out and goes on; a
/// snapshot that lacks something must never be written.
#[derive(Debug, Clone, Default)]
pub struct Unreadable(Arc<Mutex<Missing>>);

#[derive(Debug, Clone, Default)]
struct Missing {
    files: Vec<String>,
    failure: Option<Failure>,
}

impl Unreadable {
    fn note(&self, what: String) {
        if let Ok(mut missing) = self.0.lock() {
            missing.files.push(what);
        }
    }

    fn fail(&self, failure: Failure) {
        if let Ok(mut missing) = self.0.lock() {
            missing.failure.get_or_insert(failure);
        }
    }

    /// Whether nothing is missing.
    pub fn is_empty(&self) -> bool {
        self.0.lock().is_ok_and(|missing| missing.files.is_empty() && missing.failure.is_none())
    }

    /// The files that were noted, in sentences.
    pub fn files(&self) -> Vec<String> {
        self.0.lock().map_or_else(|_| vec!["a thread failed".to_owned()], |missing| missing.files.clone())
    }

    /// Why something else than a file could not be read.
    pub fn failure(&self) -> Option<Failure> {
        self.0.lock().ok()?.failure.clone()
    }
}

/// Documents about what was read, by their place in the snapshot.
pub type Documents = Vec<(&'static str, String)>;

/// Writes them.
pub type Write = dyn FnOnce(&Seen) -> Result<Documents, Failure> + Send;

/// The dump of a database, as it comes.
pub struct Dumped {
    /// The database's name, if it is another one than Synapse's.
    pub called: Option<&'static str>,
    /// Its parts.
    pub parts: Box<dyn Iterator<Item = io::Result<Part>> + Send>,
}

/// What goes into a snapshot.
pub struct Material {
    /// The guest; none where it is the machine itself.
    pub guest: Option<Arc<Connection>>,
    /// The dumps, in the order of their places.
    pub dumps: Vec<Dumped>,
    /// The files in the guest.
    pub entries: Vec<Entry>,
    /// Documents about what was read; they are written when all else was.
    pub documents: Box<Write>,
    /// Where is noted what could not be read.
    pub unread: Unreadable,
    /// Where is counted how much there is.
    pub counter: Counter,
    /// When this is.
    pub now: Timestamp,
}

/// All of it, to be read once.
pub struct Source {
    pieces: Mutex<Option<Pieces>>,
    /// How large the files are.
    bytes: u64,
}

/// What goes into a snapshot, in the order of its paths, as far as it was not handed
/// out yet.
pub struct Pieces {
    guest: Option<Arc<Connection>>,
    dumps: VecDeque<Dumped>,
    /// How many parts there were of the first of them.
    parts: usize,
    entries: std::vec::IntoIter<Entry>,
    /// What is seen of media while they are read.
    seen: Seen,
    /// Stands between the files and the documents: rustic holds one thing back
    /// until it has the next, and the documents wait for the files.
    explanation: Option<String>,
    documents: Option<Box<Write>>,
    written: std::vec::IntoIter<(&'static str, String)>,
    unread: Unreadable,
    counter: Counter,
    now: Timestamp,
}

/// A thing to read that is opened when it is first read from.
pub struct Piece {
    path: String,
    from: From,
    unread: Unreadable,
    left: u64,
    seeing: Option<Seeing>,
}

enum From {
    Bytes(Cursor<Vec<u8>>),
    Part(Part),
    Guest(Option<Arc<Connection>>, String),
    Open(Box<dyn Read + Send>),
}

impl Read for Piece {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let result = self.more(buffer);
        if let Err(error) = &result {
            self.unread.note(format!("{}: {error}", self.path));
        }
        result
    }
}

impl Piece {
    fn more(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let From::Guest(guest, path) = &self.from {
            let call = Call::Read(path.clone());
            self.from = From::Open(stream::open(guest.clone(), call).map_err(io::Error::other)?);
        }
        let count = match &mut self.from {
            From::Bytes(bytes) => bytes.read(buffer),
            From::Part(part) => part.read(buffer),
            From::Open(open) => open.read(buffer),
            From::Guest(..) => Ok(0),
        }?;
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"));
        }
        if let Some(seeing) = &mut self.seeing
            && !buffer.is_empty()
        {
            seeing.goes_by(&buffer[..count]);
        }
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

impl Source {
    /// Of this.
    pub fn new(material: Material) -> Self {
        let Material { guest, dumps, mut entries, documents, unread, counter, now } = material;
        // rustic builds the tree from paths in order.
        entries.sort_by(|a, b| Path::new(&a.path).cmp(Path::new(&b.path)));
        let bytes = entries.iter().map(|entry| entry.size).sum();
        let further: Vec<&str> = dumps.iter().filter_map(|dump| dump.called).collect();
        let pieces = Pieces {
            guest,
            explanation: Some(explanation(&further)),
            dumps: dumps.into(),
            parts: 0,
            entries: entries.into_iter(),
            seen: Seen::default(),
            documents: Some(documents),
            written: Vec::new().into_iter(),
            unread,
            counter,
            now,
        };
        Self { pieces: Mutex::new(Some(pieces)), bytes }
    }
}

impl ReadSource for Source {
    type Open = Piece;
    type Iter = std::iter::Flatten<std::option::IntoIter<Pieces>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        Ok(Some(self.bytes))
    }

    fn entries(&self) -> Self::Iter {
        self.pieces.lock().ok().and_then(|mut pieces| pieces.take()).into_iter().flatten()
    }
}

impl Iterator for Pieces {
    type Item = RusticResult<ReadSourceEntry<Piece>>;

    /// Whatever fails is the end: no snapshot is made of the rest.
    fn next(&mut self) -> Option<Self::Item> {
        if !self.unread.is_empty() {
            return None;
        }
        while let Some(dump) = self.dumps.front_mut() {
            let called = dump.called;
            match dump.parts.next() {
                Some(Ok(part)) => return Some(Ok(self.part(called, part))),
                Some(Err(error)) => {
                    self.unread.fail(Failure::carried(error, "dump the database"));
                    return None;
                }
                None => {
                    self.dumps.pop_front();
                    self.parts = 0;
                }
            }
        }
        if let Some(entry) = self.entries.next() {
            return Some(Ok(self.guests(entry)));
        }
        if let Some(text) = self.explanation.take() {
            return Some(Ok(self.document(place::EXPLANATION, text)));
        }
        if let Some(write) = self.documents.take() {
            match write(&self.seen) {
                Ok(documents) => self.written = documents.into_iter(),
                Err(failure) => {
                    self.unread.fail(failure);
                    return None;
                }
            }
        }
        let (path, text) = self.written.next()?;
        Some(Ok(self.document(path, text)))
    }
}

impl Pieces {
    fn part(&mut self, called: Option<&str>, part: Part) -> ReadSourceEntry<Piece> {
        self.parts += 1;
        let size = part.size() as u64;
        self.own(place::part(called, self.parts), From::Part(part), size)
    }

    fn document(&self, path: &str, text: String) -> ReadSourceEntry<Piece> {
        let bytes = text.into_bytes();
        let size = bytes.len() as u64;
        self.own(path.to_owned(), From::Bytes(Cursor::new(bytes)), size)
    }

    /// A file that the machine has.
    fn own(&self, path: String, from: From, size: u64) -> ReadSourceEntry<Piece> {
        self.counter.more(size);
        let now = Some(self.now);
        let meta = Metadata {
            mode: Some(0o400),
            mtime: now,
            ctime: now,
            uid: Some(0),
            gid: Some(0),
            size,
            links: 1,
            ..Metadata::default()
        };
        let path_buf = PathBuf::from(&path);
        let name = path_buf.file_name().unwrap_or_default().to_owned();
        let open = Piece { path, from, unread: self.unread.clone(), left: size, seeing: None };
        ReadSourceEntry {
            node: Node::new_node(&name, NodeType::File, meta),
            open: Some(open),
            path: path_buf,
        }
    }

    fn guests(&self, entry: Entry) -> ReadSourceEntry<Piece> {
        let at = |nanos: i64| Timestamp::from_nanosecond(i128::from(nanos)).ok();
        let media = entry.media_path().map(str::to_owned);
        let meta = Metadata {
            mode: Some(entry.mode),
            mtime: at(entry.modified),
            // Media never change under their name, and those of another guest, or
            // of another owner, have not changed either.
            ctime: if media.is_some() { None } else { at(entry.changed) },
            uid: Some(entry.uid),
            gid: Some(entry.gid),
            size: entry.size,
            links: 1,
            ..Metadata::default()
        };
        let path = PathBuf::from(place::FILES).join(&entry.path);
        let name = path.file_name().unwrap_or_default().to_owned();
        let folder = entry.kind == Kind::Folder;
        let kind = if folder { NodeType::Dir } else { NodeType::File };
        let open = || Piece {
            from: From::Guest(self.guest.clone(), entry.path.clone()),
            unread: self.unread.clone(),
            left: entry.size,
            seeing: media.map(|media| self.seen.begin(media)),
            path: entry.path,
        };
        ReadSourceEntry {
            node: Node::new_node(&name, kind, meta),
            open: if folder { None } else { Some(open()) },
            path,
        }
    }
}

#[cfg(test)]
mod tests {
    use rustic_backend::BackendOptions;
    use rustic_core::{
        BackupOptions, ConfigOptions, Credentials, KeyOptions, LsOptions, Repository, RepositoryOptions,
        repofile::{MasterKey, SnapshotFile},
    };

    use super::*;
    use crate::backup::parts;

    fn dumped(called: Option<&'static str>, from: impl Read + Send + 'static) -> Dumped {
        Dumped { called, parts: Box::new(parts::ahead(from, std::env::temp_dir())) }
    }

    fn material(dump: impl Read + Send + 'static) -> Material {
        let folder = Entry {
            path: "secrets".to_owned(),
            kind: Kind::Folder,
            size: 0,
            mode: 0o700,
            uid: 0,
            gid: 0,
            modified: 0,
            changed: 0,
        };
        Material {
            guest: None,
            dumps: vec![dumped(None, dump)],
            entries: vec![folder],
            documents: Box::new(|_| Ok(vec![(place::MANIFEST, "{}".to_owned())])),
            unread: Unreadable::default(),
            counter: Counter::new(crate::backup::waits::Waits::new(|_| {})),
            now: Timestamp::UNIX_EPOCH,
        }
    }

    /// The paths in the snapshot that is made of `material`, with their sizes; nothing
    /// if rustic made one of less than all.
    fn archived(material: Material) -> Vec<(String, u64)> {
        let folder = tempfile::tempdir().unwrap();
        let place = BackendOptions::default().repository(folder.path().display().to_string());
        let unread = material.unread.clone();
        let open =
            Repository::new(&RepositoryOptions::default().no_cache(true), &place.to_backends().unwrap())
                .unwrap()
                .init(
                    &Credentials::Masterkey(MasterKey::new()),
                    &KeyOptions::default(),
                    &ConfigOptions::default(),
                )
                .unwrap()
                .to_indexed_ids()
                .unwrap();
        let source = Source::new(material);
        let snapshot: SnapshotFile = open
            .archive(
                &BackupOptions::default(),
                &source,
                SnapshotFile::default(),
                &[PathBuf::from(place::ROOT)],
            )
            .unwrap();
        if !unread.is_empty() {
            return Vec::new();
        }
        let open = open.to_indexed().unwrap();
        let root = open.node_from_path(snapshot.tree, Path::new("/")).unwrap();
        open.ls(&root, &LsOptions::default())
            .unwrap()
            .map(|item| item.unwrap())
            .map(|(path, node)| (format!("/{}", path.display()), node.meta.size))
            .collect()
    }

    #[test]
    fn all_has_its_place_and_the_dump_comes_in_parts() {
        let all = archived(material(io::repeat(b'x').take(50 << 20)));
        let paths: Vec<_> = all.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths,
            [
                "/matrix",
                "/matrix/database",
                "/matrix/database/dump.000001",
                "/matrix/database/dump.000002",
                "/matrix/database/dump.000003",
                "/matrix/files",
                "/matrix/files/secrets",
                "/matrix/how-to-restore.txt",
                "/matrix/manifest.json",
            ]
        );
        assert_eq!(
            all.iter().map(|(_, size)| size).sum::<u64>(),
            (50 << 20) + 2 + explanation(&[]).len() as u64
        );
    }

    #[test]
    fn a_second_database_has_a_place_of_its_own_and_the_first_keeps_the_old_one() {
        let mut two = material(io::repeat(b'x').take(30 << 20));
        two.dumps.push(dumped(Some("accounts"), io::repeat(b'y').take(5)));
        let all = archived(two);
        let paths: Vec<_> = all.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(
            paths[1..7],
            [
                "/matrix/database",
                "/matrix/database/dump.000001",
                "/matrix/database/dump.000002",
                "/matrix/databases",
                "/matrix/databases/accounts",
                "/matrix/databases/accounts/dump.000001",
            ]
        );
        assert_eq!(all[6].1, 5);
    }

    #[test]
    fn whatever_cannot_be_read_is_noted_with_its_reason() {
        struct Cut;
        impl Read for Cut {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other(Failure::new("dump the database", "pg_dump ended with 1")))
            }
        }
        let broken = material(io::repeat(b'x').take(30 << 20).chain(Cut));
        let unread = broken.unread.clone();
        assert_eq!(archived(broken), []);
        assert_eq!(unread.failure().unwrap().why, "pg_dump ended with 1");

        let unwritten = Material {
            documents: Box::new(|_| Err(Failure::new("read the media", "the guest is gone"))),
            ..material(io::empty())
        };
        let unread = unwritten.unread.clone();
        assert_eq!(archived(unwritten), []);
        assert_eq!(unread.failure().unwrap().why, "the guest is gone");
    }
}
