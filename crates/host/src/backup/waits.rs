//! What a store waits for before it tries again.

use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use crate::progress::{Saying, Sink};

/// Tells somebody who is not watching a piece of work.
pub type Tell = fn(&str);

/// Where it is told that something is waited for, and why.
#[derive(Clone)]
pub(super) struct Waits(Arc<Inner>);

struct Inner {
    tell: Tell,
    /// What is still to be reported; nothing where nobody watches.
    watched: Mutex<Option<Vec<String>>>,
}

impl fmt::Debug for Waits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Waits")
    }
}

impl Waits {
    pub fn new(tell: Tell) -> Self {
        Self(Arc::new(Inner { tell, watched: Mutex::new(None) }))
    }

    /// Tells why something is waited for.
    pub fn note(&self, why: String) {
        let mut watched = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner);
        match watched.as_mut() {
            Some(untold) => untold.push(why),
            None => (self.0.tell)(&why),
        }
    }

    /// From here on it is reported.
    pub fn begin_watching(&self) {
        *self.0.watched.lock().unwrap_or_else(PoisonError::into_inner) = Some(Vec::new());
    }

    /// Passes on what was noted.
    pub fn pass_on(&self, sink: &Sink) {
        let mut watched = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner);
        let untold = watched.as_mut().map(std::mem::take).unwrap_or_default();
        drop(watched);
        untold.into_iter().for_each(|why| sink(Saying::TriesAgain(why)));
    }

    /// Nobody watches any more.
    pub fn end_watching(&self, sink: &Sink) {
        self.pass_on(sink);
        let last = self.0.watched.lock().unwrap_or_else(PoisonError::into_inner).take();
        last.unwrap_or_default().iter().for_each(|why| (self.0.tell)(why));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_told_to_whoever_watches() {
        let waits = Waits::new(|_| panic!("somebody watches"));
        waits.begin_watching();
        waits.note("a".to_owned());
        let told = Mutex::new(Vec::new());
        let sink = |saying: Saying| told.lock().unwrap().push(saying);
        waits.pass_on(&sink);
        waits.note("b".to_owned());
        waits.end_watching(&sink);
        let all = ["a", "b"].map(|why| Saying::TriesAgain(why.to_owned()));
        assert_eq!(*told.lock().unwrap(), all);
    }

    #[test]
    fn where_nobody_watches_it_is_told_at_once() {
        static TOLD: Mutex<Vec<String>> = Mutex::new(Vec::new());
        Waits::new(|why| TOLD.lock().unwrap().push(why.to_owned())).note("a".to_owned());
        assert_eq!(*TOLD.lock().unwrap(), ["a"]);
    }
}
