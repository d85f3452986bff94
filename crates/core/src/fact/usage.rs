//! What the server holds, what it takes, and what its timers will start.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Output, last_line};
use crate::{
    name::Invalid,
    stack::{self, synapse},
};

/// How much there is of something.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Amount {
    /// How many files.
    pub files: u64,
    /// How many bytes they have together.
    pub bytes: u64,
}

/// What is on the server, as its database counts it. Nothing walks over the
/// files: a media store can be larger than a person wants to wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Contents {
    /// Accounts of people that are not ended.
    pub users: u64,
    /// Rooms in which somebody of this server is.
    pub rooms: u64,
    /// Media that people of this server uploaded.
    pub local_media: Amount,
    /// Copies of media of other servers.
    pub remote_media: Amount,
    /// Small versions of both.
    pub thumbnails: Amount,
    /// Size of the databases in bytes.
    pub database: u64,
}

/// One question, one answer. Bots are programs, the program's own account among
/// them. How large the databases are is put into the place of `@SIZE@`.
const CONTENTS: &str = "SELECT json_build_object(\
'users', (SELECT count(*) FROM users WHERE deactivated = 0 AND is_guest = 0 AND appservice_id IS NULL \
AND coalesce(user_type, '') NOT IN ('bot', 'support')), \
'rooms', (SELECT count(DISTINCT room_id) FROM local_current_membership WHERE membership = 'join'), \
'local_media', (SELECT json_build_object('files', count(*), 'bytes', coalesce(sum(media_length), 0)) \
FROM local_media_repository), \
'remote_media', (SELECT json_build_object('files', count(*), 'bytes', coalesce(sum(media_length), 0)) \
FROM remote_media_cache), \
'thumbnails', (SELECT json_build_object('files', count(*), 'bytes', coalesce(sum(length), 0)) FROM \
(SELECT thumbnail_length AS length FROM local_media_repository_thumbnails UNION ALL \
SELECT thumbnail_length FROM remote_media_cache_thumbnails) AS small), \
'database', @SIZE@)";

/// As long as the question may take: `status` is not to wait for a database
/// that is busy.
const PATIENCE_MILLIS: u32 = 700;

pub(super) fn ask_contents() -> Vec<String> {
    ask_read_only(PATIENCE_MILLIS, &CONTENTS.replace("@SIZE@", &stack::sizes(&stack::databases())))
}

/// psql in PostgreSQL's container, in Synapse's database and as its role, which needs no
/// password there; nothing can be written in that session.
pub(super) fn ask_read_only(patience_millis: u32, query: &str) -> Vec<String> {
    let options =
        format!("--env=PGOPTIONS=-c default_transaction_read_only=on -c statement_timeout={patience_millis}");
    let psql = [
        "podman",
        "exec",
        options.as_str(),
        "--env=PGCONNECT_TIMEOUT=5",
        stack::postgres::ID.name(),
        "psql",
        "--no-psqlrc",
        "--no-align",
        "--tuples-only",
    ];
    psql.map(str::to_owned)
        .into_iter()
        .chain(synapse::DATABASE.login())
        .chain(["--command".to_owned(), query.to_owned()])
        .collect()
}

pub(super) fn parse_contents(output: &Output) -> Result<Contents, Invalid> {
    match output.status {
        Some(0) => serde_json::from_slice(&output.stdout)
            .map_err(|e| Invalid::new(format!("the database's answer could not be read: {e}"))),
        Some(_) => Err(Invalid::new(last_line(&output.stderr))),
        None => Err(Invalid::new("podman exec did not come to an end")),
    }
}

/// What programs hold of memory for themselves: what they would lose if they
/// ended. Files that the kernel keeps in memory because there is room are not
/// part of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Memory {
    /// What there is in all, as the kernel says it here.
    pub total: u64,
    /// What all programs here hold.
    pub used: u64,
    /// What those of the units asked about hold; units that do not run are absent.
    pub units: BTreeMap<String, u64>,
}

/// A systemd timer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timer {
    /// When it starts its unit next, in seconds since 1970; `None` when it does not.
    pub next: Option<u64>,
    /// When it last did.
    pub last: Option<u64>,
}

/// Reads `systemctl list-timers --all --output=json`: moments in microseconds
/// since 1970, 0 or null for never.
pub(super) fn parse_timers(output: &Output) -> Result<BTreeMap<String, Timer>, Invalid> {
    let rows: Vec<Json> = match output.status {
        Some(0) => serde_json::from_slice(&output.stdout)
            .map_err(|e| Invalid::new(format!("systemctl list-timers: {e}")))?,
        Some(_) => return Err(Invalid::new(last_line(&output.stderr))),
        // No systemd: no timers.
        None => Vec::new(),
    };
    let moment = |row: &Json, key: &str| {
        row.get(key).and_then(Json::as_u64).filter(|at| *at > 0).map(|micros| micros / 1_000_000)
    };
    Ok(rows
        .iter()
        .filter_map(|row| {
            let unit = row.get("unit")?.as_str()?.to_owned();
            Some((unit, Timer { next: moment(row, "next"), last: moment(row, "last") }))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn printed(status: Option<i32>, stdout: &str, stderr: &str) -> Output {
        Output { status, stdout: stdout.into(), stderr: stderr.into() }
    }

    #[test]
    fn contents_are_read() {
        let text = r#"{"users" : 3, "rooms" : 2, "local_media" : {"files" : 1, "bytes" : 12}, "remote_media" : {"files" : 0, "bytes" : 0}, "thumbnails" : {"files" : 4, "bytes" : 99}, "database" : 21000000}"#;
        let contents = parse_contents(&printed(Some(0), text, "")).unwrap();
        assert_eq!((contents.users, contents.local_media.bytes, contents.thumbnails.files), (3, 12, 4));
        let refused = printed(Some(1), "", "ERROR:  canceling statement due to statement timeout\n");
        assert!(parse_contents(&refused).unwrap_err().to_string().contains("timeout"));
    }

    #[test]
    fn timers_are_read() {
        let text = r#"[{"next":1764057600000000,"left":1,"last":null,"passed":0,"unit":"matrix-update.timer","activates":"matrix-update.service"},{"next":0,"left":0,"last":1764050000000000,"passed":1,"unit":"apt-daily.timer","activates":"apt-daily.service"}]"#;
        let timers = parse_timers(&printed(Some(0), text, "")).unwrap();
        assert_eq!(timers["matrix-update.timer"], Timer { next: Some(1_764_057_600), last: None });
        assert_eq!(timers["apt-daily.timer"].next, None);
        assert_eq!(parse_timers(&printed(None, "", "")).unwrap(), BTreeMap::new());
        assert!(parse_timers(&printed(Some(1), "", "System has not been booted with systemd")).is_err());
    }
}
