//! Files: written beside their place, flushed, then renamed over it.

use std::{
    collections::BTreeSet,
    fs::{self, File, Permissions},
    io::{self, Read, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown, symlink},
    path::Path,
};

use matrix_podman_core::{
    layout,
    name::{Mode, Owner},
};

use crate::failure::{Doing, Failure};

/// Makes a folder, those above it as root's, or corrects its mode and owner.
pub fn make_dir(path: &Path, mode: Mode, owner: Owner) -> Result<(), Failure> {
    let doing = || format!("make the folder {}", path.display());
    fs::create_dir_all(path).doing(doing)?;
    set_owner_and_mode(path, mode, owner).doing(doing)
}

/// Writes a file whole, or not at all.
pub fn write(path: &Path, content: &[u8], mode: Mode, owner: Owner) -> Result<(), Failure> {
    write_from(path, &mut &*content, mode, owner)
}

/// Writes a file whole from a stream, or not at all.
pub fn write_from(path: &Path, content: &mut dyn Read, mode: Mode, owner: Owner) -> Result<(), Failure> {
    let doing = || format!("write {}", path.display());
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).doing(doing)?;
    // Made with 0600 by tempfile, so that nobody reads it before its time.
    let mut partial = tempfile::Builder::new().prefix(".matrix-podman-").tempfile_in(folder).doing(doing)?;
    io::copy(content, &mut partial).doing(doing)?;
    partial.flush().doing(doing)?;
    set_owner_and_mode(partial.path(), mode, owner).doing(doing)?;
    partial.as_file().sync_all().doing(doing)?;
    partial.persist(path).map_err(|e| e.error).doing(doing)?;
    sync_folder(folder).doing(doing)
}

/// Replaces the content of a file that is there; mode and owner stay, and of a
/// link to it, the link.
pub fn replace(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let doing = || format!("write {}", path.display());
    let place = fs::canonicalize(path).doing(doing)?;
    let meta = fs::metadata(&place).doing(doing)?;
    let owner = Owner { uid: meta.uid(), gid: meta.gid() };
    write(&place, content, Mode(meta.mode() & 0o7777), owner)
}

/// Makes a symbolic link, replacing what is there.
pub fn link(path: &Path, target: &str) -> Result<(), Failure> {
    let doing = || format!("link {} to {target}", path.display());
    let folder = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(folder).doing(doing)?;
    let partial = folder.join(format!(".matrix-podman-link-{}", std::process::id()));
    match fs::remove_file(&partial) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e).doing(doing),
        _ => {}
    }
    symlink(target, &partial).doing(doing)?;
    fs::rename(&partial, path).doing(doing)?;
    sync_folder(folder).doing(doing)
}

/// Removes a file; one that is not there is no failure.
pub fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).doing(|| format!("remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Removes a folder of half-done work; one that is not there is no failure.
pub fn remove_partial(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).doing(|| format!("remove the half-done {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Has the disk hold all that was written to the file system of `path`: contents,
/// not only names. For what is made in bulk, one of these comes before the rename
/// or the name that makes it count.
pub fn flush(path: &Path) -> Result<(), Failure> {
    let doing = || format!("have the disk hold what was written to {}", path.display());
    let folder = File::open(path).doing(doing)?;
    rustix::fs::syncfs(&folder).doing(doing)
}

/// Has the disks hold all that was written to the file systems that a site's
/// things are on, on this side.
pub fn flush_all() -> Result<(), Failure> {
    let mut flushed = BTreeSet::new();
    for path in ["/", "/var/lib/lxc", "/var/lib/containers/storage", layout::STATE, layout::ROOT] {
        match fs::metadata(path) {
            Ok(meta) if flushed.insert(meta.dev()) => flush(Path::new(path))?,
            Ok(_) => {}
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => return Err(e).doing(|| format!("look at {path}")),
        }
    }
    Ok(())
}

/// Makes a rename in `folder` last through a power cut.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

fn set_owner_and_mode(path: &Path, mode: Mode, owner: Owner) -> io::Result<()> {
    let meta = fs::metadata(path)?;
    // Owner first: a change of owner clears set-id bits.
    if (meta.uid(), meta.gid()) != (owner.uid, owner.gid) {
        chown(path, Some(owner.uid), Some(owner.gid))?;
    }
    fs::set_permissions(path, Permissions::from_mode(mode.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn me() -> Owner {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        Owner { uid, gid }
    }

    #[test]
    fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sub/a");
        write(&path, b"one", Mode(0o644), me()).unwrap();
        write(&path, b"two", Mode(0o400), me()).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o400);
        assert_eq!(fs::read_dir(folder.path().join("sub")).unwrap().count(), 1);
    }

    #[test]
    fn a_stream_that_breaks_leaves_the_old_file() {
        struct Broken;
        impl Read for Broken {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(io::Error::other("cut"))
            }
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        write(&path, b"one", Mode(0o644), me()).unwrap();
        write_from(&path, &mut Broken, Mode(0o644), me()).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_file_behind_a_link_is_replaced_and_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        let (file, place) = (folder.path().join("file"), folder.path().join("link"));
        write(&file, b"one", Mode(0o640), me()).unwrap();
        link(&place, "file").unwrap();
        replace(&place, b"two").unwrap();
        assert_eq!(fs::read(&file).unwrap(), b"two");
        assert_eq!(fs::metadata(&file).unwrap().mode() & 0o7777, 0o640);
        assert!(fs::symlink_metadata(&place).unwrap().is_symlink());
    }

    #[test]
    fn links_are_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("l");
        link(&path, "a").unwrap();
        link(&path, "b").unwrap();
        assert_eq!(fs::read_link(&path).unwrap().to_str(), Some("b"));
    }
}
