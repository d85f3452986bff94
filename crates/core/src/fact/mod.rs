//! Facts: questions to the world and their typed answers.
//!
//! A [`Fact`] only asks. What a probe may run for one stands here
//! ([`Fact::ask`]), and so does the parser of what comes back
//! ([`Fact::parse`]), so that `plan` and `status` cannot change anything.

mod ailment;
mod inside;
mod net;
mod podman;
mod spare;
mod system;
mod usage;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use serde::{Deserialize, Serialize};

pub use ailment::{Mounts, Newest, Ran, Room};
pub use inside::{Clock, Database, DatabaseState, InsideSynapse, PublicKey, Trial, Tried};
pub use net::{
    Certificate, Distrust, HttpAnswer, HttpBody, HttpMethod, HttpQuestion, HttpReply, NameAddresses,
    PATIENCE, Silence, SrvRecord, Stage, Tls,
};
pub use podman::{ContainerState, Health, ImageState};
pub use spare::{Spare, StoredImage};
pub use system::{GuestState, MachineInfo, UnitState};
pub use usage::{Amount, Contents, Memory, Timer};

use crate::{
    edge::{Question, Reply},
    name::{AbsPath, Digest, Invalid, Mode, Owner, ServerName},
    proxmox,
};

/// Where a question is asked or an act is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// What guests run on.
    Machine,
    /// The system container that the stack lives in.
    Guest,
    /// What stands between the internet and the guest; asked and changed from
    /// the machine that the operator works on, never from the guest.
    Edge,
}

/// A question to the world.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Fact {
    /// What is at a path; the content too, when it is a file of moderate size.
    File(AbsPath),
    /// What is at a path; never the content, but its digest when it is a file of
    /// moderate size.
    Meta(AbsPath),
    /// Which edition of a large file is there, without reading it.
    Edition(AbsPath),
    /// Which of these Debian packages are installed, and their versions.
    Packages(BTreeSet<String>),
    /// Which of these commands are in `PATH`.
    Commands(BTreeSet<String>),
    /// The state of these systemd units.
    Units(BTreeSet<String>),
    /// All of Podman's containers.
    Containers,
    /// Those of these images that Podman has.
    Images(BTreeSet<String>),
    /// What the machine or guest is: release, memory, disk, kernel features.
    System,
    /// The state of the LXC container of that name.
    LxcGuest(String),
    /// Ids and networks that other LXC containers on the machine have taken.
    LxcNeighbours,
    /// The IPv4 address of a network interface, when it exists.
    Interface(String),
    /// Whether the firewall table for the network of that bridge is loaded.
    NatTable(String),
    /// Whether a process that wrote its id into that file is alive.
    Process(AbsPath),
    /// Which of these TCP ports somebody listens on.
    TakenPorts(BTreeSet<u16>),
    /// Whether an address answers: `host:port`, or, for `apt`, the package source.
    Reachable(String),
    /// Whether the program in the guest is this one.
    GuestProgram,
    /// Whether the program installed on the side asked is the one that asks.
    InstalledProgram,
    /// What an API of the edge says.
    Edge(Question),
    /// The last lines of a systemd unit's log since boot.
    Journal(String),
    /// Room on the file system of a path.
    Room(AbsPath),
    /// The clock, and the newest of these files.
    Newest(BTreeSet<AbsPath>),
    /// How many processes of an LXC container were killed for lack of memory
    /// since it was started.
    OomKills(String),
    /// Whether a container of this image can be run: with these networks, it
    /// looks this name up.
    Canary {
        /// What to run.
        image: String,
        /// Podman's networks; none at all when empty.
        networks: Vec<String>,
        /// A name.
        name: String,
    },
    /// Whether a container that runs finds a name.
    Lookup {
        /// The container.
        container: String,
        /// The name.
        name: String,
    },
    /// What is mounted into a container.
    Mounts(String),
    /// Which programs listen on TCP ports.
    Listeners,
    /// What Redis answers to somebody with Synapse's password.
    RedisPing,
    /// Whether the name server with that address answers anything.
    NameServer(Ipv4Addr),
    /// The ids of the keys that the newest event of the server with that name
    /// is signed with, as the database has it.
    SigningKeysInUse(ServerName),
    /// The id of the server's signing key, as its file has it.
    SigningKeyOnDisk,
    /// What answers a request over HTTP.
    Http(Box<HttpQuestion>),
    /// The addresses of a name, as the side asked resolves it.
    Addresses(String),
    /// The SRV records of a name.
    Srv(String),
    /// What PostgreSQL says of Synapse's database.
    Database,
    /// What is seen from inside Synapse's container.
    InsideSynapse,
    /// The schema of the Synapse in an image, which need not run.
    ImageSchema(String),
    /// The names of the folders where PostgreSQL's clusters are.
    Clusters,
    /// The tags that a registry has of a repository, as the guest sees it.
    RegistryTags(String),
    /// The Debian packages of which the guest knows a newer version.
    NewerPackages,
    /// The time.
    Clock,
    /// The public half of the signing key.
    SigningKey,
    /// What a logged-in user finds. The one question that does something:
    /// only `verify` asks it, and it removes what it makes.
    Trial(Trial),
    /// A question to Proxmox VE.
    Proxmox(proxmox::Question),
    /// What is on the server, as its database counts it.
    Contents,
    /// What programs hold of memory, those of these systemd units by themselves too.
    Memory(BTreeSet<String>),
    /// What systemd's timers start next.
    Timers,
    /// The images that Podman has.
    StoredImages,
    /// The files in a folder, with their sizes.
    Files(AbsPath),
    /// What each of these folders takes on the disk.
    FolderSizes(BTreeSet<AbsPath>),
    /// What PostgreSQL keeps beside the database that serves, and the copies of
    /// remote media that nobody looked at since a moment, in milliseconds since 1970.
    Spare {
        /// The moment; since ever when absent.
        media_before: Option<u64>,
    },
}

/// How a probe finds the answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// Run this, which changes nothing, and parse what it prints.
    Run(Vec<String>),
    /// The probe knows how; no process is needed.
    Builtin,
}

/// What a command of a probe left behind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Output {
    /// Exit status; `None` when it could not be started or was ended by a signal.
    pub status: Option<i32>,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// What kind of thing.
    pub kind: FileKind,
    /// Permission bits.
    pub mode: Mode,
    /// Owner.
    pub owner: Owner,
    /// Content, when it was asked for and is text of less than 256 KiB.
    pub content: Option<String>,
    /// Digest of the content, when it was asked for.
    pub digest: Option<Digest>,
    /// Target, when it is a symbolic link.
    pub target: Option<String>,
    /// Seconds since it was last written.
    pub age: u64,
}

/// What tells one content of a file from the next without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Edition {
    /// Size in bytes.
    pub size: u64,
    /// When it was last written, in seconds since 1970.
    pub written: u64,
}

/// What kind of thing is at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A folder.
    Dir,
    /// A symbolic link.
    Link,
    /// Anything else.
    Other,
}

/// The answer to a [`Fact`]; the variant follows from the fact.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Value {
    /// To [`Fact::File`] and [`Fact::Meta`]: `None` when nothing is there.
    File(Option<FileState>),
    /// To [`Fact::Edition`]: `None` when nothing is there.
    Edition(Option<Edition>),
    /// To [`Fact::Packages`] and [`Fact::Commands`]: what is there, with its
    /// version or path.
    Found(BTreeMap<String, String>),
    /// To [`Fact::Units`].
    Units(BTreeMap<String, UnitState>),
    /// To [`Fact::Containers`].
    Containers(Vec<ContainerState>),
    /// To [`Fact::Images`], by the name asked for.
    Images(BTreeMap<String, ImageState>),
    /// To [`Fact::System`].
    System(Box<MachineInfo>),
    /// To [`Fact::LxcGuest`].
    LxcGuest(GuestState),
    /// To [`Fact::LxcNeighbours`].
    Neighbours(Vec<Neighbour>),
    /// To [`Fact::Interface`].
    Address(Option<Ipv4Addr>),
    /// To questions that are answered yes or no.
    Yes(bool),
    /// To [`Fact::TakenPorts`].
    Ports(BTreeSet<u16>),
    /// To [`Fact::Edge`].
    Edge(Box<Reply>),
    /// To [`Fact::Journal`], [`Fact::SigningKeysInUse`], [`Fact::Clusters`],
    /// [`Fact::RegistryTags`] and [`Fact::NewerPackages`].
    Lines(Vec<String>),
    /// To [`Fact::Room`]: `None` when there is no such path.
    Room(Option<Room>),
    /// To [`Fact::Newest`].
    Newest(Newest),
    /// To [`Fact::OomKills`]: `None` where the kernel does not count them.
    Count(Option<u64>),
    /// To [`Fact::Canary`] and [`Fact::Lookup`].
    Ran(Ran),
    /// To [`Fact::Mounts`].
    Mounts(Option<Mounts>),
    /// To [`Fact::Listeners`].
    Listeners(BTreeMap<u16, String>),
    /// To [`Fact::RedisPing`] and [`Fact::SigningKeyOnDisk`].
    Text(String),
    /// To [`Fact::Http`].
    Http(Box<HttpAnswer>),
    /// To [`Fact::Addresses`].
    Addresses(NameAddresses),
    /// To [`Fact::Srv`].
    Srv(Vec<SrvRecord>),
    /// To [`Fact::Database`].
    Database(Box<Database>),
    /// To [`Fact::InsideSynapse`].
    InsideSynapse(InsideSynapse),
    /// To [`Fact::ImageSchema`]: `None` when the program does not say it.
    ImageSchema(Option<crate::update::Schema>),
    /// To [`Fact::Clock`].
    Clock(Clock),
    /// To [`Fact::SigningKey`]: `None` when there is none.
    SigningKey(Option<PublicKey>),
    /// To [`Fact::Trial`].
    Tried(Tried),
    /// To [`Fact::Proxmox`].
    Proxmox(Box<proxmox::Answer>),
    /// To [`Fact::Contents`].
    Contents(Contents),
    /// To [`Fact::Memory`].
    Memory(Memory),
    /// To [`Fact::Timers`], by the name of the timer.
    Timers(BTreeMap<String, Timer>),
    /// To [`Fact::StoredImages`].
    StoredImages(Vec<StoredImage>),
    /// To [`Fact::Files`] and [`Fact::FolderSizes`], in the order of their names.
    Files(Vec<(String, u64)>),
    /// To [`Fact::Spare`].
    Spare(Spare),
}

/// An LXC container that is already on the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Neighbour {
    /// Its name.
    pub name: String,
    /// The site whose mark it carries, when it is one of ours.
    pub site: Option<String>,
    /// First id on the machine that it uses, and how many.
    pub ids: Option<(u32, u32)>,
    /// Its fixed address.
    pub address: Option<Ipv4Addr>,
}

impl Fact {
    /// The question about one file with its content.
    pub fn file(path: &AbsPath) -> Self {
        Fact::File(path.clone())
    }

    /// How a probe finds the answer.
    pub fn ask(&self) -> Ask {
        let argv = |words: &[&str]| words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>();
        Ask::Run(match self {
            Fact::Packages(names) => {
                let mut argv = argv(&[
                    "dpkg-query",
                    "--show",
                    "--showformat=${db:Status-Abbrev}|${Package}|${Version}\\n",
                ]);
                argv.extend(names.iter().cloned());
                argv
            }
            Fact::Units(names) => {
                let mut argv = argv(&[
                    "systemctl",
                    "show",
                    "--property=Id,LoadState,ActiveState,SubState,UnitFileState,NeedDaemonReload,NRestarts",
                    "--",
                ]);
                argv.extend(names.iter().cloned());
                argv
            }
            Fact::Containers => argv(&["podman", "ps", "--all", "--no-trunc", "--format=json"]),
            Fact::Images(names) => {
                let mut argv = argv(&["podman", "image", "inspect", "--"]);
                argv.extend(names.iter().cloned());
                argv
            }
            Fact::Proxmox(question) => question.argv(),
            Fact::NatTable(bridge) => argv(&["nft", "--json", "list", "table", "inet", &nat_table(bridge)]),
            Fact::Journal(unit) => argv(&[
                "journalctl",
                &format!("--unit={unit}"),
                "--boot",
                "--lines=200",
                "--output=cat",
                "--no-pager",
                "--quiet",
            ]),
            Fact::Canary { image, networks, name } => {
                let mut argv = argv(&[
                    "podman",
                    "run",
                    "--rm",
                    "--pull=never",
                    "--read-only",
                    "--cap-drop=all",
                    "--security-opt=no-new-privileges",
                    "--log-driver=none",
                    "--user=65534:65534",
                    "--entrypoint=getent",
                ]);
                match networks.as_slice() {
                    [] => argv.push("--network=none".to_owned()),
                    some => argv.extend(some.iter().map(|network| format!("--network={network}"))),
                }
                argv.extend([image, "hosts", name].map(str::to_owned));
                argv
            }
            Fact::Lookup { container, name } => argv(&["podman", "exec", container, "getent", "hosts", name]),
            Fact::Mounts(container) => argv(&["podman", "container", "inspect", "--", container]),
            Fact::Listeners => {
                argv(&["ss", "--listening", "--tcp", "--numeric", "--processes", "--no-header"])
            }
            Fact::SigningKeysInUse(server) => argv(&[
                "podman",
                "exec",
                "--env=PGOPTIONS=-c statement_timeout=8000 -c default_transaction_read_only=on",
                "postgres_db",
                "psql",
                "--no-psqlrc",
                "--tuples-only",
                "--no-align",
                "--username=synapse",
                "--dbname=synapse",
                "--command",
                &format!(
                    "SELECT jsonb_object_keys(json::jsonb->'signatures'->'{server}') FROM event_json \
                     WHERE event_id = (SELECT event_id FROM events WHERE sender LIKE '@%:{server}' \
                     ORDER BY stream_ordering DESC LIMIT 1)"
                ),
            ]),
            Fact::File(_)
            | Fact::Meta(_)
            | Fact::Edition(_)
            | Fact::Commands(_)
            | Fact::System
            | Fact::LxcGuest(_)
            | Fact::LxcNeighbours
            | Fact::Interface(_)
            | Fact::Process(_)
            | Fact::TakenPorts(_)
            | Fact::GuestProgram
            | Fact::InstalledProgram
            | Fact::Edge(_)
            | Fact::Room(_)
            | Fact::Newest(_)
            | Fact::OomKills(_)
            | Fact::RedisPing
            | Fact::NameServer(_)
            | Fact::SigningKeyOnDisk
            | Fact::Http(_)
            | Fact::Addresses(_)
            | Fact::Srv(_)
            | Fact::Clock
            | Fact::SigningKey
            | Fact::Trial(_)
            | Fact::Memory(_)
            | Fact::Files(_)
            | Fact::Reachable(_) => return Ask::Builtin,
            Fact::StoredImages => argv(&["podman", "images", "--no-trunc", "--format=json"]),
            Fact::Spare { media_before } => spare::ask_spare(*media_before),
            Fact::FolderSizes(folders) => spare::ask_sizes(folders),
            Fact::Contents => usage::ask_contents(),
            Fact::Timers => argv(&["systemctl", "list-timers", "--all", "--output=json"]),
            Fact::Database => inside::ask_database(),
            Fact::InsideSynapse => inside::ask_synapse(),
            Fact::ImageSchema(image) => inside::ask_image(image),
            Fact::Clusters => argv(&[
                "find",
                crate::update::FOLDER,
                "-mindepth",
                "1",
                "-maxdepth",
                "1",
                "-type",
                "d",
                "-printf",
                "%f\\n",
            ]),
            Fact::NewerPackages => {
                // It only says what it would do, and asks for no lock.
                argv(&["apt-get", "--simulate", "--quiet=2", "-o", "Debug::NoLocking=1", "upgrade"])
            }
            Fact::RegistryTags(repository) => {
                argv(&["podman", "search", "--list-tags", "--limit=20000", "--format=json", "--", repository])
            }
        })
    }

    /// Reads what the command of [`Fact::ask`] printed.
    pub fn parse(&self, output: &Output) -> Result<Value, Invalid> {
        match self {
            Fact::Packages(_) => Ok(Value::Found(system::parse_packages(&output.stdout))),
            Fact::Units(_) => system::parse_units(&output.stdout).map(Value::Units),
            Fact::Containers => match output.status {
                Some(0) => podman::parse_containers(&output.stdout).map(Value::Containers),
                // No podman at all: nothing can run.
                None => Ok(Value::Containers(Vec::new())),
                Some(_) => Err(Invalid::new(last_line(&output.stderr))),
            },
            Fact::Images(names) => Ok(Value::Images(podman::parse_images(&output.stdout, names))),
            Fact::Proxmox(question) => question.parse(output).map(|answer| Value::Proxmox(Box::new(answer))),
            Fact::NatTable(_) => Ok(Value::Yes(output.status == Some(0))),
            Fact::Journal(_) => Ok(Value::Lines(ailment::parse_lines(&output.stdout))),
            Fact::Canary { .. } | Fact::Lookup { .. } => Ok(Value::Ran(ailment::parse_ran(output))),
            Fact::Mounts(_) => match output.status {
                Some(0) => ailment::parse_mounts(&output.stdout).map(Value::Mounts),
                _ => Ok(Value::Mounts(None)),
            },
            Fact::Listeners => Ok(Value::Listeners(ailment::parse_listeners(&output.stdout))),
            Fact::SigningKeysInUse(_) => match output.status {
                Some(0) => {
                    let mut keys = ailment::parse_lines(&output.stdout);
                    keys.retain(|key| !key.trim().is_empty());
                    Ok(Value::Lines(keys))
                }
                _ => Err(Invalid::new(last_line(&output.stderr))),
            },
            Fact::Database => inside::parse_database(output).map(|d| Value::Database(Box::new(d))),
            Fact::InsideSynapse => inside::parse_synapse(output).map(Value::InsideSynapse),
            Fact::ImageSchema(_) => inside::parse_image(output).map(Value::ImageSchema),
            Fact::Clusters => match output.status {
                Some(0) => Ok(Value::Lines(ailment::parse_lines(&output.stdout))),
                _ => Err(Invalid::new(last_line(&output.stderr))),
            },
            Fact::NewerPackages => crate::update::parse_newer(output).map(Value::Lines),
            Fact::RegistryTags(_) => podman::parse_tags(output).map(Value::Lines),
            Fact::Contents => usage::parse_contents(output).map(Value::Contents),
            Fact::Timers => usage::parse_timers(output).map(Value::Timers),
            Fact::StoredImages => spare::parse_images(output).map(Value::StoredImages),
            Fact::Spare { .. } => spare::parse_spare(output).map(Value::Spare),
            Fact::FolderSizes(_) => spare::parse_sizes(output).map(Value::Files),
            _ => Err(Invalid::new("this fact is not found by running a command")),
        }
    }

    /// The answer in a world where the place asked does not exist yet.
    pub fn nowhere(&self) -> Option<Value> {
        Some(match self {
            Fact::File(_) | Fact::Meta(_) => Value::File(None),
            Fact::Edition(_) => Value::Edition(None),
            Fact::Packages(_) | Fact::Commands(_) => Value::Found(BTreeMap::new()),
            Fact::Units(_) => Value::Units(BTreeMap::new()),
            Fact::Containers => Value::Containers(Vec::new()),
            Fact::Images(_) => Value::Images(BTreeMap::new()),
            Fact::TakenPorts(_) => Value::Ports(BTreeSet::new()),
            Fact::GuestProgram | Fact::InstalledProgram | Fact::Process(_) | Fact::NatTable(_) => {
                Value::Yes(false)
            }
            Fact::SigningKey => Value::SigningKey(None),
            Fact::Clusters => Value::Lines(Vec::new()),
            Fact::Files(_) | Fact::FolderSizes(_) => Value::Files(Vec::new()),
            Fact::StoredImages => Value::StoredImages(Vec::new()),
            Fact::Spare { .. }
            | Fact::System
            | Fact::LxcGuest(_)
            | Fact::LxcNeighbours
            | Fact::Interface(_)
            | Fact::Edge(_)
            | Fact::Journal(_)
            | Fact::Room(_)
            | Fact::Newest(_)
            | Fact::OomKills(_)
            | Fact::Canary { .. }
            | Fact::Lookup { .. }
            | Fact::Mounts(_)
            | Fact::Listeners
            | Fact::RedisPing
            | Fact::NameServer(_)
            | Fact::SigningKeysInUse(_)
            | Fact::SigningKeyOnDisk
            | Fact::Http(_)
            | Fact::Addresses(_)
            | Fact::Srv(_)
            | Fact::Database
            | Fact::InsideSynapse
            | Fact::ImageSchema(_)
            | Fact::RegistryTags(_)
            | Fact::NewerPackages
            | Fact::Clock
            | Fact::Trial(_)
            | Fact::Proxmox(_)
            | Fact::Contents
            | Fact::Memory(_)
            | Fact::Timers
            | Fact::Reachable(_) => return None,
        })
    }
}

/// The nftables table for the network of `bridge`.
pub fn nat_table(bridge: &str) -> String {
    format!("matrix-podman-{bridge}")
}

pub(crate) fn last_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    text.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim().to_owned()
}
