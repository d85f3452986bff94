//! Databases as files in the guest, and back: `pg_dump` beside a server
//! that runs, and a restore that replaces all of them in one stroke.

use std::{fs, path::Path, thread, time::Duration};

use matrix_podman_core::{
    layout,
    name::{AbsPath, Mode, Owner},
    stack::{self, RoomDatabase},
    update,
};
use tempfile::NamedTempFile;

use super::{
    PSQL, owner, psql,
    session::{FIRST, QUICK, SERVER},
};
use crate::{
    failure::{Doing, Failure},
    file,
    process::{Input, Program},
    progress::{Saying, Sink},
};

/// How long a dump or a restore may take: that of hundreds of gigabytes.
const LONG: Duration = Duration::from_secs(24 * 3600);

/// Writes `databases` into `to` and beside it, in `pg_dump`'s custom format, as they are
/// at this moment; the server goes on meanwhile. A file is there whole or not
/// at all, and only root reads it. Where `to` is, all are.
pub fn take(databases: &[RoomDatabase], to: &AbsPath, sink: &Sink) -> Result<(), Failure> {
    let place = Path::new(to.as_str());
    let folder = place.parent().unwrap_or(Path::new("/"));
    if folder == Path::new(layout::DUMPS) {
        file::make_dir(folder, Mode(0o700), Owner::ROOT)?;
    }
    remove_partial(folder);
    sink(Saying::WaitsFor("PostgreSQL to write the dump".to_owned()));
    let doing = || format!("dump the database into {to}");
    // All begin at once, so that they are of one moment as nearly as can be while others write.
    let dumped: Vec<Result<NamedTempFile, Failure>> = thread::scope(|scope| {
        let begin = |database| scope.spawn(move || dumped(database, folder, &doing()));
        let running: Vec<_> = databases.iter().map(begin).collect();
        let ended = running.into_iter().map(|dump| dump.join());
        ended.map(|dump| dump.unwrap_or_else(|_| Err(Failure::new(doing(), "a thread failed")))).collect()
    });
    let whole = dumped.into_iter().collect::<Result<Vec<_>, _>>()?;
    for (database, partial) in databases.iter().zip(whole).rev() {
        let place = database.dump_at(to);
        partial.persist(Path::new(place.as_str())).map_err(|e| e.error).doing(doing)?;
    }
    file::sync_folder(folder).doing(doing)
}

/// The dump of a database as a file in `folder` that has no name yet.
fn dumped(database: &RoomDatabase, folder: &Path, doing: &str) -> Result<NamedTempFile, Failure> {
    let mut partial = tempfile::Builder::new().prefix(PARTIAL).tempfile_in(folder).doing(|| doing)?;
    let argv = ["podman", "exec", SERVER.name(), "pg_dump", "--format=custom"]
        .map(str::to_owned)
        .into_iter()
        .chain(database.login())
        .chain(database.left_out.iter().map(|table| format!("--exclude-table-data={table}")));
    Program::new(argv).ends_with_us().deadline(LONG).run_into(doing, partial.as_file_mut())?;
    partial.as_file().sync_all().doing(|| doing)?;
    Ok(partial)
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

/// Replaces databases by what is in the dump `from`, and beside it. They are filled beside the
/// others and take their places at once; the others are kept, with `keep_as` behind their
/// names. Nothing may use them meanwhile: Synapse has to be stopped.
/// When those are there, it was done before. A database that the dump lacks stays as it is.
pub fn restore(from: &AbsPath, keep_as: &str, sink: &Sink) -> Result<(), Failure> {
    let doing = || format!("restore the database from {from}");
    let path = |database: &RoomDatabase| database.dump_at(from);
    let of_it =
        |database: &RoomDatabase| database.called().is_none() || Path::new(path(database).as_str()).exists();
    let databases: Vec<RoomDatabase> = stack::databases().into_iter().filter(of_it).collect();
    let open = |database: &RoomDatabase| file::open(Path::new(path(database).as_str())).doing(doing);
    let dumps = databases.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let kept = FIRST.kept(keep_as);
    if sql(&format!("SELECT 1 FROM pg_database WHERE datname = '{kept}';"), &doing())?.trim() == "1" {
        return Ok(());
    }
    sink(Saying::WaitsFor("PostgreSQL to read the dump".to_owned()));
    for (database, dump) in databases.iter().zip(dumps) {
        fill(database, dump, &doing(), sink)?;
    }
    sql(&switch(&databases, keep_as), &doing()).map(drop)
}

/// Fills the database that is to take the place of `database`.
fn fill(database: &RoomDatabase, dump: fs::File, doing: &str, sink: &Sink) -> Result<(), Failure> {
    let filling = database.filling();
    sql(
        &format!(
            "DROP DATABASE IF EXISTS {filling} WITH (FORCE);\n\
             CREATE DATABASE {filling} {};",
            database.form()
        ),
        doing,
    )?;
    let argv = ["podman", "exec", "--interactive", SERVER.name()].into_iter();
    let argv = argv.chain(["pg_restore", "--exit-on-error", "--no-owner"]).map(str::to_owned);
    Program::new(argv.chain(database.login_to(&filling)))
        .ends_with_us()
        .deadline(LONG)
        .input(Input::Stream(Box::new(dump)))
        .run(doing, &|line| sink(Saying::Line(line.to_owned())))?;
    // Without its statistics, the first hours of a large database are slow ones.
    let analyze = ["podman", "exec", SERVER.name()].into_iter().chain(PSQL);
    let analyze = analyze.chain(["--command=ANALYZE"]).map(str::to_owned);
    let analyze = analyze.chain(database.login_to(&filling));
    Program::new(analyze).ends_with_us().deadline(LONG).run(doing, &|_| {})
}

/// Statements that give those that were filled their places. All names change in one
/// transaction, or none does.
fn switch(databases: &[RoomDatabase], keep_as: &str) -> String {
    let names: Vec<String> = databases
        .iter()
        .flat_map(|database| [format!("'{}'", database.name), format!("'{}'", database.filling())])
        .collect();
    let rename = |database: &RoomDatabase| {
        let (name, filling, kept) = (database.name, database.filling(), database.kept(keep_as));
        format!("ALTER DATABASE {name} RENAME TO {kept};\nALTER DATABASE {filling} RENAME TO {name};\n")
    };
    let renamed: String = databases.iter().map(rename).collect();
    format!(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN ({});\n\
         BEGIN;\n{renamed}COMMIT;",
        names.join(", ")
    )
}

/// Drops a database that was kept beside one that serves; none of another name.
pub fn drop_kept(name: &str) -> Result<(), Failure> {
    let doing = format!("drop the database {name}");
    if !update::is_kept_database(&stack::databases(), name) {
        return Err(Failure::new(doing, "it is none that an update kept"));
    }
    sql(&format!("DROP DATABASE IF EXISTS {name};"), &doing).map(drop)
}

/// Forgets the keys that clients uploaded to be used once. Synapse has to be
/// stopped: it counts them in its memory.
pub fn forget_one_time_keys() -> Result<(), Failure> {
    let doing = "forget the one-time keys";
    let RoomDatabase { name, role, left_out, .. } = FIRST;
    let emptied = left_out.iter().map(|table| {
        format!(
            "DO $$ BEGIN IF to_regclass('public.{table}') IS NOT NULL THEN \
             TRUNCATE public.{table}; END IF; END $$;"
        )
    });
    let there: String = emptied.collect();
    psql(role.as_str(), name.as_str(), &there, doing, QUICK).map(drop)
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

#[cfg(test)]
mod tests {
    use matrix_podman_core::stack::DatabaseName;

    use super::*;

    #[test]
    fn all_databases_change_their_names_in_one_transaction() {
        let accounts = RoomDatabase { name: DatabaseName::known("accounts"), ..FIRST };
        assert_eq!(
            switch(&[FIRST, accounts], "of_generation_4"),
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname IN \
             ('synapse', 'synapse_restoring', 'accounts', 'accounts_restoring');\n\
             BEGIN;\n\
             ALTER DATABASE synapse RENAME TO synapse_of_generation_4;\n\
             ALTER DATABASE synapse_restoring RENAME TO synapse;\n\
             ALTER DATABASE accounts RENAME TO accounts_of_generation_4;\n\
             ALTER DATABASE accounts_restoring RENAME TO accounts;\n\
             COMMIT;"
        );
    }
}
