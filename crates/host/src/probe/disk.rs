//! The disk of a plain LXC guest: its image, and where it is mounted.

use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
};

use matrix_podman_core::{
    fact::{EXT4_HEAD, GuestDisk, ext4_size},
    size::Bytes,
};

use super::lxc::LXC;
use crate::failure::{Doing, Failure};

/// The image in a guest's folder.
pub(crate) const IMAGE: &str = "disk.ext4";
/// Where in a guest's folder its root is.
pub(crate) const ROOT: &str = "rootfs";
/// What is mounted, and where, as this process sees it.
const MOUNTS: &str = "/proc/self/mountinfo";

/// The disk of a guest; `None` where that is a folder.
pub fn look(name: &str) -> Result<Option<GuestDisk>, String> {
    let folder = Path::new(LXC).join(name);
    let mounted = mounts(&folder.join(ROOT)).map_err(|failure| failure.to_string())? > 0;
    let size = size_of(&folder.join(IMAGE)).map_err(|failure| failure.to_string())?;
    Ok(size.map(|size| GuestDisk { size, mounted }))
}

/// The size of the file system in an image; `None` where there is no image.
pub(crate) fn size_of(image: &Path) -> Result<Option<Bytes>, Failure> {
    let doing = || format!("read {}", image.display());
    let file = match File::open(image) {
        Ok(file) => file,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e).doing(doing),
    };
    let mut head = Vec::new();
    file.take(EXT4_HEAD as u64).read_to_end(&mut head).doing(doing)?;
    match ext4_size(&head) {
        Some(size) => Ok(Some(size)),
        None => Err(Failure::new(doing(), "there is no ext4 file system on it")
            .hint(format!("`e2fsck {}` can repair it from a copy of its superblock", image.display()))),
    }
}

/// Where guests' disks are mounted.
pub(crate) fn mounted() -> Result<Vec<PathBuf>, Failure> {
    let text = fs::read_to_string(MOUNTS).doing(|| format!("read {MOUNTS}"))?;
    let mut all: Vec<PathBuf> = points(&text).map(PathBuf::from).collect();
    all.retain(|point| point.starts_with(LXC) && point.ends_with(ROOT));
    Ok(all)
}

/// How many file systems are mounted at a path.
pub(crate) fn mounts(path: &Path) -> Result<usize, Failure> {
    let text = fs::read_to_string(MOUNTS).doing(|| format!("read {MOUNTS}"))?;
    Ok(points(&text).filter(|point| Path::new(point) == path).count())
}

/// The mount points in a list of the kernel's. Those with blanks are written otherwise
/// there, and none of a guest has one.
fn points(mountinfo: &str) -> impl Iterator<Item = &str> {
    mountinfo.lines().filter_map(|line| line.split(' ').nth(4))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTINFO: &str = "\
24 1 254:0 / / rw,relatime - ext4 /dev/vda rw
31 24 7:0 / /var/lib/lxc/matrix/rootfs rw,nodev shared:1 - ext4 /dev/loop0 rw,discard
32 31 7:1 / /var/lib/lxc/matrix/rootfs rw,nodev - ext4 /dev/loop1 rw
33 24 7:2 / /var/lib/lxc/matrix-2/rootfs rw,nodev - ext4 /dev/loop2 rw
";

    #[test]
    fn mount_points_are_read_from_the_kernels_list() {
        let at = |path: &str| points(MOUNTINFO).filter(|point| *point == path).count();
        assert_eq!(at("/var/lib/lxc/matrix/rootfs"), 2);
        assert_eq!(at("/var/lib/lxc/matrix-2/rootfs"), 1);
        assert_eq!(at("/var/lib/lxc/matrix"), 0);
    }

    #[test]
    fn an_image_is_known_by_the_file_system_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let image = folder.path().join(IMAGE);
        assert_eq!(size_of(&image).unwrap(), None);
        fs::write(&image, b"nothing").unwrap();
        assert!(size_of(&image).unwrap_err().hint.unwrap().contains("e2fsck"));
    }
}
