//! Which files of the guest's `/opt/matrix` are saved.

use serde::{Deserialize, Serialize};

/// What cannot be lost or is made anew: the database's files (the dump is what
/// counts), the cache, what an earlier restore set aside, and what was fetched
/// from elsewhere and can be again.
const LEFT_OUT: [&str; 11] = [
    "dumps",
    // A disk of its own has it.
    "lost+found",
    "postgresdata",
    "redis",
    "set-aside",
    // What is on its way to Synapse.
    "synapse/uploads",
    "synapse/media_store/remote_content",
    "synapse/media_store/remote_thumbnail",
    "synapse/media_store/remote_thumbnails",
    "synapse/media_store/url_cache",
    "synapse/media_store/url_cache_thumbnails",
];

/// Folder of the media, below `/opt/matrix`.
const MEDIA: &str = "synapse/media_store/";

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

/// Whether what is at `path` below `/opt/matrix` is saved.
pub fn belongs(path: &str) -> bool {
    let sound = !path.is_empty()
        && !path.starts_with('/')
        && path
            .split('/')
            .all(|part| !matches!(part, "" | "." | "..") && !part.starts_with(".matrix-podman-"));
    let left_out =
        |out: &str| path.strip_prefix(out).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    sound && !LEFT_OUT.iter().any(|out| left_out(out))
}

/// Whether it is a file of the media store.
pub fn is_media(entry: &Entry) -> bool {
    entry.kind == Kind::File && entry.path.starts_with(MEDIA)
}

impl Entry {
    /// Its path below the media store, when it is in there.
    pub fn media_path(&self) -> Option<&str> {
        self.path.strip_prefix(MEDIA).filter(|_| self.kind == Kind::File)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_configs_and_own_media_are_saved() {
        for path in [
            "matrix.toml",
            "matrix.lock",
            "secrets/signing.key",
            "secrets",
            "synapse/homeserver.yaml",
            "synapse/media_store",
            "synapse/media_store/local_content/aa/bb/cc",
            "synapse/media_store/local_thumbnails/aa/bb/cc/32-32-image-png-crop",
            "redistribution",
        ] {
            assert!(belongs(path), "{path}");
        }
    }

    #[test]
    fn what_is_made_or_fetched_anew_is_not() {
        for path in [
            "dumps/restore.dump",
            "postgresdata",
            "postgresdata/18/docker/base/1",
            "redis/dump.rdb",
            "set-aside/20260101T000000Z/secrets/signing.key",
            ".matrix-podman-drill/secrets",
            "synapse/media_store/remote_content/a.org/x",
            "synapse/media_store/remote_thumbnail/a.org/x",
            "synapse/media_store/url_cache/2026-01-01/x",
            "secrets/.matrix-podman-x",
        ] {
            assert!(!belongs(path), "{path}");
        }
    }

    #[test]
    fn nothing_outside_can_be_named() {
        for path in ["", "/etc/shadow", "../etc/shadow", "secrets/../../etc", "a//b", "."] {
            assert!(!belongs(path), "{path}");
        }
    }
}
