//! A lock in restic's format: what stands in it, and whom it keeps out.
//!
//! A lock is a file in the repository's folder `locks`: JSON, encrypted as everything is
//! that is no pack, under the name of its own digest (restic design, "Locks").

use std::time::{Duration, SystemTime};

use aes256ctr_poly1305aes::{Aes256CtrPoly1305Aes, Key, Nonce, aead::Aead as _};
use matrix_podman_core::name::Digest;
use rustic_core::{jiff::Timestamp, repofile::MasterKey};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// How old a lock is before it counts as left behind, and how far ahead of our clock it
/// may be dated before that is no date.
pub const STALE: Duration = Duration::from_secs(30 * 60);
/// Length of the random part in front of what is encrypted.
const NONCE: usize = 16;
/// A lock is some hundred bytes long; more is none.
const LONGEST: usize = 64 << 10;
/// Stands before what is compressed, in repositories of format 2.
const COMPRESSED: u8 = 2;

/// What somebody does in a repository.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Reads, or adds to it: any number of them may at a time.
    Shared,
    /// Removes from it: nobody else may do anything meanwhile.
    Exclusive,
}

/// A lock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// When it was written, or last refreshed.
    pub time: Timestamp,
    /// Whether nobody else may do anything.
    #[serde(default)]
    pub exclusive: bool,
    /// The machine that it was written on.
    #[serde(default)]
    pub hostname: String,
    /// Who wrote it.
    #[serde(default)]
    pub username: String,
    /// The process that wrote it.
    #[serde(default)]
    pub pid: u32,
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    gid: u32,
}

impl Lock {
    /// One of this process, as of `now`.
    pub fn own(wanted: Use, now: SystemTime) -> Self {
        // Not the bare name: restic sends SIGHUP to the process of a lock of its own machine, to
        // see whether it lives, and that would end this one.
        let hostname = format!("{} (matrix-podman)", rustix::system::uname().nodename().to_string_lossy());
        Self {
            time: Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH),
            exclusive: wanted == Use::Exclusive,
            hostname,
            username: "root".to_owned(),
            pid: std::process::id(),
            uid: rustix::process::geteuid().as_raw(),
            gid: rustix::process::getegid().as_raw(),
        }
    }

    /// Its name and its content as they are in a repository with that key.
    pub fn sealed(&self, key: &MasterKey, nonce: [u8; NONCE]) -> Option<(String, Vec<u8>)> {
        let text = serde_json::to_vec(self).ok()?;
        let sealed = cipher(key)?.encrypt(Nonce::from_slice(&nonce), text.as_slice()).ok()?;
        let content = [nonce.as_slice(), &sealed].concat();
        let name = Digest::of_sha256(&Sha256::digest(&content)).hex().to_owned();
        Some((name, content))
    }

    /// What such a content says; none when nobody with that key wrote it.
    pub fn opened(key: &MasterKey, content: &[u8]) -> Option<Self> {
        let (nonce, sealed) = content.split_at_checked(NONCE).filter(|_| content.len() <= LONGEST)?;
        let text = cipher(key)?.decrypt(Nonce::from_slice(nonce), sealed).ok()?;
        match text.split_first() {
            Some((&COMPRESSED, rest)) => {
                serde_json::from_slice(&zstd::bulk::decompress(rest, LONGEST).ok()?).ok()
            }
            _ => serde_json::from_slice(&text).ok(),
        }
    }

    /// Who holds it, for people.
    fn holder(&self) -> String {
        // Whoever can write to the repository wrote it: nothing that a terminal would obey.
        let plain = |text: &str| -> String {
            let good = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ' ' | '(' | ')');
            text.chars().filter(good).take(64).collect()
        };
        format!(
            "{}@{}, process {}, since {}",
            plain(&self.username),
            plain(&self.hostname),
            self.pid,
            self.time.strftime("%Y-%m-%dT%H:%M:%SZ")
        )
    }
}

fn cipher(key: &MasterKey) -> Option<Aes256CtrPoly1305Aes> {
    let bytes = [key.encrypt.as_slice(), &key.mac.k, &key.mac.r].concat();
    // A key of another length is none.
    (bytes.len() == 64).then(|| Aes256CtrPoly1305Aes::new(Key::from_slice(&bytes)))
}

/// A lock that is in a repository.
#[derive(Debug, Clone)]
pub struct Found {
    /// The name of its file.
    pub name: String,
    /// What it says; none when it cannot be read.
    pub lock: Option<Lock>,
    /// When its file was written, where the store says so.
    pub written: Option<SystemTime>,
}

/// What the locks of others mean for somebody who wants to do something.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It may be done; these were left behind.
    Free {
        /// The names of locks whose time is over.
        left_behind: Vec<String>,
    },
    /// Somebody is at work, in words.
    Held(String),
}

/// What `locks`, which are all of others, mean for somebody who wants `wanted` at `now`.
pub fn judge(locks: &[Found], wanted: Use, now: SystemTime) -> Verdict {
    let mut left_behind = Vec::new();
    for found in locks {
        // One that cannot be read may be anybody's, about anything.
        let (since, exclusive) = match &found.lock {
            Some(lock) => (Some(SystemTime::from(lock.time)), lock.exclusive),
            None => (found.written, true),
        };
        if since.is_some_and(|since| !counts(since, now)) {
            left_behind.push(found.name.clone());
        } else if exclusive || wanted == Use::Exclusive {
            let who =
                found.lock.as_ref().map_or_else(|| "a lock that cannot be read".to_owned(), Lock::holder);
            return Verdict::Held(who);
        }
    }
    Verdict::Free { left_behind }
}

/// Whether a lock of that date still keeps others out. Clocks differ, so one from the
/// near future does; one from further ahead would do so forever, and is no date.
fn counts(since: SystemTime, now: SystemTime) -> bool {
    match now.duration_since(since) {
        Ok(age) => age < STALE,
        Err(ahead) => ahead.duration() < STALE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(2_000_000_000u64.saturating_add_signed(seconds))
    }

    fn found(name: &str, exclusive: bool, seconds: i64) -> Found {
        let wanted = if exclusive { Use::Exclusive } else { Use::Shared };
        Found { name: name.to_owned(), lock: Some(Lock::own(wanted, at(seconds))), written: None }
    }

    #[test]
    fn who_only_adds_keeps_nobody_out_but_who_removes() {
        let now = at(0);
        let held = |locks: &[Found], wanted| matches!(judge(locks, wanted, now), Verdict::Held(_));
        for (locks, wanted, is_held) in [
            (vec![], Use::Exclusive, false),
            (vec![found("a", false, -60)], Use::Shared, false),
            (vec![found("a", false, -60)], Use::Exclusive, true),
            (vec![found("a", true, -60)], Use::Shared, true),
            (vec![found("a", false, -60), found("b", true, -60)], Use::Shared, true),
        ] {
            assert_eq!(held(&locks, wanted), is_held, "{locks:?} {wanted:?}");
        }
    }

    #[test]
    fn the_age_of_a_lock_is_bounded_in_both_directions() {
        let half_an_hour = 30 * 60;
        for (seconds, is_held) in [
            (-half_an_hour + 1, true),
            (-half_an_hour, false),
            (-half_an_hour * 100, false),
            (half_an_hour - 1, true),
            (half_an_hour, false),
            (i64::from(u32::MAX), false),
        ] {
            let verdict = judge(&[found("a", true, seconds)], Use::Shared, at(0));
            assert_eq!(matches!(verdict, Verdict::Held(_)), is_held, "{seconds}");
            if !is_held {
                assert_eq!(verdict, Verdict::Free { left_behind: vec!["a".to_owned()] });
            }
        }
    }

    #[test]
    fn one_that_cannot_be_read_counts_as_long_as_it_is_young_or_nobody_knows() {
        let unread = |written| Found { name: "a".to_owned(), lock: None, written };
        for (written, is_held) in
            [(None, true), (Some(at(-10)), true), (Some(at(-4000)), false), (Some(at(4000)), false)]
        {
            let verdict = judge(&[unread(written)], Use::Shared, at(0));
            assert_eq!(matches!(verdict, Verdict::Held(_)), is_held, "{written:?}");
        }
    }

    #[test]
    fn a_lock_is_read_back_and_only_with_its_key() {
        let (key, other) = (MasterKey::new(), MasterKey::new());
        let lock = Lock::own(Use::Exclusive, at(0));
        let (name, content) = lock.sealed(&key, [7; 16]).unwrap();
        assert_eq!(name.len(), 64);
        assert_eq!(Lock::opened(&key, &content), Some(lock.clone()));
        assert_eq!(Lock::opened(&other, &content), None);
        for broken in [&content[..content.len() - 1], &content[1..], b"", b"held"] {
            assert_eq!(Lock::opened(&key, broken), None);
        }
        // As restic writes it into repositories of format 2.
        let text = serde_json::to_vec(&lock).unwrap();
        let packed = [&[COMPRESSED][..], &zstd::bulk::compress(&text, 3).unwrap()].concat();
        let sealed = cipher(&key).unwrap().encrypt(Nonce::from_slice(&[9; 16]), packed.as_slice()).unwrap();
        assert_eq!(Lock::opened(&key, &[&[9; 16][..], &sealed].concat()), Some(lock));
    }

    #[test]
    fn restic_does_not_take_this_process_for_one_of_its_own_machine() {
        let bare = rustix::system::uname().nodename().to_string_lossy().into_owned();
        assert_ne!(Lock::own(Use::Shared, at(0)).hostname, bare);
    }

    #[test]
    fn what_is_told_of_a_holder_cannot_act_on_a_terminal() {
        let mut lock = Lock::own(Use::Exclusive, at(0));
        lock.hostname = "\u{1b}]0;x\u{7}pve\n".to_owned();
        let locks = [Found { name: "a".to_owned(), lock: Some(lock), written: None }];
        let Verdict::Held(who) = judge(&locks, Use::Shared, at(0)) else { panic!() };
        assert!(who.starts_with("root@0xpve, process "), "{who}");
    }
}
