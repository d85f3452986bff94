//! What goes into a snapshot, as rustic reads it: files of the guest, read
//! when their turn comes, and documents that the machine has.

use std::{
    fs::File,
    io::{self, Cursor, Read, Seek as _},
    path::PathBuf,
    sync::{Arc, Mutex},
};

use matrix_podman_core::backup::{Entry, Kind, place};
use rustic_core::{
    ReadSource, ReadSourceEntry, RusticResult,
    jiff::Timestamp,
    repofile::{Metadata, Node, NodeType},
};

use super::Call;
use crate::guest::Connection;

/// What could not be read. rustic leaves such a file out and goes on; a
/// snapshot that lacks something must never be written.
#[derive(Debug, Clone, Default)]
pub struct Unread(Arc<Mutex<Vec<String>>>);

impl Unread {
    fn note(&self, what: String) {
        if let Ok(mut all) = self.0.lock() {
            all.push(what);
        }
    }

    /// What was noted, in sentences.
    pub fn all(&self) -> Vec<String> {
        self.0.lock().map_or_else(|_| vec!["a thread failed".to_owned()], |all| all.clone())
    }
}

/// Everything that goes into a snapshot.
pub struct Source {
    /// The guest; none where it is the machine itself.
    pub guest: Option<Arc<Connection>>,
    /// The files in it.
    pub entries: Vec<Entry>,
    /// The database, and how large it is.
    pub dump: (File, u64),
    /// Documents, by their place in the snapshot.
    pub documents: Vec<(&'static str, String)>,
    /// Where is noted what could not be read.
    pub unread: Unread,
    /// When this is.
    pub now: Timestamp,
}

/// A thing to read that is opened when it is first read from.
pub struct Piece {
    path: String,
    from: From,
    unread: Unread,
    left: u64,
}

enum From {
    Bytes(Cursor<Vec<u8>>),
    File(File),
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
            self.from = From::Open(super::ask_through(guest.clone(), call).map_err(io::Error::other)?);
        }
        let count = match &mut self.from {
            From::Bytes(bytes) => bytes.read(buffer),
            From::File(file) => file.read(buffer),
            From::Open(open) => open.read(buffer),
            From::Guest(..) => Ok(0),
        }?;
        if count == 0 && self.left > 0 && !buffer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it became shorter while it was read"));
        }
        self.left = self.left.saturating_sub(count as u64);
        Ok(count)
    }
}

impl Source {
    fn piece(&self, path: &str, from: From, size: u64) -> Option<Piece> {
        Some(Piece { path: path.to_owned(), from, unread: self.unread.clone(), left: size })
    }

    /// A file that the machine has.
    fn own(&self, path: &str, from: From, size: u64) -> ReadSourceEntry<Piece> {
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
        let path_buf = PathBuf::from(path);
        let name = path_buf.file_name().unwrap_or_default().to_owned();
        ReadSourceEntry {
            node: Node::new_node(&name, NodeType::File, meta),
            open: self.piece(path, from, size),
            path: path_buf,
        }
    }

    fn guests(&self, entry: &Entry) -> ReadSourceEntry<Piece> {
        let at = |nanos: i64| Timestamp::from_nanosecond(i128::from(nanos)).ok();
        let folder = entry.kind == Kind::Folder;
        let meta = Metadata {
            mode: Some(entry.mode),
            mtime: at(entry.modified),
            ctime: at(entry.changed),
            uid: Some(entry.uid),
            gid: Some(entry.gid),
            size: entry.size,
            links: 1,
            ..Metadata::default()
        };
        let path = PathBuf::from(place::FILES).join(&entry.path);
        let name = path.file_name().unwrap_or_default().to_owned();
        let kind = if folder { NodeType::Dir } else { NodeType::File };
        let open =
            || self.piece(&entry.path, From::Guest(self.guest.clone(), entry.path.clone()), entry.size);
        ReadSourceEntry {
            node: Node::new_node(&name, kind, meta),
            open: if folder { None } else { open() },
            path,
        }
    }
}

impl ReadSource for Source {
    type Open = Piece;
    type Iter = std::vec::IntoIter<RusticResult<ReadSourceEntry<Piece>>>;

    fn size(&self) -> RusticResult<Option<u64>> {
        let documents: u64 = self.documents.iter().map(|(_, text)| text.len() as u64).sum();
        let files: u64 = self.entries.iter().map(|entry| entry.size).sum();
        Ok(Some(self.dump.1 + documents + files))
    }

    fn entries(&self) -> Self::Iter {
        let mut all: Vec<_> = self.entries.iter().map(|entry| self.guests(entry)).collect();
        match self.dump.0.try_clone().and_then(|mut file| file.rewind().map(|()| file)) {
            Ok(file) => all.push(self.own(place::DATABASE, From::File(file), self.dump.1)),
            Err(error) => self.unread.note(format!("the dump of the database: {error}")),
        }
        for (path, text) in &self.documents {
            let bytes = text.clone().into_bytes();
            let size = bytes.len() as u64;
            all.push(self.own(path, From::Bytes(Cursor::new(bytes)), size));
        }
        // rustic builds the tree from paths in order.
        all.sort_by(|a, b| a.path.cmp(&b.path));
        all.into_iter().map(Ok).collect::<Vec<_>>().into_iter()
    }
}
