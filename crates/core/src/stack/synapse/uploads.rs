//! Where requests wait that are still on their way to Synapse.
//!
//! Twisted puts each body of more than 100 KB into a nameless file (`tempfile.TemporaryFile`,
//! `twisted/web/http.py`) until all of it is there; only then does Synapse look at
//! who sent it. In memory that would be little room for a lot of memory, and a
//! folder on the disk alone would be room without end for whoever wants to fill it. A guest without quotas
//! of its own has nothing that bounds a folder, so Python counts: a module that it loads at
//! its start (`sitecustomize`, Python's manual, module `site`).

use crate::{config::Config, desired::DesiredFile, layout, name::AbsPath, size::Bytes};

/// Where Synapse's container sees [`folder`].
pub const IN_CONTAINER: &str = "/data/uploads";
/// Where Synapse's container sees [`module_folder`].
pub const MODULES: &str = "/data/python";

/// Uploads of the largest size that find room at once, where the disk allows it.
const AT_ONCE: u64 = 8;
/// Those that always do: `verify --slow` alone sends some at once.
const AT_LEAST: u64 = 4;
/// What is left of the disk to the database, which cannot do without.
const KEEP: Bytes = Bytes::mib(512);

/// Where they wait, in the guest.
pub fn folder() -> AbsPath {
    layout::in_root("synapse/uploads")
}

/// Where Python finds the module, in the guest.
pub fn module_folder() -> AbsPath {
    layout::in_root("synapse/python")
}

/// How much room they have together: at most an eighth of the disk, as long as that
/// suffices for some.
pub fn room(config: &Config) -> Bytes {
    let one = config.synapse.max_upload_size.as_mib() + 1;
    Bytes::mib((AT_ONCE * one).min(config.guest.expected_disk().as_mib() / 8).max(AT_LEAST * one))
}

/// What empties the folder, in the guest. The files have no names as long as the file system
/// can make nameless ones; a kill can leave one that had a name for a moment. What cannot be removed keeps
/// nobody from starting (`-`).
pub(super) fn clear() -> Vec<String> {
    ["-/usr/bin/find", folder().as_str(), "-xdev", "-mindepth", "1", "-delete"].map(str::to_owned).to_vec()
}

/// The module.
pub(super) fn module(config: &Config) -> DesiredFile {
    let content = include_str!("uploads.py")
        .replace("@ROOM@", &room(config).0.to_string())
        .replace("@KEEP@", &KEEP.0.to_string());
    DesiredFile::read_by(
        super::ID.owner(),
        module_folder().join("sitecustomize.py"),
        content,
        "Bounds the room of uploads that are on their way",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{config_with, default_config};

    #[test]
    fn room_for_uploads() {
        for (upload, disk, space) in [(200, 16, 1608), (200, 6, 804), (50, 16, 408), (1024, 16, 4100)] {
            let (upload_size, disk_size) = (format!("{upload}M"), format!("{disk}G"));
            let config =
                config_with(&[("synapse.max_upload_size", &upload_size), ("guest.disk", &disk_size)]);
            assert_eq!(room(&config), Bytes::mib(space), "{upload} {disk}");
        }
    }

    #[test]
    fn nothing_is_left_to_be_filled_in() {
        assert!(!module(&default_config()).content.contains("@ROOM@"));
        assert!(!module(&default_config()).content.contains("@KEEP@"));
    }
}
