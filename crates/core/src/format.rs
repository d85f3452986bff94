//! Numbers of formats. What is kept for longer than a run says in which format it is;
//! a program that is older than what it reads refuses it and leaves it alone.

use serde::Deserialize;

/// What to do where a newer program was at work.
pub const UPGRADE: &str = "nothing was changed; install that version here, or a later one: `apt upgrade`, or install.sh of its release";

/// Why a document cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unread {
    /// A newer program wrote it.
    #[error("it has format {found}, which a newer matrix-podman wrote; this one knows {known}")]
    Newer {
        /// Its format.
        found: u32,
        /// The newest that this program knows.
        known: u32,
    },
    /// Anything else.
    #[error("{0}")]
    Otherwise(String),
}

impl Unread {
    /// What to do, where that is more than to look at the document.
    pub fn hint(&self) -> Option<&'static str> {
        matches!(self, Unread::Newer { .. }).then_some(UPGRADE)
    }
}

/// The format of a document: what does not say one is of the first.
#[derive(Debug, Deserialize)]
struct Numbered {
    #[serde(default = "first")]
    format: u32,
}

/// The format of documents that say none.
pub(crate) const fn first() -> u32 {
    1
}

/// Refuses JSON of a newer format than `known`, whatever else is in it.
pub fn json(text: &str, known: u32) -> Result<(), Unread> {
    let head: Numbered = serde_json::from_str(text).map_err(|e| Unread::Otherwise(e.to_string()))?;
    check(head.format, known)
}

/// Refuses TOML of a newer format than `known`, whatever else is in it.
pub fn toml(text: &str, known: u32) -> Result<(), Unread> {
    let head: Numbered = toml::from_str(text).map_err(|e| Unread::Otherwise(e.message().to_owned()))?;
    check(head.format, known)
}

/// Refuses a newer format than `known`.
pub fn check(found: u32, known: u32) -> Result<(), Unread> {
    if found > known { Err(Unread::Newer { found, known }) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_newer_format_is_refused_whatever_else_has_changed() {
        let newer = Unread::Newer { found: 2, known: 1 };
        assert!(newer.hint().is_some());
        assert_eq!(toml("format = 2\nnew = [1]\n", 1), Err(newer.clone()));
        assert_eq!(json(r#"{"format": 2, "images": "of another kind"}"#, 1), Err(newer));
        assert_eq!(json(r#"{"anything": true}"#, 1), Ok(()), "what says none is of the first");
        assert_eq!(toml("", 1), Ok(()));
        assert!(matches!(json("{", 1), Err(Unread::Otherwise(_))));
    }
}
