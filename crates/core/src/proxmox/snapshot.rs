//! Snapshots of the site's container: what is said of them.

use super::{Settings, properties};

/// What people see beside a snapshot in Proxmox's web pages.
pub const SNAPSHOT_DESCRIPTION: &str = "Made by matrix-podman. Synapse waits in it: after a rollback, \
                                        `matrix-podman up` has it forget the one-time keys and starts it.";

/// Why Proxmox makes no snapshots of a container, as far as its settings tell:
/// where its disks are.
pub fn why_no_snapshots(settings: &Settings) -> String {
    let disk = |key: &str| {
        let number = key.strip_prefix("mp").unwrap_or("x");
        key == "rootfs" || number.parse::<u16>().is_ok()
    };
    let mut storages = Vec::new();
    for key in settings.0.keys().filter(|key| disk(key)) {
        let Some(value) = settings.get(key) else { continue };
        let volume = properties(value).get("").copied().unwrap_or_default();
        if volume.starts_with('/') {
            return format!("{key} is {volume} of the node, of which Proxmox makes no snapshot");
        }
        storages.push(format!("{key} is on {}", volume.split(':').next().unwrap_or_default()));
    }
    format!(
        "Proxmox makes no snapshots on every storage that its disks are on ({}): folders, NFS, CIFS and thick LVM \
         have none; LVM-thin, ZFS, Ceph and Btrfs do",
        storages.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxmox::{SNAPSHOT_MARK, Setting};

    #[test]
    fn it_says_which_disk_is_in_the_way() {
        let settings = |all: &[(&str, &str)]| {
            let setting = |value: &str| Setting { now: Some(value.to_owned()), ..Setting::default() };
            Settings(all.iter().map(|(key, value)| ((*key).to_owned(), setting(value))).collect())
        };
        let root = ("rootfs", "nas:100/vm-100-disk-0.raw,size=16G");
        let why = why_no_snapshots(&settings(&[
            root,
            ("mp0", "tank:vm-100-disk-1,mp=/opt/matrix"),
            ("mpx", "a:b"),
        ]));
        assert!(why.contains("(mp0 is on tank, rootfs is on nas)"), "{why}");
        let why = why_no_snapshots(&settings(&[root, ("mp3", "/srv/media,mp=/media,ro=1")]));
        assert!(why.starts_with("mp3 is /srv/media of the node"), "{why}");
    }

    #[test]
    fn the_description_carries_the_mark() {
        assert!(SNAPSHOT_DESCRIPTION.starts_with(SNAPSHOT_MARK));
    }
}
