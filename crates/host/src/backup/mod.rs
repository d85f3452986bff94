//! Backups and their way back.
//!
//! The engine works on the machine, where the repository and its password are;
//! the guest is only read from, piece by piece, over the one connection. So the
//! guest can neither read the repository nor destroy it.

mod config;
pub mod drill;
mod due;
pub mod guest;
mod lease;
mod limit;
mod make;
mod opening;
mod parts;
mod password;
mod progress;
mod proof;
mod record;
mod repository;
pub mod restore;
mod seen;
mod source;
mod store;
mod switch;
pub mod take;
mod unhurried;
mod waits;

use std::{
    io::{self, BufReader, Read},
    sync::Arc,
};

pub use matrix_podman_core::backup::{Drilled, Record, Snapshot};
use matrix_podman_core::{aside::Containers, name::ServerName, update::Rehearsal};
use serde::{Deserialize, Serialize};

pub use config::{SnapshotConfig, keep_applied};
pub use due::{Due, due};
pub use make::{Made, make};
pub use opening::Place;
pub use password::Password;
pub use proof::{Proof, Standing};
pub use record::{drilled, keep, last, now, tell_guest};
pub use repository::{Found, Opened, Pruned, Repository};
pub use switch::Incoming;
pub use waits::Tell;

use crate::{bounded, failure::Failure, world::World};

/// What is asked of the guest for a backup or a rehearsal; each is answered with data.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Call {
    /// The files and folders that are saved: a line of JSON for each.
    List,
    /// The digests of these files: a line of hexadecimal for each, in their order.
    Digests(Vec<String>),
    /// What a file holds.
    Read(String),
    /// What the database holds, and whose it is: a line of JSON; behind it the
    /// dump, which has just that.
    Dump,
    /// The rows of each table: a line of JSON.
    Rows,
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

/// The answer to `call`, to be read while it comes.
pub fn ask(world: &World, call: Call) -> Result<Box<dyn Read + Send>, Failure> {
    ask_through(world.guest()?, call)
}

fn ask_through(
    guest: Option<Arc<crate::guest::Connection>>,
    call: Call,
) -> Result<Box<dyn Read + Send>, Failure> {
    match guest {
        Some(guest) => Ok(Box::new(guest.stream(&crate::guest::wire::Request::Stream(call))?)),
        None => Ok(Box::new(guest::stream_here(call)?)),
    }
}

/// The same, where it is lines.
fn lines(world: &World, call: Call, doing: &str) -> Result<Vec<String>, Failure> {
    lines_from(world.guest()?, call, doing)
}

fn lines_from(
    guest: Option<Arc<crate::guest::Connection>>,
    call: Call,
    doing: &str,
) -> Result<Vec<String>, Failure> {
    let from = BufReader::new(ask_through(guest, call)?);
    bounded::lines(from, bounded::LIST).collect::<io::Result<_>>().map_err(|e| guests(e, doing))
}

/// A failure of the guest's, out of the reader that it came through.
pub(crate) fn guests(error: io::Error, doing: &str) -> Failure {
    match error.downcast::<Failure>() {
        Ok(failure) => failure,
        Err(error) => Failure::new(doing, error),
    }
}

/// The path below `/opt/matrix` of a file of the media store.
fn media_place(path: &str) -> String {
    format!("synapse/media_store/{path}")
}
