//! Containers beside the server that nobody can reach and that are thrown away:
//! a database of its own and Synapse on it, without a network, as a drill and a
//! rehearsal run them.

use serde::{Deserialize, Serialize};

use crate::{
    config::Config,
    layout::{self, Secret},
    lock::Lock,
    name::{AbsPath, Mode, Owner},
    render::quadlet,
    service::ServiceId,
    size::Bytes,
    stack::{
        self, DATABASE_SERVER, Facts, HOMESERVER, MissingImage, RoomDatabase,
        synapse::{homeserver, uploads},
    },
};

/// The database that is run beside the server: the homeserver's.
pub const DATABASE: RoomDatabase = stack::synapse::DATABASE;

/// For what something is run beside the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Aside {
    /// To see whether a backup would have helped.
    Drill,
    /// To see whether an update would do.
    Rehearsal,
}

impl Aside {
    /// In a word.
    pub const fn name(self) -> &'static str {
        match self {
            Aside::Drill => "drill",
            Aside::Rehearsal => "rehearsal",
        }
    }

    /// Where it has what otherwise is in `/opt/matrix`.
    pub const fn folder(self) -> &'static str {
        match self {
            Aside::Drill => layout::DRILL,
            Aside::Rehearsal => layout::REHEARSAL,
        }
    }

    /// The name of its container of `service`.
    pub fn container(self, service: ServiceId) -> String {
        format!("matrix-{}-{}", self.name(), service.name())
    }

    /// Fills its `database` from the dump on standard input.
    pub fn fill(self, database: &RoomDatabase) -> Vec<String> {
        ["podman", "exec", "--interactive"]
            .map(str::to_owned)
            .into_iter()
            .chain([self.container(stack::postgres::ID)])
            .chain(["pg_restore", "--exit-on-error", "--no-owner"].map(str::to_owned))
            .chain(database.login())
            .collect()
    }

    /// Where it has what otherwise is at `path`.
    pub fn moved(self, path: &AbsPath) -> AbsPath {
        let rest = path.as_str().strip_prefix(layout::ROOT).unwrap_or(path.as_str());
        AbsPath::known(format!("{}{rest}", self.folder()))
    }
}

/// What is run beside the server, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Containers {
    /// For what.
    pub aside: Aside,
    /// Folders that are made for it.
    pub folders: Vec<(AbsPath, Mode, Owner)>,
    /// Files that they read and that no backup brings.
    pub files: Vec<(AbsPath, String, Mode, Owner)>,
    /// The names that its containers know, as a file.
    pub hosts: (AbsPath, String),
    /// Starts PostgreSQL, with an empty database.
    pub database: Vec<String>,
    /// Ends with 0 as soon as it answers.
    pub database_answers: Vec<String>,
    /// Starts Synapse.
    pub synapse: Vec<String>,
    /// Ends with 0 as soon as it answers.
    pub synapse_answers: Vec<String>,
    /// Prints the keys that Synapse signs with, as other servers would see them.
    pub keys: Vec<String>,
    /// Sends Synapse the [`request`] on standard input; what it prints ends with
    /// a line that has the status.
    pub ask: Vec<String>,
    /// The secret that lets its holder create users in Synapse.
    pub registration_secret: AbsPath,
    /// Remove its containers, one after the other, those of one that was cut off
    /// too.
    pub remove: Vec<Vec<String>>,
}

/// What is run with this config and these images. It has to leave the server
/// beside it its memory, so it is given a quarter of the guest's.
pub fn containers(
    aside: Aside,
    config: &Config,
    lock: &Lock,
    facts: &Facts,
) -> Result<Containers, MissingImage> {
    let facts = Facts { guest_memory: Bytes::mib((facts.guest_memory.as_mib() / 4).max(512)), ..*facts };
    let database = stack::container(DATABASE_SERVER, config, lock, &facts)?;
    let synapse = stack::container(HOMESERVER, config, lock, &facts)?;
    // Both see one network, which has nothing but themselves in it; Podman tells
    // a container on it no names.
    let hosts = AbsPath::known(format!("{}/hosts", aside.folder()));
    let needs: Vec<&str> = stack::room(HOMESERVER).needs().iter().map(|need| need.name()).collect();
    let names = format!("127.0.0.1 localhost {}\n", needs.join(" "));
    let alone = ["--network=none".to_owned()];
    let together = [
        format!("--network=container:{}", aside.container(DATABASE_SERVER)),
        format!("--volume={hosts}:/etc/hosts:ro"),
    ];
    let owner = DATABASE_SERVER.owner();
    let exec = |service: ServiceId, words: &[&str]| -> Vec<String> {
        ["podman", "exec", "--interactive"]
            .into_iter()
            .map(str::to_owned)
            .chain([aside.container(service)])
            .chain(words.iter().map(|word| (*word).to_owned()))
            .collect()
    };
    let health = |spec: &stack::ContainerSpec| {
        let words: Vec<&str> = spec.health.command.iter().map(String::as_str).collect();
        exec(spec.service, &words)
    };
    let remove = |service: ServiceId| -> Vec<String> {
        ["podman", "rm", "--force", "--ignore", "--time=10", "--volumes", "--"]
            .into_iter()
            .map(str::to_owned)
            .chain([aside.container(service)])
            .collect()
    };
    Ok(Containers {
        aside,
        folders: vec![
            (aside.moved(&layout::in_root("postgresdata")), Mode(0o700), owner),
            (aside.moved(&uploads::folder()), Mode(0o700), HOMESERVER.owner()),
        ],
        files: stack::room(DATABASE_SERVER)
            .files(config, &facts)
            .into_iter()
            .map(|file| (aside.moved(&file.path), file.content, file.mode, file.owner))
            .collect(),
        hosts: (hosts, names),
        database: run(aside, &database, &alone, facts.cpu_weights),
        database_answers: health(&database),
        synapse: run(aside, &synapse, &together, facts.cpu_weights),
        synapse_answers: health(&synapse),
        keys: exec(
            HOMESERVER,
            &["curl", "-fsS", &format!("http://127.0.0.1:{}/_matrix/key/v2/server", homeserver::PORT)],
        ),
        ask: exec(HOMESERVER, &["curl", "--silent", "--show-error", "--config", "-"]),
        registration_secret: aside.moved(&layout::secret(Secret::REGISTRATION)),
        // Synapse first: it is in the other's network.
        remove: [HOMESERVER, DATABASE_SERVER].map(remove).to_vec(),
    })
}

impl Aside {
    /// The name of the database's container.
    pub fn database(self) -> String {
        self.container(DATABASE_SERVER)
    }

    /// The name of the homeserver's container.
    pub fn homeserver(self) -> String {
        self.container(HOMESERVER)
    }
}

impl Containers {
    /// Gives the homeserver an empty folder in the place of what people uploaded.
    pub(crate) fn without_media(&mut self) {
        let media = self.aside.moved(&layout::in_root(layout::MEDIA));
        self.folders.push((media, Mode(0o700), HOMESERVER.owner()));
    }
}

/// The server's own files that they read.
pub(crate) fn files_read(config: &Config, facts: &Facts) -> Vec<AbsPath> {
    let secrets = [DATABASE_SERVER, HOMESERVER].map(|service| stack::secrets_of(service, config));
    let files = stack::room(HOMESERVER).files(config, facts).into_iter().map(|file| file.path);
    secrets.into_iter().flatten().map(layout::secret).chain(files).collect()
}

/// Where its homeserver answers to whoever makes users: the newer port, and that of older ones.
pub const PORTS: [u16; 2] = [homeserver::ADMIN_PORT, homeserver::PORT];

/// A request to Synapse as a config of curl's, which reads it from standard
/// input: neither token nor body is seen by anybody else then.
///
/// Format: curl(1), `--config`: within quotes, only `\\`, `\"`, `\t`, `\n`, `\r` and `\v`
/// mean something else. JSON on one line needs the first two.
pub fn request(port: u16, path: &str, token: Option<&str>, body: Option<&str>) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let mut lines = vec![
        format!("url = \"http://127.0.0.1:{port}{}\"", quoted(path)),
        "max-time = 100".to_owned(),
        "write-out = \"\\n%{http_code}\"".to_owned(),
    ];
    lines.extend(token.map(|token| format!("header = \"Authorization: Bearer {}\"", quoted(token))));
    if let Some(body) = body {
        lines.push("header = \"Content-Type: application/json\"".to_owned());
        lines.push(format!("data-raw = \"{}\"", quoted(body)));
    }
    format!("{}\n", lines.join("\n"))
}

/// What each of its containers may hold of memory, however small the guest is: one
/// that is killed for it would say nothing about a backup or an update.
const LEAST_MEMORY: Bytes = Bytes::mib(512);
/// What its containers get of a processor that others want too, where one of the
/// server's gets 1024.
const CPU_SHARES: u32 = 64;

fn run(aside: Aside, spec: &stack::ContainerSpec, network: &[String], cpu_weights: bool) -> Vec<String> {
    let owner = spec.service.owner();
    let mut words: Vec<String> = [
        "nice",
        "-n",
        "19",
        "podman",
        "run",
        "--detach",
        "--pull=never",
        "--read-only",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--log-driver=k8s-file",
        "--log-opt=max-size=1mb",
        "--no-healthcheck",
    ]
    .map(str::to_owned)
    .to_vec();
    words.push(format!("--name={}", aside.container(spec.service)));
    words.push(format!("--user={}:{}", owner.uid, owner.gid));
    words.extend(network.iter().cloned());
    // It is a container of its own for the kernel, which `nice` says nothing to.
    let most = spec.memory_max.map(|most| most.max(LEAST_MEMORY));
    words.extend(most.map(|most| format!("--memory={}", quadlet::podman_size(most))));
    words.extend(cpu_weights.then(|| format!("--cpu-shares={CPU_SHARES}")));
    words.extend(spec.shm_size.map(|size| format!("--shm-size={}", quadlet::podman_size(size))));
    words.extend(spec.environment.iter().map(|(name, value)| format!("--env={name}={value}")));
    for mount in &spec.mounts {
        let mount = stack::Mount { source: aside.moved(&mount.source), ..mount.clone() };
        words.push(format!("--volume={}", quadlet::volume(&mount)));
    }
    words.extend(spec.tmpfs.iter().map(|tmpfs| format!("--tmpfs={}", quadlet::tmpfs(tmpfs))));
    words.extend(spec.entrypoint.map(|entrypoint| format!("--entrypoint={entrypoint}")));
    words.push(spec.image.clone());
    words.extend(spec.command.iter().cloned());
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{default_config, facts, lock};

    #[test]
    fn nothing_of_it_reaches_the_server_or_a_network() {
        for aside in [Aside::Drill, Aside::Rehearsal] {
            let all = containers(aside, &default_config(), &lock(), &facts()).unwrap();
            if aside == Aside::Drill {
                insta::assert_snapshot!(
                    [&all.database, &all.synapse]
                        .into_iter()
                        .map(|argv| argv.join("\n  "))
                        .collect::<Vec<_>>()
                        .join("\n\n")
                );
            }
            for argv in [&all.database, &all.synapse] {
                for word in argv.iter().filter(|word| word.starts_with("--volume=")) {
                    assert!(word.starts_with(&format!("--volume={}/", aside.folder())), "{word}");
                }
                assert!(argv.iter().any(|word| word.starts_with("--network=")), "{argv:?}");
                assert!(!argv.iter().any(|word| word.starts_with("--publish")), "{argv:?}");
            }
        }
    }

    #[test]
    fn a_request_is_what_curl_reads() {
        assert_eq!(
            request(8008, "/x?y", Some("TOKEN"), Some(r#"{"a":"b\"c"}"#)),
            "url = \"http://127.0.0.1:8008/x?y\"\n\
             max-time = 100\n\
             write-out = \"\\n%{http_code}\"\n\
             header = \"Authorization: Bearer TOKEN\"\n\
             header = \"Content-Type: application/json\"\n\
             data-raw = \"{\\\"a\\\":\\\"b\\\\\\\"c\\\"}\"\n"
        );
        assert_eq!(request(8008, "/x", None, None).lines().count(), 3);
    }
}
