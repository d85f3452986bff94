//! Runs that nobody types: that one of a kind is at it at a time, and that one that
//! ended without a word is noticed.
//!
//! The file that keeps others out holds when the run began, until the run has told
//! what came of it. Whoever finds a time there and nobody who holds the file knows
//! that a run was killed, or lost its power.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use matrix_podman_core::{
    layout,
    name::{AbsPath, Mode, Owner},
};
use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};
use serde::{Deserialize, Serialize};

use crate::{
    failure::{Doing, Failure},
    file,
};

/// How times are written: in UTC, so that they compare as text.
const FORM: &str = "%Y-%m-%dT%H:%M:%SZ";
/// The longest time that is written.
const LONGEST: u64 = 64;
/// How long somebody who was told that something is overdue is left in peace, in hours.
const TOLD_AGAIN: i64 = 24;

/// A run that nobody typed, for as long as it goes on.
#[derive(Debug)]
pub struct Run {
    file: File,
    /// When one before it began that ended without a word.
    pub wordless: Option<String>,
}

impl Run {
    /// What came of it was reported.
    pub fn told(mut self) {
        // What cannot be written is told once more than needed.
        let _ = write(&mut self.file, "");
    }
}

fn path(site: &str, what: &str) -> AbsPath {
    layout::machine_state(site).join(&format!("by-itself-{what}.lock"))
}

fn open(path: &AbsPath) -> std::io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path.as_str())
}

fn write(file: &mut File, text: &str) -> std::io::Result<()> {
    file.set_len(0)?;
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.sync_data()
}

fn read(file: &mut File) -> std::io::Result<Option<String>> {
    let mut text = String::new();
    file.rewind()?;
    file.take(LONGEST).read_to_string(&mut text)?;
    Ok(Some(text.trim().to_owned()).filter(|text| !text.is_empty()))
}

/// Begins one of this kind; nothing is returned where another one is at it.
pub fn begin(site: &str, what: &str) -> Result<Option<Run>, Failure> {
    let folder = layout::machine_state(site);
    file::make_dir(Path::new(folder.as_str()), Mode(0o700), Owner::ROOT)?;
    begin_at(&path(site, what))
}

fn begin_at(path: &AbsPath) -> Result<Option<Run>, Failure> {
    let doing = || format!("lock {path}");
    let mut file = open(path).doing(doing)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(e) => return Err(e).doing(doing),
    }
    let wordless = read(&mut file).doing(doing)?;
    write(&mut file, &now()).doing(doing)?;
    Ok(Some(Run { file, wordless }))
}

/// When a run of this kind began that ended without a word; it is told of once.
pub fn ended_without_a_word(site: &str, what: &str) -> Result<Option<String>, Failure> {
    let path = path(site, what);
    if !Path::new(path.as_str()).exists() {
        return Ok(None);
    }
    ended_without_a_word_at(&path)
}

fn ended_without_a_word_at(path: &AbsPath) -> Result<Option<String>, Failure> {
    let doing = || format!("read {path}");
    let mut file = open(path).doing(doing)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        // It is still at it.
        Err(Errno::WOULDBLOCK) => return Ok(None),
        Err(e) => return Err(e).doing(doing),
    }
    let began = read(&mut file).doing(doing)?;
    if began.is_some() {
        write(&mut file, "").doing(doing)?;
    }
    Ok(began)
}

fn now() -> String {
    jiff::Timestamp::now().strftime(FORM).to_string()
}

/// What is remembered of looking whether something is overdue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    /// When it was looked at first: nothing is overdue before that.
    pub since: String,
    /// When somebody was told last, by what of.
    pub told: BTreeMap<String, String>,
}

impl Watch {
    /// Of a site; a new one where nothing was looked at so far.
    pub fn of(site: &str) -> Self {
        let known = std::fs::read(watch_file(site).as_str()).ok();
        known
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_else(|| Self { since: now(), told: BTreeMap::new() })
    }

    /// Remembers it.
    pub fn keep(&self, site: &str) -> Result<(), Failure> {
        let path = watch_file(site);
        let text = serde_json::to_vec(self).doing(|| format!("write {path}"))?;
        file::make_dir(Path::new(layout::machine_state(site).as_str()), Mode(0o700), Owner::ROOT)?;
        file::write(Path::new(path.as_str()), &text, Mode(0o600), Owner::ROOT)
    }

    /// Whether `what`, which was done last at `last` and is done at least every
    /// `seconds`, is overdue and nobody was told today. Notes that somebody is now.
    pub fn is_news(&mut self, what: &str, last: Option<&str>, seconds: u64) -> bool {
        self.is_news_at(what, last, seconds, jiff::Timestamp::now())
    }

    fn is_news_at(&mut self, what: &str, last: Option<&str>, seconds: u64, now: jiff::Timestamp) -> bool {
        let time = |text: &str| text.parse::<jiff::Timestamp>().ok();
        // What is dated in the future says nothing of today.
        let last = last.and_then(time).filter(|last| *last <= now);
        // Whoever never did it has had time since it was looked at first.
        let from = last.or_else(|| time(&self.since)).unwrap_or(now);
        let waited = now.duration_since(from);
        let overdue = u64::try_from(waited.as_secs()).is_ok_and(|waited| waited > seconds);
        if !overdue {
            self.told.remove(what);
            return false;
        }
        let told = self.told.get(what).and_then(|told| time(told));
        let again = told.is_none_or(|told| now.duration_since(told).as_hours() >= TOLD_AGAIN || told > now);
        if again {
            self.told.insert(what.to_owned(), now.strftime(FORM).to_string());
        }
        again
    }
}

fn watch_file(site: &str) -> AbsPath {
    layout::machine_state(site).join("watch.json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place() -> (tempfile::TempDir, AbsPath) {
        let folder = tempfile::tempdir().unwrap();
        let path = AbsPath::parse(folder.path().join("lock").to_str().unwrap()).unwrap();
        (folder, path)
    }

    #[test]
    fn a_run_that_was_killed_is_noticed_once() {
        let (_folder, path) = place();
        let run = begin_at(&path).unwrap().unwrap();
        assert_eq!(run.wordless, None);
        // One that is still at it is left alone, and keeps others out.
        assert_eq!(ended_without_a_word_at(&path).unwrap(), None);
        assert!(begin_at(&path).unwrap().is_none());
        // As a kill does: it is gone, and nothing was told.
        drop(run);
        assert!(ended_without_a_word_at(&path).unwrap().is_some());
        assert_eq!(ended_without_a_word_at(&path).unwrap(), None);
    }

    #[test]
    fn the_next_run_notices_it_too() {
        let (_folder, path) = place();
        drop(begin_at(&path).unwrap().unwrap());
        let next = begin_at(&path).unwrap().unwrap();
        assert!(next.wordless.is_some());
        next.told();
        assert_eq!(ended_without_a_word_at(&path).unwrap(), None);
    }

    #[test]
    fn what_is_overdue_is_told_once_a_day() {
        let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
        let mut watch = Watch { since: "2026-11-01T00:00:00Z".to_owned(), told: BTreeMap::new() };
        let day = 86_400;
        let mut news = |last: Option<&str>, now: &str| watch.is_news_at("backup", last, 2 * day, at(now));
        assert!(!news(None, "2026-11-02T00:00:00Z"));
        assert!(news(None, "2026-11-03T00:00:01Z"));
        assert!(!news(None, "2026-11-03T06:00:00Z"));
        assert!(news(None, "2026-11-04T00:00:01Z"));
        // Done again: it is well, and the next time it is told at once.
        assert!(!news(Some("2026-11-04T03:00:00Z"), "2026-11-04T06:00:00Z"));
        assert!(news(Some("2026-11-04T03:00:00Z"), "2026-11-06T03:00:01Z"));
        // A clock that was put back.
        assert!(news(Some("2027-11-04T03:00:00Z"), "2026-11-08T03:00:01Z"));
    }
}
