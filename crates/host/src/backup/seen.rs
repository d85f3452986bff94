//! Digests of media, found while the media go into a snapshot.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use matrix_podman_core::name::Digest;
use sha2::{Digest as _, Sha256};

/// How long nothing may be done with before the rest counts as unknown. Who
/// asks for the digests is also who hands out what is read: one that is held
/// back until more is handed out would be waited for without an end.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is known of the media that are being read.
#[derive(Debug, Clone, Default)]
pub struct Seen(Arc<(Mutex<State>, Condvar)>);

#[derive(Debug, Default)]
struct State {
    /// Those that are not done with.
    open: BTreeSet<String>,
    /// Those that are.
    done: Digests,
}

/// What was found, by path.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256 in hexadecimal of those that were read to their end.
    pub read: BTreeMap<String, String>,
    /// Those that were passed over.
    pub passed_over: BTreeSet<String>,
}

impl Seen {
    /// One begins; it is done with when what is given is dropped, read or not.
    pub fn begin(&self, path: String) -> Seeing {
        self.with(|state| {
            state.open.insert(path.clone());
        });
        Seeing { path, hash: Sha256::new(), ended: false, seen: self.clone() }
    }

    /// What was found, when all that begun are done with.
    pub fn digests(&self) -> Digests {
        self.digests_within(PATIENCE)
    }

    fn digests_within(&self, patience: Duration) -> Digests {
        let (state, changed) = &*self.0;
        let Ok(mut state) = state.lock() else { return Digests::default() };
        while !state.open.is_empty() {
            let open = state.open.len();
            let Ok((now, _)) = changed.wait_timeout_while(state, patience, |state| state.open.len() == open)
            else {
                return Digests::default();
            };
            state = now;
            if state.open.len() == open {
                break;
            }
        }
        std::mem::take(&mut state.done)
    }

    fn with(&self, change: impl FnOnce(&mut State)) {
        let (state, changed) = &*self.0;
        if let Ok(mut state) = state.lock() {
            change(&mut state);
            changed.notify_all();
        }
    }
}

/// One of them, while it is read.
pub struct Seeing {
    path: String,
    hash: Sha256,
    ended: bool,
    seen: Seen,
}

impl Seeing {
    /// This is what comes next of it; nothing is its end.
    pub fn goes_by(&mut self, bytes: &[u8]) {
        self.hash.update(bytes);
        self.ended = bytes.is_empty();
    }
}

impl Drop for Seeing {
    fn drop(&mut self) {
        let digest = Digest::of_sha256(&std::mem::take(&mut self.hash).finalize()).hex().to_owned();
        let path = std::mem::take(&mut self.path);
        self.seen.with(|state| {
            state.open.remove(&path);
            if self.ended {
                state.done.read.insert(path, digest);
            } else {
                state.done.passed_over.insert(path);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn only_what_was_read_to_its_end_has_a_digest() {
        let seen = Seen::default();
        let mut whole = seen.begin("whole".to_owned());
        whole.goes_by(b"a");
        whole.goes_by(b"bc");
        whole.goes_by(b"");
        let mut cut = seen.begin("cut".to_owned());
        cut.goes_by(b"abc");
        drop((whole, cut, seen.begin("unread".to_owned())));
        let digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        let found = seen.digests();
        assert_eq!(found.read, BTreeMap::from([("whole".to_owned(), digest.to_owned())]));
        assert_eq!(found.passed_over, BTreeSet::from(["cut".to_owned(), "unread".to_owned()]));
    }

    #[test]
    fn it_waits_for_all_that_begun() {
        let seen = Seen::default();
        let mut late = seen.begin("late".to_owned());
        std::thread::scope(|scope| {
            scope.spawn(move || {
                std::thread::sleep(Duration::from_millis(50));
                late.goes_by(b"");
            });
            assert_eq!(seen.digests().read.len(), 1);
        });
    }

    #[test]
    fn one_that_is_held_back_is_unknown_and_not_waited_for_without_an_end() {
        let seen = Seen::default();
        let held_back = seen.begin("held back".to_owned());
        drop(seen.begin("other".to_owned()));
        let found = seen.digests_within(Duration::from_millis(50));
        assert_eq!(found.passed_over, BTreeSet::from(["other".to_owned()]));
        drop(held_back);
    }
}
