//! Single things out of a snapshot, onto this machine.

use std::{
    collections::BTreeMap,
    fs::{self, Permissions},
    io::{self, Read, Seek as _},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
};

use matrix_podman_core::{
    backup::{
        place,
        room::{self, RoomMedia},
    },
    layout,
    name::{Mode, Owner},
    stack::{self, RoomDatabase},
};
use rustic_core::repofile::Node;
use serde::Serialize;

use super::{Opened, restore};
use crate::{
    failure::{Doing, Failure},
    file::{self, folder::Folder},
    guest::calls::Call,
    progress::{Saying, Sink},
    world::World,
};

/// What was taken out.
#[derive(Debug, Default, Serialize)]
pub struct Taken {
    /// The files that were written.
    pub files: Vec<PathBuf>,
    /// How large they are together.
    pub bytes: u64,
}

impl Taken {
    /// Writes one file below `to` out of one or several, whole or not at all, and never over
    /// another one. It may hold a secret, whatever it could be read by before.
    fn file<'a>(
        &mut self,
        opened: &Opened,
        nodes: impl IntoIterator<Item = &'a Node>,
        to: &Target,
        below: &Path,
    ) -> Result<(), Failure> {
        let shown = to.path.join(below);
        let doing = || format!("write {}", shown.display());
        let mut whole = tempfile::tempfile_in(to.folder.path()).doing(doing)?;
        for node in nodes {
            opened.copy(node, &mut whole).map_err(|failure| failure.about_full_disk("the machine's"))?;
            self.bytes += node.meta.size;
        }
        whole.rewind().doing(doing)?;
        to.file(below, &mut whole).map_err(|e| {
            let there = e.kind() == io::ErrorKind::AlreadyExists;
            let failure = Failure::of(doing(), &e).about_full_disk("the machine's");
            if there {
                failure.hint("nothing is written over: choose an empty folder with --to, or move it away")
            } else {
                failure
            }
        })?;
        self.files.push(shown);
        Ok(())
    }
}

/// The folder that is written into. Nothing leads out of it: neither names in a snapshot,
/// nor links in the folder itself.
struct Target {
    path: PathBuf,
    folder: Folder,
}

impl Target {
    /// The folder that the operator named, made for its owner alone.
    fn of(path: &Path) -> Result<Self, Failure> {
        let doing = || format!("make {}", path.display());
        let there = path.exists();
        let folder = Folder::make(path).doing(doing)?;
        if !there {
            fs::set_permissions(folder.path(), Permissions::from_mode(0o700)).doing(doing)?;
        }
        Ok(Self { path: path.to_owned(), folder })
    }

    fn file(&self, below: &Path, content: &mut dyn Read) -> io::Result<()> {
        let (uid, gid) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        file::create_below(&self.folder, below, content, Mode(0o600), Owner { uid, gid })
    }

    /// Makes a folder below it, for its owner alone.
    fn make(&self, below: &Path) -> Result<(), Failure> {
        let doing = || format!("make {}", self.path.join(below).display());
        self.folder.make_below(below, 0o700).map(drop).doing(doing)
    }
}

/// Where in a snapshot is what an operator calls `path`.
fn place_of(path: &str) -> Option<String> {
    let own = [place::MANIFEST, place::MEDIA];
    if let Some(own) = own.iter().find(|own| own.strip_prefix("/matrix/") == Some(path)) {
        return Some((*own).to_owned());
    }
    let below = path.strip_prefix(layout::ROOT).unwrap_or(path).trim_matches('/');
    stack::is_saved(below).then(|| format!("{}/{below}", place::FILES))
}

/// Takes a file out, or a folder with all that is in it.
pub fn path(opened: &Opened, path: &str, to: &Path, taken: &mut Taken, sink: &Sink) -> Result<(), Failure> {
    let doing = || format!("take out {path}");
    let to = Target::of(to)?;
    let dumped = |database: &RoomDatabase| place::dump(database.called()) == path;
    if let Some(database) = stack::databases().into_iter().find(dumped) {
        taken.file(opened, &opened.dump(&database)?, &to, Path::new(path))?;
        sink(Saying::Bytes { done: taken.bytes, total: None });
        return Ok(());
    }
    let found = place_of(path).ok_or_else(|| {
        Failure::new(doing(), "that is in no backup").hint(format!(
            "{}; besides, there are database.dump, manifest.json and media.sha256",
            what_is_there(opened, place::FILES)
        ))
    })?;
    let node = opened.node(&found).map_err(|failure| failure.hint(what_is_there(opened, &found)))?;
    let name = Path::new(&found).file_name().unwrap_or_default();
    if !node.is_dir() {
        taken.file(opened, [&node], &to, Path::new(name))?;
        sink(Saying::Bytes { done: taken.bytes, total: None });
        return Ok(());
    }
    for (below, node) in opened.below(&found)? {
        let target = Path::new(name).join(below);
        if node.is_dir() {
            to.make(&target)?;
        } else {
            taken.file(opened, [&node], &to, &target)?;
            sink(Saying::Bytes { done: taken.bytes, total: None });
        }
    }
    Ok(())
}

/// A file or folder in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StoredEntry {
    /// Its name.
    pub name: String,
    /// Whether it is a folder.
    pub folder: bool,
    /// How large it is, with all that is in it.
    pub bytes: u64,
}

/// What stands in a folder of a snapshot; without a path, below the guest's `/opt/matrix`.
pub fn list(opened: &Opened, path: Option<&str>) -> Result<Vec<StoredEntry>, Failure> {
    let found = match path {
        None => place::FILES.to_owned(),
        Some(path) => place_of(path).ok_or_else(|| {
            Failure::new(format!("list {path}"), "that is in no backup")
                .hint(what_is_there(opened, place::FILES))
        })?,
    };
    let below = opened.below(&found).map_err(|failure| failure.hint(what_is_there(opened, &found)))?;
    Ok(entries(below.iter().map(|(path, node)| (path.as_path(), node.is_dir(), node.meta.size))))
}

/// The first level of what stands below a folder.
fn entries<'a>(below: impl Iterator<Item = (&'a Path, bool, u64)>) -> Vec<StoredEntry> {
    let mut found = BTreeMap::<String, StoredEntry>::new();
    for (path, is_folder, bytes) in below {
        let mut parts = path.components().map(|part| part.as_os_str().to_string_lossy());
        let Some(name) = parts.next().map(|name| name.into_owned()) else { continue };
        let folder = is_folder || parts.next().is_some();
        let entry = found.entry(name.clone()).or_insert(StoredEntry { name, folder: false, bytes: 0 });
        entry.folder |= folder;
        // A folder's own size says nothing.
        entry.bytes += if is_folder { 0 } else { bytes };
    }
    found.into_values().collect()
}

/// What stands in the nearest folder of a snapshot above `missing`, in words.
fn what_is_there(opened: &Opened, missing: &str) -> String {
    const SHOWN: usize = 12;
    let above = Path::new(missing).ancestors().filter_map(Path::to_str);
    let nearest = above
        .take_while(|folder| folder.starts_with(place::FILES))
        .find_map(|folder| Some((folder, opened.below(folder).ok()?)));
    let Some((folder, below)) = nearest else {
        return "`matrix-podman backup ls` lists what is there".to_owned();
    };
    let all = entries(below.iter().map(|(path, node)| (path.as_path(), node.is_dir(), 0)));
    let mut names: Vec<&str> = all.iter().take(SHOWN).map(|entry| entry.name.as_str()).collect();
    if all.len() > SHOWN {
        names.push("…");
    }
    let folder = folder.strip_prefix(place::FILES).unwrap_or_default().trim_start_matches('/');
    let shown = if folder.is_empty() { layout::ROOT } else { folder };
    format!("in {shown} there are {}", names.join(", "))
}

/// Takes out the media that the events of a room name, under the locks of both
/// sides: PostgreSQL in the guest reads the dump, which is put beside the server
/// for it and removed again.
pub fn room(
    world: &World,
    opened: &Opened,
    room: &str,
    to: &Path,
    sink: &Sink,
) -> Result<(RoomMedia, Taken), Failure> {
    let doing = format!("find the media of {room}");
    let server = opened.manifest()?.server_name;
    sink(Saying::Line("putting the dump beside the server".to_owned()));
    let asked = restore::put_dump_beside(world, opened, sink).and_then(|()| {
        sink(Saying::WaitsFor("PostgreSQL to read the dump".to_owned()));
        Ok(world.lines(Call::RoomMedia(room.to_owned(), server), &doing)?.concat())
    });
    let removed = restore::end_drill(world);
    let found: RoomMedia = serde_json::from_str(&asked?).doing(|| doing.clone())?;
    removed?;
    let mut taken = Taken::default();
    let to = Target::of(to)?;
    for (id, name) in &found.media {
        let Some(path) = room::media_path(id) else { continue };
        // A row without a file is one that an administrator removed.
        let Ok(node) = opened.node(&format!("{}/synapse/media_store/{path}", place::FILES)) else { continue };
        taken.file(opened, [&node], &to, Path::new(&file_name(id, name.as_deref())))?;
        sink(Saying::Bytes { done: taken.bytes, total: None });
    }
    Ok((found, taken))
}

/// Id and name, without what could be anything but a name of a file.
fn file_name(id: &str, name: Option<&str>) -> String {
    let plain: String = name
        .unwrap_or_default()
        .chars()
        .map(|c| if c.is_alphanumeric() || matches!(c, '.' | '-' | '_') { c } else { '_' })
        .take(60)
        .collect();
    if plain.is_empty() { id.to_owned() } else { format!("{id}-{plain}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_lists_its_first_level_with_sizes() {
        let below = [
            ("secrets", true, 4096),
            ("secrets/signing.key", false, 60),
            ("synapse", true, 4096),
            ("synapse/media_store", true, 4096),
            ("synapse/media_store/a", false, 1000),
            ("matrix.toml", false, 90),
        ];
        let found = entries(below.iter().map(|(path, folder, bytes)| (Path::new(path), *folder, *bytes)));
        let shown: Vec<(&str, bool)> =
            found.iter().map(|entry| (entry.name.as_str(), entry.folder)).collect();
        assert_eq!(shown, [("matrix.toml", false), ("secrets", true), ("synapse", true)]);
        assert_eq!(found.iter().map(|entry| entry.bytes).collect::<Vec<_>>(), [90, 60, 1000]);
    }

    #[test]
    fn what_an_operator_names_is_found_and_nothing_else() {
        for (path, place) in [
            ("secrets/signing.key", "/matrix/files/secrets/signing.key"),
            ("/opt/matrix/synapse/homeserver.yaml", "/matrix/files/synapse/homeserver.yaml"),
            ("synapse/media_store/", "/matrix/files/synapse/media_store"),
            ("media.sha256", "/matrix/media.sha256"),
        ] {
            assert_eq!(place_of(path).as_deref(), Some(place), "{path}");
        }
        for path in ["", "/", "../x", "redis", "postgresdata/18"] {
            assert_eq!(place_of(path), None, "{path}");
        }
    }

    #[test]
    fn names_of_media_are_names_of_files() {
        assert_eq!(file_name("ID", None), "ID");
        assert_eq!(file_name("ID", Some("../../a b.png")), "ID-.._.._a_b.png");
        assert_eq!(file_name("ID", Some(&"ä".repeat(300))).chars().count(), 63);
    }

    #[test]
    fn nothing_is_written_outside_the_folder_that_was_named() {
        let folder = tempfile::tempdir().unwrap();
        let (to, outside) = (folder.path().join("to"), folder.path().join("outside"));
        fs::create_dir_all(&outside).unwrap();
        let target = Target::of(&to).unwrap();
        std::os::unix::fs::symlink(&outside, to.join("planted")).unwrap();
        std::os::unix::fs::symlink(outside.join("new"), to.join("dangling")).unwrap();
        for below in ["planted/x", "../outside/x", "/etc/x", "a/../../outside/x", "dangling", ".."] {
            assert!(target.file(Path::new(below), &mut &b"x"[..]).is_err(), "{below}");
        }
        for below in ["planted/sub", "../outside/sub"] {
            assert!(target.make(Path::new(below)).is_err(), "{below}");
        }
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
        target.file(Path::new("a/b/c"), &mut &b"x"[..]).unwrap();
        let again = target.file(Path::new("a/b/c"), &mut &b"y"[..]).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        let mode = |path: &str| fs::metadata(to.join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!(["", "a", "a/b", "a/b/c"].map(mode), [0o700, 0o700, 0o700, 0o600]);
    }
}
