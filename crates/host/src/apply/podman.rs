//! One-off containers, and what they make.

use std::{
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use matrix_podman_core::{
    cluster::NewCluster,
    layout,
    name::{AbsPath, Mode, Owner},
    service::ServiceId,
    stack::{self, DATABASE_SERVER, HOMESERVER},
};

use crate::{
    failure::{Doing, Failure},
    file,
    process::{Input, Program},
    progress::{Saying, Sink},
    secret,
};

/// How long a one-off container may take.
const ONCE: Duration = Duration::from_secs(600);

/// Makes an empty cluster beside its place, then renames it there, so that a
/// cluster that is there is always whole.
pub(super) fn init_database(image: &str, major: u32, new: &NewCluster, sink: &Sink) -> Result<(), Failure> {
    let doing = format!("make the PostgreSQL {major} cluster");
    let data = layout::in_root("postgresdata");
    let data = Path::new(data.as_str());
    let target = data.join(major.to_string());
    let partial = data.join(".initdb");
    if target.join("docker/PG_VERSION").exists() {
        return Ok(());
    }
    file::make_dir(data, Mode(0o700), DATABASE_SERVER.owner())?;
    let container = "matrix-podman-initdb";
    make_cluster(&Cluster { image, major, new, partial: &partial, container }, sink)?;
    file::rename(&partial.join(major.to_string()), &target).doing(|| doing.clone())?;
    file::sync_folder(data).doing(|| doing.clone())?;
    file::remove_partial(&partial)
}

/// A cluster to be made.
pub(super) struct Cluster<'a> {
    /// The image to run.
    pub image: &'a str,
    /// Its major version.
    pub major: u32,
    /// What it is made of.
    pub new: &'a NewCluster,
    /// The folder that it is made in; what is there already is removed.
    pub partial: &'a Path,
    /// The name of the container.
    pub container: &'a str,
}

/// Makes an empty cluster with all roles and databases.
pub(super) fn make_cluster(cluster: &Cluster, sink: &Sink) -> Result<(), Failure> {
    let Cluster { image, major, new, partial, container } = *cluster;
    let doing = format!("make the PostgreSQL {major} cluster");
    let owner = DATABASE_SERVER.owner();
    // A killed attempt may have left its container at work.
    Program::new(["podman", "rm", "--force", "--ignore", "--", container]).deadline(ONCE).output();
    file::remove_partial(partial)?;
    file::make_dir(&partial.join(major.to_string()).join("docker"), Mode(0o700), owner)?;
    file::make_dir(&partial.join(major.to_string()), Mode(0o700), owner)?;
    file::make_dir(partial, Mode(0o700), owner)?;
    let inside = format!("/var/lib/postgresql/{major}/docker");
    let passwords = stack::databases().into_iter().map(|database| {
        format!("{}:{}:ro", layout::secret(database.password), database.password.in_container())
    });
    let once = |entrypoint: &str, arguments: &[String]| {
        OneOff {
            name: container,
            image,
            owner,
            entrypoint,
            arguments,
            volumes: [format!("{}:/var/lib/postgresql", partial.display())]
                .into_iter()
                .chain(passwords.clone())
                .collect(),
            tmpfs: &["/tmp", "/run/postgresql:mode=1777"],
        }
        .program()
    };
    let (program, arguments) =
        new.initdb.split_first().ok_or_else(|| Failure::new(doing.clone(), "no command"))?;
    once(program, arguments).run(&doing, &|line| sink(Saying::Line(line.to_owned())))?;
    let folder = partial.join(major.to_string()).join("docker");
    for (name, content) in &new.files {
        file::write(&folder.join(name), content.as_bytes(), Mode(0o600), owner)?;
    }
    // The single-user server takes one statement a line and needs no socket. It goes on after one that
    // fails, and ends with 0: what it says of mistakes is looked at.
    let single = ["--single", "-c", "password_encryption=scram-sha-256", "-D", &inside, "postgres"];
    let statements: String = new.statements.iter().map(|statement| format!("{statement}\n")).collect();
    let wrong = Mutex::new(Vec::new());
    once("postgres", &single.map(str::to_owned)).input(Input::Bytes(statements.as_bytes())).run(
        &doing,
        &|line| {
            if ["ERROR:", "FATAL:", "PANIC:"].iter().any(|word| line.contains(word)) {
                wrong.lock().unwrap_or_else(PoisonError::into_inner).push(line.to_owned());
            }
            sink(Saying::Line(line.to_owned()));
        },
    )?;
    match wrong.into_inner().unwrap_or_else(PoisonError::into_inner) {
        lines if lines.is_empty() => Ok(()),
        lines => Err(Failure::new(doing, "PostgreSQL refused a statement").evidence(lines)),
    }
}

/// Has a service that runs read settings before they count.
pub(super) fn try_settings(service: ServiceId, argv: &[String], sink: &Sink) -> Result<(), Failure> {
    let name = service.name();
    let inspect = ["podman", "container", "inspect", "--format", "{{.State.Running}}", name];
    if Program::new(inspect).deadline(ONCE).output().stdout.trim_ascii() != b"true" {
        // There is nothing that could be asked, and nothing that would be interrupted.
        return Ok(());
    }
    let words = ["podman", "exec", name].into_iter().chain(argv.iter().map(String::as_str));
    Program::new(words)
        .deadline(ONCE)
        .run(&format!("have {} read its new settings", service.title()), &|line| {
            sink(Saying::Line(line.to_owned()));
        })
        .map_err(|failure| failure.hint("the server goes on with those that it has; mend matrix.toml"))
}

/// A new `homeserver.yaml`, before Synapse's own parser has read it.
fn candidate() -> AbsPath {
    layout::in_root("synapse").join("homeserver.yaml.new")
}

/// Writes the candidate beside the file that it is to replace.
pub(super) fn write_synapse_candidate(content: &str, mode: Mode, owner: Owner) -> Result<(), Failure> {
    file::write(Path::new(candidate().as_str()), content.as_bytes(), mode, owner)
}

/// Puts the candidate in place.
pub(super) fn install_synapse_candidate() -> Result<(), Failure> {
    let folder = layout::in_root("synapse");
    let place = folder.join("homeserver.yaml");
    let doing = || format!("put {place} in place");
    file::rename(Path::new(candidate().as_str()), Path::new(place.as_str())).doing(doing)?;
    file::sync_folder(Path::new(folder.as_str())).doing(doing)
}

/// Has Synapse's own parser read the candidate: in the running container, which
/// saves making one; and if it does not like it there, in one that is made as
/// the next will be, with the secrets that the new config may name.
pub(super) fn check_synapse_candidate(image: &str, sink: &Sink) -> Result<(), Failure> {
    sink(Saying::WaitsFor("Synapse's own parser to read the new homeserver.yaml".to_owned()));
    let running = ["podman", "exec", HOMESERVER.name()].into_iter().chain(PARSE);
    if Program::new(running).deadline(ONCE).output().status == Some(0) {
        return Ok(());
    }
    check_in_new_container(image, sink)
}

/// Synapse's own parser, on the candidate as it is seen in the container: what
/// `python -m synapse.config` runs, without what only a program that lives on
/// needs, which is half of the time: collecting garbage, and being taken down
/// piece by piece. A refusal ends it before that.
const PARSE: [&str; 5] = [
    "python",
    "-c",
    "import gc, os, sys; gc.disable(); from synapse.config.__main__ import main; main(sys.argv); \
     sys.stdout.flush(); os._exit(0)",
    "--config-path",
    "/data/homeserver.yaml.new",
];

fn check_in_new_container(image: &str, sink: &Sink) -> Result<(), Failure> {
    let secrets = stack::read_secrets(HOMESERVER).map(|read| read.secret);
    let volumes = secrets
        .filter(|s| secret::exists(*s))
        .map(|s| format!("{}:{}:ro", layout::secret(s), s.in_container()))
        .chain([format!("{}:/data:ro", layout::in_root("synapse"))])
        .collect();
    let arguments: Vec<String> = PARSE[1..].iter().map(|word| (*word).to_owned()).collect();
    OneOff {
        name: "matrix-podman-check",
        image,
        owner: HOMESERVER.owner(),
        entrypoint: PARSE[0],
        arguments: &arguments,
        volumes,
        tmpfs: &["/tmp"],
    }
    .program()
        .run("have Synapse accept its new config", &|line| sink(Saying::Line(line.to_owned())))
        .map_err(|failure| {
            failure.hint(
                "the running server keeps its old config; the refused one is /opt/matrix/synapse/homeserver.yaml.new in the guest",
            )
        })
}

/// A container that does one thing and is gone: without network, capabilities
/// or anything to write to but what it is given.
pub(super) struct OneOff<'a> {
    pub name: &'a str,
    pub image: &'a str,
    pub owner: Owner,
    pub entrypoint: &'a str,
    pub arguments: &'a [String],
    pub volumes: Vec<String>,
    pub tmpfs: &'a [&'a str],
}

impl OneOff<'_> {
    pub fn program<'p>(self) -> Program<'p> {
        let user = format!("{}:{}", self.owner.uid, self.owner.gid);
        let fixed = [
            "podman",
            "run",
            "--rm",
            "--replace",
            "--interactive",
            "--pull=never",
            "--network=none",
            "--read-only",
            "--cap-drop=all",
            "--security-opt=no-new-privileges",
            "--log-driver=none",
            "--name",
            self.name,
            "--user",
            &user,
        ];
        let mut argv: Vec<String> = fixed.iter().map(|word| (*word).to_owned()).collect();
        argv.extend(self.tmpfs.iter().map(|tmpfs| format!("--tmpfs={tmpfs}")));
        argv.extend(self.volumes.iter().map(|volume| format!("--volume={volume}")));
        argv.extend(["--entrypoint", self.entrypoint, self.image].iter().map(|word| (*word).to_owned()));
        argv.extend(self.arguments.iter().cloned());
        Program::new(argv).deadline(ONCE)
    }
}
