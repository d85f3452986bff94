//! The data in a cluster of another major version of PostgreSQL: made beside the
//! one that serves, filled by the newer client, compared, and given its name when
//! it is whole.

use std::{
    collections::BTreeMap,
    fs, io,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use matrix_podman_core::{
    layout,
    name::{Mode, Owner},
    stack::{
        self, RoomDatabase,
        postgres::{self, roles},
    },
    update::{FOLDER, MADE_FOR, MOVING, Move, OldCluster, left_cluster, replaced_cluster},
};

use super::podman::{Cluster, OneOff, make_cluster};
use crate::{
    failure::{Doing, Failure},
    file,
    postgres::{PSQL, Process, Session, stream, there},
    process::{Input, Program},
    progress::{Saying, Sink},
};

/// The container that fills the new cluster.
const CONTAINER: &str = "matrix-podman-move";
/// How long the data may take.
const LONG: Duration = Duration::from_secs(24 * 3600);
/// How long a new server may take until it answers.
const UP: Duration = Duration::from_secs(5 * 60);
/// How long anything else may take.
const ONCE: Duration = Duration::from_secs(600);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(200);

/// Moves the data. Synapse has to be stopped: what it wrote meanwhile would not
/// be in the new cluster. When the cluster of that generation is there, it was
/// done before.
pub(super) fn move_database(wanted: &Move, sink: &Sink) -> Result<(), Failure> {
    let folder = Path::new(FOLDER);
    let place = folder.join(wanted.to.to_string());
    if made_for(&place) == Some(wanted.generation) {
        return Ok(());
    }
    clear()?;
    let partial = folder.join(MOVING);
    let filled = fill(wanted, &partial, sink);
    // Half of a cluster may be what filled the disk.
    let removed = match &filled {
        Ok(()) => remove_container(),
        Err(_) => clear(),
    };
    filled?;
    removed?;
    let doing = || format!("give the new cluster its place, {}", place.display());
    let new = partial.join(wanted.to.to_string());
    let mark = new.join(MADE_FOR);
    file::write(&mark, format!("{}\n", wanted.generation).as_bytes(), Mode(0o600), Owner::ROOT)?;
    if file::meta(&place).is_ok() {
        // It served once and was left; it is kept as it is.
        let kept = folder.join(replaced_cluster(wanted.to, wanted.generation));
        file::rename(&place, &kept).doing(doing)?;
    }
    file::rename(&new, &place).doing(doing)?;
    file::sync_folder(folder).doing(doing)?;
    file::remove_partial(&partial)
}

/// Gives a cluster that was made for a generation and is left again a name under
/// which nothing takes it for the database, and removes what a move that was cut
/// off left half-done.
pub(super) fn set_aside(major: u32, generation: u32) -> Result<(), Failure> {
    clear()?;
    let folder = Path::new(FOLDER);
    let place = folder.join(major.to_string());
    if made_for(&place) != Some(generation) {
        return Ok(());
    }
    let doing = || format!("set the cluster {} aside", place.display());
    file::rename(&place, &folder.join(left_cluster(major, generation))).doing(doing)?;
    file::sync_folder(folder).doing(doing)
}

/// Removes a cluster that does not serve.
pub(super) fn remove(name: &str) -> Result<(), Failure> {
    let unit = layout::container_file(stack::DATABASE_SERVER);
    let unit = fs::read_to_string(unit.as_str()).doing(|| format!("read {unit}"))?;
    remove_below(Path::new(FOLDER), name, &unit)
}

/// The same below `folder`, when `unit` is PostgreSQL's.
fn remove_below(folder: &Path, name: &str, unit: &str) -> Result<(), Failure> {
    let path = folder.join(name);
    let doing = || format!("remove the old cluster {}", path.display());
    let Some(cluster) = OldCluster::named(name) else {
        return Err(Failure::new(doing(), "it is none that this program made"));
    };
    if unit.lines().any(|line| line.contains(&format!("{}/{name}/", postgres::MOUNT))) {
        return Err(Failure::new(doing(), "it is the one that serves"));
    }
    // A removal that is cut off leaves nothing that could be taken for a cluster.
    let partial = folder.join(cluster.removing());
    if partial != path {
        file::remove_partial(&partial)?;
        match file::rename(&path, &partial) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other.doing(doing)?,
        }
        file::sync_folder(folder).doing(doing)?;
    }
    file::remove_partial(&partial)
}

/// The generation that the cluster in this folder was made for.
fn made_for(place: &Path) -> Option<u32> {
    file::read_text(&place.join(MADE_FOR)).ok()?.trim().parse().ok()
}

fn remove_container() -> Result<(), Failure> {
    Program::new(["podman", "rm", "--force", "--ignore", "--time=10", "--volumes", "--", CONTAINER])
        .deadline(ONCE)
        .run("remove the container that moved the data", &|_| {})
}

fn clear() -> Result<(), Failure> {
    remove_container()?;
    file::remove_partial(&Path::new(FOLDER).join(MOVING))
}

fn fill(wanted: &Move, partial: &Path, sink: &Sink) -> Result<(), Failure> {
    let Move { image, to, cluster, .. } = wanted;
    let doing = format!("move the data to PostgreSQL {to}");
    sink(Saying::WaitsFor(format!("an empty cluster of PostgreSQL {to}")));
    make_cluster(&Cluster { image, major: *to, new: cluster, partial, container: CONTAINER }, sink)?;
    let databases = there()?;
    start(wanted, partial, &databases)?;
    sink(Saying::WaitsFor(format!("PostgreSQL {to} to read all data from PostgreSQL {}", wanted.from)));
    databases.iter().try_for_each(|database| copy(database, &doing, sink))?;
    sink(Saying::WaitsFor("both clusters to be compared".to_owned()));
    databases.iter().try_for_each(|database| compare(database, &doing))?;
    sink(Saying::WaitsFor("the new cluster to be on the disk".to_owned()));
    Program::new(["podman", "stop", "--time=120", "--", CONTAINER]).deadline(ONCE).run(&doing, &|_| {})?;
    remove_container()?;
    // It was filled without waiting for the disk.
    let arguments = ["--sync-only", "-D", &format!("{}/{to}/docker", postgres::MOUNT)].map(str::to_owned);
    OneOff {
        name: CONTAINER,
        image,
        owner: stack::DATABASE_SERVER.owner(),
        entrypoint: "initdb",
        arguments: &arguments,
        volumes: vec![format!("{}:{}", partial.display(), postgres::MOUNT)],
        tmpfs: &["/tmp"],
    }
    .program()
    .run(&doing, &|_| {})
}

/// Starts the new server: for nobody but what is run in its container, since it
/// listens on no address. It is on the database's network, which has no way out,
/// so that the newer client in it reaches the server that serves.
fn start(wanted: &Move, partial: &Path, databases: &[RoomDatabase]) -> Result<(), Failure> {
    let doing = format!("start PostgreSQL {} on the new cluster", wanted.to);
    let owner = stack::DATABASE_SERVER.owner();
    let mut argv: Vec<String> = [
        "podman",
        "run",
        "--detach",
        "--replace",
        "--pull=never",
        "--read-only",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--log-driver=k8s-file",
        "--log-opt=max-size=1mb",
        "--no-healthcheck",
        "--stop-signal=SIGINT",
        "--shm-size=256m",
        "--tmpfs=/tmp",
        "--tmpfs=/var/run/postgresql:mode=1777",
        "--entrypoint=postgres",
    ]
    .map(str::to_owned)
    .to_vec();
    argv.extend([
        format!("--name={CONTAINER}"),
        format!("--network={}", layout::DB_NETWORK),
        format!("--user={}:{}", owner.uid, owner.gid),
        format!("--volume={}:{}", partial.display(), postgres::MOUNT),
    ]);
    // A service's user reads its own, as whom the client runs; the server cannot.
    argv.extend(databases.iter().map(|database| {
        let passfile = database.passfile;
        format!("--volume={}:{}:ro", layout::secret(passfile), passfile.in_container())
    }));
    argv.extend([wanted.image.clone(), "-D".to_owned(), format!("{}/{}/docker", postgres::MOUNT, wanted.to)]);
    for setting in [
        "listen_addresses=",
        &format!("unix_socket_directories={}", postgres::SOCKETS),
        "shared_buffers=128MB",
        "maintenance_work_mem=128MB",
        "max_wal_size=1GB",
        "wal_level=minimal",
        "max_wal_senders=0",
        "autovacuum=off",
        // Until it is filled it may be lost; then it is flushed as a whole.
        "fsync=off",
        "full_page_writes=off",
    ] {
        argv.extend(["-c".to_owned(), setting.to_owned()]);
    }
    Program::new(argv).deadline(ONCE).run(&doing, &|_| {})?;
    let answers = ["podman", "exec", CONTAINER, "pg_isready", "--quiet", "--username", roles::OWNER];
    let started = Instant::now();
    while Program::new(answers).deadline(ONCE).output().status != Some(0) {
        let state = Program::new(["podman", "container", "inspect", "--format={{.State.Status}}", CONTAINER])
            .deadline(ONCE)
            .output();
        let runs = String::from_utf8_lossy(&state.stdout).trim() == "running";
        if !runs || started.elapsed() > UP {
            let logs = Program::new(["podman", "logs", "--tail=15", CONTAINER]).deadline(ONCE).output();
            let said = [logs.stdout, logs.stderr].concat();
            let lines = String::from_utf8_lossy(&said).lines().map(str::to_owned).collect();
            let why = if runs { "it does not answer" } else { "it ended" };
            return Err(Failure::new(doing, why).evidence(lines));
        }
        thread::sleep(LOOK);
    }
    Ok(())
}

/// Has everything in a database read from the server that serves and written by the new one. The
/// newer client knows best what the new server wants. But a release of it may be
/// older than that of the old server, and write down what the new one refuses
/// (18.6 does so with what 17.12 notes beside columns): then the old server's own
/// client is asked, whose dumps newer servers take as well.
fn copy(database: &RoomDatabase, doing: &str, sink: &Sink) -> Result<(), Failure> {
    let first = match copy_with(Client::Newer, database, doing) {
        Ok(()) => return analyze(database, doing),
        Err(failure) => failure,
    };
    if first.is_full_disk() {
        return Err(first);
    }
    sink(Saying::WaitsFor(format!("the same with the old server's own client ({})", first.why)));
    let (name, form) = (database.name, database.form());
    let empty = format!("DROP DATABASE {name} WITH (FORCE);\nCREATE DATABASE {name} {form};");
    let psql = ["podman", "exec", "--interactive", CONTAINER].into_iter().chain(PSQL);
    Program::new(psql.chain(["--username", roles::OWNER, "--dbname=postgres"]))
        .deadline(ONCE)
        .input(Input::Bytes(empty.as_bytes()))
        .run(doing, &|_| {})?;
    copy_with(Client::Own, database, doing)?;
    analyze(database, doing)
}

/// Which `pg_dump` reads.
#[derive(Clone, Copy)]
enum Client {
    /// That of the new version.
    Newer,
    /// That of the server that serves.
    Own,
}

impl Client {
    /// How it is run, up to its own options.
    fn argv(self, database: &RoomDatabase) -> Vec<String> {
        let reader = stack::secret_owner(database.passfile);
        match self {
            Client::Newer => [
                "podman",
                "exec",
                &format!("--user={}:{}", reader.uid, reader.gid),
                &format!("--env=PGPASSFILE={}", database.passfile.in_container()),
                CONTAINER,
                "pg_dump",
                "--no-password",
                &format!("--host={}", stack::DATABASE_SERVER.name()),
            ]
            .map(str::to_owned)
            .to_vec(),
            Client::Own => {
                ["podman", "exec", stack::DATABASE_SERVER.name(), "pg_dump"].map(str::to_owned).to_vec()
            }
        }
    }
}

fn copy_with(client: Client, database: &RoomDatabase, doing: &str) -> Result<(), Failure> {
    let argv = client.argv(database);
    let mut words = argv.iter();
    let mut dump = Process::new(
        Command::new(words.next().map(String::as_str).unwrap_or_default())
            .args(words)
            .args(["--format=custom", "--compress=0"])
            .args(database.login())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .doing(|| doing)?,
    );
    let Some(from) = dump.stdout() else { return Err(Failure::new(doing, "pg_dump has no pipe")) };
    let said = dump.said();
    let restore =
        ["podman", "exec", "--interactive", CONTAINER, "pg_restore", "--exit-on-error", "--no-owner"];
    let restored = Program::new(restore.map(str::to_owned).into_iter().chain(database.login()))
        .ends_with_us()
        .deadline(LONG)
        .input(Input::Stream(Box::new(from)))
        .run(doing, &|_| {});
    let status = dump.wait().doing(|| doing)?;
    let said = said.join().unwrap_or_default();
    // Which of the two failed first shows in what it said; a full disk ends both.
    restored?;
    if !status.success() {
        let lines = said.lines().map(str::to_owned).collect();
        return Err(Failure::new(doing, format!("pg_dump ended with {status}")).evidence(lines));
    }
    Ok(())
}

/// Without statistics, the first hours of a large database are slow ones.
fn analyze(database: &RoomDatabase, doing: &str) -> Result<(), Failure> {
    let analyze = ["podman", "exec", CONTAINER].into_iter().chain(PSQL).chain(["--command=ANALYZE"]);
    Program::new(analyze.map(str::to_owned).chain(database.login()))
        .ends_with_us()
        .deadline(LONG)
        .run(doing, &|_| {})
}

/// What a database holds, to be compared: the rows of each table, where each
/// sequence stands, and how text is kept.
fn content(session: &mut Session) -> Result<BTreeMap<String, String>, Failure> {
    let mut content: BTreeMap<String, String> = stream::all_rows(session)?
        .into_iter()
        .map(|(table, rows)| (format!("the table {table}"), format!("{rows} rows")))
        .collect();
    let sequences = "SELECT sequencename || '=' || coalesce(last_value::text, 'unused') FROM pg_sequences \
                     WHERE schemaname = 'public' ORDER BY 1";
    for line in session.all(sequences)? {
        if let Some((name, value)) = line.rsplit_once('=') {
            content.insert(format!("the sequence {name}"), value.to_owned());
        }
    }
    Ok(content)
}

/// Fails unless both clusters hold the same in a database, and the new one keeps text in it as
/// its service wants it.
fn compare(database: &RoomDatabase, doing: &str) -> Result<(), Failure> {
    let old = content(&mut Session::open(database)?)?;
    let mut session = Session::of(CONTAINER, database)?;
    let new = content(&mut session)?;
    let nothing = "nothing".to_owned();
    let differing: Vec<String> = old
        .keys()
        .chain(new.keys())
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| {
            let (before, after) = (old.get(key).unwrap_or(&nothing), new.get(key).unwrap_or(&nothing));
            format!("{key}: {before} before, {after} after")
        })
        .collect();
    if !differing.is_empty() {
        return Err(Failure::new(doing, "the new cluster does not hold what the old one holds")
            .evidence(differing)
            .hint(format!(
                "the old one is as it was; see that nothing but {} writes into the database",
                database.user()
            )));
    }
    let text = session.one(
        "SELECT pg_encoding_to_char(encoding) || ' ' || datcollate || ' ' || datctype FROM pg_database \
         WHERE datname = current_database()",
    )?;
    let wanted = format!("{} {1} {1}", database.encoding, database.locale);
    if text != wanted {
        let user = database.user();
        let why = format!("the new cluster keeps text as {text}, and {user} wants {wanted}");
        return Err(Failure::new(doing, why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cluster_says_what_it_was_made_for() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(made_for(folder.path()), None);
        fs::write(folder.path().join(MADE_FOR), "12\n").unwrap();
        assert_eq!(made_for(folder.path()), Some(12));
    }

    #[test]
    fn the_cluster_that_serves_and_what_is_none_of_ours_is_never_removed() {
        let folder = tempfile::tempdir().unwrap();
        let unit = "[Container]\nEnvironment=PGDATA=/var/lib/postgresql/18/docker\n";
        for name in ["17", "18", "mine", "17.mine", ".removing-15", "18.of-generation-4"] {
            fs::create_dir_all(folder.path().join(name).join("docker")).unwrap();
        }
        for name in ["18", "mine", "17.mine", "..", "17/..", ""] {
            remove_below(folder.path(), name, unit).unwrap_err();
        }
        for name in ["17", "17", ".removing-15", "18.of-generation-4", "16"] {
            remove_below(folder.path(), name, unit).unwrap();
        }
        let mut left: Vec<_> = fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["17.mine", "18", "mine"]);
    }
}
