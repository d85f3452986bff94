//! One connection to the same program inside the guest.
//!
//! [`Connection`] is the side outside, [`agent`](crate::agent) the side in the
//! guest; [`wire`] is what they say to each other, [`calls`] what a backup, a
//! restore and a rehearsal ask. Facts, acts and data for many
//! requests travel at once, each under its number.

pub mod calls;
mod connection;
mod line;
pub mod wire;

pub use connection::{Connection, Doorway};
