//! What came of the last update that nobody typed.

use serde::{Deserialize, Serialize};

use crate::{layout, name::AbsPath};

/// The file in the guest.
pub fn file() -> AbsPath {
    layout::in_root("matrix.update.json")
}

/// The last run of the timer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unattended {
    /// When it ended (RFC 3339).
    pub at: String,
    /// What came of it.
    pub outcome: Ended,
    /// The same in words.
    pub what: String,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ended {
    /// Nothing was newer.
    Settled,
    /// Newer versions run.
    Updated,
    /// They failed, and what ran before runs again.
    Undone,
    /// What is newer could not be taken back without a loss, so a person has to
    /// say whether it is to be.
    LeftAlone,
    /// It was not begun, or could not be ended.
    Failed,
}

impl Ended {
    /// Whether nobody needs to look at it.
    pub fn is_well(self) -> bool {
        matches!(self, Ended::Settled | Ended::Updated)
    }
}

impl Unattended {
    /// Reads the text of the file.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// The text of the file.
    pub fn render(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }

    /// For a person, in a line.
    pub fn line(&self) -> String {
        let day = self.at.get(..10).unwrap_or(&self.at);
        let lines = self.what.split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{day}: {}", lines.chars().take(160).collect::<String>())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_reads_back_and_is_a_line() {
        let record = Unattended {
            at: "2026-11-15T05:41:07Z".to_owned(),
            outcome: Ended::Undone,
            what: "synapse 1.164.0 failed:\nit was not ready".to_owned(),
        };
        assert_eq!(Unattended::parse(&record.render().unwrap()), Some(record.clone()));
        assert_eq!(record.line(), "2026-11-15: synapse 1.164.0 failed: it was not ready");
        assert!(!record.outcome.is_well() && Ended::Updated.is_well());
        assert_eq!(Unattended::parse("{"), None);
    }
}
