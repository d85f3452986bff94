//! The lock: which images the stack runs, to the last byte (`matrix.lock`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    format::{self, Unread},
    name::{Digest, ServerName},
    service::ServiceId,
};

/// What `matrix.lock` in the guest says. Its truth is the guest's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Format of this file.
    pub format: u32,
    /// The server name that the data was made with; it can never change.
    pub server_name: ServerName,
    /// The image of each service.
    #[serde(default)]
    pub images: BTreeMap<ServiceId, LockedImage>,
}

/// One image, as it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedImage {
    /// What was asked for, in words that tell sources apart: a registry's
    /// reference, `archive:` and a path, or `build:` and the recipe.
    pub wanted: String,
    /// What Podman is told to run: `name@sha256:…` or an image id.
    pub run: String,
    /// Digest of the manifest.
    pub digest: Digest,
    /// Podman's image id: the digest of the image's config.
    pub id: Digest,
    /// Version of the program inside, as the image states it.
    pub version: String,
}

/// The format that this program writes.
pub const FORMAT: u32 = 1;

/// Refuses the text of a lock that a newer program wrote.
pub fn known(text: &str) -> Result<(), Unread> {
    format::toml(text, FORMAT)
}

impl Lock {
    /// A lock without images.
    pub fn new(server_name: ServerName) -> Self {
        Self { format: FORMAT, server_name, images: BTreeMap::new() }
    }

    /// Reads the text of a `matrix.lock`.
    pub fn parse(text: &str) -> Result<Self, Unread> {
        known(text)?;
        toml::from_str(text).map_err(|e| Unread::Otherwise(e.message().to_owned()))
    }

    /// The text of this lock.
    pub fn render(&self) -> Result<String, toml::ser::Error> {
        Ok(format!(
            "# Written by matrix-podman: which images run, to the last byte.\n{}",
            toml::to_string_pretty(self)?
        ))
    }
}

impl LockedImage {
    /// The major version, when the version begins with a number.
    pub fn major(&self) -> Option<u32> {
        let digits: String = self.version.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    }
}
