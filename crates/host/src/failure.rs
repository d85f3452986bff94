//! What went wrong, in a form that crosses the connection to the guest.

use std::io;

use matrix_podman_core::disk;
use serde::{Deserialize, Serialize};

/// How many lines a guest may show.
const MOST_EVIDENCE: usize = 100;

/// Something that could not be done: what was being done to what, why it
/// failed, the last lines that show it, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("could not {doing}: {why}")]
pub struct Failure {
    /// Completes "could not …": `write /opt/matrix/x`.
    pub doing: String,
    /// Why it failed.
    pub why: String,
    /// The last lines of what was said meanwhile.
    pub evidence: Vec<String>,
    /// What to do next.
    pub hint: Option<String>,
    /// What kind of failure the system said it is.
    #[serde(default)]
    pub kind: Kind,
    /// Whether it was a guest that said all this. Somebody who took a guest over
    /// may have it say anything, so it is told as the guest's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_guest: bool,
}

/// A kind of failure that is told of in a way of its own.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// Any.
    #[default]
    Other,
    /// A disk is full.
    DiskFull,
}

impl From<&io::Error> for Kind {
    fn from(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::DiskFull,
            _ => Kind::Other,
        }
    }
}

impl Failure {
    /// A failure without evidence or hint.
    pub fn new(doing: impl Into<String>, why: impl ToString) -> Self {
        Self {
            doing: doing.into(),
            why: why.to_string(),
            evidence: Vec::new(),
            hint: None,
            kind: Kind::Other,
            of_guest: false,
        }
    }

    /// The failure that a reader's error carries; where it carries none, the error itself.
    pub(crate) fn carried(error: io::Error, doing: &str) -> Self {
        match error.downcast::<Failure>() {
            Ok(failure) => failure,
            Err(error) => Self::new(doing, error),
        }
    }

    /// The same with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Whether a full disk is why, as the system or a program said it.
    pub fn is_full_disk(&self) -> bool {
        self.kind == Kind::DiskFull
            || disk::says_full(&self.why)
            || self.evidence.iter().any(|line| disk::says_full(line))
    }

    /// The same, saying what to do about a full disk where that is what it was,
    /// whatever was being done when it was full.
    #[must_use]
    pub fn about_full_disk(self, whose: &str) -> Self {
        if !self.is_full_disk() {
            return self;
        }
        let hint = format!("{whose} disk is full: make room (`df -h` there shows where)");
        Self { kind: Kind::DiskFull, ..self }.hint(hint)
    }

    /// The same as a guest said it, in texts no longer than `longest` characters.
    #[must_use]
    pub fn of_guest(mut self, longest: usize) -> Self {
        let cut = |text: &mut String| {
            if let Some((end, _)) = text.char_indices().nth(longest) {
                text.truncate(end);
            }
        };
        self.of_guest = true;
        self.evidence.truncate(MOST_EVIDENCE);
        [&mut self.doing, &mut self.why]
            .into_iter()
            .chain(&mut self.hint)
            .chain(&mut self.evidence)
            .for_each(cut);
        self
    }

    /// The same with lines that show it.
    #[must_use]
    pub fn evidence(mut self, lines: Vec<String>) -> Self {
        self.evidence = lines;
        self
    }
}

/// Gives an error of the system the words that [`Failure`] wants.
pub trait Doing<T> {
    /// Says what was being done; evaluated only on failure.
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T, Failure>;
}

impl<T, E: std::error::Error + 'static> Doing<T> for Result<T, E> {
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T, Failure> {
        self.map_err(|error| {
            let kind_of = |error: &(dyn std::error::Error + 'static)| {
                error.downcast_ref::<io::Error>().map(Kind::from).unwrap_or_default()
            };
            let mut kind = kind_of(&error);
            let mut why = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                why = format!("{why}: {cause}");
                if kind == Kind::Other {
                    kind = kind_of(cause);
                }
                source = cause.source();
            }
            Failure { kind, ..Failure::new(doing(), why) }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_is_known_by_its_kind_and_by_what_programs_say() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        let failure = Err::<(), _>(full).doing(|| "write /x").unwrap_err();
        assert!(failure.is_full_disk(), "{failure:?}");
        let wrapped = io::Error::other(io::Error::from_raw_os_error(122));
        assert!(Err::<(), _>(wrapped).doing(|| "write /x").unwrap_err().is_full_disk());
        let said = Failure::new("load the image redis", "podman ended with exit status: 125")
            .evidence(vec!["Error: beginning transaction: database or disk is full".to_owned()])
            .hint("the archive is damaged");
        let told = said.about_full_disk("the guest's");
        assert!(told.hint.as_deref().unwrap().contains("the guest's disk is full: make room"), "{told:?}");
        let other = Failure::new("x", "permission denied").hint("as it was");
        assert_eq!(other.clone().about_full_disk("the guest's"), other);
    }
}
