//! Checks: named questions with answers that a person can act on.

pub(crate) mod edge;
mod preflight;
mod proxmox;
mod verify;

pub use crate::frame::{Check, Group, Verdict};
pub use preflight::preflight;
pub use proxmox::{Choice, choices};
pub use verify::{GroupChecks, Scope, federation_checks, verify};
pub(crate) use verify::{has_way_in, unreachable};
