//! A run as plain lines, for logs and pipes.

use std::{
    collections::BTreeMap,
    sync::Mutex,
    time::{Duration, Instant},
};

use matrix_podman_host::progress::{Event, Listener, Saying};

use super::{Reporter, bytes, duration, one_line};

/// How often a long step says that it is still at work.
const EVERY: Duration = Duration::from_secs(15);

/// Prints beginnings, ends, and now and then what takes long.
pub struct Plain {
    out: Reporter,
    last: Mutex<BTreeMap<String, Instant>>,
}

impl Plain {
    /// A printer that has said nothing yet.
    pub fn new(out: Reporter) -> Self {
        Self { out, last: Mutex::new(BTreeMap::new()) }
    }

    /// Whether it is time for another word about `id`.
    fn due(&self, id: &str) -> bool {
        let Ok(mut last) = self.last.lock() else { return false };
        let now = Instant::now();
        match last.get(id) {
            Some(at) if now.duration_since(*at) < EVERY => false,
            _ => {
                last.insert(id.to_owned(), now);
                true
            }
        }
    }
}

impl Listener for Plain {
    fn on(&self, event: &Event<'_>) {
        let say = |text: &str| self.out.say(text);
        match event {
            Event::Started { id, what } => {
                self.due(id);
                say(&format!("begin  {what}"));
            }
            Event::Finished { what, millis, .. } => say(&format!("done   {what} ({})", duration(*millis))),
            Event::Failed { what, why, .. } => say(&format!("failed {what}: {}", one_line(why))),
            Event::Note { text } => say(text),
            Event::Doing { .. } => {}
            // However little is said, this is.
            Event::Said { id, saying: Saying::TriesAgain(why) } => {
                say(&format!("       {id}: {}", one_line(why)))
            }
            Event::Said { id, saying } if self.due(id) => match saying {
                Saying::Line(line) => say(&format!("       {id}: {}", one_line(line))),
                Saying::TriesAgain(why) => say(&format!("       {id}: {}", one_line(why))),
                Saying::WaitsFor(what) => say(&format!("       {id}: waits for {}", one_line(what))),
                Saying::Share { percent, at } => say(&format!("       {id}: {percent} %: {}", one_line(at))),
                Saying::Bytes { done, total } => say(&format!("       {id}: {}", share(*done, *total))),
            },
            Event::Said { .. } => {}
        }
    }
}

/// `120 MiB of 480 MiB`
fn share(done: u64, total: Option<u64>) -> String {
    match total {
        Some(total) => format!("{} of {}", bytes(done), bytes(total)),
        None => bytes(done),
    }
}
