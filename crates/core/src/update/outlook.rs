//! What an update brings, and how long it takes, as far as that can be known
//! before.

use serde::Serialize;

use crate::{
    service::ServiceId,
    size::Bytes,
    stack::{self, Data},
};

/// How long an update takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Takes {
    /// The dump of the database, in seconds; 0 when none is taken. The server goes
    /// on meanwhile.
    pub dump: u64,
    /// Until the new version answers, in seconds.
    pub away: u64,
    /// Who is away so long.
    pub without: Vec<ServiceId>,
    /// Whether Synapse may have to migrate its data besides.
    pub migrates: bool,
    /// How that was found.
    pub from: TakesFrom,
}

/// What is measured of an update, by what it does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Work {
    /// These are replaced; the longest of it was that long the last time, in
    /// milliseconds, where it is known of all.
    Replace {
        /// Who.
        services: Vec<ServiceId>,
        /// How long.
        last: Option<u64>,
    },
    /// The data is moved to another major version of PostgreSQL; it took that
    /// long the last time, in milliseconds.
    Move {
        /// How long.
        last: Option<u64>,
    },
    /// The cluster that was kept serves again.
    Return,
}

/// How a time was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TakesFrom {
    /// It took as long the last time, on this server.
    LastTime,
    /// From the size of the database, with speeds of a slow machine.
    Size,
}

/// What a slow machine dumps in a second.
const SLOW_DUMP: u64 = 5 << 20;
/// What it moves from one cluster to another in a second, comparing included.
const SLOW_MOVE: u64 = 2 << 20;
/// What Synapse takes on a slow machine to answer.
const SLOW_START: u64 = 30;
/// What any other service takes there.
const SLOW_OTHER: u64 = 10;

impl Takes {
    /// From what it took the last time, where that is known, else from the size of
    /// the database. `dump` is what the last dump took in milliseconds.
    pub fn estimate(work: &Work, dump: Option<u64>, size: Bytes) -> Self {
        let seconds = |millis: u64| millis.div_ceil(1000);
        let all = || [Data::Cluster.keepers(), Data::Tables.keepers()].concat();
        match work {
            Work::Move { last: Some(last) } => {
                // Both services start anew besides.
                let away = seconds(*last).saturating_add(SLOW_START);
                Self { dump: 0, away, without: all(), migrates: false, from: TakesFrom::LastTime }
            }
            Work::Move { last: None } => {
                let away = size.0.div_ceil(SLOW_MOVE).saturating_add(2 * SLOW_START);
                Self { dump: 0, away, without: all(), migrates: false, from: TakesFrom::Size }
            }
            Work::Return => {
                Self { dump: 0, away: SLOW_START, without: all(), migrates: false, from: TakesFrom::Size }
            }
            Work::Replace { services, last } => {
                let dumps = services.iter().any(|service| stack::room(*service).data().is_precious());
                let migrates = services.iter().any(|service| Data::Tables.is_kept_by(*service));
                let without = services.clone();
                match (last, dump) {
                    (Some(away), Some(dump)) if dumps => Self {
                        dump: seconds(dump),
                        away: seconds(*away),
                        without,
                        migrates,
                        from: TakesFrom::LastTime,
                    },
                    (Some(away), _) if !dumps => {
                        Self { dump: 0, away: seconds(*away), without, migrates, from: TakesFrom::LastTime }
                    }
                    _ => {
                        let dump = if dumps { size.0.div_ceil(SLOW_DUMP) } else { 0 };
                        let away = if dumps { SLOW_START } else { SLOW_OTHER };
                        Self { dump, away, without, migrates, from: TakesFrom::Size }
                    }
                }
            }
        }
    }

    /// For a person.
    pub fn words(&self) -> String {
        let Self { dump, away, without, migrates, from } = self;
        let why = match (from, dump) {
            (TakesFrom::LastTime, _) => "as the last time",
            (TakesFrom::Size, 0) if !without.iter().any(|service| Data::Cluster.is_kept_by(*service)) => {
                "a guess; nothing was measured here yet"
            }
            (TakesFrom::Size, _) => "judged by the size of the database; nothing was measured here yet",
        };
        let dump = match dump {
            0 => String::new(),
            dump => format!("about {dump} s for the dump, during which the server goes on, and "),
        };
        let names: Vec<&str> = without.iter().map(|service| service.title()).collect();
        let migrated = if *migrates { " Where the data is migrated, that comes on top." } else { "" };
        format!("It takes {dump}about {away} s without {} ({why}).{migrated}", names.join(" and "))
    }
}

/// A Debian package of which there is a newer version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct NewerPackage {
    /// Its name.
    pub name: String,
    /// The version that is there.
    pub from: String,
    /// The newer one.
    pub to: String,
}

impl NewerPackage {
    /// Whether containers run by it: such a package is not left to
    /// unattended-upgrades.
    pub fn is_runtime(&self) -> bool {
        RUNTIME.contains(&self.name.as_str())
    }

    /// Reads a line of [`Fact::NewerPackages`](crate::fact::Fact::NewerPackages).
    pub fn parse(line: &str) -> Option<Self> {
        let mut words = line.split(' ').map(str::to_owned);
        Some(Self { name: words.next()?, from: words.next()?, to: words.next()? })
    }
}

/// The packages that containers run by. Regular expressions for them stand in
/// the settings of unattended-upgrades.
pub const RUNTIME: [&str; 10] = [
    "aardvark-dns",
    "conmon",
    "containers-common",
    "containers-storage",
    "crun",
    "golang-github-containers-common",
    "golang-github-containers-image",
    "netavark",
    "nftables",
    "podman",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_says_where_it_comes_from() {
        let replace = |services: &[ServiceId], last| Work::Replace { services: services.to_vec(), last };
        let synapse = [stack::synapse::ID];
        let size = Bytes(100 << 20);
        for (work, dump, expected, said) in [
            (replace(&synapse, Some(4001)), Some(2300), (3, 5, TakesFrom::LastTime), "as the last time"),
            (replace(&synapse, None), Some(2300), (20, 30, TakesFrom::Size), "without Synapse (judged"),
            (replace(&synapse, Some(4001)), None, (20, 30, TakesFrom::Size), "comes on top"),
            (
                replace(&[stack::element::ID], Some(900)),
                None,
                (0, 1, TakesFrom::LastTime),
                "takes about 1 s without the web",
            ),
            (replace(&[stack::redis::ID], None), None, (0, 10, TakesFrom::Size), "Redis (a guess"),
            (Work::Move { last: None }, Some(1), (0, 110, TakesFrom::Size), "PostgreSQL and Synapse (judged"),
            (Work::Move { last: Some(70_000) }, None, (0, 100, TakesFrom::LastTime), "as the last time"),
            (Work::Return, None, (0, 30, TakesFrom::Size), "PostgreSQL and Synapse"),
        ] {
            let takes = Takes::estimate(&work, dump, size);
            assert_eq!((takes.dump, takes.away, takes.from), expected, "{work:?}");
            assert!(takes.words().contains(said), "{work:?}: {}", takes.words());
            let migrates =
                matches!(&work, Work::Replace { services, .. } if services.contains(&stack::synapse::ID));
            assert_eq!(takes.words().contains("migrated"), migrates, "{}", takes.words());
        }
    }

    #[test]
    fn what_containers_run_by_is_known() {
        let newer = |line| NewerPackage::parse(line).map(|p| p.is_runtime());
        assert_eq!(newer("libc6 2.41-12 2.41-12+deb13u1"), Some(false));
        assert_eq!(newer("podman 5.4.2+ds1-2+b1 5.4.2+ds1-3"), Some(true));
        assert_eq!(newer("podman 5.4.2+ds1-2+b1"), None);
    }
}
