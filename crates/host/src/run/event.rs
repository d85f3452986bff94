//! What a run tells whoever watches.

use serde::Serialize;

use crate::guest::wire::Saying;

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
