//! What one side does alone. It is sent to the guest as it stands here.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::{Container, NewGuest};
use crate::{
    cluster::{Move, NewCluster},
    desired::SecretTemplate,
    fact::Side,
    firewall::OwnNetwork,
    layout::Secret,
    name::{AbsPath, Cidr4, Cidr6, Digest, ImageRef, Mode, Owner, SnapshotName, StorageName, TemplateName},
    service::ServiceId,
    size::{Bytes, Seconds},
    stack::DatabaseName,
};

/// An act that one side does alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Local {
    /// Makes a folder (and those above it, root's) or corrects its owner and mode.
    MakeDir {
        /// Where.
        side: Side,
        /// The folder.
        path: AbsPath,
        /// Its permission bits.
        mode: Mode,
        /// Its owner.
        owner: Owner,
    },
    /// Writes a file: beside its place, flushed, then renamed over it.
    WriteFile {
        /// Where.
        side: Side,
        /// The file.
        path: AbsPath,
        /// All that it holds. Never a secret.
        content: String,
        /// Its permission bits.
        mode: Mode,
        /// Its owner.
        owner: Owner,
    },
    /// Makes a symbolic link, replacing what is there.
    Link {
        /// Where.
        side: Side,
        /// The link.
        path: AbsPath,
        /// What it names.
        target: String,
    },
    /// Removes a file or link of the program's own.
    RemoveFile {
        /// Where.
        side: Side,
        /// The file.
        path: AbsPath,
    },
    /// Makes a secret in the guest from the system's random source, unless
    /// it is there. The secret never leaves the guest.
    MakeSecret {
        /// Which.
        secret: Secret,
    },
    /// Writes a file with secrets in it, which are filled in where they are: beside its
    /// place, flushed, then renamed over it. Nobody but its owner can read it.
    WriteSecretFile {
        /// The file.
        path: AbsPath,
        /// What it holds.
        template: SecretTemplate,
        /// Its owner.
        owner: Owner,
    },
    /// Installs Debian packages, without what they merely recommend.
    Install {
        /// Where.
        side: Side,
        /// What.
        packages: Vec<String>,
    },
    /// Removes Debian packages with their configuration.
    Purge {
        /// Where.
        side: Side,
        /// What.
        packages: Vec<String>,
    },
    /// Brings what containers run by (Podman, crun, …) to the newest version of
    /// Debian's, if a container can be run with it; nothing that runs is touched.
    UpgradeRuntime {
        /// The image of the container that is run to see that.
        image: String,
    },
    /// Brings all Debian packages of the guest up to date, then leaves `stamp`.
    Upgrade {
        /// Written when everything is up to date.
        stamp: AbsPath,
    },
    /// Applies the files of /etc/sysctl.d in the guest.
    ApplySysctl,
    /// Makes systemd read its unit files again.
    ReloadUnits {
        /// Where.
        side: Side,
    },
    /// Makes a unit start at boot.
    EnableUnit {
        /// Where.
        side: Side,
        /// The unit.
        unit: String,
        /// Whether it is started now, too.
        start: bool,
    },
    /// Makes a unit no longer start at boot.
    DisableUnit {
        /// Where.
        side: Side,
        /// The unit.
        unit: String,
    },
    /// Copies this program to where people and units find it.
    InstallProgram {
        /// Where.
        side: Side,
    },
    /// Restarts one of systemd's own daemons so that it reads its configuration.
    RestartDaemon {
        /// The unit.
        unit: String,
    },
    /// Starts or restarts a service of the stack and waits until it is ready.
    StartService {
        /// Which.
        service: ServiceId,
        /// Whether it is stopped first when it runs.
        restart: bool,
        /// How long it may take.
        timeout: Seconds,
    },
    /// Stops a service of the stack; systemd starts it again at the guest's next boot.
    StopService {
        /// Which.
        service: ServiceId,
    },
    /// Lets root use a range of ids for containers (/etc/subuid, /etc/subgid).
    AllowIds {
        /// First id on the machine.
        start: u32,
        /// How many.
        count: u32,
    },
    /// Brings up the program's own bridge: address, who may pass it, NAT, and
    /// dnsmasq for names and leases.
    NetworkUp(OwnNetwork),
    /// Makes the compressed root file system that guests are made from.
    BuildRootfs {
        /// The finished archive.
        archive: AbsPath,
        /// Packages that are in it from the start.
        packages: Vec<String>,
    },
    /// Makes a guest: root file system and config beside its place, then
    /// renamed there.
    CreateGuest(NewGuest),
    /// Mounts the disk of a guest that does not run, after its file system was looked
    /// at.
    MountDisk {
        /// The guest's name.
        name: String,
    },
    /// Makes the disk of a guest that does not run larger, with the file system on it,
    /// and mounts it again.
    GrowGuestDisk {
        /// The guest's name.
        name: String,
        /// The size that it is to have.
        size: Bytes,
    },
    /// Starts the guest, waits for its systemd and connects to it.
    StartGuest {
        /// Its name.
        name: String,
    },
    /// Stops the guest, giving its services time.
    StopGuest {
        /// Its name.
        name: String,
        /// How long they may take.
        timeout: Seconds,
    },
    /// Sees to it that a Proxmox storage has a template of Debian 13.
    FetchTemplate {
        /// The storage.
        storage: StorageName,
        /// Which; the newest when absent.
        template: Option<TemplateName>,
        /// The processor's architecture, as the kernel calls it.
        arch: String,
    },
    /// Changes settings of a Proxmox container.
    SetContainer {
        /// Which.
        container: Container,
        /// The settings.
        options: Vec<(String, String)>,
        /// Those that are taken away.
        #[serde(default)]
        delete: Vec<String>,
    },
    /// Starts a Proxmox container, waits until it has booted and connects
    /// to it.
    StartContainer {
        /// Which.
        container: Container,
    },
    /// Restarts a Proxmox container, waits until it has booted and
    /// connects to it.
    RebootContainer {
        /// Which.
        container: Container,
    },
    /// Makes a snapshot of a Proxmox container. Removes a partial snapshot of ours first.
    SnapshotContainer {
        /// Which container.
        container: Container,
        /// The snapshot's name.
        name: SnapshotName,
        /// The generation before which an update makes it automatically.
        #[serde(default)]
        before_update: Option<u32>,
    },
    /// Brings a Proxmox container back to a snapshot, and leaves it
    /// stopped.
    RollBackContainer {
        /// Which container.
        container: Container,
        /// The snapshot's name.
        name: SnapshotName,
    },
    /// Removes a snapshot of a Proxmox container.
    RemoveSnapshot {
        /// Which container.
        container: Container,
        /// The snapshot's name.
        name: SnapshotName,
    },
    /// Has PostgreSQL write to the disk all that it still has in memory alone.
    CheckpointDatabase,
    /// Waits until the guest's systemd has done all that it does at boot and
    /// the guest has an address.
    AwaitBoot,
    /// Waits until the guest's interface has the address that it should have.
    AwaitAddress {
        /// The interface.
        interface: String,
        /// The address; any IPv4 address when absent.
        address: Option<Cidr4>,
    },
    /// Gives the guest's interface, which is up, what it should have had at boot.
    SetInterface {
        /// The interface.
        interface: String,
        /// Its largest packet.
        mtu: Option<u32>,
        /// An IPv6 address that it has to have.
        address6: Option<Cidr6>,
        /// The IPv6 router.
        gateway6: Option<Ipv6Addr>,
    },
    /// Waits until all services of the stack are ready, without helping them.
    AwaitStack,
    /// Has the guest's Podman pull an image, under the name `tag`.
    PullImage {
        /// Which.
        reference: ImageRef,
        /// The local name that it gets.
        tag: String,
    },
    /// Makes an empty database cluster with the role and database of Synapse,
    /// beside its place, then renames it there.
    InitDatabase {
        /// The image to run.
        image: String,
        /// PostgreSQL's major version.
        major: u32,
        /// What it is made of.
        cluster: NewCluster,
    },
    /// Makes Synapse's role in the database that serves a plain one, which owns its
    /// database; the cluster's owner gets a name of its own.
    SeparateRoles,
    /// Empties Synapse's database where Synapse never finished making its tables: nothing can be in
    /// them yet, and it cannot go on from there. Any other database stays as it is.
    EmptyUnfinishedDatabase,
    /// Makes databases in the cluster that serves, each with its role.
    MakeDatabases {
        /// What they are called.
        names: Vec<DatabaseName>,
    },
    /// Has Synapse's own parser read a candidate for `homeserver.yaml`, then
    /// puts it in place; a candidate that it refuses is left beside it.
    InstallSynapseConfig {
        /// The image to run.
        image: String,
        /// All that it holds. Never a secret.
        content: String,
        /// Its permission bits.
        mode: Mode,
        /// Its owner.
        owner: Owner,
        /// Whether the parser is asked; there is nothing to lose before the first start.
        check: bool,
    },
    /// Has a service that runs read settings before they count; nothing where it does not run.
    TrySettings {
        /// The service.
        service: ServiceId,
        /// What to run in its container: it fails where the settings cannot be.
        argv: Vec<String>,
    },
    /// Writes all databases into files in the guest, which are there whole or not at
    /// all; the server goes on meanwhile.
    DumpDatabase {
        /// The file of Synapse's database, beside which the others are.
        to: AbsPath,
    },
    /// Replaces the databases by what a dump holds, all in one stroke. Those who use them have
    /// to be stopped.
    RestoreDatabase {
        /// The dump of Synapse's database, beside which the others are.
        from: AbsPath,
        /// What the replaced databases are kept as: it stands behind their names. When they
        /// are there, the restore was done before.
        keep_as: String,
    },
    /// Has the disk hold all that was written on this side: contents, not only names.
    Flush {
        /// Where.
        side: Side,
    },
    /// Has the disk hold all that Podman keeps, and notes that.
    SettleStorage {
        /// Whether every layer is read first, and what is damaged removed with all that
        /// runs from it.
        check: bool,
    },
    /// Takes all its names from an image that no container uses, and removes it.
    RemoveImage {
        /// Which.
        id: Digest,
        /// Its names.
        names: Vec<String>,
    },
    /// Removes a database that an update or a way back kept beside the one that
    /// serves; no other.
    DropDatabase {
        /// Its name.
        name: String,
    },
    /// Has Synapse delete its copies of other servers' media that nobody looked
    /// at since a moment.
    ForgetRemoteMedia {
        /// The moment, in milliseconds since 1970.
        before: u64,
    },
    /// Makes a cluster of another major version of PostgreSQL beside the one that
    /// serves, with all that Synapse's database holds, compared. Synapse has to
    /// be stopped.
    MoveDatabase(Box<Move>),
    /// Gives the cluster that was made for a generation another name, since it is
    /// left again, and removes what a move that was cut off left half-done.
    SetClusterAside {
        /// Its major version.
        major: u32,
        /// The generation.
        generation: u32,
    },
    /// Removes a cluster that does not serve: only a person says so.
    RemoveCluster {
        /// The name of its folder.
        name: String,
    },
    /// Makes Synapse, which is stopped for it, forget what must not be used twice
    /// after its data went back in time: one-time keys, and what the cache says of
    /// rooms.
    ForgetOneTimeKeys,
}

impl Local {
    /// The side that does it.
    pub fn side(&self) -> Side {
        match self {
            Local::MakeDir { side, .. }
            | Local::WriteFile { side, .. }
            | Local::Link { side, .. }
            | Local::RemoveFile { side, .. }
            | Local::Install { side, .. }
            | Local::Purge { side, .. }
            | Local::ReloadUnits { side }
            | Local::InstallProgram { side }
            | Local::Flush { side }
            | Local::DisableUnit { side, .. }
            | Local::EnableUnit { side, .. } => *side,
            Local::AllowIds { .. }
            | Local::NetworkUp(_)
            | Local::BuildRootfs { .. }
            | Local::CreateGuest(_)
            | Local::MountDisk { .. }
            | Local::GrowGuestDisk { .. }
            | Local::StartGuest { .. }
            | Local::StopGuest { .. }
            | Local::FetchTemplate { .. }
            | Local::SetContainer { .. }
            | Local::StartContainer { .. }
            | Local::RebootContainer { .. }
            | Local::SnapshotContainer { .. }
            | Local::RollBackContainer { .. }
            | Local::RemoveSnapshot { .. } => Side::Machine,
            Local::MakeSecret { .. }
            | Local::WriteSecretFile { .. }
            | Local::Upgrade { .. }
            | Local::UpgradeRuntime { .. }
            | Local::ApplySysctl
            | Local::CheckpointDatabase
            | Local::AwaitBoot
            | Local::AwaitAddress { .. }
            | Local::SetInterface { .. }
            | Local::AwaitStack
            | Local::RestartDaemon { .. }
            | Local::StartService { .. }
            | Local::StopService { .. }
            | Local::PullImage { .. }
            | Local::SettleStorage { .. }
            | Local::InitDatabase { .. }
            | Local::SeparateRoles
            | Local::MakeDatabases { .. }
            | Local::EmptyUnfinishedDatabase
            | Local::DumpDatabase { .. }
            | Local::RestoreDatabase { .. }
            | Local::RemoveImage { .. }
            | Local::DropDatabase { .. }
            | Local::ForgetRemoteMedia { .. }
            | Local::MoveDatabase(_)
            | Local::SetClusterAside { .. }
            | Local::RemoveCluster { .. }
            | Local::ForgetOneTimeKeys
            | Local::InstallSynapseConfig { .. }
            | Local::TrySettings { .. } => Side::Guest,
        }
    }
}
