//! Which files of the guest's `/opt/matrix` are saved.

use serde::{Deserialize, Serialize};

use crate::layout::MEDIA;

/// What cannot be lost or is made anew: dumps, what a disk of its own has, and what an earlier
/// restore set aside.
const LEFT_OUT: [&str; 3] = ["dumps", "lost+found", "set-aside"];

/// What a thing in the guest is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A file.
    File,
    /// A folder.
    Folder,
}

/// A file or folder of the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Its path below `/opt/matrix`.
    pub path: String,
    /// What it is.
    pub kind: Kind,
    /// Its size in bytes; 0 for a folder.
    pub size: u64,
    /// Its permission bits.
    pub mode: u32,
    /// Its owner's user id, in the guest.
    pub uid: u32,
    /// Its owner's group id, in the guest.
    pub gid: u32,
    /// When its content was last changed, in nanoseconds since 1970.
    pub modified: i64,
    /// When anything about it was last changed, in nanoseconds since 1970.
    pub changed: i64,
}

/// Whether what is at `path` below `/opt/matrix` is saved, given what the services need no copy of.
pub(crate) fn belongs<'a>(path: &str, spared: impl IntoIterator<Item = &'a str>) -> bool {
    let sound = !path.is_empty()
        && !path.starts_with('/')
        && path
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && !part.starts_with(".matrix-podman-"));
    let left_out =
        |out: &str| path.strip_prefix(out).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    sound && !LEFT_OUT.into_iter().chain(spared).any(left_out)
}

/// Whether it is a file of the media store.
pub fn is_media(entry: &Entry) -> bool {
    entry.media_path().is_some()
}

impl Entry {
    /// Its path below the media store, when it is in there.
    pub fn media_path(&self) -> Option<&str> {
        self.path.strip_prefix(MEDIA)?.strip_prefix('/').filter(|_| self.kind == Kind::File)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_can_be_named() {
        for path in ["", "/etc/shadow", "../etc/shadow", "secrets/../../etc", "a//b", "."] {
            assert!(!belongs(path, []), "{path}");
        }
    }
}
