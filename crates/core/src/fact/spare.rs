//! What is kept in the guest beside what serves.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Amount, Output, last_line, usage::ask_read_only};
use crate::{
    name::{AbsPath, Digest, Invalid},
    stack::{databases, listed},
};

/// An image that Podman has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredImage {
    /// Podman's id.
    pub id: Digest,
    /// All its names.
    pub names: Vec<String>,
    /// Its size in bytes, with layers that it shares with others.
    pub bytes: u64,
    /// Whether there is a container of it, running or not.
    pub used: bool,
}

/// Reads `podman images --format=json`.
pub(super) fn parse_images(output: &Output) -> Result<Vec<StoredImage>, Invalid> {
    let rows: Vec<Json> = match output.status {
        Some(0) => {
            serde_json::from_slice(&output.stdout).map_err(|e| Invalid::new(format!("podman images: {e}")))?
        }
        Some(_) => return Err(Invalid::new(last_line(&output.stderr))),
        None => Vec::new(),
    };
    rows.iter()
        .map(|row| {
            let id = row.get("Id").and_then(Json::as_str).unwrap_or_default();
            let number = |key: &str| row.get(key).and_then(Json::as_u64).unwrap_or_default();
            let names = row.get("Names").and_then(Json::as_array).into_iter().flatten();
            Ok(StoredImage {
                id: Digest::parse(&format!("sha256:{}", id.trim_start_matches("sha256:")))?,
                names: names.filter_map(Json::as_str).map(str::to_owned).collect(),
                bytes: number("Size"),
                used: number("Containers") > 0,
            })
        })
        .collect()
}

/// What PostgreSQL keeps beside the databases that serve, and what Synapse keeps
/// of other servers' media.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spare {
    /// Sizes of all other databases.
    pub databases: BTreeMap<String, u64>,
    /// Copies of other servers' media that nobody looked at since the moment
    /// asked about.
    pub media: Amount,
}

/// As long as the question may take.
const PATIENCE_MILLIS: u32 = 10_000;

pub(super) fn ask_spare(media_before: Option<u64>) -> Vec<String> {
    let before = media_before.unwrap_or_default();
    let serve = listed(databases().iter().map(|database| database.name));
    let query = format!(
        "SELECT json_build_object(\
'databases', (SELECT coalesce(json_object_agg(datname, pg_database_size(oid)), '{{}}'::json) FROM pg_database \
WHERE datname NOT IN ({serve}) AND NOT datistemplate), \
'media', (SELECT json_build_object('files', count(*), 'bytes', coalesce(sum(media_length), 0)) \
FROM remote_media_cache WHERE quarantined_by IS NULL AND last_access_ts < {before}))"
    );
    ask_read_only(PATIENCE_MILLIS, &query)
}

pub(super) fn parse_spare(output: &Output) -> Result<Spare, Invalid> {
    match output.status {
        Some(0) => serde_json::from_slice(&output.stdout)
            .map_err(|e| Invalid::new(format!("the database's answer could not be read: {e}"))),
        Some(_) => Err(Invalid::new(last_line(&output.stderr))),
        None => Err(Invalid::new("podman exec did not come to an end")),
    }
}

/// What each of the folders takes on the disk, in bytes.
pub(super) fn ask_sizes(folders: &BTreeSet<AbsPath>) -> Vec<String> {
    let argv = ["du", "--summarize", "--block-size=1", "--one-file-system", "--"].map(str::to_owned);
    argv.into_iter().chain(folders.iter().map(ToString::to_string)).collect()
}

/// Reads what `du` printed: size and path, in the order of the paths.
pub(super) fn parse_sizes(output: &Output) -> Result<Vec<(String, u64)>, Invalid> {
    if output.status != Some(0) {
        return Err(Invalid::new(last_line(&output.stderr)));
    }
    let text = String::from_utf8_lossy(&output.stdout);
    let mut sizes = text
        .lines()
        .map(|line| {
            let (bytes, path) = line.split_once('\t')?;
            Some((path.to_owned(), bytes.parse().ok()?))
        })
        .collect::<Option<Vec<_>>>()
        .ok_or_else(|| Invalid::new("what du printed could not be read"))?;
    sizes.sort();
    Ok(sizes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_with_and_without_names_are_read() {
        let id = "3333333333333333333333333333333333333333333333333333333333333333";
        let printed = format!(
            r#"[{{"Id":"{id}","RepoTags":null,"Size":12,"Containers":1,"Names":["localhost/matrix-podman/redis:1"]}},
            {{"Id":"sha256:{id}","Size":5,"Containers":0,"Dangling":true}}]"#
        );
        let output = Output { status: Some(0), stdout: printed.into_bytes(), stderr: Vec::new() };
        let images = parse_images(&output).unwrap();
        assert_eq!((images[0].names.len(), images[0].bytes, images[0].used), (1, 12, true));
        assert_eq!((images[1].names.len(), images[1].id.hex(), images[1].used), (0, id, false));
    }

    #[test]
    fn sizes_of_folders_are_read() {
        let ran = |status, stdout: &str| Output {
            status: Some(status),
            stdout: stdout.as_bytes().to_vec(),
            stderr: b"du: cannot access '/a': No such file or directory".to_vec(),
        };
        let sizes = parse_sizes(&ran(0, "4096\t/b c/17\n12\t/a\n")).unwrap();
        assert_eq!(sizes, [("/a".to_owned(), 12), ("/b c/17".to_owned(), 4096)]);
        assert!(parse_sizes(&ran(0, "12 /a\n")).is_err());
        assert!(parse_sizes(&ran(1, "")).is_err());
    }

    #[test]
    fn what_is_kept_beside_is_read() {
        let printed = br#"{"databases" : { "postgres" : 7, "synapse_of_generation_2" : 9 }, "media" : {"files" : 0, "bytes" : 0}}"#;
        let output = Output { status: Some(0), stdout: printed.to_vec(), stderr: Vec::new() };
        assert_eq!(parse_spare(&output).unwrap().databases["synapse_of_generation_2"], 9);
        assert!(ask_spare(Some(5)).last().unwrap().ends_with("last_access_ts < 5))"));
    }
}
