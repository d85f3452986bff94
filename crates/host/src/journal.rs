//! The journal: what was about to be done, and how it ended.
//!
//! Each line is on disk before the act that it announces begins. Since every
//! effect is idempotent and atomic, the journal decides nothing; it lets the
//! next run say what the last one was cut off at, and people read what happened.

mod runs;

use std::{
    collections::BTreeMap,
    fs::{File, OpenOptions},
    io::{BufReader, Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    sync::Mutex,
};

use matrix_podman_core::format::{self, Unread};
use serde::{Deserialize, Serialize};

pub use runs::{FailedUp, RunAtWork, SiteRuns, UP};

use crate::{
    failure::{Doing, Failure},
    file::folder::Folder,
    state::VERSION,
};

/// The format that this program writes.
const FORMAT: u32 = 1;
/// From this size on, an old journal is put aside when a new run begins.
const KEEP: u64 = 4 << 20;

/// One line.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Line {
    at: String,
    run: String,
    #[serde(flatten)]
    what: Entry,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case")]
enum Entry {
    Begun {
        command: String,
        pid: u32,
        /// The format of this line and of those of its run; the first programs named none.
        #[serde(default = "first")]
        format: u32,
        /// The version that began it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        program: Option<String>,
    },
    Intent {
        act: u64,
        resource: String,
        effect: String,
    },
    Done {
        act: u64,
    },
    Failed {
        act: u64,
        why: String,
    },
    /// How many steps the plan of this run has.
    Planned {
        steps: usize,
    },
    Ended {
        well: bool,
        /// Why it failed, where that is known.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
}

const fn first() -> u32 {
    1
}

/// A journal that is being written.
#[derive(Debug)]
pub struct Journal {
    file: Mutex<(File, u64)>,
    run: String,
}

/// What the last run left without an end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unfinished {
    /// When it began.
    pub since: String,
    /// Which command.
    pub command: String,
    /// The acts under way when it was cut off.
    pub acts: Vec<String>,
}

/// Where the entries before those of `path` are.
fn older(path: &Path) -> PathBuf {
    path.with_extension("old.jsonl")
}

/// Sets the journal of a server that is gone aside: what failed there says nothing of the next one.
pub fn set_aside(path: &Path) {
    // Where there is none, there is nothing to set aside.
    let _ = std::fs::rename(path, older(path));
}

impl Journal {
    /// Opens the journal at `path` for a run of `command`; also says what the
    /// run before left unfinished.
    pub fn open(path: &Path, command: &str) -> Result<(Self, Option<Unfinished>), Failure> {
        let doing = || format!("open the journal {}", path.display());
        if let Some(folder) = path.parent() {
            Folder::make(folder).doing(doing)?;
        }
        let unfinished = match File::open(path) {
            Ok(file) => unfinished(BufReader::new(file)).map_err(|why| Failure::unread(doing(), &why))?,
            Err(_) => None,
        };
        if std::fs::metadata(path).is_ok_and(|m| m.len() > KEEP) {
            std::fs::rename(path, older(path)).doing(doing)?;
        }
        let mut file =
            OpenOptions::new().append(true).read(true).create(true).mode(0o600).open(path).doing(doing)?;
        end_last_line(&mut file).doing(doing)?;
        let run = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let journal = Self { file: Mutex::new((file, 0)), run: format!("{run}-{}", std::process::id()) };
        journal.write(Entry::Begun {
            command: command.to_owned(),
            pid: std::process::id(),
            format: FORMAT,
            program: Some(VERSION.to_owned()),
        })?;
        Ok((journal, unfinished))
    }

    /// Notes that an act begins; hands back its number.
    fn intent(&self, resource: &str, effect: &str) -> Result<u64, Failure> {
        let act = match self.file.lock() {
            Ok(mut file) => {
                file.1 += 1;
                file.1
            }
            Err(_) => 0,
        };
        self.write(Entry::Intent { act, resource: resource.to_owned(), effect: effect.to_owned() })?;
        Ok(act)
    }

    /// Notes how an act ended.
    fn outcome(&self, act: u64, failure: Option<&Failure>) -> Result<(), Failure> {
        self.write(match failure {
            None => Entry::Done { act },
            Some(failure) => Entry::Failed { act, why: failure.to_string() },
        })
    }

    /// Does one act, between a note that it begins and a note of how it ended.
    pub fn around<T>(
        &self,
        resource: &str,
        effect: &str,
        act: impl FnOnce() -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let number = self.intent(resource, effect)?;
        let result = act();
        self.outcome(number, result.as_ref().err())?;
        result
    }

    /// Notes how many steps the plan has, for whoever asks how far the run is.
    pub fn planned(&self, steps: usize) -> Result<(), Failure> {
        self.write(Entry::Planned { steps })
    }

    /// Notes the end of the run.
    pub fn end(&self, well: bool) -> Result<(), Failure> {
        self.write(Entry::Ended { well, why: None })
    }

    /// Notes that the run failed, and why.
    pub fn end_failed(&self, why: &str) -> Result<(), Failure> {
        self.write(Entry::Ended { well: false, why: Some(why.to_owned()) })
    }

    fn write(&self, what: Entry) -> Result<(), Failure> {
        let doing = || "write the journal";
        let at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string();
        let mut line = serde_json::to_vec(&Line { at, run: self.run.clone(), what }).doing(doing)?;
        line.push(b'\n');
        let mut file =
            self.file.lock().map_err(|_| Failure::new(doing(), "a thread failed while writing it"))?;
        file.0.write_all(&line).doing(doing)?;
        file.0.sync_data().doing(doing)
    }
}

/// How long the last act of `resource` took that was done and whose description
/// begins with `words`, in milliseconds, as the journal at `path` has it.
pub fn last_took(path: &Path, resource: &str, words: &str) -> Option<u64> {
    let lines = std::io::BufRead::lines(BufReader::new(File::open(path).ok()?));
    let (mut open, mut last) = (BTreeMap::new(), None);
    for line in lines.map_while(Result::ok) {
        let Ok(line) = serde_json::from_str::<Line>(&line) else { continue };
        match line.what {
            Entry::Intent { act, resource: whose, effect }
                if whose == resource && effect.starts_with(words) =>
            {
                open.insert((line.run, act), line.at);
            }
            Entry::Done { act } => {
                let began = open.remove(&(line.run, act)).and_then(|at| at.parse::<jiff::Timestamp>().ok());
                if let (Some(began), Ok(ended)) = (began, line.at.parse::<jiff::Timestamp>()) {
                    last = u64::try_from(ended.duration_since(began).as_millis()).ok().or(last);
                }
            }
            _ => {}
        }
    }
    last
}

/// How long the acts of each resource took together when all of them were last done in
/// one run, in milliseconds.
pub fn last_times(path: &Path) -> BTreeMap<String, u64> {
    let Ok(file) = File::open(path) else { return BTreeMap::new() };
    let (mut open, mut times) = (BTreeMap::new(), BTreeMap::<String, (String, u64)>::new());
    for line in std::io::BufRead::lines(BufReader::new(file)).map_while(Result::ok) {
        let Ok(line) = serde_json::from_str::<Line>(&line) else { continue };
        match line.what {
            Entry::Intent { act, resource, .. } => {
                open.insert((line.run, act), (resource, line.at));
            }
            Entry::Done { act } => {
                let Some((resource, began)) = open.remove(&(line.run.clone(), act)) else { continue };
                let (Ok(began), Ok(ended)) =
                    (began.parse::<jiff::Timestamp>(), line.at.parse::<jiff::Timestamp>())
                else {
                    continue;
                };
                let took = u64::try_from(ended.duration_since(began).as_millis()).unwrap_or_default();
                let time = times.entry(resource).or_default();
                if time.0 != line.run {
                    *time = (line.run, 0);
                }
                time.1 += took;
            }
            _ => {}
        }
    }
    times.into_iter().map(|(resource, (_, millis))| (resource, millis)).collect()
}

/// Ends a line that was cut off in the middle, so that it does not swallow the
/// next one.
fn end_last_line(file: &mut File) -> std::io::Result<()> {
    let mut last = [b'\n'];
    if file.metadata()?.len() > 0 {
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
    }
    if last == [b'\n'] { Ok(()) } else { file.write_all(b"\n") }
}

/// What the last run in a journal left without an end; refused where a newer program's run
/// is among them, since what it means by its lines is not known here. A line that was cut off
/// in the middle is no line.
fn unfinished(journal: impl std::io::BufRead) -> Result<Option<Unfinished>, Unread> {
    let mut last: Option<(String, Unfinished, BTreeMap<u64, String>)> = None;
    for line in journal.lines().map_while(Result::ok) {
        // Lines of other forms are other programs'; only one that begins a run says its format.
        if line.contains("\"begun\"")
            && let Err(newer @ Unread::Newer { .. }) = format::json(&line, FORMAT)
        {
            return Err(newer);
        }
        let Ok(line) = serde_json::from_str::<Line>(&line) else { continue };
        match line.what {
            Entry::Begun { command, .. } => {
                let begun = Unfinished { since: line.at, command, acts: Vec::new() };
                last = Some((line.run, begun, BTreeMap::new()));
            }
            what => {
                let Some((_, _, open)) = last.as_mut().filter(|(run, ..)| *run == line.run) else {
                    continue;
                };
                match what {
                    Entry::Intent { act, effect, .. } => {
                        open.insert(act, effect);
                    }
                    Entry::Done { act } | Entry::Failed { act, .. } => {
                        open.remove(&act);
                    }
                    Entry::Ended { .. } => last = None,
                    Entry::Begun { .. } | Entry::Planned { .. } => {}
                }
            }
        }
    }
    Ok(last.map(|(_, begun, open)| Unfinished { acts: open.into_values().collect(), ..begun }))
}

/// What a run leaves that was cut off in its second act.
#[cfg(test)]
pub(crate) fn journal_of_a_run_that_was_cut_off(at: &str) -> String {
    let program = Some(VERSION.to_owned());
    let intent =
        |act, effect: &str| Entry::Intent { act, resource: "update".to_owned(), effect: effect.to_owned() };
    [
        Entry::Begun { command: "update".to_owned(), pid: 4711, format: FORMAT, program },
        intent(1, "dump the database into /opt/matrix/dumps/before-2.dump"),
        Entry::Done { act: 1 },
        intent(2, "restart synapse"),
    ]
    .into_iter()
    .filter_map(|what| {
        let line = Line { at: at.to_owned(), run: "20261130T030405Z-4711".to_owned(), what };
        serde_json::to_string(&line).ok().map(|line| line + "\n")
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn how_long_something_took_is_read_from_the_last_time() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let line = |at: &str, what: &str| format!("{{\"at\":\"2026-11-25T{at}Z\",\"run\":\"r\",{what}}}\n");
        let intent = |at, act: u32, effect: &str| {
            line(
                at,
                &format!("\"entry\":\"intent\",\"act\":{act},\"resource\":\"update\",\"effect\":{effect:?}"),
            )
        };
        let done = |at, act: u32| line(at, &format!("\"entry\":\"done\",\"act\":{act}"));
        let text = [
            intent("10:00:00.000", 1, "dump the database into /a"),
            done("10:00:01.500", 1),
            intent("11:00:00.000", 2, "dump the database into /b"),
            intent("11:00:00.100", 3, "restart synapse"),
            done("11:00:04.100", 3),
            done("11:00:02.000", 2),
            intent("12:00:00.000", 4, "dump the database into /c"),
        ];
        std::fs::write(&path, text.concat()).unwrap();
        assert_eq!(last_took(&path, "update", "dump the database"), Some(2000));
        assert_eq!(last_took(&path, "update", "restart synapse"), Some(4000));
        assert_eq!(last_took(&path, "update", "restart redis"), None);
        assert_eq!(last_took(&path, "lock", "dump the database"), None);
        assert_eq!(last_took(&folder.path().join("none"), "update", "dump"), None);
        assert_eq!(last_times(&path), BTreeMap::from([("update".to_owned(), 7500)]));
    }

    #[test]
    fn the_journal_of_a_newer_program_is_not_written_to() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let begun = format!("{{\"entry\":\"begun\",\"format\":{},\"how\":\"otherwise\"}}\n", FORMAT + 1);
        std::fs::write(&path, &begun).unwrap();
        let refused = Journal::open(&path, "up").map(|(_, before)| before).unwrap_err();
        assert!(refused.why.contains("newer matrix-podman") && refused.hint.is_some(), "{refused:?}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), begun);
    }

    #[test]
    fn a_run_that_was_cut_off_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.jsonl");
        let (journal, before) = Journal::open(&path, "up").unwrap();
        assert_eq!(before, None);
        journal.around("a", "write /a", || Ok(())).unwrap();
        journal.intent("b", "write /b").unwrap();
        // It was long ago, and power went away in the middle of a line.
        let text = std::fs::read_to_string(&path).unwrap().replace(&journal.run, "20200101T000000Z-1");
        std::fs::write(&path, text + "{\"at\":\"20").unwrap();
        drop(journal);
        let (journal, before) = Journal::open(&path, "up").unwrap();
        let before = before.unwrap();
        assert_eq!((before.command.as_str(), before.acts), ("up", vec!["write /b".to_owned()]));
        journal.end(true).unwrap();
        drop(journal);
        let (_, before) = Journal::open(&path, "up").unwrap();
        assert_eq!(before, None);
    }
}
