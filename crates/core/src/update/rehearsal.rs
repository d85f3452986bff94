//! A rehearsal: what an update would do, done to a copy of the data that nobody
//! uses, in containers without a network (see [`crate::aside`]). No message, no
//! mail and no notification can leave them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Schema, Undo, undo};
use crate::{
    aside::{self, Aside, Containers},
    config::Config,
    lock::Lock,
    name::AbsPath,
    size::Bytes,
    stack::{Facts, MissingImage},
};

/// Tables that hold what people would miss: an update may rewrite them, and never
/// makes them shorter.
const MISSED: [&str; 5] = ["users", "rooms", "events", "event_json", "local_media_repository"];

/// What a rehearsal runs in the guest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsal {
    /// The containers, with the images that are tried.
    pub containers: Containers,
    /// Files of the server that they read; they get copies.
    pub copies: Vec<AbsPath>,
    /// How long Synapse may take until it answers, and as long again for what it
    /// rewrites in the background, in seconds.
    pub within: u64,
}

/// What rehearses the images of `lock`.
pub fn rehearsal(
    config: &Config,
    lock: &Lock,
    facts: &Facts,
    within: u64,
) -> Result<Rehearsal, MissingImage> {
    let mut containers = aside::containers(Aside::Rehearsal, config, lock, facts)?;
    // What people uploaded is not looked at, so it is not copied.
    containers.without_media();
    Ok(Rehearsal { containers, copies: aside::files_read(config, facts), within })
}

/// What is left free of the disk beside a rehearsal, in bytes: the server goes on writing, and the
/// database of the rehearsal has a log of changes.
pub const SPARE: u64 = 1536 << 20;
/// What has to be free of memory: its containers have no more.
const MEMORY: Bytes = Bytes::gib(1);

/// What a rehearsal beside the server needs of the disk, in bytes: the dump, and the database
/// that is made of it.
pub const fn rehearsal_needs(database: u64) -> u64 {
    database.saturating_mul(2).saturating_add(SPARE)
}

/// Why there is no room for a rehearsal that nobody asked for, where there is none.
pub fn no_room(database: u64, disk_free: u64, memory_free: u64) -> Option<String> {
    let needs = rehearsal_needs(database);
    if disk_free < needs {
        return Some(format!(
            "a copy of the data may need {}, and {} are free in the guest",
            Bytes(needs).rounded(),
            Bytes(disk_free).rounded()
        ));
    }
    (memory_free < MEMORY.0).then(|| {
        format!(
            "the containers of a copy may need {} of memory, and {} are free in the guest",
            MEMORY.rounded(),
            Bytes(memory_free).rounded()
        )
    })
}

/// What is said while it goes on, a line each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// What is waited for.
    WaitsFor(String),
    /// The end.
    Ended(Rehearsed),
}

/// What came of a rehearsal in which everything started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rehearsed {
    /// How long the copy of the database took, in milliseconds.
    pub copy_millis: u64,
    /// From the start of Synapse until it answered; migrations are in it.
    pub start_millis: u64,
    /// How long it rewrote data in the background after that.
    pub background_millis: u64,
    /// How many things it had to rewrite.
    pub background: usize,
    /// Those that it had not ended in time.
    pub background_left: Vec<String>,
    /// The form of the data afterwards.
    pub schema: Option<u32>,
    /// The oldest form that a program has to know to open them.
    pub compat: Option<u32>,
    /// Rows of each table before Synapse started.
    pub before: BTreeMap<String, u64>,
    /// Rows of each table at the end.
    pub after: BTreeMap<String, u64>,
}

impl Rehearsed {
    /// What is missing at the end that people would miss.
    pub fn lost(&self) -> Vec<String> {
        let fewer = |table: &&str| -> Option<String> {
            let before = self.before.get(*table)?;
            let after = self.after.get(*table).copied().unwrap_or(0);
            (after < *before).then(|| format!("{table} had {before} rows and has {after}"))
        };
        MISSED.iter().filter_map(fewer).collect()
    }

    /// How the update could be taken back by a Synapse that writes `now`.
    pub fn undo(&self, now: Option<Schema>) -> Undo {
        undo(self.compat, now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{default_config, facts, lock};

    #[test]
    fn all_that_its_containers_read_is_copied() {
        let rehearsal = rehearsal(&default_config(), &lock(), &facts(), 60).unwrap();
        let words = [&rehearsal.containers.database, &rehearsal.containers.synapse];
        let mounted = words.into_iter().flatten().filter_map(|word| word.strip_prefix("--volume="));
        let made: Vec<String> = rehearsal
            .copies
            .iter()
            .map(|path| Aside::Rehearsal.moved(path))
            .chain(rehearsal.containers.folders.iter().map(|(path, ..)| path.clone()))
            .chain(rehearsal.containers.files.iter().map(|(path, ..)| path.clone()))
            .chain([rehearsal.containers.hosts.0.clone()])
            .map(|path| path.to_string())
            .collect();
        for mount in mounted {
            let source = mount.split(':').next().unwrap();
            let below = format!("{source}/");
            assert!(made.iter().any(|path| path == source || path.starts_with(&below)), "{mount}");
        }
        assert!(made.iter().any(|path| path.ends_with("/synapse/homeserver.yaml")), "{made:?}");
    }

    #[test]
    fn a_copy_needs_disk_and_memory() {
        let (database, gib) = (200 << 20, 1u64 << 30);
        assert_eq!(no_room(database, 2 * gib, gib), None);
        assert!(no_room(database, gib, 4 * gib).unwrap().contains("a copy of the data may need 1.8 GiB"));
        assert!(no_room(database, 8 * gib, gib / 2).unwrap().contains("512 MiB are free"));
    }

    #[test]
    fn what_people_would_miss_is_noticed() {
        let rows = |events, cache| {
            BTreeMap::from([("events".to_owned(), events), ("event_push_actions".to_owned(), cache)])
        };
        let mut done = Rehearsed { before: rows(20, 9), after: rows(20, 1), ..Rehearsed::default() };
        assert_eq!(done.lost(), Vec::<String>::new());
        done.after = rows(19, 9);
        assert_eq!(done.lost(), ["events had 20 rows and has 19"]);
        done.after.clear();
        assert_eq!(done.lost(), ["events had 20 rows and has 0"]);
    }

    #[test]
    fn what_it_left_says_whether_there_is_a_way_back() {
        let writes = Some(Schema { version: 94, compat: 84 });
        let done = |compat| Rehearsed { compat, ..Rehearsed::default() };
        assert_eq!(done(Some(94)).undo(writes), Undo::Image);
        assert_eq!(done(Some(95)).undo(writes), Undo::Dump);
        assert_eq!(done(None).undo(writes), Undo::Dump);
    }
}
