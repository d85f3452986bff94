//! What work tells whoever watches it.

use std::time::Instant;

use serde::{Deserialize, Serialize};

/// Something about how a piece of work goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Saying {
    /// A line that a program printed.
    Line(String),
    /// How far a piece of work is, in hundredths, and what it is at.
    Share {
        /// So much is done.
        percent: u8,
        /// What it is at.
        at: String,
    },
    /// How far a transfer is, in bytes.
    Bytes {
        /// So much is done.
        done: u64,
        /// Of so much, when that is known.
        total: Option<u64>,
    },
    /// What is being waited for.
    WaitsFor(String),
    /// What went wrong and is tried again, and when.
    TriesAgain(String),
}

/// Who hears how a piece of work goes.
pub type Sink<'a> = dyn Fn(Saying) + Sync + 'a;

/// Something that happened in a run.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum Event<'a> {
    /// A step begins.
    Started {
        /// The resource.
        id: &'a str,
        /// What is done, as a sentence.
        what: &'a str,
    },
    /// One of its acts begins.
    Doing {
        /// The resource.
        id: &'a str,
        /// The act.
        effect: String,
    },
    /// Something about how it goes.
    Said {
        /// The resource.
        id: &'a str,
        /// What.
        saying: &'a Saying,
    },
    /// A step is done.
    Finished {
        /// The resource.
        id: &'a str,
        /// What was done.
        what: &'a str,
        /// How long it took, in milliseconds.
        millis: u64,
    },
    /// A step failed.
    Failed {
        /// The resource.
        id: &'a str,
        /// What was to be done.
        what: &'a str,
        /// Why it was not.
        why: String,
    },
    /// Something that a person should know.
    Note {
        /// The sentence.
        text: String,
    },
}

/// Who watches a run.
pub trait Listener: Sync {
    /// Something happened.
    fn on(&self, event: &Event<'_>);
}

/// Nobody watches.
impl Listener for () {
    fn on(&self, _: &Event<'_>) {}
}

/// How long ago that was, in milliseconds.
pub(crate) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}
