//! Backups and their way back.
//!
//! The engine works on the machine, where the repository and its password are;
//! the guest is only read from, piece by piece, over the one connection. So the
//! guest can neither read the repository nor destroy it.

mod config;
pub mod drill;
mod due;
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
pub mod take;
mod unhurried;
mod waits;

pub use matrix_podman_core::backup::{Drilled, Record, Snapshot};

pub use config::{SnapshotConfig, keep_applied};
pub use due::{Due, due};
pub use make::{Made, make};
pub use opening::Place;
pub use password::Password;
pub use proof::{Proof, Standing};
pub use record::{drilled, keep, last, now, tell_guest};
pub use repository::{Found, Opened, Pruned, Repository};
pub use waits::Tell;

/// The path below `/opt/matrix` of a file of the media store.
fn media_place(path: &str) -> String {
    format!("synapse/media_store/{path}")
}
