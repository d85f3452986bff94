//! The database as a file in the guest, and back: `pg_dump` beside a server
//! that runs, and a restore that replaces the database in one stroke.

use std::{fs, path::Path, time::Duration};

use matrix_podman_core::{
    layout,
    name::{AbsPath, Mode, Owner},
    stack::{
        self,
        postgres::roles::{FILLING, LIKE_SYNAPSE},
        synapse::homeserver::DATABASE,
    },
    update,
};

use super::{PSQL, owner, psql, session::QUICK};
use crate::{
    failure::{Doing, Failure},
    file,
    process::{Input, Program},
    progress::{Saying, Sink},
};

/// How long a dump or a restore may take: that of hundreds of gigabytes.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// Keys that clients upload to be used once. Restored, they would be given out
/// a second time, and what is encrypted to them could not be read; clients
/// upload new ones by themselves.
const ONE_TIME_KEYS: &str = "e2e_one_time_keys_json";

/// Writes the whole database into `to`, in `pg_dump`'s custom format, as it is
/// at this moment; the server goes on meanwhile. The file is there whole or not
/// at all, and only root reads it.
pub fn take(to: &AbsPath, sink: &Sink) -> Result<(), Failure> {
    let place = Path::new(to.as_str());
    let folder = place.parent().unwrap_or(Path::new("/"));
    if folder == Path::new(layout::DUMPS) {
        file::make_dir(folder, Mode(0o700), Owner::ROOT)?;
    }
    remove_partial(folder);
    sink(Saying::WaitsFor("PostgreSQL to write the dump".to_owned()));
    let doing = || format!("dump the database into {to}");
    let mut partial = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder).doing(doing)?;
    let argv = [
        "podman",
        "exec",
        stack::DATABASE_SERVER.name(),
        "pg_dump",
        "--username",
        DATABASE,
        "--dbname",
        DATABASE,
        "--format=custom",
        "--exclude-table-data",
        ONE_TIME_KEYS,
    ];
    Program::new(argv).ends_with_us().deadline(LONG).run_into(&doing(), partial.as_file_mut())?;
    partial.as_file().sync_all().doing(doing)?;
    partial.persist(place).map_err(|e| e.error).doing(doing)?;
    file::sync_folder(folder).doing(doing)
}

/// What a dump is called until it is whole.
const PARTIAL: &str = ".matrix-podman-dump-";

/// Removes what a dump that was cut off left behind.
fn remove_partial(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with(PARTIAL) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Replaces the database by what is in the dump `from`. It is filled beside the
/// other and takes its place at once; the other is kept under the name
/// `keep_as`. Nothing may use the database meanwhile: Synapse has to be stopped.
/// When `keep_as` is there, it was done before.
pub fn restore(from: &AbsPath, keep_as: &str, sink: &Sink) -> Result<(), Failure> {
    let doing = || format!("restore the database from {from}");
    let dump = file::open(Path::new(from.as_str())).doing(doing)?;
    if sql(&format!("SELECT 1 FROM pg_database WHERE datname = '{keep_as}';"), &doing())?.trim() == "1" {
        return Ok(());
    }
    sink(Saying::WaitsFor("PostgreSQL to read the dump".to_owned()));
    sql(
        &format!(
            "DROP DATABASE IF EXISTS {FILLING} WITH (FORCE);\n\
             CREATE DATABASE {FILLING} {LIKE_SYNAPSE};"
        ),
        &doing(),
    )?;
    let argv = [
        "podman",
        "exec",
        "--interactive",
        stack::DATABASE_SERVER.name(),
        "pg_restore",
        "--exit-on-error",
        "--no-owner",
        "--username",
        DATABASE,
        "--dbname",
        FILLING,
    ];
    Program::new(argv)
        .ends_with_us()
        .deadline(LONG)
        .input(Input::Stream(Box::new(dump)))
        .run(&doing(), &|line| sink(Saying::Line(line.to_owned())))?;
    // Without its statistics, the first hours of a large database are slow ones.
    let analyze = ["podman", "exec", stack::DATABASE_SERVER.name()].into_iter().chain(PSQL).chain([
        "--username",
        DATABASE,
        "--dbname",
        FILLING,
        "--command=ANALYZE",
    ]);
    Program::new(analyze).ends_with_us().deadline(LONG).run(&doing(), &|_| {})?;
    // Both names change in one transaction, or neither does.
    sql(
        &format!(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ('{DATABASE}', '{FILLING}');\n\
             BEGIN;\n\
             ALTER DATABASE {DATABASE} RENAME TO {keep_as};\n\
             ALTER DATABASE {FILLING} RENAME TO {DATABASE};\n\
             COMMIT;"
        ),
        &doing(),
    )
    .map(drop)
}

/// Drops a database that was kept beside the one that serves; none of another name.
pub fn drop_kept(name: &str) -> Result<(), Failure> {
    let doing = format!("drop the database {name}");
    if !update::is_kept_database(name) {
        return Err(Failure::new(doing, "it is none that an update kept"));
    }
    sql(&format!("DROP DATABASE IF EXISTS {name};"), &doing).map(drop)
}

/// Forgets the keys that clients uploaded to be used once. Synapse has to be
/// stopped: it counts them in its memory.
pub fn forget_one_time_keys() -> Result<(), Failure> {
    let doing = "forget the one-time keys";
    let there = format!(
        "DO $$ BEGIN IF to_regclass('public.{ONE_TIME_KEYS}') IS NOT NULL THEN \
         TRUNCATE public.{ONE_TIME_KEYS}; END IF; END $$;"
    );
    psql(DATABASE, DATABASE, &there, doing, QUICK).map(drop)
}

/// Has PostgreSQL write to the disk all that it still has in memory alone, so
/// that what is copied of the disk now starts without much to do.
pub fn checkpoint() -> Result<(), Failure> {
    let doing = "have PostgreSQL write everything to the disk";
    psql(owner()?, "postgres", "CHECKPOINT;", doing, LONG).map(drop)
}

/// Runs statements as the cluster's owner in the database that belongs to nobody; what they
/// print.
fn sql(statements: &str, doing: &str) -> Result<String, Failure> {
    psql(owner()?, "postgres", statements, doing, QUICK)
}
