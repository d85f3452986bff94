//! Checks: named questions with answers that a person can act on.

pub(crate) mod edge;
mod preflight;
mod proxmox;
mod verify;

use serde::Serialize;

use crate::observed::Gap;

pub use preflight::preflight;
pub use proxmox::{Choice, choices};
pub use verify::{Group, GroupChecks, Scope, federation_checks, verify};
pub(crate) use verify::{has_way_in, unreachable};

/// One check and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its stable name.
    pub id: &'static str,
    /// What was found.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The answer of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// It is as it should be.
    Pass {
        /// What shows it.
        evidence: String,
    },
    /// It can be lived without.
    Weaker {
        /// What is missing.
        missing: String,
        /// What is weaker because of it.
        consequence: String,
    },
    /// It cannot go on like this.
    Fail {
        /// What is wrong.
        why: String,
        /// What to do about it.
        hint: String,
    },
    /// It could not be found out, which is not a pass.
    Unknown {
        /// Why.
        why: String,
    },
    /// It was not asked, on purpose: there is nothing to ask here, or it was
    /// not wanted.
    #[serde(rename = "left-out")]
    LeftOut {
        /// Why.
        why: String,
    },
}

impl Check {
    pub(crate) fn pass(id: &'static str, evidence: impl Into<String>) -> Self {
        Self { id, verdict: Verdict::Pass { evidence: evidence.into() } }
    }

    pub(crate) fn fail(id: &'static str, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { id, verdict: Verdict::Fail { why: why.into(), hint: hint.into() } }
    }

    pub(crate) fn weaker(
        id: &'static str,
        missing: impl Into<String>,
        consequence: impl Into<String>,
    ) -> Self {
        Self { id, verdict: Verdict::Weaker { missing: missing.into(), consequence: consequence.into() } }
    }

    pub(crate) fn unknown(id: &'static str, why: impl Into<String>) -> Self {
        Self { id, verdict: Verdict::Unknown { why: why.into() } }
    }

    pub(crate) fn gap(id: &'static str, gap: Gap) -> Self {
        let why = match gap {
            Gap::NotAsked => "it has not been looked at".to_owned(),
            Gap::Unknown(why) => why,
        };
        Self { id, verdict: Verdict::Unknown { why } }
    }

    fn left_out(id: &'static str, why: impl Into<String>) -> Self {
        Self { id, verdict: Verdict::LeftOut { why: why.into() } }
    }

    /// Whether it was found to be well enough, or needs no answer. What could
    /// not be found out is not.
    pub fn holds(&self) -> bool {
        !matches!(self.verdict, Verdict::Fail { .. } | Verdict::Unknown { .. })
    }

    /// Whether the work can go on.
    pub fn stops(&self) -> bool {
        matches!(self.verdict, Verdict::Fail { .. })
    }
}
