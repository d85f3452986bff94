//! The guest's half of a backup: what is there, and what the database holds.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, BufRead, BufReader, Read, Write},
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, ExitStatus, Stdio},
    thread::JoinHandle,
};

use matrix_podman_core::{
    backup::{Content, Entry, Kind, ONE_TIME_KEYS, belongs},
    layout,
    name::Digest,
    service::Service,
    stack::synapse::homeserver::DATABASE,
};
use sha2::{Digest as _, Sha256};

use super::Call;
use crate::{
    apply::{folder::Folder, secret},
    dump::PSQL,
    failure::{Doing, Failure},
    process::STDOUT_ON_3_TOO,
};

/// Words before a command that is to leave the server its time.
const QUIETLY: [&str; 3] = ["nice", "-n", "19"];

/// Writes the answer to `call` into `to`.
pub fn serve(call: &Call, to: &mut dyn Write) -> Result<(), Failure> {
    match call {
        Call::List => list(to),
        Call::Digests(paths) => digests(paths, to),
        Call::Read(path) => {
            let mut file = open(&root()?, path)?;
            io::copy(&mut file, to).doing(|| format!("read {path} in the guest")).map(drop)
        }
        Call::Dump => dump(to),
        Call::Drill(drill, media) => super::drill::serve(drill, media, to),
        Call::SetAside => json_line(to, &super::switch::set_aside()?).doing(|| "tell what is set aside"),
        Call::RoomMedia(room, server) => {
            json_line(to, &super::take::serve(room, server)?).doing(|| "tell what was found")
        }
        Call::Rehearse(rehearsal) => crate::rehearsal::serve(rehearsal, to),
        Call::Rows => json_line(to, &rows(&mut Session::open()?)?).doing(|| "tell the rows"),
    }
}

/// The same as something to read from, where machine and guest are one.
pub fn stream_here(call: Call) -> Result<Here, Failure> {
    let (from, mut to) = io::pipe().doing(|| "make a pipe")?;
    let worker = std::thread::spawn(move || serve(&call, &mut to));
    Ok(Here { from, worker: Some(worker) })
}

/// See [`stream_here`].
pub struct Here {
    from: io::PipeReader,
    worker: Option<JoinHandle<Result<(), Failure>>>,
}

impl Read for Here {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.from.read(buffer)?;
        if count == 0
            && !buffer.is_empty()
            && let Some(worker) = self.worker.take()
        {
            // The end of the pipe is only the end when nothing went wrong.
            match worker.join() {
                Ok(Ok(())) => {}
                Ok(Err(failure)) => return Err(io::Error::other(failure)),
                Err(_) => return Err(io::Error::other("a thread failed")),
            }
        }
        Ok(count)
    }
}

/// The guest's data, below which nothing but folders and files is looked at.
fn root() -> Result<Folder, Failure> {
    Folder::open(Path::new(layout::ROOT)).doing(|| format!("look into {}", layout::ROOT))
}

fn list(to: &mut dyn Write) -> Result<(), Failure> {
    list_below(&root()?, to)
}

/// Lists what is saved of `root`. Containers own folders in it: what they put a link for
/// meanwhile is passed over, as one that is gone.
fn list_below(root: &Folder, to: &mut dyn Write) -> Result<(), Failure> {
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let doing = || format!("look into {}/{folder}", layout::ROOT);
        let opened = match root.below(Path::new(&folder)) {
            Ok(opened) => opened,
            // Somebody may remove media meanwhile.
            Err(e) if e.kind() == io::ErrorKind::NotFound && !folder.is_empty() => continue,
            Err(e) => return Err(e).doing(doing),
        };
        for item in fs::read_dir(opened.path()).doing(doing)? {
            let item = item.doing(doing)?;
            let Some(name) = item.file_name().to_str().map(str::to_owned) else {
                return Err(Failure::new(doing(), "there is a name that is not UTF-8"));
            };
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            if !belongs(&path) {
                continue;
            }
            let meta = match item.metadata() {
                Ok(meta) => meta,
                Err(e) if e.kind() == io::ErrorKind::NotFound => continue,
                Err(e) => return Err(e).doing(doing),
            };
            let kind = match meta.file_type() {
                kind if kind.is_dir() => Kind::Folder,
                kind if kind.is_file() => Kind::File,
                // Neither Synapse nor the program makes links or sockets there.
                _ => continue,
            };
            if kind == Kind::Folder {
                folders.push(path.clone());
            }
            let nanos =
                |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
            let entry = Entry {
                path,
                size: if kind == Kind::File { meta.len() } else { 0 },
                kind,
                mode: meta.mode() & 0o777,
                uid: meta.uid(),
                gid: meta.gid(),
                modified: nanos(meta.mtime(), meta.mtime_nsec()),
                changed: nanos(meta.ctime(), meta.ctime_nsec()),
            };
            json_line(to, &entry).doing(doing)?;
        }
    }
    Ok(())
}

pub(crate) fn json_line<T: serde::Serialize>(to: &mut dyn Write, value: &T) -> io::Result<()> {
    let mut line = serde_json::to_vec(value)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// Opens a file below `folder` that belongs into a backup, and no other.
fn open(folder: &Folder, path: &str) -> Result<File, Failure> {
    let doing = || format!("read {path} in the guest");
    if !belongs(path) {
        return Err(Failure::new(doing(), "it does not belong into a backup"));
    }
    folder.read_below(Path::new(path)).doing(doing)
}

fn digests(paths: &[String], to: &mut dyn Write) -> Result<(), Failure> {
    let root = root()?;
    for path in paths {
        let digest = digest(&root, path)?;
        writeln!(to, "{digest}").doing(|| format!("tell the digest of {path}"))?;
    }
    Ok(())
}

/// The digests of files below `folder`, in hexadecimal.
pub(super) fn digests_below(folder: &Path, paths: &[String]) -> Result<Vec<String>, Failure> {
    let folder = Folder::open(folder).doing(|| format!("look into {}", folder.display()))?;
    paths.iter().map(|path| digest(&folder, path)).collect()
}

fn digest(folder: &Folder, path: &str) -> Result<String, Failure> {
    let mut file = open(folder, path)?;
    let mut buffer = vec![0; 256 << 10];
    let mut hash = Sha256::new();
    loop {
        match file.read(&mut buffer).doing(|| format!("read {path} in the guest"))? {
            0 => return Ok(Digest::of_sha256(&hash.finalize()).hex().to_owned()),
            count => hash.update(&buffer[..count]),
        }
    }
}

/// A command in a container.
pub(super) fn in_container(container: &str, argv: &[&str]) -> Command {
    let mut words = QUIETLY.into_iter().chain(["podman", "exec", "--interactive", container]);
    let mut command = Command::new(words.next().unwrap_or_default());
    command.args(words).args(argv);
    command
}

fn dump(to: &mut dyn Write) -> Result<(), Failure> {
    let doing = || "dump the database";
    let mut begun = begin_dump();
    for _ in 0..BEHIND_OTHERS {
        match begun {
            Err(failure) if waited_for_a_lock(&failure) => begun = begin_dump(),
            _ => break,
        }
    }
    let mut dump = begun.map_err(|failure| match waited_for_a_lock(&failure) {
        true => failure.hint(
            "Synapse is rebuilding something in its database; run `matrix-podman backup now` again in some minutes",
        ),
        false => failure,
    })?;
    json_line(to, &dump.content).doing(doing)?;
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
    content: Content,
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
fn pg_dump() -> Command {
    let mut command = Command::new("sh");
    let words = STDOUT_ON_3_TOO.into_iter().skip(1).chain(QUIETLY);
    command.args(words).args([
        "podman",
        "exec",
        "--interactive",
        "--preserve-fds=1",
        Service::Postgres.name(),
        "xargs",
        "-I{}",
        "pg_dump",
        "--file=/proc/self/fd/3",
        "--no-sync",
        "--format=custom",
        "--compress=0",
        "--snapshot={}",
        &format!("--lock-wait-timeout={LOCK_WAIT}"),
        &format!("--exclude-table-data={ONE_TIME_KEYS}"),
        &format!("--username={DATABASE}"),
        &format!("--dbname={DATABASE}"),
    ]);
    command
}

fn begin_dump() -> Result<Dump, Failure> {
    let doing = || "dump the database";
    // Both begin at the same time; pg_dump waits to be told what it is to read.
    let mut child = Process::new(
        pg_dump().stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().doing(doing)?,
    );
    let (Some(mut to), Some(mut out)) = (child.stdin(), child.stdout()) else {
        return Err(Failure::new(doing(), "pg_dump has no pipes"));
    };
    // PostgreSQL's user opens it by its name, which only processes have that hold it.
    rustix::fs::fchmod(&out, rustix::fs::Mode::from_raw_mode(0o602)).doing(doing)?;
    // Where it may not be larger, it is only slower.
    let _ = rustix::pipe::fcntl_setpipe_size(&out, PIPE);
    let said = child.said();
    let mut session = Session::open()?;
    session.tell(&format!("SET lock_timeout = {LOCK_WAIT};"))?;
    // All that is read within this transaction, and by whoever is shown its
    // snapshot, is of one moment; nobody waits for it.
    session.tell("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;")?;
    let snapshot = session.one("SELECT pg_export_snapshot()")?;
    // What happens when it is gone already shows when it is read from.
    let _ = writeln!(to, "{snapshot}");
    drop(to);
    let content = content(&mut session)?;
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

/// What the database holds now.
pub(super) fn content(session: &mut Session) -> Result<Content, Failure> {
    let doing = || "count what the database holds";
    let schema = session.one("SELECT version FROM schema_version")?;
    let schema = schema.parse().map_err(|_| Failure::new(doing(), format!("its schema is {schema:?}")))?;
    let key = secret::public_signing_key()?
        .ok_or_else(|| Failure::new("make a backup", "there is no signing key"))?;
    Ok(Content { schema, tables: rows(session)?, signing_key: (key.id, key.key) })
}

/// The number of rows of each table that a backup keeps.
pub(crate) fn rows(session: &mut Session) -> Result<BTreeMap<String, u64>, Failure> {
    let mut rows = all_rows(session)?;
    rows.remove(ONE_TIME_KEYS);
    Ok(rows)
}

/// The same with the table that no backup keeps.
pub(crate) fn all_rows(session: &mut Session) -> Result<BTreeMap<String, u64>, Failure> {
    let doing = || "count what the database holds";
    let names = session.all(
        "SELECT c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
         WHERE n.nspname = 'public' AND c.relkind IN ('r', 'p') ORDER BY 1",
    )?;
    let mut tables = BTreeMap::new();
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

/// A session with the database.
pub(crate) struct Session {
    child: Process,
    from: BufReader<ChildStdout>,
}

impl Session {
    /// Opens one with Synapse's database.
    pub(crate) fn open() -> Result<Self, Failure> {
        Self::of(Service::Postgres.name(), DATABASE)
    }

    /// Opens one with the database `name` in `container`.
    pub(crate) fn of(container: &str, name: &str) -> Result<Self, Failure> {
        let doing = || "speak with the database";
        let mut child = Process(
            in_container(container, &PSQL)
                .args([format!("--username={DATABASE}"), format!("--dbname={name}")])
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

    #[test]
    fn links_and_pipes_of_containers_lead_a_backup_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let media = folder.path().join("root/synapse/media_store");
        fs::create_dir_all(media.join("local_content")).unwrap();
        fs::write(media.join("local_content/good"), "good").unwrap();
        fs::create_dir(folder.path().join("outside")).unwrap();
        fs::write(folder.path().join("outside/shadow"), "secret").unwrap();
        std::os::unix::fs::symlink(folder.path().join("outside"), media.join("out")).unwrap();
        std::os::unix::fs::symlink(folder.path().join("outside/shadow"), media.join("file")).unwrap();
        let pipe = media.join("pipe");
        let bits = rustix::fs::Mode::from_raw_mode(0o600);
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, bits).unwrap();
        let root = Folder::open(&folder.path().join("root")).unwrap();
        let mut listed = Vec::new();
        list_below(&root, &mut listed).unwrap();
        let listed = String::from_utf8(listed).unwrap();
        assert!(listed.contains("local_content/good"), "{listed}");
        for name in ["out", "shadow", "media_store/file", "pipe"] {
            assert!(!listed.contains(&format!("{name}\"")), "{name}: {listed}");
        }
        let media = |path: &str| format!("synapse/media_store/{path}");
        assert!(digest(&root, &media("local_content/good")).is_ok());
        for path in ["out/shadow", "file", "pipe"] {
            assert!(digest(&root, &media(path)).is_err(), "{path}");
        }
    }
}
