//! What a backup holds, what it says of itself, and how long it is kept.

pub mod drill;
mod manifest;
mod media;
pub mod room;
mod tree;

use serde::{Deserialize, Serialize};

pub use manifest::{Content, FORMAT, Manifest, MediaSum};
pub use media::MediaList;
pub use tree::{Entry, Kind, belongs, is_media};

/// Names in a snapshot. They are interface: people read them with `restic`.
pub mod place {
    /// The folder that everything in a snapshot stands in.
    pub const ROOT: &str = "/matrix";
    /// The database, in `pg_dump`'s custom form, not compressed: what did not
    /// change since the last backup is found again then.
    pub const DATABASE: &str = "/matrix/database.dump";
    /// What stood in the guest's `/opt/matrix`.
    pub const FILES: &str = "/matrix/files";
    /// What the snapshot says of itself.
    pub const MANIFEST: &str = "/matrix/manifest.json";
    /// The digest of each file of the media store, as `sha256sum -c` reads it
    /// in `files/synapse/media_store`.
    pub const MEDIA: &str = "/matrix/media.sha256";
}

/// The table whose rows are left out of the dump. Handed out twice, a one-time
/// key would break the encryption between two devices; clients upload new ones.
pub const ONE_TIME_KEYS: &str = "e2e_one_time_keys_json";

/// How many snapshots are kept: the last of so many days, weeks, months, years.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// Of so many days.
    pub daily: u32,
    /// Of so many weeks.
    pub weekly: u32,
    /// Of so many months.
    pub monthly: u32,
    /// Of so many years.
    pub yearly: u32,
}

impl Default for Keep {
    fn default() -> Self {
        Self { daily: 7, weekly: 5, monthly: 12, yearly: 3 }
    }
}

/// `[backup]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Backup {
    /// Folder of the repository on the machine; without it there are no backups.
    pub repository: Option<crate::name::AbsPath>,
    /// How long snapshots are kept.
    pub keep: Keep,
}
