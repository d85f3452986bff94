//! The digests of all media, in `sha256sum`'s own form.

use std::collections::BTreeMap;

use sha2::{Digest as _, Sha256};

use super::{Entry, MediaSum, tree};
use crate::name::Digest;

/// A digest for each file of the media store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MediaList {
    /// SHA-256 in hexadecimal, by path below the media store.
    files: BTreeMap<String, String>,
}

impl MediaList {
    /// Reads what [`MediaList::render`] wrote.
    pub fn parse(text: &str) -> Option<Self> {
        // Not `lines`, which takes a carriage return at the end of a name for a part of the line's end.
        let files = text.split_terminator('\n').map(read_line).collect::<Option<_>>()?;
        Some(Self { files })
    }

    /// The list, as `sha256sum -c` reads it.
    pub fn render(&self) -> String {
        self.files
            .iter()
            .map(|(path, digest)| match path.contains(['\\', '\n', '\r']) {
                // sha256sum marks a line whose name is escaped by a backslash before the digest.
                true => format!("\\{digest}  {}\n", escape(path)),
                false => format!("{digest}  {path}\n"),
            })
            .collect()
    }

    /// The digest of a file.
    pub fn get(&self, path: &str) -> Option<&str> {
        self.files.get(path).map(String::as_str)
    }

    /// The paths of all files.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// Takes in the digest of a file.
    pub fn insert(&mut self, path: String, digest: String) {
        self.files.insert(path, digest);
    }

    /// How many files there are.
    pub fn len(&self) -> usize {
        self.files.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The paths of files whose digests differ, are missing or too many.
    pub fn differences<'a>(&'a self, other: &'a MediaList) -> Vec<&'a str> {
        let mine = self.files.iter().filter(|(path, digest)| other.get(path) != Some(digest.as_str()));
        let extra = other.files.keys().filter(|path| !self.files.contains_key(*path));
        mine.map(|(path, _)| path.as_str()).chain(extra.map(String::as_str)).collect()
    }

    /// The sum of this list, with the sizes of `entries`.
    pub fn sum(&self, entries: &[Entry]) -> MediaSum {
        let media = || entries.iter().filter(|entry| tree::is_media(entry));
        MediaSum {
            files: media().count() as u64,
            bytes: media().map(|entry| entry.size).sum(),
            digest: Digest::of_sha256(&Sha256::digest(self.render().as_bytes())).hex().to_owned(),
        }
    }
}

/// The path and the digest of a line.
fn read_line(line: &str) -> Option<(String, String)> {
    let (escaped, line) = match line.strip_prefix('\\') {
        Some(rest) => (true, rest),
        None => (false, line),
    };
    let (digest, path) = line.split_once("  ")?;
    let hex = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
    let path = if escaped { unescape(path)? } else { path.to_owned() };
    hex.then(|| (path, digest.to_owned()))
}

/// A name as `sha256sum` escapes it.
fn escape(path: &str) -> String {
    path.replace('\\', r"\\").replace('\n', r"\n").replace('\r', r"\r")
}

/// The name that [`escape`] wrote; `None` for an escape that it never writes.
fn unescape(text: &str) -> Option<String> {
    let mut letters = text.chars();
    let mut path = String::with_capacity(text.len());
    while let Some(letter) = letters.next() {
        path.push(match letter {
            '\\' => match letters.next()? {
                '\\' => '\\',
                'n' => '\n',
                'r' => '\r',
                _ => return None,
            },
            plain => plain,
        });
    }
    Some(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(files: &[(&str, u8)]) -> MediaList {
        let mut list = MediaList::default();
        for (path, byte) in files {
            list.insert((*path).to_owned(), format!("{byte:02x}").repeat(32));
        }
        list
    }

    #[test]
    fn it_is_what_sha256sum_reads() {
        let list = list(&[("local_content/aa/b", 1), ("local_content/aa/c", 2)]);
        let text = list.render();
        assert!(text.starts_with(&format!("{}  local_content/aa/b\n", "01".repeat(32))), "{text}");
        assert_eq!(MediaList::parse(&text), Some(list));
        assert_eq!(MediaList::parse(""), Some(MediaList::default()));
        for wrong in ["x  y", "no digest here", &"0".repeat(64)] {
            assert_eq!(MediaList::parse(wrong), None, "{wrong}");
        }
    }

    /// A container names its files as it likes.
    #[test]
    fn a_name_that_could_be_taken_for_a_line_is_escaped_as_sha256sum_does() {
        let list = list(&[("a\nb", 1), ("c\r", 2), (r"d\e", 3)]);
        let text = list.render();
        assert_eq!(text.lines().count(), 3, "{text}");
        assert!(text.contains(&format!("\\{}  a\\nb\n", "01".repeat(32))), "{text}");
        assert_eq!(MediaList::parse(&text), Some(list));
        assert_eq!(MediaList::parse(&format!("\\{}  a\\x", "01".repeat(32))), None);
    }

    #[test]
    fn differing_missing_and_extra_files_are_named() {
        let before = list(&[("a", 1), ("b", 2), ("c", 3)]);
        let after = list(&[("a", 1), ("b", 9), ("d", 4)]);
        assert_eq!(before.differences(&after), ["b", "c", "d"]);
        assert_eq!(before.differences(&before), Vec::<&str>::new());
    }
}
