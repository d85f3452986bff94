//! What ran on the server, since when, because of whom, and what came of it.

use serde::{Deserialize, Serialize};

use crate::{
    format::{self, Unread},
    layout,
    lock::{Lock, LockedImages},
    name::{AbsPath, SnapshotName},
    schema::Undo,
};

/// The file in the guest.
pub fn file() -> AbsPath {
    layout::in_root("matrix.history.json")
}

/// The format that this program writes.
const FORMAT: u32 = 1;
/// How many generations are remembered: the file stays one that is read whole.
const KEEP: usize = 30;

/// All generations, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct History {
    format: u32,
    /// The generations.
    pub generations: Vec<Generation>,
}

impl Default for History {
    fn default() -> Self {
        Self { format: FORMAT, generations: Vec::new() }
    }
}

/// One set of images that ran, or was tried.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Counted from 1.
    pub number: u32,
    /// When it was begun (RFC 3339).
    pub at: String,
    /// Who or what began it.
    pub by: String,
    /// All images of it.
    pub images: LockedImages,
    /// The dump taken before it was tried.
    pub dump: Option<AbsPath>,
    /// The snapshot of the guest made before it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<SnapshotName>,
    /// The dump that was put back for it: a way back beyond what the older
    /// program can open.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restores: Option<AbsPath>,
    /// How it can be taken back, or was.
    pub undo: Option<Undo>,
    /// What came of it.
    #[serde(flatten)]
    pub outcome: Outcome,
}

/// What came of a generation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "kebab-case")]
pub enum Outcome {
    /// It is being tried, or the run that tried it was cut off.
    UnderWay,
    /// It ran, or runs.
    Kept,
    /// It failed, and the one before was put back.
    Undone {
        /// Why.
        why: String,
        /// The lines that show it.
        log: Vec<String>,
    },
}

impl Outcome {
    /// In a word.
    pub const fn name(&self) -> &'static str {
        match self {
            Outcome::UnderWay => "under way",
            Outcome::Kept => "kept",
            Outcome::Undone { .. } => "undone",
        }
    }
}

impl History {
    /// Reads the text of the file.
    pub fn parse(text: &str) -> Result<Self, Unread> {
        Self::known(text)?;
        serde_json::from_str(text).map_err(|e| Unread::Otherwise(e.to_string()))
    }

    /// Refuses a text that a newer program wrote.
    pub fn known(text: &str) -> Result<(), Unread> {
        format::json(text, FORMAT)
    }

    /// The text of the file.
    pub fn render(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// The number that the next one gets.
    pub fn next(&self) -> u32 {
        self.generations.last().map_or(1, |last| last.number.saturating_add(1))
    }

    /// The one that was being tried when its run ended, if that was cut off.
    pub fn under_way(&self) -> Option<&Generation> {
        self.generations.last().filter(|last| last.outcome == Outcome::UnderWay)
    }

    /// Adds one, and forgets the oldest beyond what is remembered.
    pub fn push(&mut self, generation: Generation) {
        self.generations.push(generation);
        let surplus = self.generations.len().saturating_sub(KEEP);
        self.generations.drain(..surplus);
    }

    /// The one whose images the lock names: what runs.
    pub fn current(&self, lock: &Lock) -> Option<&Generation> {
        self.generations.iter().rev().find(|g| g.outcome == Outcome::Kept && same(&g.images, &lock.images))
    }

    /// The one to go back to from what the lock names.
    pub fn before(&self, lock: &Lock) -> Option<&Generation> {
        let current = self.current(lock)?.number;
        self.generations
            .iter()
            .rev()
            .find(|g| g.number < current && g.outcome == Outcome::Kept && !same(&g.images, &lock.images))
    }

    /// Notes what the lock says, when it is not what was noted last: somebody
    /// changed what runs in another way than by an update. Whether something
    /// was noted.
    pub fn note(&mut self, lock: &Lock, at: &str, by: &str) -> bool {
        if self.under_way().is_some() || lock.images.is_empty() {
            return false;
        }
        let last = self.generations.iter().rev().find(|g| g.outcome == Outcome::Kept);
        if last.is_some_and(|last| same(&last.images, &lock.images)) {
            return false;
        }
        self.push(Generation {
            number: self.next(),
            at: at.to_owned(),
            by: by.to_owned(),
            images: lock.images.clone(),
            dump: None,
            snapshot: None,
            restores: None,
            undo: None,
            outcome: Outcome::Kept,
        });
        true
    }
}

/// Whether two sets of images run the same, whatever they were asked for as.
fn same(one: &LockedImages, other: &LockedImages) -> bool {
    one.len() == other.len()
        && one.iter().all(|(service, image)| other.get(service).is_some_and(|o| o.id == image.id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        lock::LockedImage,
        name::{Digest, ServerName},
        stack,
    };

    fn lock(synapse: u8) -> Lock {
        let mut lock = Lock::new(ServerName::parse("matrix.home.arpa").unwrap());
        let digest = Digest::of_sha256(&[synapse; 32]);
        let image = LockedImage {
            wanted: "build synapse newest".to_owned(),
            run: digest.hex().to_owned(),
            digest: digest.clone(),
            id: digest,
            version: format!("1.{synapse}.0"),
        };
        lock.images.insert(stack::synapse::ID, image);
        lock
    }

    fn kept(history: &mut History, synapse: u8) {
        assert!(history.note(&lock(synapse), "2026-01-01T00:00:00Z", "up"));
    }

    #[test]
    fn what_runs_is_noted_once() {
        let mut history = History::default();
        kept(&mut history, 1);
        assert!(!history.note(&lock(1), "later", "up"));
        kept(&mut history, 2);
        assert_eq!(history.generations.iter().map(|g| g.number).collect::<Vec<_>>(), [1, 2]);
        assert_eq!(History::parse(&history.render().unwrap()).unwrap(), history);
    }

    #[test]
    fn going_back_passes_over_what_did_not_do() {
        let mut history = History::default();
        kept(&mut history, 1);
        kept(&mut history, 2);
        let outcome = Outcome::Undone { why: "it was never healthy".to_owned(), log: Vec::new() };
        history.push(Generation {
            number: 3,
            outcome,
            images: lock(3).images,
            ..history.generations[1].clone()
        });
        assert_eq!(history.current(&lock(2)).map(|g| g.number), Some(2));
        assert_eq!(history.before(&lock(2)).map(|g| g.number), Some(1));
        assert_eq!(history.before(&lock(1)), None);
        assert_eq!(history.current(&lock(3)), None);
        assert_eq!(history.next(), 4);
    }

    #[test]
    fn one_that_was_cut_off_is_found() {
        let mut history = History::default();
        kept(&mut history, 1);
        assert_eq!(history.under_way(), None);
        history.push(Generation { number: 2, outcome: Outcome::UnderWay, ..history.generations[0].clone() });
        assert_eq!(history.under_way().map(|g| g.number), Some(2));
        assert!(!history.note(&lock(9), "now", "up"), "it has to be settled first");
    }

    #[test]
    fn the_history_of_a_newer_program_is_left_alone() {
        let newer = History::parse(r#"{"format":2,"generations":"elsewhere"}"#);
        assert_eq!(newer, Err(Unread::Newer { found: 2, known: 1 }));
        assert!(History::parse("{").is_err());
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut history = History::default();
        for n in 0..=120 {
            kept(&mut history, n);
        }
        assert_eq!((history.generations.len(), history.next()), (30, 122));
    }
}
