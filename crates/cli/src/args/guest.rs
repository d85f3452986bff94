//! `guest`.

use clap::Subcommand;
use matrix_podman_core::name::SnapshotName;

/// `guest`
#[derive(Debug, Subcommand)]
pub enum Guest {
    /// Make a snapshot of the guest's disks while the server runs, before something risky
    Snapshot(GuestSnapshot),
    /// List the snapshots
    Snapshots,
    /// Bring the whole guest back to a snapshot; what people wrote since is lost
    Rollback(GuestRollback),
    /// Remove a snapshot
    RemoveSnapshot(GuestRemoveSnapshot),
}

/// `guest snapshot`
#[derive(Debug, clap::Args)]
pub struct GuestSnapshot {
    /// Its name: letters, digits, - and _ [default: matrix-DATE]
    pub name: Option<SnapshotName>,
}

/// `guest rollback`
#[derive(Debug, clap::Args)]
pub struct GuestRollback {
    /// The snapshot's name
    pub name: SnapshotName,
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
}

/// `guest remove-snapshot`
#[derive(Debug, clap::Args)]
pub struct GuestRemoveSnapshot {
    /// The snapshot's name
    pub name: SnapshotName,
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
}
