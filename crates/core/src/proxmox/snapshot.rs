//! Snapshots of the site's container: what is said of them.

use super::{SNAPSHOT_MARK, Settings, Snapshot, properties};

/// Stands behind the mark in what is said of a snapshot that an update made.
const BEFORE_UPDATE: &str = "By itself, before update ";

/// What people see beside a snapshot in Proxmox's web pages; of one that was made
/// by itself, before which generation.
pub fn snapshot_description(before_update: Option<u32>) -> String {
    let why = before_update.map(|number| format!(" {BEFORE_UPDATE}{number}; it goes when a later one does."));
    format!(
        "{SNAPSHOT_MARK}{} Synapse waits in it: after a rollback, `matrix-podman up` has it forget the one-time keys \
         and starts it.",
        why.unwrap_or_default()
    )
}

impl Snapshot {
    /// Whether the program made it, so that Synapse waits in it.
    pub fn is_held(&self) -> bool {
        self.own_words().is_some()
    }

    /// The generation that it was made before, when an update made it automatically.
    /// One whose description somebody changed is theirs.
    pub fn before_update(&self) -> Option<u32> {
        let number = self.own_words()?.trim_start().strip_prefix(BEFORE_UPDATE)?.split(';').next()?;
        number.parse().ok()
    }

    /// Whether it is a part of one of ours that is being made or removed, or was
    /// cut off at that.
    pub fn is_our_remains(&self) -> bool {
        self.under_way.is_some() && self.is_held()
    }

    /// What stands behind the mark.
    fn own_words(&self) -> Option<&str> {
        self.description.lines().find_map(|line| line.trim().strip_prefix(SNAPSHOT_MARK))
    }
}

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
    use crate::{name::SnapshotName, proxmox::Setting};

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
    fn the_description_says_whose_it_is_and_what_for() {
        let of = |description: &str| {
            let snapshot = Snapshot {
                name: SnapshotName::known("x1"),
                at: 0,
                description: description.to_owned(),
                under_way: None,
            };
            (snapshot.is_held(), snapshot.before_update())
        };
        for (description, told) in [
            (snapshot_description(None), (true, None)),
            (snapshot_description(Some(12)), (true, Some(12))),
            // As Proxmox gives it back, and beside what somebody wrote above it.
            (format!("Bob's\n {}\n", snapshot_description(Some(3))), (true, Some(3))),
            ("Keep! ".to_owned() + &snapshot_description(Some(3)), (false, None)),
            ("Made by matrix-podman. Keep this one.".to_owned(), (true, None)),
            ("By itself, before update 3; mine".to_owned(), (false, None)),
            (String::new(), (false, None)),
        ] {
            assert_eq!(of(&description), told, "{description}");
        }
    }
}
