//! Single things out of a snapshot, onto this machine.

use std::{
    fs::{self, DirBuilder},
    io::BufReader,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::Stdio,
};

use matrix_podman_core::{
    backup::{
        belongs, place,
        room::{self, Reader, RoomMedia},
    },
    layout,
    name::ServerName,
};
use rustic_core::repofile::Node;
use serde::Serialize;

use super::{Call, Opened, guest, lines, restore};
use crate::{
    apply::Sink,
    bounded,
    failure::{Doing, Failure},
    guest::wire::Saying,
    world::World,
};

/// The longest row of a dump, in bytes: PostgreSQL holds none that is larger.
const LONGEST_ROW: usize = 1 << 30;

/// What was taken out.
#[derive(Debug, Default, Serialize)]
pub struct Taken {
    /// The files that were written.
    pub files: Vec<PathBuf>,
    /// How large they are together.
    pub bytes: u64,
}

impl Taken {
    /// Writes one file out of one or several, whole or not at all, and never over another one. It may
    /// hold a secret, whatever it could be read by before.
    fn file<'a>(
        &mut self,
        opened: &Opened,
        nodes: impl IntoIterator<Item = &'a Node>,
        to: PathBuf,
    ) -> Result<(), Failure> {
        let doing = || format!("write {}", to.display());
        let folder = to.parent().unwrap_or(Path::new("."));
        folders(folder)?;
        let mut partial =
            tempfile::Builder::new().prefix(".matrix-podman-").tempfile_in(folder).doing(doing)?;
        for node in nodes {
            opened.copy(node, &mut partial).map_err(|failure| failure.about_full_disk("the machine's"))?;
            self.bytes += node.meta.size;
        }
        partial.as_file().sync_all().doing(doing)?;
        partial.persist_noclobber(&to).map_err(|e| e.error).doing(doing).map_err(|failure| {
            failure.hint("nothing is written over: choose an empty folder with --to, or move it away")
        })?;
        self.files.push(to);
        Ok(())
    }
}

/// Makes a folder and those above it, for their owner alone.
fn folders(folder: &Path) -> Result<(), Failure> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .doing(|| format!("make {}", folder.display()))
}

/// Where in a snapshot is what an operator calls `path`.
fn place_of(path: &str) -> Option<String> {
    let own = [place::MANIFEST, place::MEDIA];
    if let Some(own) = own.iter().find(|own| own.strip_prefix("/matrix/") == Some(path)) {
        return Some((*own).to_owned());
    }
    let below = path.strip_prefix(layout::ROOT).unwrap_or(path).trim_matches('/');
    belongs(below).then(|| format!("{}/{below}", place::FILES))
}

/// Takes a file out, or a folder with all that is in it.
pub fn path(opened: &Opened, path: &str, to: &Path, taken: &mut Taken, sink: &Sink) -> Result<(), Failure> {
    let doing = || format!("take out {path}");
    if path == place::DUMP {
        taken.file(opened, &opened.dump()?, to.join(path))?;
        sink(Saying::Bytes { done: taken.bytes, total: None });
        return Ok(());
    }
    let found = place_of(path).ok_or_else(|| {
        Failure::new(doing(), "that is in no backup").hint(format!(
            "name a file or folder below {}, or database.dump, manifest.json or media.sha256",
            layout::ROOT
        ))
    })?;
    let node = opened.node(&found).map_err(|failure| {
        failure.hint("`restic ls` shows what a snapshot holds; docs/guides/backup.md says how it is called")
    })?;
    let name = Path::new(&found).file_name().unwrap_or_default();
    if !node.is_dir() {
        taken.file(opened, [&node], to.join(name))?;
        sink(Saying::Bytes { done: taken.bytes, total: None });
        return Ok(());
    }
    for (below, node) in opened.below(&found)? {
        let target = to.join(name).join(below);
        if node.is_dir() {
            folders(&target)?;
        } else {
            taken.file(opened, [&node], target)?;
            sink(Saying::Bytes { done: taken.bytes, total: None });
        }
    }
    Ok(())
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
        Ok(lines(world, Call::RoomMedia(room.to_owned(), server), &doing)?.concat())
    });
    let removed = restore::end_drill(world);
    let found: RoomMedia = serde_json::from_str(&asked?).doing(|| doing.clone())?;
    removed?;
    let mut taken = Taken::default();
    folders(to)?;
    for (id, name) in &found.media {
        let Some(path) = room::media_path(id) else { continue };
        // A row without a file is one that an administrator removed.
        let Ok(node) = opened.node(&format!("{}/synapse/media_store/{path}", place::FILES)) else { continue };
        taken.file(opened, [&node], to.join(file_name(id, name.as_deref())))?;
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

/// The guest's half: what the dump says of a room.
pub(super) fn serve(room: &str, server: &ServerName) -> Result<RoomMedia, Failure> {
    let doing = || format!("find the media of {room} in the dump");
    let dump = fs::File::open(restore::drills_dump()).doing(doing)?;
    let mut words = vec!["pg_restore", "--data-only", "--file=-"];
    let tables = room::TABLES.map(|table| format!("--table={table}"));
    words.extend(tables.iter().map(String::as_str));
    let mut child = guest::Process(
        guest::in_container(matrix_podman_core::service::Service::Postgres.name(), &words)
            .stdin(dump)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .doing(doing)?,
    );
    let out = child.0.stdout.take().ok_or_else(|| Failure::new(doing(), "pg_restore has no pipe"))?;
    let mut reader = Reader::new(room, server);
    // A row may be long, a whole event, and no longer than PostgreSQL lets it be.
    let mut out = BufReader::with_capacity(1 << 20, out);
    while let Some(line) = bounded::line(&mut out, LONGEST_ROW).doing(doing)? {
        reader.line(&line);
    }
    let status = child.0.wait().doing(doing)?;
    if !status.success() {
        return Err(Failure::new(doing(), format!("pg_restore ended with {status}"))
            .hint("PostgreSQL has to run for this: `matrix-podman status` says whether it does"));
    }
    Ok(reader.end())
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
