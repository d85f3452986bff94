//! What `doctor --fix` does next.

use std::collections::BTreeSet;

use matrix_podman_core::doctor::{Diagnosis, Finding};

/// How many things are mended in one go; each changes what is seen next.
const MENDS: usize = 6;

/// The commands that were tried.
#[derive(Debug, Default)]
pub struct Fixing {
    tried: BTreeSet<String>,
}

impl Fixing {
    /// The most fundamental finding that can be mended without losing anything and was not tried
    /// yet; from now on it counts as tried.
    pub fn next<'a>(&mut self, diagnosis: &'a Diagnosis) -> Option<&'a Finding> {
        if self.tried.len() >= MENDS {
            return None;
        }
        let next = diagnosis
            .findings
            .iter()
            .find(|finding| finding.mend.is_safe() && !self.tried.contains(&finding.mend.command()))?;
        self.tried.insert(next.mend.command());
        Some(next)
    }
}

#[cfg(test)]
mod tests {
    use matrix_podman_core::{doctor::Mend, stack};

    use super::*;

    fn diagnosis(mends: Vec<Mend>) -> Diagnosis {
        let finding = |mend| Finding { cause: "cause", what: String::new(), evidence: Vec::new(), mend };
        Diagnosis { looked_for: 9, findings: mends.into_iter().map(finding).collect(), unseen: Vec::new() }
    }

    #[test]
    fn what_is_safe_is_tried_once_and_in_order() {
        let found = || {
            diagnosis(vec![Mend::Type("rm".to_owned()), Mend::Restart(stack::redis::ID), Mend::Up, Mend::Up])
        };
        let mut fixing = Fixing::default();
        assert_eq!(fixing.next(&found()).map(|f| f.mend.clone()), Some(Mend::Restart(stack::redis::ID)));
        assert_eq!(fixing.next(&found()).map(|f| f.mend.clone()), Some(Mend::Up));
        assert!(fixing.next(&found()).is_none());
        assert!(Fixing::default().next(&diagnosis(vec![Mend::Type("rm".to_owned())])).is_none());
    }
}
