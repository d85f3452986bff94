//! What only a doctor asks: logs, room, kills, a trial container.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Output;
use crate::name::Invalid;

/// Room on the file system of a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Room {
    /// Bytes that can still be written.
    pub free: u64,
    /// Bytes that it has in all.
    pub total: u64,
    /// Files that can still be made; `None` where their number is not limited.
    pub files_free: Option<u64>,
}

/// The clock, beside the newest of some files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Newest {
    /// Seconds since 1970.
    pub now: u64,
    /// The newest of the files asked about, and when it was last written.
    pub file: Option<(String, u64)>,
}

/// What a command that is itself a trial said.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ran {
    /// Its exit status; `None` when it could not be started or took too long.
    pub status: Option<i32>,
    /// The last lines that it printed.
    pub said: Vec<String>,
}

/// What Podman knows of a container beyond its state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mounts {
    /// What is mounted into it: from the inside to the outside.
    pub mounts: BTreeMap<String, String>,
}

/// How many lines of it are kept.
const LINES: usize = 8;

pub(super) fn parse_lines(stdout: &[u8]) -> Vec<String> {
    String::from_utf8_lossy(stdout).lines().map(str::to_owned).collect()
}

pub(super) fn parse_ran(output: &Output) -> Ran {
    let mut said = parse_lines(&output.stdout);
    said.extend(parse_lines(&output.stderr));
    said.retain(|line| !line.trim().is_empty());
    Ran { status: output.status, said: said.split_off(said.len().saturating_sub(LINES)) }
}

/// Reads `podman container inspect` of one container; one that is not there is
/// only complained about.
pub(super) fn parse_mounts(stdout: &[u8]) -> Result<Option<Mounts>, Invalid> {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Row {
        #[serde(default)]
        mounts: Vec<Mount>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Mount {
        #[serde(default)]
        source: String,
        destination: String,
    }
    let rows: Vec<Row> =
        serde_json::from_slice(stdout).map_err(|e| Invalid::new(format!("podman inspect: {e}")))?;
    Ok(rows.into_iter().next().map(|row| Mounts {
        mounts: row.mounts.into_iter().map(|mount| (mount.destination, mount.source)).collect(),
    }))
}

/// Reads `ss -ltnpH`: which program listens on which port.
pub(super) fn parse_listeners(stdout: &[u8]) -> BTreeMap<u16, String> {
    String::from_utf8_lossy(stdout)
        .lines()
        .filter_map(|line| {
            let port = line.split_whitespace().nth(3)?.rsplit(':').next()?.parse().ok()?;
            // users:(("nginx",pid=123,fd=6))
            let program = line.split_once("((\"").and_then(|(_, rest)| rest.split('"').next());
            Some((port, program.unwrap_or("an unknown program").to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_are_named() {
        let printed = b"LISTEN 0      5            0.0.0.0:8008       0.0.0.0:*    users:((\"python3\",pid=812,fd=3))\nLISTEN 0 128 [::]:22 [::]:*\n";
        let found = parse_listeners(printed);
        assert_eq!(found[&8008], "python3");
        assert_eq!(found[&22], "an unknown program");
    }

    #[test]
    fn mounts_are_read() {
        let printed = br#"[{"Id":"x","Mounts":[{"Type":"bind","Source":"/opt/matrix/a","Destination":"/app/a","RW":false}]}]"#;
        assert_eq!(parse_mounts(printed).unwrap().unwrap().mounts["/app/a"], "/opt/matrix/a");
        assert_eq!(parse_mounts(b"[]").unwrap(), None);
    }
}
