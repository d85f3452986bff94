//! Facts: questions to the world and their typed answers.
//!
//! A [`Fact`] only asks. What a probe may run for one stands here
//! ([`Fact::ask`]), and so does the parser of what comes back
//! ([`Fact::parse`]), so that `plan` and `status` cannot change anything.

mod ailment;
mod apt;
mod ask;
mod guest_disk;
mod inside;
mod link;
mod podman;
mod program;
mod root;
mod spare;
mod system;
mod usage;
mod value;

use std::{collections::BTreeSet, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

pub use ailment::{Mounts, Newest, Ran, Room};
pub use guest_disk::{EXT4_HEAD, GuestDisk, ext4_size};
pub use inside::{Clock, Roles};
pub use link::Link;
pub use podman::{ContainerState, Health, ImageState};
pub use program::GuestProgram;
pub use root::GuestRoot;
pub use spare::{Spare, StoredImage};
pub use system::{GuestState, MachineInfo, Suspension, UnitState};
pub use usage::{Amount, Contents, Memory, Timer};
pub use value::{Value, ValueKind};

use crate::{
    desired::SecretTemplate,
    edge::{Question, Reply},
    name::{AbsPath, Digest, Mode, Owner, ServerName},
    output::last_line,
    proxmox,
    schema::Schema,
};
pub use crate::{
    frame::{
        Certificate, Database, DatabaseState, Distrust, HeldRequests, HttpAnswer, HttpBody, HttpMethod,
        HttpQuestion, HttpReply, InsideSynapse, NameAddresses, PATIENCE, PublicKey, RelayTried, Relayed,
        Silence, SrvRecord, Stage, Tls, Trial, Tried,
    },
    output::Output,
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
    /// What a path leads to in the end, links followed, as [`Fact::Meta`] tells it: an
    /// operator's file may be where another program keeps its newest edition.
    Target(AbsPath),
    /// Whether a file holds this template with the secrets of its side filled in.
    SecretFile {
        /// The file.
        path: AbsPath,
        /// What it should hold.
        template: SecretTemplate,
    },
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
    /// Whether the programs in the root file system of the LXC container of that
    /// name, which does not run, are whole.
    GuestRoot(String),
    /// The disk of the LXC container of that name.
    GuestDisk(String),
    /// Ids and networks that other LXC containers on the machine have taken.
    LxcNeighbours,
    /// The IPv4 address of a network interface, when it exists.
    Interface(String),
    /// A network interface with all its addresses, when it exists.
    Link(String),
    /// The comments of the rules in that table of nftables.
    Rules(String),
    /// The interfaces that packets leave by: to the world, and to these addresses.
    Ways(BTreeSet<Ipv4Addr>),
    /// Whether the process that wrote its id into that file, and was told to, is
    /// alive.
    Process(AbsPath),
    /// Which of these TCP ports somebody listens on.
    TakenPorts(BTreeSet<u16>),
    /// Which of these UDP ports somebody waits for packets at.
    TakenUdpPorts(BTreeSet<u16>),
    /// Whether an address answers: `host:port`, or, for `apt`, the package source.
    Reachable(String),
    /// Which program is in the guest.
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
    /// Which requests are held on purpose.
    HeldRequests,
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
    /// What Synapse's role in PostgreSQL is and has.
    Roles,
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
    /// Whether the TURN server that people are told of relays a packet.
    Relay,
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
