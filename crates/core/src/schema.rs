//! Whether an older Synapse opens the database of a newer one.
//!
//! Source: `synapse/storage/schema/__init__.py` and `prepare_database.py` of its
//! releases. Synapse refuses to start only when `schema_compat_version` in the
//! database is greater than the `SCHEMA_VERSION` of its own code; it raises the
//! former before it migrates anything, and never lowers it.

use serde::{Deserialize, Serialize};

/// What the code of a Synapse says about the form of its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// The form that it writes.
    pub version: u32,
    /// The oldest form that a program must know to open what it wrote.
    pub compat: u32,
}

/// How a change of Synapse is taken back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Undo {
    /// The image before opens the database as it is: nothing is lost.
    Image,
    /// It does not: the dump taken before has to be restored, and what came
    /// after it is lost.
    Dump,
    /// The cluster of PostgreSQL's other major version is where it was, as it was
    /// when it was left; what came after that is lost.
    Cluster,
}

/// First release, the form that it writes, the form that it demands.
const RELEASES: &[((u32, u32, u32), Schema)] = &[
    ((1, 100, 0), Schema { version: 84, compat: 83 }),
    ((1, 105, 1), Schema { version: 84, compat: 84 }),
    ((1, 107, 0), Schema { version: 85, compat: 84 }),
    ((1, 112, 0), Schema { version: 86, compat: 84 }),
    ((1, 114, 0), Schema { version: 87, compat: 84 }),
    ((1, 116, 0), Schema { version: 88, compat: 84 }),
    ((1, 124, 0), Schema { version: 89, compat: 84 }),
    ((1, 128, 0), Schema { version: 91, compat: 84 }),
    ((1, 129, 0), Schema { version: 92, compat: 84 }),
    ((1, 143, 0), Schema { version: 93, compat: 84 }),
    ((1, 151, 0), Schema { version: 94, compat: 84 }),
];

/// The last release that [`RELEASES`] was made from; what came later has to be
/// asked for its schema.
const LAST: (u32, u32, u32) = (1, 157, 1);

/// The schema of a release, where it is known without its image.
pub fn known(release: &str) -> Option<Schema> {
    let release = numbers(release)?;
    if release > LAST {
        return None;
    }
    RELEASES.iter().rev().find(|(first, _)| *first <= release).map(|(_, schema)| *schema)
}

/// `v1.157.1`, `1.157.1`, `1.157.0rc1` → the three numbers.
pub(crate) fn numbers(release: &str) -> Option<(u32, u32, u32)> {
    let mut parts = release.trim_start_matches('v').splitn(3, '.').map(|part| {
        let digits: String = part.chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok()
    });
    Some((parts.next()??, parts.next()??, parts.next().flatten().unwrap_or(0)))
}

/// How a change away from a Synapse that writes `before` is taken back, when
/// the database demands at least `compat`. What is not known cannot be relied on.
pub fn undo(compat: Option<u32>, before: Option<Schema>) -> Undo {
    match (compat, before) {
        (Some(compat), Some(before)) if compat <= before.version => Undo::Image,
        _ => Undo::Dump,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_the_schema_of_their_sources() {
        for (release, schema) in [
            ("1.99.0", None),
            ("1.100.0", Some((84, 83))),
            ("1.105.0", Some((84, 83))),
            ("v1.105.1", Some((84, 84))),
            ("1.111.1", Some((85, 84))),
            ("1.127.1", Some((89, 84))),
            ("1.128.0", Some((91, 84))),
            ("1.142.1", Some((92, 84))),
            ("1.150.0", Some((93, 84))),
            ("1.151.0rc1", Some((94, 84))),
            ("v1.157.1", Some((94, 84))),
            ("1.157.2", None),
            ("2.0", None),
            ("", None),
            ("latest", None),
        ] {
            assert_eq!(known(release).map(|s| (s.version, s.compat)), schema, "{release}");
        }
    }

    #[test]
    fn an_image_alone_goes_back_only_where_the_database_allows_it() {
        let writes = |version| Some(Schema { version, compat: 84 });
        for (compat, before, expected) in [
            // 1.100 opens what 1.105.0 left, not what 1.105.1 left.
            (Some(83), writes(83), Undo::Image),
            (Some(84), writes(83), Undo::Dump),
            (Some(84), writes(84), Undo::Image),
            (Some(84), writes(94), Undo::Image),
            (Some(95), writes(94), Undo::Dump),
            (None, writes(94), Undo::Dump),
            (Some(84), None, Undo::Dump),
        ] {
            assert_eq!(undo(compat, before), expected, "{compat:?} {before:?}");
        }
    }
}
