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
        let files = text
            .lines()
            .map(|line| {
                let (digest, path) = line.split_once("  ")?;
                let hex = digest.len() == 64 && digest.bytes().all(|b| b.is_ascii_hexdigit());
                hex.then(|| (path.to_owned(), digest.to_owned()))
            })
            .collect::<Option<_>>()?;
        Some(Self { files })
    }

    /// The list, as `sha256sum -c` reads it.
    pub fn render(&self) -> String {
        self.files.iter().map(|(path, digest)| format!("{digest}  {path}\n")).collect()
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

    #[test]
    fn differing_missing_and_extra_files_are_named() {
        let before = list(&[("a", 1), ("b", 2), ("c", 3)]);
        let after = list(&[("a", 1), ("b", 9), ("d", 4)]);
        assert_eq!(before.differences(&after), ["b", "c", "d"]);
        assert_eq!(before.differences(&before), Vec::<&str>::new());
    }
}
