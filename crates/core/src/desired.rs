//! Files and folders as they should be.

use serde::{Deserialize, Serialize};

use crate::{
    layout::Secret,
    name::{AbsPath, Mode, Owner},
};

/// A file as it should be, in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredFile {
    /// Where it is.
    pub path: AbsPath,
    /// All of its text.
    pub content: String,
    /// Permission bits.
    pub mode: Mode,
    /// Owner.
    pub owner: Owner,
    /// One sentence for the plan: what it is for.
    pub why: &'static str,
}

impl DesiredFile {
    /// A file of root's that everybody may read.
    pub(crate) fn public(path: AbsPath, content: String, why: &'static str) -> Self {
        Self { path, content, mode: Mode(0o644), owner: Owner::ROOT, why }
    }

    /// A file of root's that besides root only the group of `reader` may read.
    pub(crate) fn read_by(reader: Owner, path: AbsPath, content: String, why: &'static str) -> Self {
        let owner = Owner { uid: 0, gid: reader.gid };
        Self { path, content, mode: Mode(0o440), owner, why }
    }
}

/// A folder as it should be, in the guest; what is in it is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredFolder {
    /// Where it is.
    pub path: AbsPath,
    /// Permission bits.
    pub mode: Mode,
    /// Owner.
    pub owner: Owner,
}

impl DesiredFolder {
    /// A folder.
    pub(crate) const fn new(path: AbsPath, mode: u32, owner: Owner) -> Self {
        Self { path, mode: Mode(mode), owner }
    }
}

/// A file with secrets in it, as it should be, in the guest. It is put together there,
/// and only its owner can read it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredSecretFile {
    /// Where it is.
    pub path: AbsPath,
    /// What it holds.
    pub template: SecretTemplate,
    /// Its owner, who alone reads it.
    pub owner: Owner,
    /// One sentence for the plan: what it is for.
    pub why: &'static str,
}

impl DesiredSecretFile {
    /// Permission bits of every such file.
    pub const MODE: Mode = Mode(0o400);
}

/// Text with places for secrets, which are filled in where the secrets are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SecretTemplate(Vec<TemplatePart>);

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
enum TemplatePart {
    Text(String),
    Secret(Secret),
}

impl SecretTemplate {
    /// What is said between secrets, beginning with text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(vec![TemplatePart::Text(text.into())])
    }

    /// Then the secret.
    pub(crate) fn secret(mut self, secret: Secret) -> Self {
        self.0.push(TemplatePart::Secret(secret));
        self
    }

    /// Then text.
    pub(crate) fn text(mut self, text: impl Into<String>) -> Self {
        self.0.push(TemplatePart::Text(text.into()));
        self
    }

    /// The text with what `read` gives for each secret; its error where there is one.
    pub fn fill<E>(&self, mut read: impl FnMut(Secret) -> Result<String, E>) -> Result<String, E> {
        let pieces = self.0.iter().map(|piece| match piece {
            TemplatePart::Text(text) => Ok(text.clone()),
            TemplatePart::Secret(secret) => read(*secret),
        });
        pieces.collect()
    }

    /// The text with the name of each secret in its place, for people and digests.
    pub fn shown(&self) -> String {
        let pieces = self.0.iter().map(|piece| match piece {
            TemplatePart::Text(text) => text.clone(),
            TemplatePart::Secret(secret) => format!("<{}>", secret.title()),
        });
        pieces.collect()
    }
}
