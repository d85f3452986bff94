//! What is remembered of backups on this machine, so that a failed one shows.

use std::{fs, path::Path};

use matrix_podman_core::{
    layout,
    name::{Mode, Owner},
};
use rustic_core::jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Made, Snapshot};
use crate::{
    apply::file,
    failure::{Doing, Failure},
};

/// How the last backup of a site went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it ended (RFC 3339).
    pub at: String,
    /// Why it failed, if it did.
    pub why: Option<String>,
    /// The last snapshot that was made.
    pub snapshot: Option<Snapshot>,
}

impl Record {
    /// That of the last backup, if there was one.
    pub fn last(site: &str) -> Option<Self> {
        serde_json::from_slice(&fs::read(layout::backup_record(site).as_str()).ok()?).ok()
    }

    /// Remembers how a backup went.
    pub fn keep<E: std::fmt::Display>(site: &str, result: Result<&Made, &E>) -> Result<(), Failure> {
        let path = layout::backup_record(site);
        let record = Self {
            at: Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            why: result.as_ref().err().map(|error| error.to_string()),
            snapshot: match result {
                Ok(made) => Some(made.snapshot.clone()),
                Err(_) => Self::last(site).and_then(|last| last.snapshot),
            },
        };
        let text = serde_json::to_vec_pretty(&record).doing(|| format!("write {path}"))?;
        file::write(Path::new(path.as_str()), &text, Mode(0o600), Owner::ROOT)
    }
}
