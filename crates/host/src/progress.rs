//! What work reports while it goes on.

use std::time::Instant;

use serde::{Deserialize, Serialize};

use crate::failure::Failure;

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

/// Does a piece of work and tells `listener` that it begins, how it goes, and how
/// it ended. `what` is a sentence in the imperative.
pub fn told<T>(
    listener: &dyn Listener,
    id: &str,
    what: &str,
    work: impl FnOnce(&Sink) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let started = Instant::now();
    listener.on(&Event::Started { id, what });
    let result = work(&|saying| listener.on(&Event::Said { id, saying: &saying }));
    match &result {
        Ok(_) => listener.on(&Event::Finished { id, what, millis: millis(started) }),
        Err(failure) => listener.on(&Event::Failed { id, what, why: failure.to_string() }),
    }
    result
}

/// How long ago that was, in milliseconds.
pub(crate) fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    struct Heard(Mutex<Vec<String>>);

    impl Listener for Heard {
        fn on(&self, event: &Event<'_>) {
            let word = match event {
                Event::Started { what, .. } => format!("started {what}"),
                Event::Said { saying: Saying::Line(line), .. } => format!("said {line}"),
                Event::Finished { id, .. } => format!("finished {id}"),
                Event::Failed { why, .. } => format!("failed: {why}"),
                other => format!("{other:?}"),
            };
            self.0.lock().unwrap().push(word);
        }
    }

    #[test]
    fn whoever_watches_is_told_of_the_beginning_and_of_the_end() {
        let heard = Heard(Mutex::default());
        let done = told(&heard, "a", "Do a", |sink| {
            sink(Saying::Line("half".to_owned()));
            Ok(7)
        });
        assert_eq!(done, Ok(7));
        told(&heard, "b", "Do b", |_| Err::<(), _>(Failure::new("do b", "no"))).unwrap_err();
        let all = ["started Do a", "said half", "finished a", "started Do b", "failed: could not do b: no"];
        assert_eq!(*heard.0.lock().unwrap(), all);
    }
}
