//! One connection to the same program inside the guest.
//!
//! [`agent`] is the side in the guest, [`Connection`] the side outside;
//! [`wire`] is what they say to each other. Facts, acts and data for many
//! requests travel at once, each under its number.

pub mod agent;
mod connection;
mod line;
pub mod wire;

pub use connection::{Connection, Doorway};
