//! The arguments, as clap reads them; help, completions and man pages come
//! from here.

mod backup;
mod edge;
mod everyday;
mod guest;
mod help;
mod json;
mod people;
mod restore;
mod update;

use std::path::PathBuf;

use clap::{
    Parser, Subcommand, ValueEnum,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use matrix_podman_core::{
    check::Group,
    federation::{self, Resolve},
    service::{ServiceId, capitalized},
    stack,
};

pub use backup::{Backup, BackupDrill, BackupNow, BackupRestore, Moment, Which};
pub use edge::{Edge, EdgeGuide, EdgeRemove, EdgeShow, GuideFormat, ProxyName};
pub use everyday::{Exec, Logs, Prune, Psql, Services, Set, Watch};
pub use guest::Guest;
pub use help::harmless;
pub use json::{command, form};
pub use people::{
    Expires, Named, Token, TokenDelete, TokenNew, TokenSet, TokenShow, User, UserAdd, UserDeactivate,
    UserList, UserLogout, UserServiceAccount, UserSetPassword,
};
pub use restore::Restore;
pub use update::{Rollback, Update};

/// Creates and keeps a self-hosted Matrix server.
#[derive(Debug, Parser)]
#[command(name = "matrix-podman", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Args {
    /// The site's config [default: ./matrix.toml, else the one of the only site here]
    #[arg(long, short, global = true, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 failed, 2 wrong use or wrong config (nothing was touched), 3 changes pending \
(plan --exit-code).";

/// Everything that the program can be told to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Write a commented matrix.toml
    Init(Init),
    /// Print the JSON Schema of matrix.toml, for editors
    Schema,
    /// Show what `up` would do and why; touch nothing
    Plan(Plan),
    /// Create the server, apply changes, or resume
    Up(Up),
    /// Show the server's health
    Status,
    /// Live status screen, with the services' logs
    Watch(Watch),
    /// Diagnose problems and suggest fixes
    Doctor(Doctor),
    /// Check that the server works, from inside and outside
    Verify(Verify),
    /// Show the services' logs
    Logs(Logs),
    /// Restart services, all of them when none is named
    Restart(Services),
    /// Stop services, all when none is named, until `start` or a boot
    Stop(Services),
    /// Start services, all of them when none is named
    Start(Services),
    /// Run a command in a service's container
    Exec(Exec),
    /// Open a psql shell
    Psql(Psql),
    /// Print the addresses of the server and its web client
    Open,
    /// Change one setting and preview the effect
    Set(Set),
    /// Remove what is no longer needed: images, dumps, databases, media
    Prune(Prune),
    /// Update services; roll back automatically if the new version fails
    #[command(alias = "upgrade")]
    Update(Update),
    /// Roll back to what ran before the last update
    Rollback(Rollback),
    /// Show which versions ran, since when, by whom, and how it went
    History,
    /// Notifications about unattended jobs: updates, backups, drills
    #[command(subcommand)]
    Notify(Notify),
    /// Write every file of the guest into a folder, to read or compare
    Render(Render),
    /// Remove the guest and everything in it
    #[command(aliases = ["uninstall", "remove"])]
    Destroy(Destroy),
    /// Users: create, list, change, lock
    #[command(subcommand)]
    User(User),
    /// Invite tokens: whoever has one may create an account
    #[command(subcommand)]
    Token(Token),
    /// Backups: encrypted, made while the server runs, kept elsewhere
    #[command(subcommand)]
    Backup(Backup),
    /// Restore a server from a backup into a new guest
    Restore(Restore),
    /// The guest as a whole, on Proxmox: snapshots, and back to them
    #[command(subcommand)]
    Guest(Guest),
    /// Public access: guide, proxy configs, removal
    #[command(subcommand)]
    Edge(Edge),
    /// Print the completions for a shell
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// Write the manual pages into a folder
    Man {
        /// The folder
        folder: PathBuf,
    },
    /// Make an invite token, as `token new` does
    #[command(hide = true)]
    Invite(TokenNew),
    /// Serve one connection from outside the guest
    #[command(hide = true)]
    Agent {
        /// Only print the digest of this program
        #[arg(long)]
        digest: bool,
        /// Let requests to this service through that a process held
        #[arg(long, requires = "after", value_parser = service())]
        release: Option<ServiceId>,
        /// Once that process has ended
        #[arg(long, value_name = "PID")]
        after: Option<u32>,
    },
    /// Take over a config and its files from standard input
    #[command(hide = true)]
    Receive,
    /// Say what people who enter the guest should know
    #[command(hide = true)]
    Motd,
    /// Bring up network and guest at the machine's boot
    #[command(hide = true)]
    MachineStart,
    /// Serve names on a bridge of the program's, on a machine without systemd
    #[command(hide = true)]
    MachineNames {
        /// The bridge
        bridge: String,
        /// The machine's address on it
        address: String,
    },
}

impl Command {
    /// Whether it looks at guests or changes something on this machine. Only root can: to
    /// anybody else a guest that is there seems not to be.
    pub fn needs_root(&self) -> bool {
        match self {
            Command::Init(_)
            | Command::Schema
            | Command::Render(_)
            | Command::Completions { .. }
            | Command::Man { .. }
            | Command::Agent { .. }
            | Command::Receive
            | Command::Motd => false,
            Command::Verify(verify) => verify.what.is_none(),
            Command::Plan(_)
            | Command::Up(_)
            | Command::Status
            | Command::Watch(_)
            | Command::Doctor(_)
            | Command::Logs(_)
            | Command::Restart(_)
            | Command::Stop(_)
            | Command::Start(_)
            | Command::Exec(_)
            | Command::Psql(_)
            | Command::Open
            | Command::Set(_)
            | Command::Prune(_)
            | Command::Update(_)
            | Command::Rollback(_)
            | Command::History
            | Command::Notify(_)
            | Command::Destroy(_)
            | Command::User(_)
            | Command::Token(_)
            | Command::Invite(_)
            | Command::Backup(_)
            | Command::Restore(_)
            | Command::Guest(_)
            | Command::Edge(_)
            | Command::MachineStart
            | Command::MachineNames { .. } => true,
        }
    }
}

impl Args {
    /// The domain that is given as a flag.
    pub fn domain(&self) -> Option<&str> {
        let settings = match &self.command {
            Command::Init(args) => &args.settings,
            Command::Plan(args) => &args.settings,
            Command::Up(args) => &args.settings,
            Command::Render(args) => &args.settings,
            _ => return None,
        };
        settings.domain.as_deref()
    }
}

/// Settings that may be given instead of, or over, those of the file.
#[derive(Debug, Default, clap::Args)]
pub struct Settings {
    /// Your domain; without a matrix.toml, one is written with it
    #[arg(long)]
    pub domain: Option<String>,
    /// The part after the colon of every user id, forever [default: matrix.<domain>]
    #[arg(long, value_name = "NAME")]
    pub server_name: Option<String>,
    /// What the guest is made by: auto, proxmox, lxc, this-machine
    #[arg(long)]
    pub backend: Option<String>,
    /// Name and host name of the guest [default: matrix]
    #[arg(long, value_name = "NAME")]
    pub guest_name: Option<String>,
    /// Where images come from: auto, registry, build
    #[arg(long, value_name = "SOURCE")]
    pub images: Option<String>,
}

/// `init`
#[derive(Debug, clap::Args)]
pub struct Init {
    #[command(flatten)]
    pub settings: Settings,
    /// Write over a file that is there
    #[arg(long)]
    pub force: bool,
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
}

/// `plan`
#[derive(Debug, clap::Args)]
pub struct Plan {
    #[command(flatten)]
    pub settings: Settings,
    /// Exit with 3 when there is something to do
    #[arg(long)]
    pub exit_code: bool,
    /// Also show the lines that change in files, and what is left alone and why
    #[arg(long)]
    pub diff: bool,
    /// What is shown anyway
    #[arg(long, hide = true, conflicts_with = "diff")]
    pub brief: bool,
}

/// `up`
#[derive(Debug, clap::Args)]
pub struct Up {
    #[command(flatten)]
    pub settings: Settings,
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
    /// On Proxmox: remove a container whose making failed, if it never held a database
    #[arg(long)]
    pub remove_failed: bool,
}

/// `doctor`
#[derive(Debug, clap::Args)]
pub struct Doctor {
    /// Mend what can be mended safely: `up` and restarts, one after the other
    #[arg(long, conflicts_with = "json")]
    pub fix: bool,
    /// Ask nothing
    #[arg(long, short, requires = "fix")]
    pub yes: bool,
    #[command(flatten)]
    pub net: NetOptions,
}

/// A group's name on the command line.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum GroupName {
    /// The guest and what runs in it
    Guest,
    /// Database, cache, media, keys
    Data,
    /// What a client finds, asked where the services listen
    Client,
    /// What a client finds that comes from outside
    WayIn,
    /// What another server finds
    Federation,
}

impl From<GroupName> for Group {
    fn from(name: GroupName) -> Self {
        match name {
            GroupName::Guest => Group::Guest,
            GroupName::Data => Group::Data,
            GroupName::Client => Group::Client,
            GroupName::WayIn => Group::WayIn,
            GroupName::Federation => Group::Federation,
        }
    }
}

/// `verify`
#[derive(Debug, clap::Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Verify {
    /// Only these groups
    #[arg(long, value_name = "GROUP", value_delimiter = ',')]
    pub only: Vec<GroupName>,
    /// Also try what takes a minute or sends much: a sync that waits, the largest upload
    #[arg(long)]
    pub slow: bool,
    /// One thing alone
    #[command(subcommand)]
    pub what: Option<VerifyWhat>,
    #[command(flatten)]
    pub net: NetOptions,
}

/// What the operator says of a network with names or certificates of its own.
#[derive(Debug, Clone, clap::Args)]
pub struct NetOptions {
    /// Where a name is that the name servers do not know; may be repeated
    #[arg(long, value_name = "NAME:PORT:ADDRESS")]
    pub resolve: Vec<Resolve>,
    /// Trust the certificates in this file as well (PEM)
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<PathBuf>,
}

/// What `verify` can look at alone.
#[derive(Debug, Subcommand)]
pub enum VerifyWhat {
    /// Any server in the world, as other servers see it
    Federation {
        /// The server's name [default: this site's]
        server: Option<federation::Named>,
        #[command(flatten)]
        net: NetOptions,
    },
}

/// Reads a service's name; the table of the rooms says which there are.
fn service() -> impl TypedValueParser<Value = ServiceId> {
    let names = stack::ALL.map(|room| {
        let id = room.id();
        PossibleValue::new(id.name())
            .aliases(room.also_called().iter().copied())
            .help(capitalized(id.title()))
    });
    PossibleValuesParser::new(names)
        .try_map(|name| stack::called(&name).ok_or_else(|| format!("there is no service {name:?}")))
}

/// `notify`
#[derive(Debug, Subcommand)]
pub enum Notify {
    /// Send one to everybody whom matrix.toml names, from the machine and from the guest
    Test,
    /// Tell of backups, drills and updates that ended without a word or are overdue; timers run this
    Check,
}

/// `render`
#[derive(Debug, clap::Args)]
pub struct Render {
    /// The folder; made when it is not there
    pub folder: PathBuf,
    #[command(flatten)]
    pub settings: Settings,
}

/// `destroy`
#[derive(Debug, clap::Args)]
pub struct Destroy {
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
    /// Leave what was made at Cloudflare and Nginx Proxy Manager
    #[arg(long)]
    pub keep_edge: bool,
}
