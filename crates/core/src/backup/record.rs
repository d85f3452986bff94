//! What is remembered of backups, so that a failed or a missed one shows.

use serde::{Deserialize, Serialize};

use super::RepositoryName;
use crate::{layout, name::AbsPath};

/// A snapshot in a repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its id, in restic's short form.
    pub id: String,
    /// When it was made (RFC 3339).
    pub time: String,
    /// The server.
    pub server_name: String,
    /// How large everything in it is together.
    pub bytes: u64,
    /// How much was written for it.
    pub added: u64,
}

/// How the last backup into a repository went; on the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When it ended (RFC 3339).
    pub at: String,
    /// Why it failed, if it did.
    pub why: Option<String>,
    /// Whether it failed because the repository could not be reached.
    #[serde(default)]
    pub unreachable: bool,
    /// How often it failed, one after the other, since its time came last.
    #[serde(default)]
    pub failures: u32,
    /// The last snapshot that was made.
    pub snapshot: Option<Snapshot>,
}

/// What a drill's proof says, as far as it matters whether one is due or went wrong.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Drilled {
    /// When it ended (RFC 3339).
    pub at: String,
    /// What was not as it should be.
    pub wrong: Vec<String>,
}

/// How backups are, for the guest: it knows neither where they are nor why
/// something failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct News {
    /// What the repository is called.
    pub name: RepositoryName,
    /// When a backup was last tried (RFC 3339).
    pub tried: Option<String>,
    /// Whether that failed.
    pub failed: bool,
    /// When the last snapshot was made (RFC 3339).
    pub made: Option<String>,
    /// When a drill was last held (RFC 3339).
    pub drilled: Option<String>,
    /// Whether that failed.
    pub drill_failed: bool,
    /// From when on (RFC 3339) it shows that a backup was missed.
    #[serde(default)]
    pub missed_from: Option<String>,
    /// From when on (RFC 3339) it shows that a drill was missed.
    #[serde(default)]
    pub drill_missed_from: Option<String>,
}

impl News {
    /// From what the machine remembers.
    pub fn of(name: &RepositoryName, record: Option<&Record>, drilled: Option<&Drilled>) -> Self {
        Self {
            name: name.clone(),
            tried: record.map(|record| record.at.clone()),
            failed: record.is_some_and(|record| record.why.is_some()),
            made: record.and_then(|record| Some(record.snapshot.as_ref()?.time.clone())),
            drilled: drilled.map(|drilled| drilled.at.clone()),
            drill_failed: drilled.is_some_and(|drilled| !drilled.wrong.is_empty()),
            missed_from: None,
            drill_missed_from: None,
        }
    }

    /// Whether nothing failed, and nothing was missed at the time `now`. All times
    /// are in UTC and of one form, so they compare as text.
    pub fn is_well(&self, now: &str) -> bool {
        let missed = |from: &Option<String>| from.as_deref().is_some_and(|from| from <= now);
        let failed = self.failed || self.drill_failed || self.made.is_none();
        !failed && !missed(&self.missed_from) && !missed(&self.drill_missed_from)
    }

    /// Those in the text of [`news_file`].
    pub fn parse(text: &str) -> Option<Vec<Self>> {
        serde_json::from_str(text).ok()
    }

    /// In a line, for people who enter the guest at the time `now`.
    pub fn line(&self, now: &str) -> String {
        let missed = |from: &Option<String>| from.as_deref().is_some_and(|from| from <= now);
        let made = match (&self.made, self.failed) {
            (Some(made), false) if missed(&self.missed_from) => {
                format!("MISSED; the last one is of {made}")
            }
            (Some(made), false) => format!("made {made}"),
            (Some(made), true) => format!("FAILED; the last good one is of {made}"),
            (None, true) => "FAILED; there is none".to_owned(),
            (None, false) => "none was made yet".to_owned(),
        };
        let drilled = match (&self.drilled, self.drill_failed) {
            (Some(at), false) if missed(&self.drill_missed_from) => {
                format!(", came back whole {at}, NOT tried out since")
            }
            (Some(at), false) => format!(", came back whole {at}"),
            (Some(at), true) => format!(", did NOT come back whole {at}"),
            (None, _) => String::new(),
        };
        let name = if self.name.is_main() { String::new() } else { format!(" ({})", self.name) };
        format!("{made}{drilled}{name}")
    }
}

/// Where the guest is told how its backups are.
pub fn news_file() -> AbsPath {
    AbsPath::known(format!("{}/backups.json", layout::STATE))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_say_what_is_wrong_and_no_more() {
        let snapshot = Snapshot {
            id: "0123abcd".to_owned(),
            time: "2026-01-02T03:30:00Z".to_owned(),
            server_name: "x".to_owned(),
            bytes: 1,
            added: 1,
        };
        let record = Record {
            at: "2026-01-03T03:30:00Z".to_owned(),
            why: Some("could not reach sftp:nas:/srv".to_owned()),
            unreachable: true,
            failures: 1,
            snapshot: Some(snapshot),
        };
        let drilled = Drilled { at: "2026-01-01T05:00:00Z".to_owned(), wrong: Vec::new() };
        let now = "2026-01-04T00:00:00Z";
        let mut news = News::of(&RepositoryName::main(), Some(&record), Some(&drilled));
        assert!(!news.is_well(now));
        assert_eq!(
            news.line(now),
            "FAILED; the last good one is of 2026-01-02T03:30:00Z, came back whole 2026-01-01T05:00:00Z"
        );
        let text = serde_json::to_string(&[&news]).unwrap();
        assert!(!text.contains("nas"), "{text}");
        assert_eq!(News::parse(&text), Some(vec![news.clone()]));
        news.failed = false;
        news.missed_from = Some("2026-01-04T00:00:01Z".to_owned());
        news.drill_missed_from = Some("2026-02-03T05:00:00Z".to_owned());
        assert!(news.is_well(now));
        let line = news.line("2026-02-03T05:00:00Z");
        assert!(line.starts_with("MISSED; the last one is of 2026-01-02T03:30:00Z, came back"), "{line}");
        assert!(line.ends_with("NOT tried out since"), "{line}");
        assert!(!news.is_well("2026-01-04T00:00:01Z"));
        let none = News::of(&RepositoryName::main(), None, None);
        assert!(!none.is_well(now));
        assert_eq!(none.line(now), "none was made yet");
        // What an older program wrote is read.
        let old: Record = serde_json::from_str(r#"{"at":"x","why":null,"snapshot":null}"#).unwrap();
        assert!(!old.unreachable && old.failures == 0);
    }
}
