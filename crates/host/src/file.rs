//! Files: written beside their place, flushed, then renamed over it.

pub mod folder;

use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io::{self, Read, Write as _},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, fchown, symlink},
    path::Path,
};

use matrix_podman_core::name::{Mode, Owner};

use crate::failure::{Doing, Failure};
use folder::Folder;

/// Makes a folder, those above it as root's, or corrects its mode and owner.
pub fn make_dir(path: &Path, mode: Mode, owner: Owner) -> Result<(), Failure> {
    Folder::make(path)
        .and_then(|folder| folder.set(mode.0, owner.uid, owner.gid))
        .doing(|| format!("make the folder {}", path.display()))
}

/// Writes a file whole, or not at all.
pub fn write(path: &Path, content: &[u8], mode: Mode, owner: Owner) -> Result<(), Failure> {
    write_from(path, &mut &*content, mode, owner)
}

/// Writes a file whole from a stream, or not at all.
pub fn write_from(path: &Path, content: &mut dyn Read, mode: Mode, owner: Owner) -> Result<(), Failure> {
    let doing = || format!("write {}", path.display());
    let (folder, name) = Folder::made_for(path).doing(doing)?;
    let partial = partial(&folder, content, mode, owner).doing(doing)?;
    partial.persist(folder.at(&name)).map_err(|e| e.error).doing(doing)?;
    folder.sync().doing(doing)
}

/// The same below a folder, reached without any link, and never over what is there.
/// Folders on the way are made for their owner alone.
pub fn create_below(
    root: &Folder,
    path: &Path,
    content: &mut dyn Read,
    mode: Mode,
    owner: Owner,
) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default();
    let folder = root.make_below(path.parent().unwrap_or(Path::new("")), 0o700)?;
    let partial = partial(&folder, content, mode, owner)?;
    partial.persist_noclobber(folder.at(name)).map_err(|e| e.error)?;
    folder.sync()
}

/// Writes a file whole, unless there is one already.
pub fn create(path: &Path, content: &[u8], mode: Mode, owner: Owner) -> Result<(), Failure> {
    let doing = || format!("write {}", path.display());
    let (folder, name) = Folder::made_for(path).doing(doing)?;
    let partial = partial(&folder, &mut &*content, mode, owner).doing(doing)?;
    partial.persist_noclobber(folder.at(&name)).map_err(|e| e.error).doing(doing)?;
    folder.sync().doing(doing)
}

/// The content, flushed, in a file that is to get its name.
fn partial(
    folder: &Folder,
    content: &mut dyn Read,
    mode: Mode,
    owner: Owner,
) -> io::Result<tempfile::NamedTempFile> {
    // Made with 0600 by tempfile, so that nobody reads it before its time.
    let mut partial = tempfile::Builder::new().prefix(".matrix-podman-").tempfile_in(folder.path())?;
    io::copy(content, &mut partial)?;
    partial.flush()?;
    let meta = partial.as_file().metadata()?;
    // Owner first: a change of owner clears set-id bits.
    if (meta.uid(), meta.gid()) != (owner.uid, owner.gid) {
        fchown(partial.as_file(), Some(owner.uid), Some(owner.gid))?;
    }
    partial.as_file().set_permissions(Permissions::from_mode(mode.0))?;
    partial.as_file().sync_all()?;
    Ok(partial)
}

/// Replaces the content of a file that is there; mode and owner stay, and of a
/// link to it, the link. For files of the operator's alone.
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
    let (folder, name) = Folder::made_for(path).doing(doing)?;
    let partial = folder.at(OsStr::new(&format!(".matrix-podman-link-{}", std::process::id())));
    match fs::remove_file(&partial) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e).doing(doing),
        _ => {}
    }
    symlink(target, &partial).doing(doing)?;
    fs::rename(&partial, folder.at(&name)).doing(doing)?;
    folder.sync().doing(doing)
}

/// Opens a file for reading: a file, and no link, pipe or device in its place.
pub fn open(path: &Path) -> io::Result<File> {
    let (folder, name) = Folder::of(path)?;
    folder.read(&name)
}

/// What is known of a file or folder without opening it; of a link, what is known of the
/// link.
pub fn meta(path: &Path) -> io::Result<fs::Metadata> {
    let (folder, name) = Folder::of(path)?;
    fs::symlink_metadata(folder.at(&name))
}

/// What a file holds, as text; at most so much as documents of ours are long.
pub fn read_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    open(path)?.take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// No document that is read whole is as long as that.
const LONGEST: u64 = 16 << 20;

/// Gives a file or folder another name.
pub fn rename(from: &Path, to: &Path) -> io::Result<()> {
    let ((old, old_name), (new, new_name)) = (Folder::of(from)?, Folder::of(to)?);
    fs::rename(old.at(&old_name), new.at(&new_name))
}

/// Removes a file; one that is not there is no failure.
pub fn remove(path: &Path) -> Result<(), Failure> {
    let removed = Folder::of(path).and_then(|(folder, name)| fs::remove_file(folder.at(&name)));
    gone(removed).doing(|| format!("remove {}", path.display()))
}

/// Removes a folder of half-done work; one that is not there is no failure.
pub fn remove_partial(path: &Path) -> Result<(), Failure> {
    remove_tree(path).doing(|| format!("remove the half-done {}", path.display()))
}

/// Removes a folder and all that is in it, and of a link the link; one that is not there
/// is no failure.
pub fn remove_tree(path: &Path) -> io::Result<()> {
    gone(Folder::of(path).and_then(|(folder, name)| fs::remove_dir_all(folder.at(&name))))
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
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

/// Makes a rename in `folder` last through a power cut.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    Folder::open(folder)?.sync()
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

    /// A folder that a container owns, with a link in it that leads to `outside`.
    fn planted(root: &Path) -> std::path::PathBuf {
        let (theirs, outside) = (root.join("theirs"), root.join("outside"));
        fs::create_dir(&theirs).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "kept").unwrap();
        symlink(&outside, theirs.join("sub")).unwrap();
        symlink(outside.join("kept"), theirs.join("file")).unwrap();
        for path in [&theirs, &theirs.join("sub"), &theirs.join("file")] {
            std::os::unix::fs::lchown(path, Some(991), Some(991)).unwrap();
        }
        theirs
    }

    #[test]
    fn links_that_a_container_put_lead_root_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let theirs = planted(folder.path());
        let outside = folder.path().join("outside");
        let through = theirs.join("sub/kept");
        write(&through, b"changed", Mode(0o644), me()).unwrap_err();
        make_dir(&theirs.join("sub/new"), Mode(0o777), Owner { uid: 991, gid: 991 }).unwrap_err();
        make_dir(&theirs.join("sub"), Mode(0o777), Owner { uid: 991, gid: 991 }).unwrap_err();
        link(&theirs.join("sub/l"), "x").unwrap_err();
        remove(&through).unwrap_err();
        remove_partial(&through).unwrap_err();
        open(&through).unwrap_err();
        rename(&through, &folder.path().join("stolen")).unwrap_err();
        open(&theirs.join("file")).unwrap_err();
        // In the last place a link is replaced or removed, not followed.
        write(&theirs.join("file"), b"ours", Mode(0o644), me()).unwrap();
        assert!(!fs::symlink_metadata(theirs.join("file")).unwrap().is_symlink());
        remove_partial(&theirs.join("sub")).unwrap();
        assert!(fs::symlink_metadata(theirs.join("sub")).is_err());
        assert_eq!(fs::read_to_string(outside.join("kept")).unwrap(), "kept");
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
        assert_eq!(fs::metadata(&outside).unwrap().uid(), me().uid);
    }

    #[test]
    fn what_is_created_is_never_written_over() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        create(&path, b"one", Mode(0o600), me()).unwrap();
        create(&path, b"two", Mode(0o600), me()).unwrap_err();
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
