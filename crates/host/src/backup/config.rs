//! The config that the machine applied, in a snapshot.
//!
//! The copy among the guest's files proves nothing: anybody in the guest can write it.
//! This one the machine puts there, signed with a key that follows from the repository's
//! own. The guest has neither, and whoever restores has both, on whatever machine.

use std::path::Path;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _};
use matrix_podman_core::{
    config::{Config, Defaults, restored::Origin},
    federation::canonical,
    layout,
    name::{Mode, Owner},
    resource::Site,
};
use rustic_core::repofile::MasterKey;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::proof::Signed;
use crate::{
    failure::{Doing, Failure},
    file,
};

/// A config of a snapshot, and whose word it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotConfig {
    /// The text.
    pub text: String,
    /// Whose copy it is.
    pub origin: Origin,
}

/// The document in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    /// Format of this document.
    format: u32,
    /// The server.
    server_name: String,
    /// When the snapshot was made (RFC 3339); another snapshot's copy is not this one's.
    made_at: String,
    /// The config as applied.
    config: String,
    /// Over all of the above.
    #[serde(default)]
    signature: Option<Signed>,
}

/// The format that this program writes.
const FORMAT: u32 = 1;

impl Kept {
    /// Signed, as it is put into a snapshot.
    pub(super) fn signed(
        server_name: &str,
        made_at: &str,
        config: String,
        master: &MasterKey,
    ) -> Result<String, Failure> {
        let doing = || "sign the config in the snapshot";
        let (server_name, made_at) = (server_name.to_owned(), made_at.to_owned());
        let mut kept = Self { format: FORMAT, server_name, made_at, config, signature: None };
        let text = kept.text().map_err(|why| Failure::new(doing(), why))?;
        let key = key(master);
        kept.signature = Some(Signed {
            key: STANDARD_NO_PAD.encode(key.verifying_key().as_bytes()),
            signature: STANDARD_NO_PAD.encode(key.sign(text.as_bytes()).to_bytes()),
        });
        serde_json::to_string_pretty(&kept).doing(doing).map(|text| text + "\n")
    }

    /// The config in `text`, if the machine that made this very snapshot put it there.
    pub(super) fn authentic(
        text: &str,
        server_name: &str,
        made_at: &str,
        master: &MasterKey,
    ) -> Option<String> {
        let kept: Self = serde_json::from_str(text).ok()?;
        let signature = STANDARD_NO_PAD.decode(&kept.signature.as_ref()?.signature).ok()?;
        let signature = Signature::from_slice(&signature).ok()?;
        key(master).verifying_key().verify(kept.text().ok()?.as_bytes(), &signature).ok()?;
        let of_this = kept.format == FORMAT && kept.server_name == server_name && kept.made_at == made_at;
        of_this.then_some(kept.config)
    }

    /// What is signed.
    fn text(&self) -> Result<String, String> {
        let bare = Self { signature: None, ..self.clone() };
        canonical(&serde_json::to_value(bare).map_err(|e| e.to_string())?).map_err(|e| e.to_string())
    }
}

/// The key that signs in a repository: whoever can open the repository has it.
fn key(master: &MasterKey) -> SigningKey {
    let mut seed = Sha256::new();
    seed.update(b"matrix-podman: what the machine says in a snapshot\0");
    for part in [&master.encrypt, &master.mac.k, &master.mac.r] {
        seed.update(part);
    }
    SigningKey::from_bytes(&seed.finalize().into())
}

/// Keeps a site's config as this machine applied it just now.
pub fn keep_applied(site: &Site) -> Result<(), Failure> {
    let path = layout::machine_applied(site.config.site());
    file::write(Path::new(path.as_str()), site.config.to_applied_toml().as_bytes(), Mode(0o600), Owner::ROOT)
}

/// The config as this machine applied it last; one of an older program kept none, and
/// the config that the operator wrote stands in for it.
pub(super) fn applied(site: &Site) -> String {
    let path = layout::machine_applied(site.config.site());
    let kept = std::fs::read_to_string(path.as_str()).ok().filter(|text| {
        let read = Config::parse_with(text, path.as_str(), &[], &Defaults::default());
        read.is_ok_and(|config| config.server_name == site.config.server_name)
    });
    kept.unwrap_or_else(|| site.config.to_applied_toml())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_machine_put_into_this_very_snapshot_is_the_machines() {
        let (own, other) = (MasterKey::new(), MasterKey::new());
        let (name, at) = ("matrix.chat.home.arpa", "2026-01-02T03:04:05Z");
        let text = Kept::signed(name, at, "domain = \"chat.home.arpa\"".to_owned(), &own).unwrap();
        let config = |text: &str, name, at, key| Kept::authentic(text, name, at, key);
        assert_eq!(config(&text, name, at, &own).as_deref(), Some("domain = \"chat.home.arpa\""));
        assert_eq!(config(&text, name, at, &other), None, "another repository's");
        assert_eq!(config(&text, "other", at, &own), None, "another server's");
        assert_eq!(config(&text, name, "2026-01-03T03:04:05Z", &own), None, "another snapshot's");
        assert_eq!(config(&text.replace("chat.home", "evil.home"), name, at, &own), None, "changed");
        // What somebody without the repository's key can make up.
        let made_up = Kept::signed(name, at, "host = \"ssh://root@evil\"".to_owned(), &other).unwrap();
        let bare = r#"{"format": 1, "server_name": "matrix.chat.home.arpa", "made_at": "2026-01-02T03:04:05Z", "config": ""}"#;
        for text in [made_up.as_str(), bare, "{}", ""] {
            assert_eq!(config(text, name, at, &own), None, "{text}");
        }
    }
}
