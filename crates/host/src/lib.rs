//! The imperative shell of `matrix-podman`: everything that touches the world.
//!
//! It answers the core's questions ([`probe`]), does the acts that plans are
//! made of ([`apply`]), speaks with the guest over one connection ([`guest`]),
//! and carries a plan out with a lock and a journal ([`run`]). What should be
//! is decided in the core, never here.

pub mod apply;
mod aside;
pub mod backup;
pub(crate) mod bounded;
pub mod check;
pub mod destroy;
pub mod dump;
pub mod edge;
pub mod failure;
pub mod fuzzing;
pub mod guest;
mod lane;
pub mod motd;
pub mod notify;
pub mod priority;
pub mod probe;
pub mod process;
mod proxy;
mod rehearsal;
#[cfg(test)]
mod released;
pub mod remote;
mod room;
pub mod run;
pub mod snapshot;
pub mod state;
pub mod synapse;
mod trust;
pub mod unattended;
pub mod update;
pub mod world;
