//! What the guest is asked to send, and to do with the files of a snapshot.

use std::path::{Path, PathBuf};

use matrix_podman_core::{
    aside::Containers,
    layout,
    name::{AbsPath, Owner, ServerName},
    stack::{DatabaseName, RoomDatabase},
    update::Rehearsal,
};
use serde::{Deserialize, Serialize};

/// What is asked of the guest for a backup or a rehearsal; each is answered with data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Call {
    /// The files and folders that are saved: a line of JSON for each.
    List,
    /// The digests of these files: a line of hexadecimal for each, in their order.
    Digests(Vec<String>),
    /// What a file holds.
    Read(String),
    /// What a database holds, and of Synapse's whose it is: a line of JSON; behind it the
    /// dump, which has just that. Nothing but `null` where there is none.
    Dump(DatabaseName),
    /// The rows of each table of a database: a line of JSON.
    Rows(DatabaseName),
    /// The names of what restores set aside: a line of JSON for all.
    SetAside,
    /// What the dump that was put beside the server says of a room's media: a line
    /// of JSON.
    RoomMedia(String, ServerName),
    /// Run what was put beside the server for a drill, and remove it: what came
    /// back, with the digests of these files, in a line of JSON.
    Drill(Box<Containers>, Vec<String>),
    /// Rehearse an update: lines of JSON while it goes on.
    Rehearse(Box<Rehearsal>),
}

/// Where files of a snapshot are put, beside the place that they came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Beside {
    /// To take that place.
    Restore,
    /// To be looked at, and removed.
    Drill,
}

impl Beside {
    /// The folder.
    pub fn folder(self) -> &'static Path {
        Path::new(match self {
            Beside::Restore => layout::RESTORING,
            Beside::Drill => layout::DRILL,
        })
    }
}

/// One act with the files of a snapshot, in the guest.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Step {
    /// Removes what one that was cut off left there, and begins with an empty
    /// folder for root alone, if there is room.
    Begin {
        /// How many bytes are going to be needed.
        needs: u64,
    },
    /// Makes a folder.
    Folder {
        /// Its path below `/opt/matrix`.
        path: String,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        owner: Owner,
    },
    /// Writes a file; what it holds follows as data.
    File {
        /// Its path below `/opt/matrix`.
        path: String,
        /// Its permission bits.
        mode: u32,
        /// Its owner.
        owner: Owner,
        /// When it was last changed, in nanoseconds since 1970.
        modified: u64,
    },
    /// Removes the folder.
    End,
    /// Gives other data the place of those that are there, which are set aside.
    Switch(Switch),
}

/// What takes the place of what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Incoming {
    /// What a restore put beside it.
    Restored,
    /// What was set aside under this name.
    SetAside(String),
}

/// A switch, as the marker has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Switch {
    /// What comes.
    pub incoming: Incoming,
    /// The name under which is set aside what was there.
    pub aside: String,
    /// Whether a server may be there.
    pub replace: bool,
    /// Whether all that was there is set aside already.
    #[serde(default)]
    pub inwards: bool,
}

/// A path below `/opt/matrix`, from a whole one.
pub(crate) fn below_root(path: &AbsPath) -> &str {
    path.as_str().trim_start_matches(layout::ROOT).trim_start_matches('/')
}

/// Where a drill has the dump of a database.
pub(crate) fn drills_dump(database: &RoomDatabase) -> PathBuf {
    let dump = database.dump_at(&layout::restore_dump());
    Beside::Drill.folder().join(below_root(&dump))
}
