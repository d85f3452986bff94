//! The files that a backup holds: which there are, and what is in them.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use matrix_podman_core::{
    backup::{Entry, Kind},
    layout,
    name::Digest,
    stack,
};
use sha2::{Digest as _, Sha256};

use crate::{
    failure::{Doing, Failure},
    file::folder::Folder,
    json_line,
};

/// The guest's data, below which nothing but folders and files is looked at.
pub(super) fn root() -> Result<Folder, Failure> {
    Folder::open(Path::new(layout::ROOT)).doing(|| format!("look into {}", layout::ROOT))
}

/// Lists what is saved: a line of JSON for each file or folder.
pub(super) fn list(to: &mut dyn Write) -> Result<(), Failure> {
    list_below(&root()?, to)
}

/// Lists what is saved of `root`. Containers own folders in it: what they put a link for
/// meanwhile is passed over, as one that is gone.
fn list_below(root: &Folder, to: &mut dyn Write) -> Result<(), Failure> {
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let doing = || format!("look into {}/{folder}", layout::ROOT);
        let opened = match root.below(Path::new(&folder)) {
            Ok(opened) => opened,
            // Somebody may remove media meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !folder.is_empty() => continue,
            Err(e) => return Err(e).doing(doing),
        };
        for item in fs::read_dir(opened.path()).doing(doing)? {
            let item = item.doing(doing)?;
            let Some(name) = item.file_name().to_str().map(str::to_owned) else {
                return Err(Failure::new(doing(), "there is a name that is not UTF-8"));
            };
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if !stack::is_saved(&path) {
                continue;
            }
            let meta = match item.metadata() {
                Ok(meta) => meta,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e).doing(doing),
            };
            let kind = match meta.file_type() {
                kind if kind.is_dir() => Kind::Folder,
                kind if kind.is_file() => Kind::File,
                // Neither Synapse nor the program makes links or sockets there.
                _ => continue,
            };
            if kind == Kind::Folder {
                folders.push(path.clone());
            }
            let nanos =
                |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
            let entry = Entry {
                path,
                size: if kind == Kind::File { meta.len() } else { 0 },
                kind,
                mode: meta.mode() & 0o777,
                uid: meta.uid(),
                gid: meta.gid(),
                modified: nanos(meta.mtime(), meta.mtime_nsec()),
                changed: nanos(meta.ctime(), meta.ctime_nsec()),
            };
            json_line::write(to, &entry).doing(doing)?;
        }
    }
    Ok(())
}

/// Opens a file below `folder` that belongs into a backup, and no other.
pub(super) fn open(folder: &Folder, path: &str) -> Result<File, Failure> {
    let doing = || format!("read {path} in the guest");
    if !stack::is_saved(path) {
        return Err(Failure::new(doing(), "it does not belong into a backup"));
    }
    folder.read_below(Path::new(path)).doing(doing)
}

/// The digests of files: a line of hexadecimal for each.
pub(super) fn digests(paths: &[String], to: &mut dyn Write) -> Result<(), Failure> {
    let root = root()?;
    for path in paths {
        let digest = digest(&root, path)?;
        writeln!(to, "{digest}").doing(|| format!("tell the digest of {path}"))?;
    }
    Ok(())
}

/// The digests of files below `folder`, in hexadecimal.
pub(super) fn digests_below(folder: &Path, paths: &[String]) -> Result<Vec<String>, Failure> {
    let folder = Folder::open(folder).doing(|| format!("look into {}", folder.display()))?;
    paths.iter().map(|path| digest(&folder, path)).collect()
}

fn digest(folder: &Folder, path: &str) -> Result<String, Failure> {
    let mut file = open(folder, path)?;
    let mut buffer = vec![0; 256 << 10];
    let mut hash = Sha256::new();
    loop {
        match file.read(&mut buffer).doing(|| format!("read {path} in the guest"))? {
            0 => return Ok(Digest::of_sha256(&hash.finalize()).hex().to_owned()),
            count => hash.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_pipes_of_containers_lead_a_backup_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let media = folder.path().join("root/synapse/media_store");
        fs::create_dir_all(media.join("local_content")).unwrap();
        fs::write(media.join("local_content/good"), "good").unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/shadow"), "secret").unwrap();
        std::os::unix::fs::symlink(folder.path().join("outside"), media.join("out")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("outside/shadow"), media.join("file")).unwrap();
        let pipe = media.join("pipe");
        let bits = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, bits).unwrap();
        let root = Folder::open(&folder.path().join("root")).unwrap();
        let mut listed = Vec::new();
        list_below(&root, &mut listed).unwrap();
        let listed = String::from_utf8(listed).unwrap();
        assert!(listed.contains("local_content/good"), "{listed}");
        for name in ["out", "shadow", "media_store/file", "pipe"] {
            assert!(!listed.contains(&format!("{name}\"")), "{name}: {listed}");
        }
        let media = |path: &str| format!("synapse/media_store/{path}");
        assert!(digest(&root, &media("local_content/good")).is_ok());
        for path in ["out/shadow", "file", "pipe"] {
            assert!(digest(&root, &media(path)).is_err(), "{path}");
        }
    }
}
