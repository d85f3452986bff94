//! Databases in PostgreSQL: the rooms say which there are.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{ALL, postgres, synapse};
use crate::{layout::Secret, name::AbsPath};

/// The name of a database, or of the role that owns one: a word that PostgreSQL reads as
/// it is, without quotes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseName(&'static str);

impl DatabaseName {
    /// As long as it may be: PostgreSQL cuts names off at 63 bytes, and one that is kept gets
    /// `_before_generation_` and a number behind its name.
    const LONGEST: usize = 32;

    /// That name, for a constant: another word than PostgreSQL would take does not compile.
    pub const fn known(name: &'static str) -> Self {
        let bytes = name.as_bytes();
        assert!(!bytes.is_empty() && bytes.len() <= Self::LONGEST);
        let mut at = 0;
        while at < bytes.len() {
            assert!(
                bytes[at].is_ascii_lowercase()
                    || (at > 0 && (bytes[at].is_ascii_digit() || bytes[at] == b'_'))
            );
            at += 1;
        }
        Self(name)
    }

    /// Its text.
    pub const fn as_str(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for DatabaseName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl Serialize for DatabaseName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

impl<'de> Deserialize<'de> for DatabaseName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        database(&name)
            .map(|database| database.name)
            .ok_or_else(|| de::Error::custom(format!("there is no database {name:?}")))
    }
}

/// A database of a room, and the role that owns it. That role logs in and has its own
/// database; it is never a superuser.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomDatabase {
    /// What it is called.
    pub name: DatabaseName,
    /// The role that owns it.
    pub role: DatabaseName,
    /// The role's password, as PostgreSQL reads it.
    pub password: Secret,
    /// The same as a password file of libpq, which the room's service reads.
    pub passfile: Secret,
    /// How text is written in it.
    pub encoding: &'static str,
    /// How text is sorted in it.
    pub locale: &'static str,
    /// Tables whose rows no dump keeps.
    pub left_out: &'static [&'static str],
}

impl RoomDatabase {
    /// What a person calls the service that uses it.
    pub fn user(&self) -> &'static str {
        let room = ALL.iter().find(|room| room.databases().iter().any(|has| has.name == self.name));
        room.map_or("its service", |room| room.id().title())
    }

    /// What a statement says that makes a database like it.
    pub fn form(&self) -> String {
        let Self { role, encoding, locale, .. } = self;
        format!(
            "OWNER {role} TEMPLATE template0 ENCODING '{encoding}' LC_COLLATE '{locale}' LC_CTYPE '{locale}'"
        )
    }

    /// The name of the one that takes its place, while a restore fills that.
    pub fn filling(&self) -> String {
        format!("{}_restoring", self.name)
    }

    /// The name under which it is kept, `why` behind its own.
    pub fn kept(&self, why: &str) -> String {
        format!("{}_{why}", self.name)
    }

    /// Options of PostgreSQL's programs: come in as its role.
    pub fn login(&self) -> [String; 2] {
        self.login_to(self.name.as_str())
    }

    /// The same, into the database called `name`.
    pub fn login_to(&self, name: &str) -> [String; 2] {
        [format!("--username={}", self.role), format!("--dbname={name}")]
    }

    /// A line of a password file of libpq (PostgreSQL's manual, "The Password File"). The
    /// password is hexadecimal, so nothing in it wants escaping.
    pub fn passfile_line(&self, password: &str) -> String {
        format!("{}:*:{}:{}:{password}\n", postgres::ID, self.name, self.role)
    }

    /// Its name, where what is kept of it needs one: Synapse's was the only one once, and what
    /// is kept of that has the names of then.
    pub fn called(&self) -> Option<&'static str> {
        (self.name != synapse::DATABASE.name).then_some(self.name.0)
    }

    /// Where its dump is that belongs to the one of Synapse's database at `first`.
    pub fn dump_at(&self, first: &AbsPath) -> AbsPath {
        match self.called() {
            None => first.clone(),
            Some(name) => AbsPath::known(format!("{first}.{name}")),
        }
    }
}

/// All databases, Synapse's first, the others by their names.
pub fn databases() -> Vec<RoomDatabase> {
    let mut all: Vec<RoomDatabase> = ALL.iter().flat_map(|room| room.databases()).copied().collect();
    all.sort_by_key(RoomDatabase::called);
    all
}

/// The database called `name`.
pub fn database(name: &str) -> Option<RoomDatabase> {
    databases().into_iter().find(|database| database.name.as_str() == name)
}

/// The names of `databases` as a list in a statement.
pub(crate) fn listed(names: impl Iterator<Item = DatabaseName>) -> String {
    names.map(|name| format!("'{name}'")).collect::<Vec<_>>().join(", ")
}

/// An expression that counts how large `databases` are together, as far as they are there.
pub(crate) fn sizes(databases: &[RoomDatabase]) -> String {
    let names = listed(databases.iter().map(|database| database.name));
    format!("(SELECT sum(pg_database_size(oid)) FROM pg_database WHERE datname IN ({names}))")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::{stack::secret_owner, testing::two_databases};

    #[test]
    fn no_two_rooms_share_a_name_a_role_or_a_password() {
        let all = databases();
        for distinct in [
            all.iter().map(|database| database.name.to_string()).collect::<BTreeSet<_>>(),
            all.iter().map(|database| database.role.to_string()).collect(),
            all.iter().map(|database| database.password.file_name().to_owned()).collect(),
        ] {
            assert_eq!(distinct.len(), all.len());
        }
        for database in all {
            assert!(![postgres::roles::OWNER, "root"].contains(&database.role.as_str()));
            assert_eq!(secret_owner(database.password), postgres::ID.owner(), "PostgreSQL reads it");
            assert_ne!(secret_owner(database.passfile), postgres::ID.owner(), "its own service reads it");
        }
    }

    #[test]
    fn what_is_kept_of_the_first_has_the_names_of_when_there_was_one() {
        let [first, second] = two_databases();
        let dump = AbsPath::known("/opt/matrix/dumps/before-3.dump");
        assert_eq!(first.dump_at(&dump), dump);
        assert_eq!(second.dump_at(&dump).as_str(), "/opt/matrix/dumps/before-3.dump.accounts");
        assert_eq!((first.called(), second.called()), (None, Some("accounts")));
        assert_eq!(first.kept("of_generation_4"), "synapse_of_generation_4");
        assert_eq!(databases().first(), Some(&synapse::DATABASE));
    }

    #[test]
    fn each_name_is_one_that_postgresql_reads_as_it_is() {
        for database in databases().into_iter().chain(two_databases()) {
            assert!(database.kept(&format!("before_generation_{}", u32::MAX)).len() <= 63);
            assert!(database.name.as_str().chars().all(|c| matches!(c, 'a'..='z' | '0'..='9' | '_')));
        }
        assert!(serde_json::from_str::<DatabaseName>("\"postgres; DROP\"").is_err());
        assert_eq!(serde_json::from_str::<DatabaseName>("\"synapse\"").unwrap(), synapse::DATABASE.name);
    }

    #[test]
    fn sizes_are_counted_together() {
        assert_eq!(
            sizes(&two_databases()),
            "(SELECT sum(pg_database_size(oid)) FROM pg_database WHERE datname IN ('synapse', 'accounts'))"
        );
    }
}
