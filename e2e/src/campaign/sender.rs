//! Somebody who sends messages all the time, and remembers which of them the server
//! acknowledged.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crate::Session;

/// Between two messages.
const PAUSE: Duration = Duration::from_millis(60);

/// One who is at it. The thread ends by itself: a request to a server that is gone
/// may wait for long, and nobody waits for it.
pub struct Sender {
    stop: Arc<AtomicBool>,
    acknowledged: Arc<Mutex<Vec<String>>>,
}

impl Sender {
    /// Begins to send into a room, in words that begin with `tag`.
    pub fn start(session: Session, room: String, tag: String) -> Self {
        let (stop, acknowledged) = (Arc::new(AtomicBool::new(false)), Arc::new(Mutex::new(Vec::new())));
        let (stopped, into) = (Arc::clone(&stop), Arc::clone(&acknowledged));
        thread::spawn(move || {
            let mut number = 0;
            while !stopped.load(Ordering::Relaxed) {
                let text = format!("{tag} {number}");
                if session.send(&room, &text).is_ok() {
                    into.lock().unwrap_or_else(PoisonError::into_inner).push(text);
                }
                number += 1;
                thread::sleep(PAUSE);
            }
        });
        Self { stop, acknowledged }
    }

    /// Ends; what was acknowledged.
    pub fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        // What was acknowledged a moment ago is noted by now.
        thread::sleep(PAUSE);
        self.acknowledged.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
