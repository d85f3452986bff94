//! What people who run a server should know of releases of Synapse.

use crate::{schema::numbers, stack::Note};

/// What people who run a server should know of a release of Synapse.
///
/// Sources: `docs/upgrade.md` and `CHANGES.md` of its releases.
const NOTABLE: &[((u32, u32, u32), &str)] = &[
    ((1, 141, 0), "its image is made of Debian 13 with Python 3.13"),
    ((1, 142, 0), "needs Python 3.10"),
    ((1, 143, 0), "needs PostgreSQL 14"),
    ((1, 144, 0), "looking up rooms in common with somebody (MSC2666) is off unless it is turned on"),
    ((1, 146, 0), "devices that were put to sleep (MSC2697) are no longer supported"),
    ((1, 147, 1), "refuses to start with a signing key that is known to be insecure (CVE-2026-24044)"),
    ((1, 150, 0), "labels in its log lines about requests have other names"),
    ((1, 151, 0), "a query of the database may take ten minutes, no longer an hour"),
    (
        (1, 152, 0),
        "a worker of a new kind writes changes of quarantined media; without workers nothing changes",
    ),
    ((1, 152, 1), "mends security holes (CVE-2026-45076, CVE-2026-45078)"),
    ((1, 157, 0), "the older way to use Matrix Authentication Service (MSC3861) is gone"),
    ((1, 158, 0), "new rooms are of version 11"),
];

/// The last release that [`NOTABLE`] was made from.
const READ: (u32, u32, u32) = (1, 158, 0);
/// Where its makers say what is new.
const RELEASES: &str = "https://github.com/element-hq/synapse/releases";

/// What is notable between two releases of Synapse, the first of them left out;
/// and where to read about what this program knows nothing of.
pub fn notable(from: &str, to: &str) -> (Vec<Note>, Option<&'static str>) {
    let (Some(from), Some(to)) = (numbers(from), numbers(to)) else { return (Vec::new(), Some(RELEASES)) };
    let notes = NOTABLE
        .iter()
        .filter(|(release, _)| *release > from && *release <= to)
        .map(|((a, b, c), what)| Note { version: format!("{a}.{b}.{c}"), what })
        .collect();
    (notes, (to > READ && to > from).then_some(RELEASES))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_notable_lies_between_two_releases() {
        let versions = |from, to| {
            let (notes, more) = notable(from, to);
            (notes.into_iter().map(|n| n.version).collect::<Vec<_>>(), more.is_some())
        };
        for (from, to, expected, more) in [
            ("1.147.0", "1.150.0", vec!["1.147.1", "1.150.0"], false),
            ("v1.157.1", "v1.158.0", vec!["1.158.0"], false),
            ("1.158.0", "1.163.0", vec![], true),
            ("1.163.0", "1.157.1", vec![], false),
            ("1.157.1", "1.157.1", vec![], false),
            ("develop", "1.157.1", vec![], true),
        ] {
            let expected = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(versions(from, to), (expected, more), "{from} {to}");
        }
    }
}
