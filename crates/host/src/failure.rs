//! What went wrong, in a form that crosses the connection to the guest.

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
    /// Whether it was a guest that said all this. Somebody who took a guest over
    /// may have it say anything, so it is told as the guest's.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub of_guest: bool,
}

impl Failure {
    /// A failure without evidence or hint.
    pub fn new(doing: impl Into<String>, why: impl ToString) -> Self {
        Self { doing: doing.into(), why: why.to_string(), evidence: Vec::new(), hint: None, of_guest: false }
    }

    /// The same with what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// The same, saying what to do about a full disk where that is what it was,
    /// whatever was being done when it was full.
    #[must_use]
    pub fn about_full_disk(self, whose: &str) -> Self {
        let full = |text: &String| text.contains("o space left on device") || text.contains("os error 28");
        if full(&self.why) || self.evidence.iter().any(full) {
            return self.hint(format!("{whose} disk is full: make room (`df -h` there shows where)"));
        }
        self
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

impl<T, E: std::error::Error> Doing<T> for Result<T, E> {
    fn doing<S: Into<String>>(self, doing: impl FnOnce() -> S) -> Result<T, Failure> {
        self.map_err(|error| {
            let mut why = error.to_string();
            let mut source = error.source();
            while let Some(cause) = source {
                why = format!("{why}: {cause}");
                source = cause.source();
            }
            Failure::new(doing(), why)
        })
    }
}
