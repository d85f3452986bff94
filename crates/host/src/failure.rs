//! What went wrong, in a form that crosses the connection to the guest.

use std::io;

use matrix_podman_core::{disk, format::Unread};
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
    /// The program in the guest speaks a newer protocol.
    NewerProgram,
    /// What was free when the plan was made is somebody else's now; others are free.
    Taken,
}

impl Kind {
    /// The kind of an error, or of the one that it carries.
    fn of(error: &(dyn std::error::Error + 'static)) -> Self {
        if let Some(failure) = error.downcast_ref::<Failure>() {
            return failure.kind;
        }
        let Some(error) = error.downcast_ref::<io::Error>() else { return Kind::Other };
        match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Kind::DiskFull,
            _ => error.get_ref().map_or(Kind::Other, |carried| Kind::of(carried)),
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

    /// A failure to read a document, with what to do where a newer program wrote it.
    pub fn unread(doing: impl Into<String>, why: &Unread) -> Self {
        Self { hint: why.hint().map(str::to_owned), ..Self::new(doing, why) }
    }

    /// The same with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// A failure because of an error, and of the errors behind that; their kind is its own.
    pub fn of(doing: impl Into<String>, error: &(dyn std::error::Error + 'static)) -> Self {
        let (mut kind, mut why) = (Kind::of(error), error.to_string());
        let mut source = error.source();
        while let Some(cause) = source {
            why = format!("{why}: {cause}");
            if kind == Kind::Other {
                kind = Kind::of(cause);
            }
            source = cause.source();
        }
        Self { kind, ..Self::new(doing, why) }
    }

    /// The same whose reason is somebody else's words, who has no other way to say of what
    /// kind it is: another machine's, or a library's.
    #[must_use]
    pub fn in_their_words(self) -> Self {
        let full = disk::says_full(&self.why);
        self.with_full_disk(full)
    }

    fn with_full_disk(mut self, full: bool) -> Self {
        if full {
            self.kind = Kind::DiskFull;
        }
        self
    }

    /// Whether a full disk is why.
    pub fn is_full_disk(&self) -> bool {
        self.kind == Kind::DiskFull
    }

    /// The same, saying what to do about a full disk where that is what it was,
    /// whatever was being done when it was full.
    #[must_use]
    pub fn about_full_disk(self, whose: &str) -> Self {
        if !self.is_full_disk() {
            return self;
        }
        self.hint(format!("{whose} disk is full: make room (`df -h` there shows where)"))
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

    /// The same with lines that show it, as a program printed them: it has no other way to
    /// say that a disk is full.
    #[must_use]
    pub fn evidence(mut self, lines: Vec<String>) -> Self {
        let full = lines.iter().any(|line| disk::says_full(line));
        self.evidence = lines;
        self.with_full_disk(full)
    }
}

/// Gives an error of the system the words that [`Failure`] wants.
pub trait Doing<T> {
    /// Says what was being done; evaluated only on failure.
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T, Failure>;
}

impl<T, E: std::error::Error + 'static> Doing<T> for Result<T, E> {
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T, Failure> {
        self.map_err(|error| Failure::of(doing(), &error))
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
        let carried = io::Error::other(failure);
        assert!(Err::<(), _>(carried).doing(|| "restore /x").unwrap_err().is_full_disk());
        let library = Failure::new("write a pack", "the store: No space left on device");
        assert!(!library.is_full_disk());
        assert!(library.in_their_words().is_full_disk());
        let said = Failure::new("load the image redis", "podman ended with exit status: 125")
            .evidence(vec!["Error: beginning transaction: database or disk is full".to_owned()])
            .hint("the archive is damaged");
        let told = said.about_full_disk("the guest's");
        assert!(told.hint.as_deref().unwrap().contains("the guest's disk is full: make room"), "{told:?}");
        let other = Failure::new("x", "permission denied").hint("as it was");
        assert_eq!(other.clone().about_full_disk("the guest's"), other);
    }
}
