//! Planning as a specification: the graph of resources, plans as people read
//! them, and that every run that is cut off anywhere comes to the same end.
//!
//! The world here is in memory ([`memory`]) and does what the real acts
//! promise: each leaves the state before or the state after, beside a partial
//! state that nobody takes for a whole one. Resources, plans and the order of
//! work are the program's own.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that stumbles fails, and should")]

mod convergence;
mod disk;
mod drive;
mod gateway;
mod graph;
mod memory;
mod node;
mod plans;
mod precaution;
mod released;
