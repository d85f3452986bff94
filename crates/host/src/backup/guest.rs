//! The guest's half of a backup: what is there, and what the database holds.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread::JoinHandle,
};

use matrix_podman_core::{
    backup::{Entry, Kind, belongs},
    layout,
    name::Digest,
};
use sha2::{Digest as _, Sha256};

use super::Call;
use crate::{
    failure::{Doing, Failure},
    file::folder::Folder,
    json_line,
    postgres::{Session, stream},
};

/// Writes the answer to `call` into `to`.
pub fn serve(call: &Call, to: &mut dyn Write) -> Result<(), Failure> {
    match call {
        Call::List => list(to),
        Call::Digests(paths) => digests(paths, to),
        Call::Read(path) => {
            let mut file = open(&root()?, path)?;
            io::copy(&mut file, to).doing(|| format!("read {path} in the guest")).map(drop)
        }
        Call::Dump => stream::send(to),
        Call::Drill(drill, media) => super::drill::serve(drill, media, to),
        Call::SetAside => {
            json_line::write(to, &super::switch::set_aside()?).doing(|| "tell what is set aside")
        }
        Call::RoomMedia(room, server) => {
            json_line::write(to, &super::take::serve(room, server)?).doing(|| "tell what was found")
        }
        Call::Rehearse(rehearsal) => crate::rehearsal::serve(rehearsal, to),
        Call::Rows => json_line::write(to, &stream::rows(&mut Session::open()?)?).doing(|| "tell the rows"),
    }
}

/// The same as something to read from, where machine and guest are one.
pub fn stream_here(call: Call) -> Result<Here, Failure> {
    let (from, mut to) = io::pipe().doing(|| "make a pipe")?;
    let worker = std::thread::spawn(move || serve(&call, &mut to));
    Ok(Here { from, worker: Some(worker) })
}

/// See [`stream_here`].
pub struct Here {
    from: io::PipeReader,
    worker: Option<JoinHandle<Result<(), Failure>>>,
}

impl Read for Here {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(worker) = self.worker.take()
        {
            // The end of the pipe is only the end when nothing went wrong.
            match worker.join() {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => return Err(io::Error::other(failure)),
                Err(_) => return Err(io::Error::other("a thread failed")),
            }
        }
        Ok(count)
    }
}

/// The guest's data, below which nothing but folders and files is looked at.
fn root() -> Result<Folder, Failure> {
    Folder::open(Path::new(layout::ROOT)).doing(|| format!("look into {}", layout::ROOT))
}

fn list(to: &mut dyn Write) -> Result<(), Failure> {
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
            if !belongs(&path) {
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
fn open(folder: &Folder, path: &str) -> Result<File, Failure> {
    let doing = || format!("read {path} in the guest");
    if !belongs(path) {
        return Err(Failure::new(doing(), "it does not belong into a backup"));
    }
    folder.read_below(Path::new(path)).doing(doing)
}

fn digests(paths: &[String], to: &mut dyn Write) -> Result<(), Failure> {
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
