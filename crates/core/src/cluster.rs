//! PostgreSQL's clusters: the one that serves, those that are kept beside it, and
//! what moves the data from one major version to the next.
//!
//! Each major version has a folder of its own in [`FOLDER`], so the image that the
//! unit names decides which of them serves. A cluster is made beside the others
//! and gets the name of its version only when it is whole.

use serde::{Deserialize, Serialize};

use crate::{layout, name::AbsPath};

/// Where they are, in the guest.
pub const FOLDER: &str = "/opt/matrix/postgresdata";
/// A cluster that is being filled; partial work.
pub const MOVING: &str = ".moving";
/// In a cluster's folder: the generation that it was made for.
pub const MADE_FOR: &str = "made-for-generation";

/// An empty cluster to be made: the command, run in the container, the files that are put
/// into it and the statements that it gets before it is started for the first time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewCluster {
    /// The command.
    pub initdb: Vec<String>,
    /// Names of files in the cluster's folder, and their content.
    pub files: Vec<(String, String)>,
    /// Statements, each on one line.
    pub statements: Vec<String>,
}

/// What is needed to move the data into a cluster of another major version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// The image to run.
    pub image: String,
    /// The major version of the cluster that serves.
    pub from: u32,
    /// That of the new one.
    pub to: u32,
    /// The generation that it is for.
    pub generation: u32,
    /// What the new cluster is made of.
    pub cluster: NewCluster,
}

impl Move {
    /// The move from `from` to `to`, with `image`, for a generation.
    pub fn new(image: &str, from: u32, to: u32, generation: u32) -> Self {
        Self { image: image.to_owned(), from, to, generation, cluster: NewCluster::of(to) }
    }
}

/// Beginning of the name of a cluster that is being removed; partial work.
const REMOVING: &str = ".removing-";

/// A cluster that does not serve. Nothing removes one but a person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OldCluster {
    /// The name of its folder below [`FOLDER`].
    pub name: String,
    /// Its major version.
    pub major: u32,
    /// What it was.
    pub was: Was,
}

/// What a cluster was that does not serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Was {
    /// It served until the data were moved: `rollback` may need it.
    Served,
    /// A generation was tried with it, and it was left again.
    Tried,
    /// It stood where the cluster of a generation was to be put.
    Replaced,
    /// Somebody had it removed, and that was cut off.
    BeingRemoved,
}

impl OldCluster {
    /// The cluster whose folder has that name, if this program names clusters so.
    pub fn named(name: &str) -> Option<Self> {
        let (whole, being_removed) = match name.strip_prefix(REMOVING) {
            Some(whole) => (whole, true),
            None => (name, false),
        };
        let (major, rest) = match whole.split_once('.') {
            None => (whole, None),
            Some((major, rest)) => (major, Some(rest)),
        };
        let number =
            |text: &str| -> Option<u32> { text.parse().ok().filter(|n: &u32| n.to_string() == text) };
        let numbered = |kind: &str| rest.and_then(|rest| rest.strip_prefix(kind)).and_then(number);
        let was = match rest {
            None => Was::Served,
            Some(_) if numbered(OF).is_some() => Was::Tried,
            Some(_) if numbered(BEFORE).is_some() => Was::Replaced,
            Some(_) => return None,
        };
        let was = if being_removed { Was::BeingRemoved } else { was };
        Some(Self { name: name.to_owned(), major: number(major)?, was })
    }

    /// The name that it has while it is being removed.
    pub fn removing(&self) -> String {
        match self.was {
            Was::BeingRemoved => self.name.clone(),
            _ => format!("{REMOVING}{}", self.name),
        }
    }

    /// Its folder.
    pub fn path(&self) -> AbsPath {
        AbsPath::known(format!("{FOLDER}/{}", self.name))
    }
}

const OF: &str = "of-generation-";
const BEFORE: &str = "before-generation-";

/// The name of a cluster that a generation was tried with and that was left again.
pub fn left_cluster(major: u32, generation: u32) -> String {
    format!("{major}.{OF}{generation}")
}

/// The name of a cluster that stood where that of a generation was to be put.
pub fn replaced_cluster(major: u32, generation: u32) -> String {
    format!("{major}.{BEFORE}{generation}")
}

/// The old clusters among the folders with these names, when the one of version
/// `serves` serves. What is not named as this program names clusters is nobody's
/// business.
pub fn clusters(folders: &[String], serves: u32) -> Vec<OldCluster> {
    let mut old: Vec<OldCluster> = folders
        .iter()
        .filter_map(|name| OldCluster::named(name))
        .filter(|cluster| cluster.was != Was::Served || cluster.major != serves)
        .collect();
    old.sort_by(|a, b| (a.major, &a.name).cmp(&(b.major, &b.name)));
    old
}

/// The file that says of which version a cluster is; a cluster without it is none.
pub fn version_file(major: u32) -> AbsPath {
    layout::in_root(&format!("postgresdata/{major}/docker/PG_VERSION"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn old_clusters_are_those_that_do_not_serve() {
        let folders = [
            "18",
            "17",
            "15",
            "18.of-generation-4",
            "17.before-generation-5",
            ".moving",
            ".removing-16",
            ".removing-18.of-generation-3",
            ".removing-mine",
            "017",
            ".initdb",
            "18.mine",
            "18.of-generation-x",
            "data",
        ]
        .map(str::to_owned);
        let names =
            |serves| clusters(&folders, serves).into_iter().map(|c| (c.name, c.was)).collect::<Vec<_>>();
        assert_eq!(
            names(18),
            [
                ("15".to_owned(), Was::Served),
                (".removing-16".to_owned(), Was::BeingRemoved),
                ("17".to_owned(), Was::Served),
                ("17.before-generation-5".to_owned(), Was::Replaced),
                (".removing-18.of-generation-3".to_owned(), Was::BeingRemoved),
                ("18.of-generation-4".to_owned(), Was::Tried),
            ]
        );
        assert!(names(17).contains(&("18".to_owned(), Was::Served)));
        assert!(!names(17).iter().any(|(name, _)| name == "17"));
    }

    #[test]
    fn what_is_kept_is_known_as_kept() {
        for name in [left_cluster(18, 4), replaced_cluster(18, 5)] {
            assert_eq!(clusters(&[name], 18).len(), 1);
        }
    }
}
