//! What `status` and `doctor` say before anything else: what is at work on a
//! site, and whether the last `up` failed. The run lock and the journal tell it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader},
    path::Path,
};

use serde::Serialize;

use super::{Entry, Line};
use crate::lock::RunLock;

/// The command that makes the whole server what the config says.
pub const UP: &str = "up";

/// What is known of a site's runs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct SiteRuns {
    /// What is at work now.
    pub at_work: Option<RunAtWork>,
    /// The last `up`, where it failed and nothing is at work.
    pub failed: Option<FailedUp>,
    /// When an `up` last changed something and ended well, in seconds since 1970.
    #[serde(skip)]
    pub changed: Option<u64>,
}

/// A run that is at work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunAtWork {
    /// Which command.
    pub command: String,
    /// Since when (RFC 3339).
    pub since: String,
    /// How many steps are done.
    pub done: usize,
    /// How many there are, where it follows a plan.
    pub steps: Option<usize>,
}

/// An `up` that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailedUp {
    /// When it began (RFC 3339).
    pub at: String,
    /// Why it failed.
    pub why: String,
}

impl RunAtWork {
    /// Whether what is missing or away may only not have had its turn yet.
    pub fn is_building(&self) -> bool {
        self.steps.is_some() || self.command == UP
    }
}

impl SiteRuns {
    /// What is being built, if something is.
    pub fn building(&self) -> Option<&RunAtWork> {
        self.at_work.as_ref().filter(|run| run.is_building())
    }

    /// What the site's folder on this machine tells.
    pub fn of(folder: &Path) -> Self {
        let runs = File::open(folder.join("journal.jsonl")).map(|file| Runs::read(BufReader::new(file)));
        let runs = runs.unwrap_or_default();
        let changed = runs.changed;
        match RunLock::holder(&folder.join("run.lock")) {
            Some(holder) => {
                let last = runs.last.filter(|last| last.command == holder.command && !last.has_ended);
                let (done, steps) = last.map_or((0, None), |last| (last.done(), last.steps));
                let at_work = RunAtWork { command: holder.command, since: holder.since, done, steps };
                Self { at_work: Some(at_work), failed: None, changed }
            }
            None => Self { at_work: None, failed: runs.failed_up(), changed },
        }
    }
}

/// The last run of a journal, and its last `up`.
#[derive(Default)]
struct Runs {
    last: Option<JournalRun>,
    up: Option<JournalRun>,
    changed: Option<u64>,
}

/// A run, as far as the journal was read.
struct JournalRun {
    name: String,
    command: String,
    at: String,
    steps: Option<usize>,
    resources: BTreeSet<String>,
    open: BTreeMap<u64, String>,
    failure: Option<String>,
    has_ended: bool,
}

impl JournalRun {
    fn done(&self) -> usize {
        self.resources.iter().filter(|id| !self.open.values().any(|open| open == *id)).count()
    }

    fn note(&mut self, entry: Entry) {
        match entry {
            Entry::Planned { steps } => self.steps = Some(steps),
            Entry::Intent { act, resource, .. } => {
                self.resources.insert(resource.clone());
                self.open.insert(act, resource);
            }
            Entry::Done { act } => {
                self.open.remove(&act);
            }
            // It stays open: its step is not done.
            Entry::Failed { why, .. } => {
                self.failure.get_or_insert(why);
            }
            Entry::Ended { well, why } => {
                self.has_ended = true;
                self.failure = match well {
                    true => None,
                    false => why.or(self.failure.take()).or_else(|| Some("it does not say why".to_owned())),
                };
            }
            Entry::Begun { .. } => {}
        }
    }
}

impl Runs {
    fn read(journal: impl BufRead) -> Self {
        let mut runs = Self::default();
        for line in journal.lines().map_while(Result::ok) {
            let Ok(line) = serde_json::from_str::<Line>(&line) else { continue };
            match line.what {
                Entry::Begun { command, .. } => runs.begin(JournalRun {
                    name: line.run,
                    command,
                    at: line.at,
                    steps: None,
                    resources: BTreeSet::new(),
                    open: BTreeMap::new(),
                    failure: None,
                    has_ended: false,
                }),
                what => {
                    let Some(last) = runs.last.as_mut().filter(|last| last.name == line.run) else {
                        continue;
                    };
                    if last.command == UP
                        && last.steps.is_some()
                        && matches!(what, Entry::Ended { well: true, .. })
                    {
                        let at = line.at.parse::<jiff::Timestamp>().ok();
                        runs.changed = at.and_then(|at| u64::try_from(at.as_second()).ok());
                    }
                    last.note(what);
                }
            }
        }
        runs
    }

    fn begin(&mut self, run: JournalRun) {
        let before = self.last.replace(run);
        if before.as_ref().is_some_and(|run| run.command == UP) {
            self.up = before;
        }
    }

    fn failed_up(self) -> Option<FailedUp> {
        let up = self.last.filter(|last| last.command == UP).or(self.up)?;
        let why = match up.has_ended {
            true => up.failure?,
            false => "it was cut off".to_owned(),
        };
        Some(FailedUp { at: up.at, why })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{failure::Failure, journal::Journal, lock::LockHolder};

    /// The folder of a site with a journal.
    struct Site(tempfile::TempDir);

    impl Site {
        fn new() -> Self {
            Self(tempfile::tempdir().unwrap())
        }

        fn begin(&self, command: &str) -> Journal {
            Journal::open(&self.0.path().join("journal.jsonl"), command).unwrap().0
        }

        fn runs(&self) -> SiteRuns {
            SiteRuns::of(self.0.path())
        }
    }

    #[test]
    fn an_up_at_work_says_how_far_it_is() {
        let site = Site::new();
        assert_eq!(site.runs(), SiteRuns::default());
        let holder = LockHolder::this(UP);
        let lock = RunLock::take(&site.0.path().join("run.lock"), &holder, &|_| {}).unwrap();
        let at_work =
            |done, steps| RunAtWork { command: UP.to_owned(), since: holder.since.clone(), done, steps };
        assert_eq!(site.runs().at_work, Some(at_work(0, None)));
        let journal = site.begin(UP);
        journal.planned(33).unwrap();
        for effect in ["write /a", "write /b"] {
            journal.around("files/a", effect, || Ok(())).unwrap();
        }
        journal.around("files/b", "write /c", || Ok(())).unwrap();
        journal.intent("files/c", "write /d").unwrap();
        assert_eq!(site.runs(), SiteRuns { at_work: Some(at_work(2, Some(33))), ..SiteRuns::default() });
        drop(lock);
        assert_eq!(site.runs().failed.unwrap().why, "it was cut off");
    }

    #[test]
    fn a_failed_up_is_told_until_one_succeeds() {
        let site = Site::new();
        let why = |site: &Site| site.runs().failed.map(|failed| failed.why);
        let failing = || {
            let journal = site.begin(UP);
            let failure = Failure::new("write /a", "the disk is full");
            journal.around::<()>("files/a", "write /a", || Err(failure.clone())).unwrap_err();
            journal
        };
        failing().end(false).unwrap();
        assert_eq!(why(&site).unwrap(), "could not write /a: the disk is full");
        failing().end_failed("could not begin: no").unwrap();
        assert_eq!(why(&site).unwrap(), "could not begin: no");
        // What else ran well does not make it good.
        site.begin("backup now").end(true).unwrap();
        assert_eq!(why(&site).unwrap(), "could not begin: no");
        assert_eq!(site.runs().changed, None);
        let journal = site.begin(UP);
        journal.planned(1).unwrap();
        journal.end(true).unwrap();
        assert!(site.runs().changed.is_some_and(|at| at > 1_700_000_000));
        site.begin("backup now").end(false).unwrap();
        assert_eq!(why(&site), None);
    }
}
