//! Effects: the few primitive acts that steps are made of.
//!
//! The set is closed and can be written down, so that a dry run, progress and
//! the journal need to know nothing about resources. Every effect is
//! *idempotent and atomic*: done twice it is done once, and cut off anywhere it
//! leaves the state before or the state after, beside at most a partial file
//! that the next attempt removes. That is what lets a killed run be continued
//! by looking again.

use std::net::{Ipv4Addr, Ipv6Addr};

use serde::{Deserialize, Serialize};

use crate::{
    cluster::{Move, NewCluster},
    config::RootPassword,
    desired::SecretTemplate,
    edge::Act,
    fact::{Edition, Side},
    firewall::OwnNetwork,
    layout::Secret,
    name::{
        AbsPath, Cidr4, Cidr6, ContainerId, Digest, ImageRef, Mode, Owner, SnapshotName, StorageName,
        TemplateName,
    },
    service::ServiceId,
    size::{Bytes, Seconds},
    stack::DatabaseName,
};

/// One primitive act.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Effect {
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
    /// Takes a secret that the operator gives from a file on the machine into the guest.
    TakeSecret {
        /// Which.
        secret: Secret,
        /// The file on the machine.
        from: AbsPath,
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
    /// Puts this program into the guest and speaks with it from then on.
    PushProgram {
        /// The guest's name.
        name: String,
    },
    /// Sees to it that a storage of Proxmox's has a template of Debian 13.
    FetchTemplate {
        /// The storage.
        storage: StorageName,
        /// Which; the newest when absent.
        template: Option<TemplateName>,
        /// The processor's architecture, as the kernel calls it.
        arch: String,
    },
    /// Makes a container of Proxmox's, after writing down which one it will be.
    CreateContainer(NewContainer),
    /// Changes settings of a container of Proxmox's.
    SetContainer {
        /// Which.
        container: Container,
        /// The settings.
        options: Vec<(String, String)>,
        /// Those that are taken away.
        #[serde(default)]
        delete: Vec<String>,
    },
    /// Makes a disk of a container larger, and the file system on it; done to a disk
    /// that is large enough, the file system alone.
    GrowDisk {
        /// Which container.
        container: Container,
        /// `rootfs` or `mp0`.
        volume: String,
        /// The size that it is to have.
        size: Bytes,
    },
    /// Starts a container of Proxmox's, waits until it has booted and connects
    /// to it.
    StartContainer {
        /// Which.
        container: Container,
    },
    /// Restarts a container of Proxmox's, waits until it has booted and
    /// connects to it.
    RebootContainer {
        /// Which.
        container: Container,
    },
    /// Makes a snapshot of a container of Proxmox's. What is left of one of ours
    /// that was cut off is removed first.
    SnapshotContainer {
        /// Which container.
        container: Container,
        /// The snapshot's name.
        name: SnapshotName,
        /// The generation that an update makes it before, by itself.
        #[serde(default)]
        before_update: Option<u32>,
    },
    /// Brings a container of Proxmox's back to a snapshot, and leaves it
    /// stopped.
    RollBackContainer {
        /// Which container.
        container: Container,
        /// The snapshot's name.
        name: SnapshotName,
    },
    /// Removes a snapshot of a container of Proxmox's.
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
    /// Makes sure that the guest's Podman has an image, under the name `tag`.
    ObtainImage {
        /// For which service.
        service: ServiceId,
        /// From where.
        from: ImageSource,
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
    /// Changes something at the edge. Holds no credential.
    Edge(Act),
}

/// Where an image comes from, decided.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ImageSource {
    /// Pulled by the guest. A tag is resolved once; the lock holds the digest.
    Registry(ImageRef),
    /// An OCI archive on the machine.
    Archive {
        /// The archive.
        path: AbsPath,
        /// Which edition of it; unknown when it is not there.
        edition: Option<Edition>,
    },
    /// Built on the machine from packages.
    Build {
        /// Version of the packaged program; the newest when absent.
        version: Option<String>,
    },
}

/// A guest to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewGuest {
    /// Its name.
    pub name: String,
    /// The site that it belongs to.
    pub site: String,
    /// The archive of its root file system.
    pub archive: AbsPath,
    /// Its LXC config.
    pub config: String,
    /// Name servers in its /etc/resolv.conf; written by DHCP when empty.
    pub resolvers: Vec<Ipv4Addr>,
    /// Whether its interface is set by DHCP.
    pub dhcp: bool,
    /// The size of its disk; a folder of the machine's where there is none.
    #[serde(default)]
    pub disk: Option<Bytes>,
}

/// A container of Proxmox's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Container {
    /// Its number.
    pub id: ContainerId,
    /// The node that it is on.
    pub node: String,
}

/// A container of Proxmox's to be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewContainer {
    /// Which it will be.
    pub container: Container,
    /// The site that it belongs to.
    pub site: String,
    /// The template's volume.
    pub template: String,
    /// Its settings.
    pub options: Vec<(String, String)>,
    /// Where root's password comes from.
    pub root_password: RootPassword,
}

impl Effect {
    /// Where it is done.
    pub fn side(&self) -> Side {
        match self {
            Effect::MakeDir { side, .. }
            | Effect::WriteFile { side, .. }
            | Effect::Link { side, .. }
            | Effect::RemoveFile { side, .. }
            | Effect::Install { side, .. }
            | Effect::Purge { side, .. }
            | Effect::ReloadUnits { side }
            | Effect::InstallProgram { side }
            | Effect::Flush { side }
            | Effect::DisableUnit { side, .. }
            | Effect::EnableUnit { side, .. } => *side,
            Effect::AllowIds { .. }
            | Effect::NetworkUp(_)
            | Effect::BuildRootfs { .. }
            | Effect::CreateGuest(_)
            | Effect::MountDisk { .. }
            | Effect::GrowGuestDisk { .. }
            | Effect::StartGuest { .. }
            | Effect::StopGuest { .. }
            | Effect::FetchTemplate { .. }
            | Effect::CreateContainer(_)
            | Effect::SetContainer { .. }
            | Effect::GrowDisk { .. }
            | Effect::StartContainer { .. }
            | Effect::RebootContainer { .. }
            | Effect::SnapshotContainer { .. }
            | Effect::RollBackContainer { .. }
            | Effect::RemoveSnapshot { .. }
            | Effect::PushProgram { .. } => Side::Machine,
            Effect::MakeSecret { .. }
            | Effect::TakeSecret { .. }
            | Effect::WriteSecretFile { .. }
            | Effect::Upgrade { .. }
            | Effect::UpgradeRuntime { .. }
            | Effect::ApplySysctl
            | Effect::CheckpointDatabase
            | Effect::AwaitBoot
            | Effect::AwaitAddress { .. }
            | Effect::SetInterface { .. }
            | Effect::AwaitStack
            | Effect::RestartDaemon { .. }
            | Effect::StartService { .. }
            | Effect::StopService { .. }
            | Effect::ObtainImage { .. }
            | Effect::SettleStorage { .. }
            | Effect::InitDatabase { .. }
            | Effect::SeparateRoles
            | Effect::MakeDatabases { .. }
            | Effect::DumpDatabase { .. }
            | Effect::RestoreDatabase { .. }
            | Effect::RemoveImage { .. }
            | Effect::DropDatabase { .. }
            | Effect::ForgetRemoteMedia { .. }
            | Effect::MoveDatabase(_)
            | Effect::SetClusterAside { .. }
            | Effect::RemoveCluster { .. }
            | Effect::ForgetOneTimeKeys
            | Effect::InstallSynapseConfig { .. }
            | Effect::TrySettings { .. } => Side::Guest,
            Effect::Edge(_) => Side::Edge,
        }
    }

    /// Whether Podman may have other images, or other names for them, after it.
    pub fn changes_images(&self) -> bool {
        matches!(
            self,
            Effect::ObtainImage { .. } | Effect::RemoveImage { .. } | Effect::SettleStorage { check: true }
        )
    }

    /// One line for journal and progress: what is done to what. Never holds content.
    pub fn describe(&self) -> String {
        match self {
            Effect::MakeDir { path, .. } => format!("make {path}"),
            Effect::WriteFile { path, .. } => format!("write {path}"),
            Effect::Link { path, target, .. } => format!("link {path} to {target}"),
            Effect::RemoveFile { path, .. } => format!("remove {path}"),
            Effect::MakeSecret { secret } => format!("make the secret {}", secret.file_name()),
            Effect::TakeSecret { secret, from } => format!("take {} from {from}", secret.title()),
            Effect::WriteSecretFile { path, .. } => format!("write {path}, with its secrets"),
            Effect::Install { packages, .. } => format!("install {}", packages.join(" ")),
            Effect::Purge { packages, .. } => format!("remove {}", packages.join(" ")),
            Effect::UpgradeRuntime { .. } => "update what containers run by".to_owned(),
            Effect::Upgrade { .. } => "update the guest's Debian packages".to_owned(),
            Effect::ApplySysctl => "apply the kernel settings".to_owned(),
            Effect::ReloadUnits { .. } => "make systemd read its units".to_owned(),
            Effect::DisableUnit { unit, .. } => format!("disable {unit}"),
            Effect::InstallProgram { .. } => format!("copy the program to {}", crate::layout::BINARY),
            Effect::EnableUnit { unit, .. } => format!("enable {unit}"),
            Effect::RestartDaemon { unit } => format!("restart {unit}"),
            Effect::StartService { service, restart: false, .. } => format!("start {service}"),
            Effect::StartService { service, restart: true, .. } => format!("restart {service}"),
            Effect::StopService { service } => format!("stop {service}"),
            Effect::AllowIds { start, count } => {
                format!("allow root the ids {start} to {}", start + count - 1)
            }
            Effect::NetworkUp(network) => format!("bring up the bridge {}", network.bridge),
            Effect::BuildRootfs { archive, .. } => format!("make the root file system {archive}"),
            Effect::CreateGuest(guest) => format!("create the guest {}", guest.name),
            Effect::MountDisk { name } => format!("mount the disk of the guest {name}"),
            Effect::GrowGuestDisk { name, size } => format!("make the disk of the guest {name} {size} large"),
            Effect::StartGuest { name } => format!("start the guest {name}"),
            Effect::StopGuest { name, .. } => format!("stop the guest {name}"),
            Effect::PushProgram { name } => format!("put matrix-podman into the guest {name}"),
            Effect::FetchTemplate { storage, template: Some(template), .. } => {
                format!("fetch {template} to {storage}")
            }
            Effect::FetchTemplate { storage, template: None, .. } => {
                format!("fetch the newest Debian 13 template to {storage}")
            }
            Effect::CreateContainer(new) => format!("create the container {}", new.container.id),
            Effect::SetContainer { container, options, delete } => {
                let keys: Vec<&str> =
                    options.iter().map(|(key, _)| key).chain(delete).map(String::as_str).collect();
                format!("set {} of the container {}", keys.join(", "), container.id)
            }
            Effect::GrowDisk { container, volume, size } => {
                format!("make {volume} of the container {} {size} large", container.id)
            }
            Effect::StartContainer { container } => format!("start the container {}", container.id),
            Effect::RebootContainer { container } => format!("restart the container {}", container.id),
            Effect::SnapshotContainer { container, name, .. } => {
                format!("make the snapshot {name} of the container {}", container.id)
            }
            Effect::RollBackContainer { container, name } => {
                format!("bring the container {} back to the snapshot {name}", container.id)
            }
            Effect::RemoveSnapshot { container, name } => {
                format!("remove the snapshot {name} of the container {}", container.id)
            }
            Effect::CheckpointDatabase => "have PostgreSQL write everything to the disk".to_owned(),
            Effect::AwaitBoot => "wait for the guest to boot".to_owned(),
            Effect::AwaitAddress { interface, address: Some(address) } => {
                format!("wait until {interface} has the address {address}")
            }
            Effect::AwaitAddress { interface, address: None } => {
                format!("wait until {interface} has an address")
            }
            Effect::SetInterface { interface, mtu, address6, .. } => {
                let mtu = mtu.map(|mtu| format!("packets of {mtu} bytes"));
                let address = address6.map(|address| format!("the address {address}"));
                let what: Vec<String> = mtu.into_iter().chain(address).collect();
                format!("give {interface} {}", what.join(" and "))
            }
            Effect::AwaitStack => "wait for the stack".to_owned(),
            Effect::ObtainImage { service, from, .. } => match from {
                ImageSource::Registry(reference) => format!("pull {reference}"),
                ImageSource::Archive { path, .. } => format!("load {service} from {path}"),
                ImageSource::Build { .. } => format!("build {service} from packages"),
            },
            Effect::InitDatabase { major, .. } => format!("make the PostgreSQL {major} cluster"),
            Effect::SeparateRoles => "make Synapse's database role a plain one".to_owned(),
            Effect::MakeDatabases { names } => {
                let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
                format!("make the databases {}", names.join(", "))
            }
            Effect::DumpDatabase { to } => format!("dump the database into {to}"),
            Effect::RestoreDatabase { from, .. } => format!("restore the database from {from}"),
            Effect::MoveDatabase(wanted) => {
                format!("move the data from PostgreSQL {} to {}", wanted.from, wanted.to)
            }
            Effect::SetClusterAside { major, generation } => {
                format!("set the PostgreSQL {major} cluster of generation {generation} aside")
            }
            Effect::RemoveCluster { name } => format!("remove the old PostgreSQL cluster {name}"),
            Effect::ForgetOneTimeKeys => "forget the one-time keys and the cache".to_owned(),
            Effect::InstallSynapseConfig { .. } => "check and install homeserver.yaml".to_owned(),
            Effect::TrySettings { service, .. } => {
                format!("have {} read its new settings", service.title())
            }
            Effect::RemoveImage { id, names } => {
                format!("remove the image {}", names.first().map_or(id.hex(), String::as_str))
            }
            Effect::DropDatabase { name } => format!("drop the database {name}"),
            Effect::Flush { .. } => "have the disk hold all that was written".to_owned(),
            Effect::SettleStorage { check: true } => "check what Podman keeps".to_owned(),
            Effect::SettleStorage { check: false } => "have the disk hold what Podman keeps".to_owned(),
            Effect::ForgetRemoteMedia { .. } => "delete copies of other servers' media".to_owned(),
            Effect::Edge(act) => act.describe(),
        }
    }
}
