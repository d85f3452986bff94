//! What a database holds, sent while it is read: a dump, and how many rows there are.
//!
//! A backup asks for all databases at once, and each begins its transaction when it is asked,
//! whenever its dump is read. That is as near to one moment as it gets while the server goes
//! on: PostgreSQL lends the snapshot of a transaction to others of the same database alone.

use std::{
    io::{self, BufReader, Read as _, Write},
    process::{ChildStdout, Command, Stdio},
    thread::JoinHandle,
};

use matrix_podman_core::{
    backup::{Content, Rows},
    stack::RoomDatabase,
};
use serde_json::Value as Json;

use super::{
    Process, Session,
    session::{FIRST, QUIETLY, SERVER},
    there,
};
use crate::{
    failure::{Doing, Failure},
    json_line,
    process::STDOUT_ON_3_TOO,
    secret,
};

/// Writes what the database holds, in a line of JSON, and behind it the dump; nothing but a
/// line that says so where there is none.
pub(crate) fn send(database: &RoomDatabase, to: &mut dyn Write) -> Result<(), Failure> {
    let doing = || "dump the database";
    if !there()?.contains(database) {
        return json_line::write(to, &Json::Null).doing(doing);
    }
    let mut begun = begin_dump(database);
    for _ in 0..BEHIND_OTHERS {
        match begun {
            Err(failure) if waited_for_a_lock(&failure) => begun = begin_dump(database),
            _ => break,
        }
    }
    let mut dump = begun.map_err(|failure| match waited_for_a_lock(&failure) {
        true => failure.hint(
            "Synapse is rebuilding something in its database; run `matrix-podman backup now` again in some minutes",
        ),
        false => failure,
    })?;
    json_line::write(to, &dump.content).doing(doing)?;
    // It is waited for already.
    to.flush().and_then(|()| to.write_all(&dump.first)).doing(doing)?;
    let mut out = BufReader::with_capacity(PIPE, &mut dump.out);
    io::copy(&mut out, to).doing(doing)?;
    dump.end()
}

/// How much the pipe from pg_dump may hold, in bytes.
const PIPE: usize = 1 << 20;

/// How often a dump is begun anew that stood in the way of others.
const BEHIND_OTHERS: usize = 20;
/// How long a dump waits for a lock, in milliseconds. Whoever wants a table for
/// itself waits for what was counted to be let go of, and pg_dump waits behind
/// that: PostgreSQL sees no deadlock in it, since one of the three is no session
/// that waits. Letting go of everything is the way out.
const LOCK_WAIT: u32 = 3000;

fn waited_for_a_lock(failure: &Failure) -> bool {
    let said = |text: &str| failure.evidence.iter().any(|line| line.contains(text));
    // pg_dump's own --lock-wait-timeout is a timeout of the statement that takes its locks.
    let dumps = said("statement timeout") && said("LOCK TABLE");
    said("lock timeout") || said("deadlock detected") || dumps
}

/// A dump that has all the locks that it needs.
struct Dump {
    content: Json,
    /// What pg_dump wrote first.
    first: Vec<u8>,
    out: ChildStdout,
    child: Process,
    said: JoinHandle<String>,
    /// The transaction that everything is read in.
    _session: Session,
}

impl Dump {
    fn end(mut self) -> Result<(), Failure> {
        let doing = || "dump the database";
        let status = self.child.wait().doing(doing)?;
        let said = self.said.join().unwrap_or_default();
        if status.success() {
            return Ok(());
        }
        let lines = said.lines().map(str::to_owned).collect();
        Err(Failure::new(doing(), format!("pg_dump ended with {status}"))
            .evidence(lines)
            .hint("`matrix-podman doctor` looks for what is wrong with the database"))
    }
}

/// `pg_dump`, which reads the name of a snapshot first. It writes straight into our
/// pipe: on the way that `podman exec` gives to what a command prints, a third of
/// the time of a dump would be spent.
fn pg_dump(database: &RoomDatabase) -> Command {
    let mut command = Command::new("sh");
    let words = STDOUT_ON_3_TOO.into_iter().skip(1).chain(QUIETLY);
    command.args(words).args([
        "podman",
        "exec",
        "--interactive",
        "--preserve-fds=1",
        SERVER.name(),
        "xargs",
        "-I{}",
        "pg_dump",
        "--file=/proc/self/fd/3",
        "--no-sync",
        "--format=custom",
        "--compress=0",
        "--snapshot={}",
        &format!("--lock-wait-timeout={LOCK_WAIT}"),
    ]);
    command.args(database.left_out.iter().map(|table| format!("--exclude-table-data={table}")));
    command.args(database.login());
    command
}

fn begin_dump(database: &RoomDatabase) -> Result<Dump, Failure> {
    let doing = || "dump the database";
    // Both begin at the same time; pg_dump waits to be told what it is to read.
    let mut command = pg_dump(database);
    let command = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = Process::new(command.spawn().doing(doing)?);
    let (Some(mut to), Some(mut out)) = (child.stdin(), child.stdout()) else {
        return Err(Failure::new(doing(), "pg_dump has no pipes"));
    };
    // PostgreSQL's user opens it by its name, which only processes have that hold it.
    rustix::fs::fchmod(&out, rustix::fs::Mode::from_raw_mode(0o602)).doing(doing)?;
    // Where it may not be larger, it is only slower.
    let _ = rustix::pipe::fcntl_setpipe_size(&out, PIPE);
    let said = child.said();
    let mut session = Session::open(database)?;
    session.tell(&format!("SET lock_timeout = {LOCK_WAIT};"))?;
    // All that is read within this transaction, and by whoever is shown its
    // snapshot, is of one moment; nobody waits for it.
    session.tell("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;")?;
    let snapshot = session.one("SELECT pg_export_snapshot()")?;
    // What happens when it is gone already shows when it is read from.
    let _ = writeln!(to, "{snapshot}");
    drop(to);
    let content = content(database, &mut session)?;
    // It writes nothing before it has all its locks.
    let mut first = vec![0; 4096];
    let count = out.read(&mut first).doing(doing)?;
    first.truncate(count);
    let dump = Dump { content, first, out, child, said, _session: session };
    if dump.first.is_empty() {
        dump.end()?;
        return Err(Failure::new(doing(), "pg_dump wrote nothing"));
    }
    Ok(dump)
}

/// What the database holds now: of Synapse's a [`Content`], of another its [`Rows`].
fn content(database: &RoomDatabase, session: &mut Session) -> Result<Json, Failure> {
    let doing = || "count what the database holds";
    if database != &FIRST {
        return serde_json::to_value(rows(database, session)?).doing(doing);
    }
    let schema = session.one("SELECT version FROM schema_version")?;
    let schema = schema.parse().map_err(|_| Failure::new(doing(), format!("its schema is {schema:?}")))?;
    let key = secret::public_signing_key()?
        .ok_or_else(|| Failure::new("make a backup", "there is no signing key"))?;
    let content = Content { schema, tables: rows(database, session)?, signing_key: (key.id, key.key) };
    serde_json::to_value(content).doing(doing)
}

/// The number of rows of each table that a backup keeps.
pub(crate) fn rows(database: &RoomDatabase, session: &mut Session) -> Result<Rows, Failure> {
    let mut rows = all_rows(session)?;
    rows.retain(|table, _| !database.left_out.contains(&table.as_str()));
    Ok(rows)
}

/// The same with the tables that no backup keeps.
pub(crate) fn all_rows(session: &mut Session) -> Result<Rows, Failure> {
    let doing = || "count what the database holds";
    let names = session.all(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') ORDER BY 1",
    )?;
    let mut tables = Rows::new();
    for name in names {
        let quoted = name.replace('"', "\"\"");
        let count = session.one(&format!("SELECT count(*) FROM public.\"{quoted}\""))?;
        let count = count
            .parse()
            .map_err(|_| Failure::new(doing(), format!("the table {name} has {count:?} rows")))?;
        tables.insert(name, count);
    }
    Ok(tables)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_that_waited_behind_others_is_told_from_one_that_failed() {
        let printed = |lines: &[&str]| {
            let lines = lines.iter().map(|line| (*line).to_owned()).collect();
            Failure::new("dump the database", "pg_dump ended with exit status: 1").evidence(lines)
        };
        for lines in [
            &["ERROR:  canceling statement due to lock timeout"][..],
            &["ERROR:  deadlock detected"],
            &[
                "pg_dump: error: query failed: ERROR:  canceling statement due to statement timeout",
                "pg_dump: detail: Query was: LOCK TABLE public.users, public.rooms IN ACCESS SHARE MODE",
            ],
        ] {
            assert!(waited_for_a_lock(&printed(lines)), "{lines:?}");
        }
        let copy = [
            "ERROR:  canceling statement due to statement timeout",
            "Query was: COPY public.users TO stdout;",
        ];
        assert!(!waited_for_a_lock(&printed(&copy)));
    }
}
