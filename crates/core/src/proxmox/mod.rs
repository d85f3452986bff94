//! Proxmox VE: what is asked of it, what it answers, what it is told, and what
//! a site's container should be like.
//!
//! [`Question`] and [`Act`] are every call of Proxmox's commands that the
//! program can make. Their exit codes are not believed: several of them end
//! with 0 after failing, so what was done is looked at.

mod act;
mod answer;
mod container;
mod disk;
mod lock;
mod network;
mod question;
pub mod reference;
mod snapshot;

pub use act::{Act, exec};
pub use answer::{
    Answer, Cluster, ClusterGuest, GuestKind, SNAPSHOT_MARK, Setting, Settings, Snapshot, Status, Storage,
    by_version, newest_template,
};
pub use container::{
    Change, Holds, SITE_MARK, changes, create_options, description, holds, properties, site_in, ssh_keys_in,
    waiting,
};
pub use disk::{DISKS, Growth, Wrong, disk_of, file_system_at, growth, least_file_system};
pub use lock::{at_work, left_lock_reason, lock_reason, way_out};
pub use question::Question;
pub use snapshot::{snapshot_description, why_no_snapshots};

/// The commands of Proxmox that the program uses.
pub const COMMANDS: [&str; 5] = ["pct", "pveam", "pvesh", "pvesm", "pveversion"];

/// Versions of `pve-container` from which on it knows Debian 13 and its point
/// releases, by the major version of Proxmox VE.
pub const CONTAINER_FIXED: [(u32, &str); 2] = [(8, "5.3.1"), (9, "6.0.10")];

/// What a key says when nobody wrote it, on Proxmox.
pub fn default_of(key: &str) -> Option<&'static str> {
    match key {
        "proxmox.storage" => Some("local-lvm"),
        "proxmox.template_storage" => Some("local"),
        "guest.network.bridge" => Some("vmbr0"),
        _ => None,
    }
}
