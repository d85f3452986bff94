//! Questions to the database, and statements: psql in its container.

use std::{
    io::{self, BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    thread::JoinHandle,
    time::Duration,
};

use matrix_podman_core::{
    service::ServiceId,
    stack::{self, CLUSTER_OWNER, RoomDatabase},
};

use crate::{
    failure::{Doing, Failure},
    process::{Input, Program},
};

/// Whose container PostgreSQL is spoken with in.
pub(super) const SERVER: ServiceId = stack::DATABASE_SERVER;
/// The database that all others come after: what is kept of it has the names of when it was
/// the only one.
pub(super) const FIRST: RoomDatabase = stack::synapse::DATABASE;
/// How long one statement may take.
pub(super) const QUICK: Duration = Duration::from_secs(120);
/// Words before a command that is to leave the server its time.
pub(super) const QUIETLY: [&str; 3] = ["nice", "-n", "19"];

/// psql as a program asks it: nothing but the values, and no going on after an error.
pub(crate) const PSQL: [&str; 6] =
    ["psql", "--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set=ON_ERROR_STOP=1"];

/// The name of the cluster's owner: in one that an older version made and that was not taken over
/// yet, it is that of Synapse's role.
pub(crate) fn owner() -> Result<&'static str, Failure> {
    match psql(CLUSTER_OWNER, "postgres", "SELECT 1;", "ask the database", QUICK) {
        Ok(_) => Ok(CLUSTER_OWNER),
        Err(failure) if failure.evidence.iter().any(|line| is_not_there(line)) => Ok(FIRST.role.as_str()),
        Err(failure) => Err(failure),
    }
}

fn is_not_there(line: &str) -> bool {
    line.contains(&format!("role \"{CLUSTER_OWNER}\" does not exist"))
}

/// Runs statements as a role in a database; what they print.
pub(crate) fn psql(
    role: &str,
    database: &str,
    statements: &str,
    doing: &str,
    within: Duration,
) -> Result<String, Failure> {
    let argv = ["podman", "exec", "--interactive", SERVER.name()].into_iter().chain(PSQL).chain([
        "--username",
        role,
        "--dbname",
        database,
    ]);
    Program::new(argv).deadline(within).input(Input::Bytes(statements.as_bytes())).run_keeping(doing, &|_| {})
}

/// The databases that are there. One may be that of a service that was never on.
pub(crate) fn there() -> Result<Vec<RoomDatabase>, Failure> {
    let all = stack::databases();
    // Synapse's always is.
    if let [_] = all.as_slice() {
        return Ok(all);
    }
    let names = Session::open(&FIRST)?.all("SELECT datname FROM pg_database")?;
    Ok(all.into_iter().filter(|database| names.iter().any(|name| name == database.name.as_str())).collect())
}

/// A command in a container.
fn in_container(container: &str, argv: &[&str]) -> Command {
    let mut words = QUIETLY.into_iter().chain(["podman", "exec", "--interactive", container]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).args(argv);
    command
}

/// A command in the database's container.
pub(crate) fn in_database(argv: &[&str]) -> Command {
    in_container(SERVER.name(), argv)
}

/// psql in Synapse's database, on the side that its container runs on: what `more` asks for.
pub(crate) fn psql_line(more: &[&str]) -> Vec<String> {
    let psql = ["podman", "exec", SERVER.name()].into_iter().chain(PSQL);
    let psql = psql.map(str::to_owned).chain(FIRST.login());
    psql.chain(more.iter().map(|word| (*word).to_owned())).collect()
}

/// A process that does not outlive its owner.
pub(crate) struct Process(pub(super) Child);

impl Process {
    /// Owns what was started.
    pub(crate) fn new(child: Child) -> Self {
        Self(child)
    }

    /// Where it reads from, to be taken once.
    pub(crate) fn stdin(&mut self) -> Option<ChildStdin> {
        self.0.stdin.take()
    }

    /// What it prints, to be taken once.
    pub(crate) fn stdout(&mut self) -> Option<ChildStdout> {
        self.0.stdout.take()
    }

    /// Reads what it says of mistakes, until its end.
    pub(crate) fn said(&mut self) -> JoinHandle<String> {
        let from = self.0.stderr.take();
        std::thread::spawn(move || {
            let mut said = String::new();
            if let Some(mut from) = from {
                let _ = from.read_to_string(&mut said);
            }
            said
        })
    }

    /// Waits for its end.
    pub(crate) fn wait(&mut self) -> io::Result<ExitStatus> {
        self.0.wait()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What psql prints behind each answer.
const END: &str = "-- matrix-podman: end --";

/// A session with a database.
pub(crate) struct Session {
    child: Process,
    from: BufReader<ChildStdout>,
}

impl Session {
    /// Opens one with a database that serves.
    pub(crate) fn open(database: &RoomDatabase) -> Result<Self, Failure> {
        Self::of(SERVER.name(), database)
    }

    /// Opens one with the database of that name in `container`.
    pub(crate) fn of(container: &str, database: &RoomDatabase) -> Result<Self, Failure> {
        let doing = || "speak with the database";
        let mut child = Process(
            in_container(container, &PSQL)
                .args(database.login())
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .doing(doing)?,
        );
        let from = child.0.stdout.take().ok_or_else(|| Failure::new(doing(), "psql has no pipes"))?;
        Ok(Self { child, from: BufReader::new(from) })
    }

    /// Has it do something.
    pub(super) fn tell(&mut self, sql: &str) -> Result<(), Failure> {
        self.all(sql.trim_end_matches(';')).map(drop)
    }

    /// The only value of a question's answer.
    pub(crate) fn one(&mut self, sql: &str) -> Result<String, Failure> {
        let mut lines = self.all(sql)?;
        match (lines.pop(), lines.is_empty()) {
            (Some(line), true) => Ok(line),
            _ => Err(Failure::new("ask the database", format!("`{sql}` has no single answer"))),
        }
    }

    /// The lines of a question's answer.
    pub(crate) fn all(&mut self, sql: &str) -> Result<Vec<String>, Failure> {
        let doing = || "ask the database";
        // What happens when psql is gone already shows when it is read from.
        if let Some(to) = self.child.0.stdin.as_mut() {
            let _ = to.write_all(format!("{sql};\n\\echo '{END}'\n").as_bytes());
            let _ = to.flush();
        }
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            if self.from.read_line(&mut line).doing(doing)? == 0 {
                let mut said = String::new();
                if let Some(err) = self.child.0.stderr.as_mut() {
                    let _ = err.read_to_string(&mut said);
                }
                let lines = said.lines().map(str::to_owned).collect();
                return Err(Failure::new(doing(), "psql ended").evidence(lines).hint(
                    "`matrix-podman status` says whether the database runs; `matrix-podman doctor` why not",
                ));
            }
            match line.trim_end_matches('\n') {
                END => return Ok(lines),
                line => lines.push(line.to_owned()),
            }
        }
    }
}
