//! What a drill proved: dated, and signed by the machine that held it.
//!
//! Whoever can write the file could write anything into it; the signature says
//! that it is what the program wrote, with a key that only root reads.

use std::{fs, path::Path};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, Verifier as _};
use matrix_podman_core::{
    backup::RepositoryName,
    federation::canonical,
    layout,
    name::{Mode, Owner},
};
use serde::{Deserialize, Serialize};

use super::Snapshot;
use crate::{
    failure::{Doing, Failure},
    file,
};

/// What a drill proved, or did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proof {
    /// When it ended (RFC 3339).
    pub at: String,
    /// The snapshot.
    pub snapshot: Snapshot,
    /// How long it took.
    pub seconds: u64,
    /// How many tables were counted.
    pub tables: usize,
    /// How many media files were compared.
    pub media: usize,
    /// The key that Synapse signed with, when it came up: id and public half.
    pub signing_key: Option<(String, String)>,
    /// The test user who was made on what came back and logged in there.
    #[serde(default)]
    pub logged_in: Option<String>,
    /// What was not as it should be; none when the snapshot is good.
    pub wrong: Vec<String>,
    /// Over all of the above.
    #[serde(default)]
    pub signature: Option<Signed>,
}

/// A signature, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signed {
    /// The public half of the machine's key: ed25519, in base64 without padding.
    pub key: String,
    /// The signature over the proof's canonical JSON without this, in the same form.
    pub signature: String,
}

/// What a proof's signature is worth here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// This machine signed it, and nothing of it was changed since.
    Holds,
    /// There is none.
    Unsigned,
    /// Another machine's key signed it.
    AnotherMachine,
    /// The proof is not what was signed.
    Changed,
}

impl Standing {
    /// In words.
    pub const fn said(self) -> &'static str {
        match self {
            Standing::Holds => "signed by this machine",
            Standing::Unsigned => "not signed",
            Standing::AnotherMachine => "signed by another machine",
            Standing::Changed => "changed since it was signed",
        }
    }
}

impl Proof {
    /// Whether everything came back.
    pub fn is_good(&self) -> bool {
        self.wrong.is_empty()
    }

    /// That of the last drill with a repository, if there was one.
    pub fn last(site: &str, repository: &RepositoryName) -> Option<Self> {
        serde_json::from_slice(&fs::read(layout::backup_drill(site, repository).as_str()).ok()?).ok()
    }

    /// Signs it and keeps it as that of the last drill.
    pub(super) fn keep(&mut self, site: &str, repository: &RepositoryName) -> Result<(), Failure> {
        self.sign(&machine_key()?).map_err(|why| Failure::new("sign the proof of the drill", why))?;
        let path = layout::backup_drill(site, repository);
        let text = serde_json::to_vec_pretty(self).doing(|| format!("write {path}"))?;
        file::write(Path::new(path.as_str()), &text, Mode(0o600), Owner::ROOT)
    }

    /// What its signature is worth on this machine.
    pub fn standing(&self) -> Standing {
        self.standing_with(fs::read_to_string(layout::PROOF_KEY).ok().as_deref().and_then(parse_key).as_ref())
    }

    fn standing_with(&self, own: Option<&SigningKey>) -> Standing {
        let Some(signed) = &self.signature else { return Standing::Unsigned };
        let Some(own) = own.map(SigningKey::verifying_key) else { return Standing::AnotherMachine };
        if signed.key != STANDARD_NO_PAD.encode(own.as_bytes()) {
            return Standing::AnotherMachine;
        }
        let holds = || {
            let bytes = STANDARD_NO_PAD.decode(&signed.signature).ok()?;
            own.verify(self.text().ok()?.as_bytes(), &Signature::from_slice(&bytes).ok()?).ok()
        };
        if holds().is_some() { Standing::Holds } else { Standing::Changed }
    }

    fn sign(&mut self, key: &SigningKey) -> Result<(), String> {
        let signature = key.sign(self.text()?.as_bytes());
        self.signature = Some(Signed {
            key: STANDARD_NO_PAD.encode(key.verifying_key().as_bytes()),
            signature: STANDARD_NO_PAD.encode(signature.to_bytes()),
        });
        Ok(())
    }

    /// What is signed.
    fn text(&self) -> Result<String, String> {
        let bare = Self { signature: None, ..self.clone() };
        let value = serde_json::to_value(bare).map_err(|e| e.to_string())?;
        canonical(&value).map_err(|e| e.to_string())
    }
}

/// The key that this machine signs with; made when it is wanted first.
fn machine_key() -> Result<SigningKey, Failure> {
    let path = Path::new(layout::PROOF_KEY);
    let doing = || format!("read the key that proofs are signed with, {}", path.display());
    match fs::read_to_string(path) {
        Ok(text) => parse_key(&text).ok_or_else(|| {
            Failure::new(doing(), "it is no ed25519 key")
                .hint(format!("move {} away; the next drill makes another one", path.display()))
        }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            let mut seed = [0; 32];
            getrandom::fill(&mut seed).doing(|| "get random bytes from the system")?;
            let text = format!("{}\n", STANDARD_NO_PAD.encode(seed));
            file::write(path, text.as_bytes(), Mode(0o400), Owner::ROOT)?;
            Ok(SigningKey::from_bytes(&seed))
        }
        Err(e) => Err(e).doing(doing),
    }
}

fn parse_key(text: &str) -> Option<SigningKey> {
    let seed: [u8; 32] = STANDARD_NO_PAD.decode(text.trim()).ok()?.try_into().ok()?;
    Some(SigningKey::from_bytes(&seed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proof() -> Proof {
        Proof {
            at: "2026-01-02T03:04:05Z".to_owned(),
            snapshot: Snapshot {
                id: "0123abcd".to_owned(),
                time: "2026-01-02T03:00:00Z".to_owned(),
                server_name: "matrix.chat.home.arpa".to_owned(),
                bytes: 1,
                added: 1,
            },
            seconds: 20,
            tables: 170,
            media: 3,
            signing_key: None,
            logged_in: Some("@drill:matrix.chat.home.arpa".to_owned()),
            wrong: vec!["events has 1 rows instead of 2".to_owned()],
            signature: None,
        }
    }

    #[test]
    fn a_signature_holds_until_something_is_changed() {
        let (own, other) = (SigningKey::from_bytes(&[7; 32]), SigningKey::from_bytes(&[8; 32]));
        let mut proof = proof();
        assert_eq!(proof.standing_with(Some(&own)), Standing::Unsigned);
        proof.sign(&own).unwrap();
        let read: Proof = serde_json::from_slice(&serde_json::to_vec(&proof).unwrap()).unwrap();
        assert_eq!(read.standing_with(Some(&own)), Standing::Holds);
        assert_eq!(read.standing_with(Some(&other)), Standing::AnotherMachine);
        assert_eq!(read.standing_with(None), Standing::AnotherMachine);
        let prettier = Proof { wrong: Vec::new(), ..read.clone() };
        assert_eq!(prettier.standing_with(Some(&own)), Standing::Changed);
        let newer = Proof { at: "2026-02-02T03:04:05Z".to_owned(), ..read };
        assert_eq!(newer.standing_with(Some(&own)), Standing::Changed);
    }
}
