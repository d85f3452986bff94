//! Ways to folders that nobody but root can turn aside.
//!
//! Root writes, reads and removes in folders that containers own, below folders that are
//! root's. A container that puts a link where a folder was must not lead root elsewhere.
//! So a path is walked once, to an open folder, and everything is done in that one, by its
//! descriptor. On the way a link is followed only where nobody else can have put it.

use std::{
    collections::VecDeque,
    ffi::{OsStr, OsString},
    fs::{self, File, Permissions},
    io,
    os::{
        fd::{AsRawFd as _, OwnedFd},
        unix::fs::{MetadataExt as _, PermissionsExt as _},
    },
    path::{Component, Path, PathBuf},
};

use rustix::{
    fs::{
        AtFlags, CWD, Mode as Bits, OFlags, ResolveFlags, Stat, fstat, mkdirat, openat, openat2, readlinkat,
        statat,
    },
    io::Errno,
};

/// A folder, not for reading yet.
const FOLDER: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);
/// A file, without following a link in its place or waiting for a pipe's other end.
const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
/// As many links as Linux itself follows.
const LINKS: usize = 40;
/// Of folders on the way that are made.
const MODE: u32 = 0o755;

/// An open folder. Whatever becomes of its name, this is the folder.
#[derive(Debug)]
pub struct Folder {
    fd: OwnedFd,
}

/// How a folder that is not there is dealt with.
#[derive(Clone, Copy, PartialEq)]
enum Missing {
    Fails,
    IsMade,
}

impl Folder {
    /// The folder at `path`.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::walk(path, Missing::Fails)
    }

    /// The same; what is missing of it is made, as root's, whatever the umask is.
    pub fn make(path: &Path) -> io::Result<Self> {
        Self::walk(path, Missing::IsMade)
    }

    /// The folder that `path` is in, and its name there.
    pub fn of(path: &Path) -> io::Result<(Self, OsString)> {
        let (folder, name) = split(path)?;
        Ok((Self::open(&folder)?, name))
    }

    /// The same; what is missing of the folder is made.
    pub fn made_for(path: &Path) -> io::Result<(Self, OsString)> {
        let (folder, name) = split(path)?;
        Ok((Self::make(&folder)?, name))
    }

    /// The folder at `path` below this one, reached without any link.
    pub fn below(&self, path: &Path) -> io::Result<Self> {
        self.descend(path, None)
    }

    /// The same; what is missing of it is made with `mode`.
    pub fn make_below(&self, path: &Path, mode: u32) -> io::Result<Self> {
        self.descend(path, Some(mode))
    }

    /// Opens the file at `path` below this folder for reading: a file, and no link, pipe
    /// or device.
    pub fn read_below(&self, path: &Path) -> io::Result<File> {
        let (folder, name) = match (path.parent(), path.file_name()) {
            (Some(folder), Some(name)) => (folder, name),
            _ => return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no path of a file")),
        };
        self.below(folder)?.read(name)
    }

    /// Opens a file in it for reading: a file, and no link, pipe or device.
    pub fn read(&self, name: &OsStr) -> io::Result<File> {
        let file = File::from(openat(&self.fd, name, FILE, Bits::empty()).map_err(|e| match e {
            Errno::LOOP => io::Error::new(io::ErrorKind::InvalidInput, "it is a link, not a file"),
            e => e.into(),
        })?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no file"));
        }
        Ok(file)
    }

    /// The path of this folder by its descriptor, for whoever only takes paths. It leads
    /// here as long as this value lives.
    pub fn path(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", self.fd.as_raw_fd()))
    }

    /// The path of a thing in it, in the same way.
    pub fn at(&self, name: &OsStr) -> PathBuf {
        self.path().join(name)
    }

    /// Makes what was renamed in it last through a power cut.
    pub fn sync(&self) -> io::Result<()> {
        File::open(self.path())?.sync_all()
    }

    /// Gives it a mode and an owner.
    pub fn set(&self, mode: u32, uid: u32, gid: u32) -> io::Result<()> {
        let path = self.path();
        let meta = fs::metadata(&path)?;
        // Owner first: a change of owner clears set-id bits.
        if (meta.uid(), meta.gid()) != (uid, gid) {
            std::os::unix::fs::chown(&path, Some(uid), Some(gid))?;
        }
        if meta.mode() & 0o7777 != mode {
            fs::set_permissions(&path, Permissions::from_mode(mode))?;
        }
        Ok(())
    }

    fn walk(path: &Path, missing: Missing) -> io::Result<Self> {
        let path = std::path::absolute(path)?;
        // Mostly there is no link on the way at all.
        if let Ok(fd) = openat2(CWD, &path, FOLDER, Bits::empty(), ResolveFlags::NO_SYMLINKS) {
            return Ok(Self { fd });
        }
        let root = || openat(CWD, "/", FOLDER, Bits::empty());
        let mut here = Self { fd: root()? };
        let mut rest: VecDeque<OsString> = names(&path);
        let mut links = 0;
        while let Some(name) = rest.pop_front() {
            if name == "/" {
                here = Self { fd: root()? };
                continue;
            }
            here = match here.step(&name, (missing == Missing::IsMade).then_some(MODE)) {
                Ok(next) => next,
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    let target = here.link(&name)?;
                    links += 1;
                    if links > LINKS {
                        return Err(Errno::LOOP.into());
                    }
                    for name in names(&target).into_iter().rev() {
                        rest.push_front(name);
                    }
                    here
                }
                Err(e) => return Err(e.into()),
            };
        }
        Ok(here)
    }

    fn descend(&self, path: &Path, make: Option<u32>) -> io::Result<Self> {
        let inward = path.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if !inward {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path leads out of its folder"));
        }
        let whole = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        if let Ok(fd) = openat2(&self.fd, whole, FOLDER, Bits::empty(), beneath) {
            return Ok(Self { fd });
        }
        // Where something is missing, or the kernel is too old for that: one by one, which
        // refuses links as well.
        let mut here = Self { fd: openat(&self.fd, ".", FOLDER, Bits::empty())? };
        for part in path.components() {
            if let Component::Normal(name) = part {
                here = here.step(name, make).map_err(|e| match e {
                    Errno::NOTDIR | Errno::LOOP => io::Error::new(
                        io::ErrorKind::PermissionDenied,
                        format!("{} in {} is no folder, or a link", name.display(), path.display()),
                    ),
                    e => e.into(),
                })?;
            }
        }
        Ok(here)
    }

    /// One folder further, which is no link; made with `make` when it is not there.
    fn step(&self, name: &OsStr, make: Option<u32>) -> Result<Self, Errno> {
        let open = || openat(&self.fd, name, FOLDER | OFlags::NOFOLLOW, Bits::empty()).map(|fd| Self { fd });
        let Some(mode) = make else { return open() };
        match open() {
            Err(Errno::NOENT) => {}
            other => return other,
        }
        match mkdirat(&self.fd, name, Bits::from_raw_mode(0o700)) {
            // Somebody else was faster.
            Err(Errno::EXIST) => return open(),
            other => other?,
        }
        let made = open()?;
        fs::set_permissions(made.path(), Permissions::from_mode(mode))
            .map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        Ok(made)
    }

    /// Where a link leads, if nobody but root can have put it here.
    fn link(&self, name: &OsStr) -> io::Result<PathBuf> {
        let target = match readlinkat(&self.fd, name, Vec::new()) {
            Ok(target) => target,
            Err(Errno::INVAL) => return Err(Errno::NOTDIR.into()),
            Err(e) => return Err(e.into()),
        };
        let (folder, link) = (fstat(&self.fd)?, statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW)?);
        if !(is_roots(&link) && is_roots(&folder) && keeps_out(&folder)) {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                format!(
                    "the link {} on the way is not root's alone: user id {} put it there, in a folder of user id {}",
                    name.display(),
                    link.st_uid,
                    folder.st_uid
                ),
            ));
        }
        use std::os::unix::ffi::OsStrExt as _;
        Ok(PathBuf::from(OsStr::from_bytes(target.as_bytes())))
    }
}

/// Root's, or that of whoever runs the program.
fn is_roots(stat: &Stat) -> bool {
    stat.st_uid == 0 || stat.st_uid == rustix::process::geteuid().as_raw()
}

/// Whether nobody else can put something of theirs in the place of what is in the folder.
fn keeps_out(folder: &Stat) -> bool {
    folder.st_mode & 0o022 == 0 || folder.st_mode & 0o1000 != 0
}

fn names(path: &Path) -> VecDeque<OsString> {
    path.components()
        .filter(|part| !matches!(part, Component::CurDir))
        .map(|part| part.as_os_str().to_owned())
        .collect()
}

fn split(path: &Path) -> io::Result<(PathBuf, OsString)> {
    let path = std::path::absolute(path)?;
    match (path.parent(), path.file_name()) {
        (Some(folder), Some(name)) => Ok((folder.to_owned(), name.to_owned())),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "it is no path of a file")),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    /// What nobody but a container owns: these tests need root to make it.
    fn give_away(path: &Path) -> bool {
        std::os::unix::fs::lchown(path, Some(991), Some(991)).is_ok()
    }

    #[test]
    fn links_of_root_are_followed_and_those_of_others_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path();
        fs::create_dir_all(root.join("real/sub")).unwrap();
        symlink("real", root.join("relative")).unwrap();
        symlink(root.join("real"), root.join("absolute")).unwrap();
        symlink("../real/../relative/sub", root.join("real/round")).unwrap();
        for path in ["relative/sub", "absolute/sub", "real/round", "real/./sub"] {
            let opened = Folder::open(&root.join(path)).unwrap();
            assert_eq!(fs::canonicalize(opened.path()).unwrap(), root.join("real/sub"), "{path}");
        }
        symlink("loop", root.join("loop")).unwrap();
        Folder::open(&root.join("loop/x")).unwrap_err();
        assert!(give_away(&root.join("absolute")), "this test runs as root");
        let refused = Folder::open(&root.join("absolute/sub")).unwrap_err().to_string();
        assert!(refused.contains("user id 991"), "{refused}");
        // A link in a folder of theirs may be anything by now, whoever owns it.
        chown(root.join("real"), Some(991), Some(991)).unwrap();
        Folder::open(&root.join("real/round")).unwrap_err();
        Folder::open(&root.join("real/sub")).unwrap();
        // So may one where everybody can write.
        fs::set_permissions(root, Permissions::from_mode(0o777)).unwrap();
        Folder::open(&root.join("relative/sub")).unwrap_err();
        fs::set_permissions(root, Permissions::from_mode(0o1777)).unwrap();
        Folder::open(&root.join("relative/sub")).unwrap();
    }

    #[test]
    fn below_a_folder_no_link_is_followed_and_nothing_leads_out() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("root");
        fs::create_dir_all(root.join("a/b")).unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/secret"), "s").unwrap();
        symlink(folder.path().join("outside"), root.join("a/out")).unwrap();
        symlink("b", root.join("a/in")).unwrap();
        let opened = Folder::open(&root).unwrap();
        opened.below(Path::new("a/b")).unwrap();
        opened.below(Path::new("")).unwrap();
        for path in ["a/out", "a/in", "..", "/etc", "a/../../outside", "a/out/x"] {
            opened.below(Path::new(path)).unwrap_err();
            opened.make_below(Path::new(path), 0o700).unwrap_err();
        }
        for path in ["a/out/secret", "../outside/secret", "/etc/passwd", ""] {
            opened.read_below(Path::new(path)).unwrap_err();
        }
        assert_eq!(fs::read_dir(folder.path().join("outside")).unwrap().count(), 1);
    }

    #[test]
    fn pipes_and_links_are_no_files_and_nobody_waits_for_them() {
        let folder = tempfile::tempdir().unwrap();
        let opened = Folder::open(folder.path()).unwrap();
        rustix::fs::mkfifoat(CWD, folder.path().join("pipe"), Bits::from_raw_mode(0o600)).unwrap();
        symlink("/etc/passwd", folder.path().join("link")).unwrap();
        for name in ["pipe", "link", "."] {
            opened.read(OsStr::new(name)).unwrap_err();
        }
    }

    #[test]
    fn folders_that_are_made_do_not_depend_on_the_umask() {
        let folder = tempfile::tempdir().unwrap();
        let before = rustix::process::umask(Bits::from_raw_mode(0o077));
        let made = Folder::make(&folder.path().join("a/b"))
            .and_then(|_| Folder::open(folder.path())?.make_below(Path::new("c/d"), 0o750));
        rustix::process::umask(before);
        made.unwrap();
        let mode = |path: &str| fs::metadata(folder.path().join(path)).unwrap().mode() & 0o7777;
        assert_eq!(["a", "a/b", "c", "c/d"].map(mode), [0o755, 0o755, 0o750, 0o750]);
    }
}
