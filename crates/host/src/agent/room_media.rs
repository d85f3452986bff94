//! The media of a room, out of a dump that was put beside the server.

use std::{io::BufReader, process::Stdio};

use matrix_podman_core::{
    aside as beside,
    backup::room::{self, Reader, RoomMedia},
    name::ServerName,
};

use crate::{
    bounded,
    failure::{Doing, Failure},
    file,
    guest::calls::drills_dump,
    postgres::{Process, in_database},
};

/// The longest row of a dump, in bytes: PostgreSQL holds none that is larger.
const LONGEST_ROW: usize = 1 << 30;

/// What the dump says of a room.
pub(super) fn find(room: &str, server: &ServerName) -> Result<RoomMedia, Failure> {
    let doing = || format!("find the media of {room} in the dump");
    let dump = file::open(&drills_dump(&beside::DATABASE)).doing(doing)?;
    let mut words = vec!["pg_restore", "--data-only", "--file=-"];
    let tables = room::TABLES.map(|table| format!("--table={table}"));
    words.extend(tables.iter().map(String::as_str));
    let mut child = Process::new(
        in_database(&words).stdin(dump).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().doing(doing)?,
    );
    let out = child.stdout().ok_or_else(|| Failure::new(doing(), "pg_restore has no pipe"))?;
    let mut reader = Reader::new(room, server);
    // A row may be long, a whole event, and no longer than PostgreSQL lets it be.
    let mut out = BufReader::with_capacity(1 << 20, out);
    while let Some(line) = bounded::line(&mut out, LONGEST_ROW).doing(doing)? {
        reader.line(&line);
    }
    let status = child.wait().doing(doing)?;
    if !status.success() {
        return Err(Failure::new(doing(), format!("pg_restore ended with {status}"))
            .hint("PostgreSQL has to run for this: `matrix-podman status` says whether it does"));
    }
    Ok(reader.end())
}
