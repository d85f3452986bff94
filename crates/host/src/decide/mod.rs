//! What commands decide from what is known. Nothing here looks at anything or changes
//! anything, so every rule is tested in memory.

pub mod backups;
pub mod fix;
pub mod newest;
pub mod prune;
pub mod restore;
pub mod retry;
pub mod targets;
pub mod update;
