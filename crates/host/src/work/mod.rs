//! What a command sets out to do with a site: plans carried out, updates,
//! snapshots, rehearsals, removals.

mod act;
pub mod destroy;
mod executor;
mod rehearsal;
pub mod snapshot;
pub mod update;

pub use act::act;
pub use executor::{Ended, run};
