//! What a snapshot says of itself, so that what comes back can be counted.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    format::{self, Unread},
    name::ServerName,
};

/// The newest format that this program writes: it has further databases beside Synapse's,
/// which older programs would leave behind.
pub const FORMAT: u32 = 3;
/// The format of a snapshot with Synapse's database alone.
const ONE_DATABASE: u32 = 2;

/// The format of a snapshot with these databases beside Synapse's.
pub fn format_with(further: &BTreeMap<String, Rows>) -> u32 {
    if further.is_empty() { ONE_DATABASE } else { FORMAT }
}

/// How many rows each table of a database has, but for those that no dump keeps.
pub type Rows = BTreeMap<String, u64>;

/// What a snapshot says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of this document.
    pub format: u32,
    /// The server.
    pub server_name: ServerName,
    /// Version of matrix-podman that made it.
    pub program: String,
    /// When the database was as it is in here (RFC 3339).
    pub made_at: String,
    /// Versions of the programs that ran, by service.
    pub versions: BTreeMap<String, String>,
    /// What the database holds.
    #[serde(flatten)]
    pub content: Content,
    /// The rows of each table of the databases beside Synapse's, as they were when all dumps
    /// had begun.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub databases: BTreeMap<String, Rows>,
    /// The media of this server's own people.
    pub media: MediaSum,
}

/// What Synapse's database held at the moment of the dump, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// Version of Synapse's schema.
    pub schema: u32,
    /// Rows of each table; the one that is left out is not among them.
    pub tables: Rows,
    /// Id of the signing key, and its public half.
    pub signing_key: (String, String),
}

/// The media, counted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MediaSum {
    /// How many files.
    pub files: u64,
    /// How large they are together.
    pub bytes: u64,
    /// SHA-256 over the list of their digests.
    pub digest: String,
}

impl Manifest {
    /// Reads a manifest.
    pub fn parse(text: &str) -> Result<Self, Unread> {
        #[derive(Deserialize)]
        struct Head {
            format: u32,
        }
        let head: Head = serde_json::from_str(text).map_err(no_manifest)?;
        format::check(head.format, FORMAT)?;
        if head.format < ONE_DATABASE {
            return Err(Unread::Otherwise(format!(
                "it has format {}, of a version before the first release; this one reads {FORMAT}. restic takes out \
                 everything that is in it",
                head.format
            )));
        }
        serde_json::from_str(text).map_err(no_manifest)
    }

    /// The text of this manifest.
    pub fn render(&self) -> Result<String, serde_json::Error> {
        Ok(format!("{}\n", serde_json::to_string_pretty(self)?))
    }

    /// The number of rows of a table; 0 when it was not there.
    pub fn rows(&self, table: &str) -> u64 {
        self.content.tables.get(table).copied().unwrap_or_default()
    }

    /// The databases that were saved: Synapse's, which has no name here, and the further ones.
    pub fn saved(&self) -> impl Iterator<Item = Option<&str>> {
        std::iter::once(None).chain(self.databases.keys().map(|name| Some(name.as_str())))
    }

    /// How a database that came back differs from the one that was saved, in
    /// sentences; none when it does not.
    pub fn differences(&self, called: Option<&str>, now: &Rows) -> Vec<String> {
        let none = Rows::new();
        let saved = called.map_or(&self.content.tables, |name| self.databases.get(name).unwrap_or(&none));
        let mut differences: Vec<String> = saved
            .iter()
            .filter_map(|(table, rows)| match now.get(table) {
                Some(found) if found == rows => None,
                Some(found) => Some(format!("{table} has {found} rows instead of {rows}")),
                None => Some(format!("the table {table} is missing")),
            })
            .collect();
        let extra = now.keys().filter(|table| !saved.contains_key(*table));
        differences.extend(extra.map(|table| format!("the table {table} was not there")));
        match called {
            None => differences,
            Some(name) => differences.into_iter().map(|found| format!("{name}: {found}")).collect(),
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "it is what map_err hands over")]
fn no_manifest(error: serde_json::Error) -> Unread {
    Unread::Otherwise(format!("it is no manifest: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: format_with(&BTreeMap::new()),
            server_name: ServerName::parse("matrix.chat.home.arpa").unwrap(),
            program: "0.1.0".into(),
            made_at: "2026-01-02T03:04:05Z".into(),
            versions: [("synapse".into(), "1.157.1".into())].into(),
            content: Content {
                schema: 93,
                tables: [("events".into(), 120), ("users".into(), 3)].into(),
                signing_key: ("ed25519:a_x".into(), "KEY".into()),
            },
            databases: BTreeMap::new(),
            media: MediaSum { files: 2, bytes: 30, digest: "ab".into() },
        }
    }

    /// The same with a second database.
    fn with_two() -> Manifest {
        let databases = [("accounts".into(), [("sessions".into(), 7)].into())].into();
        Manifest { format: format_with(&databases), databases, ..manifest() }
    }

    #[test]
    fn it_can_be_read_by_people_and_by_the_program() {
        let text = manifest().render().unwrap();
        insta::assert_snapshot!(text);
        assert_eq!(Manifest::parse(&text).unwrap(), manifest());
        let text = with_two().render().unwrap();
        assert!(text.contains("\"format\": 3"), "older programs would leave a database behind: {text}");
        assert_eq!(Manifest::parse(&text).unwrap(), with_two());
    }

    #[test]
    fn one_of_another_format_is_refused_by_that() {
        for (format, why) in [(FORMAT + 1, "newer matrix-podman"), (1, "before the first release")] {
            let refused =
                Manifest::parse(&format!(r#"{{"format": {format}, "anything": true}}"#)).unwrap_err();
            assert!(refused.to_string().contains(why), "{refused}");
        }
        assert!(Manifest::parse("{}").is_err());
    }

    #[test]
    fn what_came_back_is_compared_table_by_table() {
        let found = |events, extra: bool| {
            let mut now: BTreeMap<String, u64> = [("events".to_owned(), events)].into();
            now.insert(if extra { "users" } else { "others" }.into(), 3);
            manifest().differences(None, &now)
        };
        assert_eq!(found(120, true), Vec::<String>::new());
        assert_eq!(found(119, true), ["events has 119 rows instead of 120"]);
        assert_eq!(found(120, false), ["the table users is missing", "the table others was not there"]);
        assert_eq!(with_two().saved().collect::<Vec<_>>(), [None, Some("accounts")]);
        let differences =
            |rows| with_two().differences(Some("accounts"), &[("sessions".into(), rows)].into());
        assert_eq!(differences(7), Vec::<String>::new());
        assert_eq!(differences(6), ["accounts: sessions has 6 rows instead of 7"]);
        assert_eq!(
            with_two().differences(Some("accounts"), &Rows::new()),
            ["accounts: the table sessions is missing"]
        );
    }
}
