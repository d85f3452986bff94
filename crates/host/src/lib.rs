//! The imperative shell of `matrix-podman`: everything that touches the world.
//!
//! It answers the core's questions ([`probe`]), does the acts that plans are
//! made of ([`apply`]), speaks with the guest over one connection ([`guest`]),
//! and carries a plan out with a lock and a journal ([`work`]). What should be
//! is decided in the core, never here; [`decide`] has what commands make of answers.

pub mod agent;
pub mod apply;
pub mod backup;
pub(crate) mod bounded;
pub mod check;
pub mod decide;
pub mod edge;
pub mod failure;
pub mod file;
pub mod front;
pub mod fuzzing;
pub mod guest;
pub mod journal;
mod json_line;
mod lane;
pub mod lock;
pub mod motd;
pub mod notify;
pub mod own_program;
mod postgres;
pub mod priority;
pub mod probe;
pub mod process;
pub mod progress;
mod proxy;
#[cfg(test)]
mod released;
pub mod remote;
mod room;
mod secret;
pub mod state;
pub mod synapse;
mod trust;
pub mod unattended;
pub mod work;
pub mod world;

pub use secret::offered_password;
