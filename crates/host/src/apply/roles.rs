//! Roles in a cluster that serves: made plain ones, and made where a room is newer than the
//! cluster.

use std::time::Duration;

use matrix_podman_core::stack::{
    self, DatabaseName,
    postgres::roles::{self, OWNER},
};

use crate::{
    failure::Failure,
    postgres::{owner, psql, there},
    progress::{Saying, Sink},
};

/// How long one attempt may take; a large number of tables changes hands within seconds.
const ONCE: Duration = Duration::from_secs(600);
/// How often it is tried while others hold tables. They are left alone the first time;
/// then their connections end, and they make new ones.
const ATTEMPTS: usize = 12;

/// Takes over a cluster of which Synapse's role is the superuser, and whatever of its
/// data is still the cluster owner's. Each piece is one transaction; what was done is not done again.
pub(super) fn separate(sink: &Sink) -> Result<(), Failure> {
    let doing = "make Synapse's database role a plain one";
    let (role, synapses) = (stack::synapse::DATABASE.role.as_str(), stack::synapse::DATABASE.name.as_str());
    if owner()? == role {
        sink(Saying::WaitsFor("PostgreSQL to give each table its new owner".to_owned()));
        attempt(role, synapses, &roles::take_over(), doing, sink)?;
    }
    for database in there()? {
        psql(OWNER, "postgres", &roles::make_plain(database.role), doing, ONCE)?;
    }
    let left = psql(OWNER, "postgres", roles::OWNERS_DATABASES, doing, ONCE)?;
    // The one that serves may have tables of the owner's without being the owner's.
    let left = left.lines().map(str::trim).filter(|name| !name.is_empty() && *name != synapses);
    for name in left.chain([synapses]) {
        attempt(OWNER, name, &roles::give_database(name), doing, sink)?;
    }
    psql(OWNER, "postgres", roles::END_SESSIONS, doing, ONCE).map(drop)
}

/// Empties Synapse's database where Synapse never finished making its tables.
pub(super) fn empty_unfinished() -> Result<(), Failure> {
    let (role, name) = (stack::synapse::DATABASE.role.as_str(), stack::synapse::DATABASE.name.as_str());
    psql(role, name, roles::EMPTY_UNFINISHED, "empty Synapse's unfinished database", ONCE).map(drop)
}

/// Makes the databases called so, each with its role.
pub(super) fn make(names: &[DatabaseName]) -> Result<(), Failure> {
    let wanted = stack::databases().into_iter().filter(|database| names.contains(&database.name));
    for database in wanted {
        let doing = format!("make the database {}", database.name);
        psql(OWNER, "postgres", &roles::make_missing(&database), &doing, ONCE)?;
    }
    Ok(())
}

fn attempt(role: &str, database: &str, statements: &str, doing: &str, sink: &Sink) -> Result<(), Failure> {
    let mut tried = 0;
    loop {
        match psql(role, database, statements, doing, ONCE) {
            Ok(_) => return Ok(()),
            Err(failure) if tried < ATTEMPTS && waited(&failure) => {
                tried += 1;
                sink(Saying::WaitsFor("Synapse to let go of its tables".to_owned()));
                psql(role, database, roles::END_ALL_SESSIONS, doing, ONCE)?;
            }
            Err(failure) => {
                return Err(failure.hint(
                    "nothing has changed in the database; `matrix-podman up` tries it again, and `matrix-podman \
                     stop synapse` before that keeps others from it",
                ));
            }
        }
    }
}

fn waited(failure: &Failure) -> bool {
    let lines = failure.evidence.iter();
    lines
        .chain([&failure.why])
        .any(|line| line.contains("lock timeout") || line.contains("deadlock detected"))
}
