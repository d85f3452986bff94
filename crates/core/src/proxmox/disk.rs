//! The container's disks: how large they should be, and whether their file systems
//! are as large as they are.

use super::{Settings, container::properties};
use crate::{config::Config, layout, size::Bytes};

/// A disk that is to become larger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// `rootfs` or `mp0`.
    pub volume: &'static str,
    /// What it has.
    pub from: Bytes,
    /// What it should have.
    pub to: Bytes,
}

/// A wish that cannot be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// A disk would have to become smaller.
    Shrinks {
        /// The key of the config.
        key: &'static str,
        /// What it has.
        has: Bytes,
        /// What the config says.
        wanted: Bytes,
    },
    /// A data volume for a container that was made without.
    NoVolume,
}

/// The disks that are to become larger; or why that cannot be.
pub fn growth(config: &Config, now: &Settings) -> Result<Vec<Growth>, Wrong> {
    let mut grows = Vec::new();
    let disks = [
        ("rootfs", "guest.disk", Some(config.guest.expected_disk())),
        ("mp0", "proxmox.data_volume", config.proxmox.data_volume.map(|size| *size)),
    ];
    for (volume, key, wanted) in disks {
        let Some(wanted) = wanted.map(|size| Bytes::gib(gibibytes(size))) else { continue };
        let has = now
            .get(volume)
            .map(properties)
            .filter(|p| volume == "rootfs" || p.get("mp") == Some(&layout::ROOT));
        let Some(has) = has else { return Err(Wrong::NoVolume) };
        // A disk whose size nobody knows, on a folder say, cannot be compared.
        let Some(has) = has.get("size").and_then(|size| Bytes::parse(size).ok()) else { continue };
        if has > wanted {
            return Err(Wrong::Shrinks { key, has, wanted });
        }
        if has < wanted {
            grows.push(Growth { volume, from: has, to: wanted });
        }
    }
    Ok(grows)
}

pub(super) fn gibibytes(size: Bytes) -> u64 {
    size.0.div_ceil(Bytes::gib(1).0)
}

/// The disks of a container that the program looks after, and where their file
/// systems are in it.
pub const DISKS: [(&str, &str); 2] = [("rootfs", "/"), ("mp0", layout::ROOT)];

/// The size that Proxmox has written down for a disk, and its volume.
pub fn disk_of<'a>(settings: &'a Settings, key: &str) -> Option<(&'a str, Bytes)> {
    let properties = properties(settings.get(key)?);
    let volume = properties.get("").copied().filter(|volume| !volume.starts_with('/'))?;
    Some((volume, Bytes::parse(properties.get("size")?).ok()?))
}

/// The least that the kernel tells of an ext4 file system that fills a disk of
/// `size`: what is missing are inodes (256 bytes for each 16 KiB), bitmaps and group
/// descriptors, and the journal, whose size mke2fs takes from that of the disk.
pub fn least_file_system(size: Bytes) -> Bytes {
    let journal = match size.0 / Bytes::gib(1).0 {
        0..16 => Bytes::mib(64),
        16..32 => Bytes::mib(128),
        32..64 => Bytes::mib(256),
        64..128 => Bytes::mib(512),
        _ => Bytes::gib(1),
    };
    let missing = size.0 / 64 + size.0 / 4096 + journal.0 + Bytes::mib(64).0;
    Bytes(size.0.saturating_sub(missing))
}

/// The kind of the file system that is mounted at `place`, from `/proc/mounts`: of
/// several the last one, which hides the others.
pub fn file_system_at<'a>(mounts: &'a str, place: &str) -> Option<&'a str> {
    mounts.lines().rev().find_map(|line| {
        let mut fields = line.split(' ');
        let (at, kind) = (fields.nth(1)?, fields.next()?);
        (at == place).then_some(kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxmox::container::tests::{RICH, config, settings};

    #[test]
    fn disks_only_grow() {
        let settings = settings(&config(RICH));
        let with = |from: &str, to: &str| growth(&config(&RICH.replace(from, to)), &settings);
        assert_eq!(with("", ""), Ok(vec![]));
        let grown = with("20000M", "32G").unwrap();
        assert_eq!((grown[0].volume, grown[0].from, grown[0].to), ("rootfs", Bytes::gib(20), Bytes::gib(32)));
        assert_eq!(with("100G", "101G").unwrap()[0].volume, "mp0");
        assert!(matches!(with("20000M", "16G"), Err(Wrong::Shrinks { key: "guest.disk", .. })));
        let mut without = settings.clone();
        without.0.remove("mp0");
        assert_eq!(growth(&config(RICH), &without), Err(Wrong::NoVolume));
    }

    /// What the kernel told of file systems that mke2fs had just made.
    #[test]
    fn a_file_system_that_fills_its_disk_is_large_enough_and_one_that_misses_a_gibibyte_is_not() {
        for (gib, missing) in [(6, 184), (16, 429), (20, 493), (64, 1592), (100, 2179), (300, 5909)] {
            let told = |gib: u64, missing: u64| Bytes::gib(gib).0 - Bytes::mib(missing).0;
            let least = least_file_system(Bytes::gib(gib));
            assert!(told(gib, missing) >= least.0, "{gib} GiB: {} are enough", told(gib, missing));
            // The one that was to grow has lost about as much to inodes and journal.
            let grown = least_file_system(Bytes::gib(gib + 1));
            assert!(told(gib, missing) < grown.0, "{gib} GiB of {} are too little", gib + 1);
        }
    }

    #[test]
    fn what_is_mounted_where() {
        let mounts = "/dev/loop1 / ext4 rw,relatime 0 0\nproc /proc proc rw 0 0\n/dev/loop2 /opt/matrix ext4 rw 0 0\n\
                      tmpfs /opt/matrix tmpfs rw 0 0\n";
        assert_eq!(file_system_at(mounts, "/"), Some("ext4"));
        assert_eq!(file_system_at(mounts, "/opt/matrix"), Some("tmpfs"));
        assert_eq!(file_system_at(mounts, "/opt"), None);
    }

    #[test]
    fn only_volumes_have_a_size_to_compare() {
        let settings = settings(&config(RICH));
        assert_eq!(disk_of(&settings, "rootfs"), Some(("tank:vm-120-disk-0", Bytes::gib(20))));
        assert_eq!(disk_of(&settings, "mp0"), Some(("tank:vm-120-disk-1", Bytes::gib(100))));
        assert_eq!(disk_of(&settings, "mp1"), None);
        let mut bound = settings.clone();
        bound.0.get_mut("mp0").unwrap().now = Some("/srv/x,mp=/opt/matrix,size=1G".to_owned());
        assert_eq!(disk_of(&bound, "mp0"), None);
    }
}
