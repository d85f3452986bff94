//! How far a backup is.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::Thread,
    time::Duration,
};

use rustic_core::{Progress, ProgressBars, ProgressType, RusticProgress};

use super::waits::Waits;
use crate::progress::{Saying, Sink};

/// How often it is told.
const EVERY: Duration = Duration::from_millis(250);

/// Bytes that were worked on, counted where they are worked on.
#[derive(Debug, Default)]
struct Count {
    done: AtomicU64,
    total: AtomicU64,
    /// How much came to light after the total was told.
    more: AtomicU64,
}

/// A counter that rustic reports to, and what is waited for meanwhile.
#[derive(Debug, Clone)]
pub struct Counter(Arc<Count>, Waits);

impl ProgressBars for Counter {
    fn progress(&self, kind: ProgressType, _: &str) -> Progress {
        match kind {
            ProgressType::Bytes => {
                self.0.done.store(0, Ordering::Relaxed);
                self.0.total.store(0, Ordering::Relaxed);
                self.0.more.store(0, Ordering::Relaxed);
                Progress::new(Bar(Arc::clone(&self.0)))
            }
            ProgressType::Spinner | ProgressType::Counter => Progress::hidden(),
        }
    }
}

#[derive(Debug)]
struct Bar(Arc<Count>);

impl RusticProgress for Bar {
    fn is_hidden(&self) -> bool {
        false
    }
    fn set_length(&self, length: u64) {
        self.0.total.store(length, Ordering::Relaxed);
    }
    fn set_title(&self, _: &str) {}
    fn inc(&self, more: u64) {
        self.0.done.fetch_add(more, Ordering::Relaxed);
    }
    fn finish(&self) {}
}

/// Ends the watcher when it is dropped.
struct Over<'a> {
    over: &'a AtomicBool,
    watcher: &'a Thread,
}

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.over.store(true, Ordering::Relaxed);
        self.watcher.unpark();
    }
}

impl Counter {
    pub(super) fn new(waits: Waits) -> Self {
        Self(Arc::default(), waits)
    }

    /// There is more than was known.
    pub fn more(&self, bytes: u64) {
        self.0.more.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Does `work` and tells `sink` meanwhile how far it is.
    pub fn while_doing<T>(&self, sink: &Sink, work: impl FnOnce() -> T) -> T {
        let over = AtomicBool::new(false);
        self.1.begin_watching();
        let result = std::thread::scope(|scope| {
            let watcher = scope.spawn(|| {
                let mut told = 0;
                while !over.load(Ordering::Relaxed) {
                    std::thread::park_timeout(EVERY);
                    self.1.pass_on(sink);
                    let done = self.0.done.load(Ordering::Relaxed);
                    let total = self.0.total.load(Ordering::Relaxed);
                    if done != told {
                        told = done;
                        let total = total + self.0.more.load(Ordering::Relaxed);
                        sink(Saying::Bytes { done, total: (total > 0).then_some(total) });
                    }
                }
            });
            // Also when the work panics: the scope waits for the watcher.
            let _over = Over { over: &over, watcher: watcher.thread() };
            work()
        });
        self.1.end_watching(sink);
        result
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_panics_keeps_nobody_waiting() {
        let counter = Counter::new(Waits::new(|_| {}));
        let work = || counter.while_doing(&|_| {}, || panic!("as rustic does"));
        assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).is_err());
    }
}
