//! What a backup holds, what it says of itself, and how long it is kept.

pub mod drill;
mod location;
mod manifest;
mod media;
mod record;
pub mod room;
mod schedule;
mod tree;

use serde::{Deserialize, Serialize};

use crate::{name::AbsPath, size::Rate};

pub use crate::name::RepositoryName;
pub use location::{Location, RclonePlace, S3Place, SftpPlace};
pub use manifest::{Content, FORMAT, Manifest, MediaSum, Rows, format_with};
pub use media::MediaList;
pub use record::{Drilled, News, Record, Snapshot, news_file};
pub use schedule::{Schedule, Weekday};
pub(crate) use tree::belongs;
pub use tree::{Entry, Kind, is_media};

/// Names in a snapshot. They are interface: people read them with `restic`.
pub mod place {
    /// The folder that everything in a snapshot stands in.
    pub const ROOT: &str = "/matrix";
    /// The folder with the parts of the dump of Synapse's database, which are a file in
    /// `pg_dump`'s custom form when they are put together in the order of their
    /// names. It is not compressed: what did not change since the last backup is
    /// found again then.
    pub const DATABASE: &str = "/matrix/database";
    /// The folder with such a folder for each further database, under its name. They are not in
    /// [`DATABASE`]: programs that know only one put together all that is in there.
    pub const DATABASES: &str = "/matrix/databases";
    /// What stood in the guest's `/opt/matrix`.
    pub const FILES: &str = "/matrix/files";
    /// How all this is brought back.
    pub const EXPLANATION: &str = "/matrix/how-to-restore.txt";
    /// The config that the machine applied, signed by the machine. The guest has a copy
    /// among its files, but whoever is in the guest can write that one.
    pub const CONFIG: &str = "/matrix/machine-config.json";
    /// What the snapshot says of itself.
    pub const MANIFEST: &str = "/matrix/manifest.json";
    /// The digest of each file of the media store, as `sha256sum -c` reads it
    /// in `files/synapse/media_store`.
    pub const MEDIA: &str = "/matrix/media.sha256";

    /// What the parts of a dump are called when they are one file; `called` is the name of the
    /// database, if it is a further one.
    pub fn dump(called: Option<&str>) -> String {
        format!("{}.dump", called.unwrap_or("database"))
    }

    /// The folder with the parts of a dump.
    pub fn parts(called: Option<&str>) -> String {
        called.map_or_else(|| DATABASE.to_owned(), |name| format!("{DATABASES}/{name}"))
    }

    /// A part of a dump; the first has the number 1.
    pub fn part(called: Option<&str>, number: usize) -> String {
        format!("{}/dump.{number:06}", parts(called))
    }
}

/// For whoever finds a repository, and perhaps this program no more. `further` are the
/// databases beside Synapse's.
pub fn explanation(further: &[&str]) -> String {
    let line = |name: &&str| {
        format!(
            "  databases/{name}/  the database {name}, in parts as well: its role and the database are called \
             {name}\n"
        )
    };
    let further: String = further.iter().map(line).collect();
    EXPLANATION.replace("@FURTHER@", &further)
}

const EXPLANATION: &str = "\
This is a backup of a Matrix server (Synapse), made by matrix-podman.

With that program, the repository and its password:

  matrix-podman restore --from REPOSITORY

makes a machine and the server anew. Without it:

  database/       the database, in parts; put together they are a file for pg_restore:
                    cat database/dump.* > database.dump
                    pg_restore --no-owner --username=synapse --dbname=synapse database.dump
                  into an empty database with the encoding UTF8 and the locale C
@FURTHER@  files/          what stood in /opt/matrix: matrix.toml, homeserver.yaml, secrets, the signing key, media
  machine-config.json  the config as the machine applied it, signed by the machine; anybody who was in the guest can have
                  written files/matrix.toml
  manifest.json   versions, rows of each table, digest of the media
  media.sha256    in files/synapse/media_store: sha256sum --check ../../../media.sha256

The server that it is a copy of must not run any more: two with one signing key harm both.
One-time keys for encryption are left out on purpose; clients upload new ones.
";

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

/// How fast a repository may be used; what is absent is not limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// How fast it is written to.
    pub upload: Option<Rate>,
    /// How fast it is read from by what nobody waits for.
    pub download: Option<Rate>,
}

/// What is done with a repository, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    /// When a backup is made automatically.
    pub schedule: Schedule,
    /// When the newest snapshot is tried out automatically.
    pub drill: Schedule,
    /// How long snapshots are kept.
    pub keep: Keep,
    /// How fast.
    pub limits: Limits,
    /// The file with the keys of an object store.
    pub s3_credentials: Option<AbsPath>,
    /// The region of an object store.
    pub s3_region: Option<String>,
}

impl Default for Terms {
    fn default() -> Self {
        Self {
            schedule: Schedule::daily(3, 30),
            drill: Schedule::monthly(1, 5, 0),
            keep: Keep::default(),
            limits: Limits::default(),
            s3_credentials: None,
            s3_region: None,
        }
    }
}

/// A repository of backups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// What it is called here.
    pub name: RepositoryName,
    /// Where it is.
    pub location: Location,
    /// What is done with it.
    pub terms: Terms,
}

/// `[backup]`
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Backup {
    /// What holds for every repository that does not say otherwise.
    pub terms: Terms,
    /// The repositories, that of `backup.repository` first; without any there are
    /// no backups.
    pub repositories: Vec<Repository>,
}

impl Backup {
    /// The one of `backup.repository`.
    pub fn main(&self) -> Option<&Repository> {
        self.repositories.iter().find(|repository| repository.name.is_main())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_database_has_its_old_place_and_further_ones_have_their_own() {
        assert_eq!(place::part(None, 1), "/matrix/database/dump.000001");
        assert_eq!(place::part(Some("accounts"), 12), "/matrix/databases/accounts/dump.000012");
        assert_eq!([None, Some("accounts")].map(place::dump), ["database.dump", "accounts.dump"]);
    }

    #[test]
    fn whoever_finds_a_repository_is_told_of_each_database() {
        let one = explanation(&[]);
        assert!(!one.contains("@FURTHER@") && !one.contains("databases/"), "{one}");
        let two = explanation(&["accounts"]);
        assert_eq!(two.lines().count(), one.lines().count() + 1);
        assert!(two.contains("  databases/accounts/  the database accounts"), "{two}");
    }
}
