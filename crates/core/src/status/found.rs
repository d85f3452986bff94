//! What a look that takes a while found last, written down by the side that
//! looked: `status` has no time to look by itself.

use serde::{Deserialize, Serialize};

use crate::{
    check::{Check, Verdict},
    doctor::Diagnosis,
    fact::Side,
    layout,
    name::AbsPath,
    observed::{Observed, Seen},
    resource::Site,
};

/// Who looked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Looked {
    /// `doctor`
    Doctor,
    /// `verify`, at everything.
    Verify,
}

impl Looked {
    /// The command.
    pub const fn name(self) -> &'static str {
        match self {
            Looked::Doctor => "doctor",
            Looked::Verify => "verify",
        }
    }

    /// Where what was found is written down, on the side that looked.
    pub fn file(self, site: &str) -> AbsPath {
        layout::machine_state(site).join(&format!("found-{}.json", self.name()))
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Found {
    /// When, in seconds since 1970.
    pub at: u64,
    /// What was wrong, most fundamental first.
    pub wrong: Vec<Wrong>,
    /// How much could not be found out.
    pub unknown: usize,
    /// Whether the server was changed since, so that what was wrong need not be so any more.
    #[serde(skip)]
    pub overtaken: bool,
}

/// Something that was wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrong {
    /// Stable name of the cause or check.
    pub id: String,
    /// What was wrong.
    pub what: String,
}

impl Found {
    /// What a doctor found.
    pub fn by_doctor(diagnosis: &Diagnosis, at: u64) -> Self {
        let wrong = diagnosis.findings.iter().map(|f| Wrong { id: f.cause.to_owned(), what: f.what.clone() });
        Self { at, wrong: wrong.collect(), unknown: diagnosis.unseen.len(), overtaken: false }
    }

    /// What a verification found.
    pub fn by_verify<'a>(checks: impl IntoIterator<Item = &'a Check>, at: u64) -> Self {
        let mut found = Self { at, wrong: Vec::new(), unknown: 0, overtaken: false };
        for check in checks {
            match &check.verdict {
                Verdict::Fail { why, .. } => {
                    found.wrong.push(Wrong { id: check.id.to_owned(), what: why.clone() });
                }
                Verdict::Unknown { .. } => found.unknown += 1,
                _ => {}
            }
        }
        found
    }

    /// What was last found from the side that is asked.
    pub(super) fn last(site: &Site, looked: Looked, seen: &Observed) -> Seen<Option<Self>> {
        let file = seen.file(Side::Machine, &looked.file(site.config.site()))?;
        Ok(file.and_then(|f| serde_json::from_str(f.content.as_deref().unwrap_or_default()).ok()))
    }

    /// The text of the file.
    pub fn render(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| text + "\n")
    }
}
