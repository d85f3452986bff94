//! A machine with a guest on it, in memory: answers every fact, does every
//! effect as a pure change of state, whole or cut off in the middle.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use matrix_podman_core::{
    config::{Config, Network},
    effect::{Effect, ImageSource, Local, NewContainer, NewGuest, TwoSided},
    fact::{
        ContainerState, Fact, FileKind, FileState, GuestDisk, GuestProgram, GuestRoot, GuestState, Health,
        ImageState, MachineInfo, Neighbour, Roles, Side, StoredImage, UnitState, Value,
    },
    firewall,
    layout::{self, Secret},
    name::{AbsPath, Digest, Mode, Owner},
    observed::{Answer, Observed},
    render::{ifupdown, lxc::SITE_MARK, ports},
    resource::{BackendId, Claim, Site},
    service::ServiceId,
    size::Bytes,
    stack,
    storage::{self, Storage},
};

use crate::node::Node as ProxmoxNode;

/// The file that a site's data are known by, wherever it is.
const SYSCTL: &str = "/etc/sysctl.d/99-hardening.conf";
const LXC: &str = "/var/lib/lxc";
/// The interface by which the machine reaches the world.
const WAY: &str = "eth0";
/// What the root file system of a guest brings along and the stack does not want.
const BROUGHT_ALONG: [&str; 2] = ["exim4-base", "openssh-server"];
/// Paths below which no act but those that make the data may write.
const PRECIOUS: [&str; 2] = ["/opt/matrix/postgresdata/", "/opt/matrix/synapse/media_store/"];

/// A site from the text of its config.
pub fn site(toml: &str) -> Site {
    let config = Config::parse(toml, "matrix.toml").unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let backend = BackendId::choose(config.guest.backend, false, false);
    Site::new(config, backend)
}

/// How much of an effect happens before everything is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Extent {
    /// All of it.
    Whole,
    /// What it leaves when it is cut off in the middle.
    Part,
}

/// What goes away when a run is cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Only the program (SIGKILL).
    Program,
    /// The guest too (its plug is pulled).
    Guest,
    /// The machine with all that runs on it.
    Machine,
}

/// What whoever makes a plan sees of services that a guest that booted is about
/// to start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Glimpse {
    /// They run.
    Running,
    /// They are starting.
    Starting,
    /// Nothing of them yet.
    Nothing,
}

/// One file system with what stands in it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Place {
    /// Files, folders and links.
    pub files: BTreeMap<AbsPath, Node>,
    /// Installed packages; `false` while one is only half installed.
    pub packages: BTreeMap<String, bool>,
}

/// What is at a path.
#[derive(Debug, Clone, PartialEq)]
pub struct Node {
    /// What kind of thing.
    pub kind: FileKind,
    /// Content, or the target of a link.
    pub content: String,
    /// Permission bits.
    pub mode: Mode,
    /// Owner.
    pub owner: Owner,
}

impl Node {
    fn file(content: impl Into<String>) -> Self {
        Self { kind: FileKind::File, content: content.into(), mode: Mode(0o644), owner: Owner::ROOT }
    }
}

/// A guest, or the machine itself where that is the guest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Guest {
    /// Its file system.
    pub place: Place,
    /// Whether it runs.
    pub running: bool,
    /// Whether this very program is in it.
    pub program: bool,
    /// Podman's images by name; an image without a name stands under its id.
    pub images: BTreeMap<String, ImageState>,
    /// Podman's containers, by name. They go when the guest stops.
    pub containers: BTreeMap<String, ContainerState>,
    /// Units that start at boot.
    pub enabled: BTreeSet<String>,
    /// Units that are active.
    pub active: BTreeSet<String>,
    /// The comments of the rules that say who may speak to the ports.
    pub rules: Vec<String>,
    /// Kernel settings that are in force.
    pub kernel: BTreeMap<String, String>,
    /// The password that the database cluster knows.
    pub cluster_password: Option<String>,
    /// Whether a power cut emptied layers that Podman takes for whole ones.
    pub damaged: bool,
    /// Whether Synapse's role is the cluster's superuser, as older versions made it.
    pub superuser: bool,
    /// Whether Synapse was cut off while it made its first tables.
    pub unfinished: bool,
}

/// A machine with at most one guest.
#[derive(Debug, Clone)]
pub struct MemoryWorld {
    site: Site,
    /// The machine's own file system.
    pub machine: Place,
    /// Units that start with the machine.
    pub enabled: BTreeSet<String>,
    /// Whether the program is installed on the machine.
    pub installed: bool,
    /// The guest.
    pub guest: Option<Guest>,
    /// The guest's disk, where it has one of its own.
    pub disk: Option<GuestDisk>,
    /// Whether the kernel makes block devices of files.
    pub loops: bool,
    /// What Proxmox knows, where the machine is a node of it.
    pub node: ProxmoxNode,
    /// The bridge's address, when it is there.
    pub bridge: Option<Ipv4Addr>,
    /// The comments of the rules that say who may pass the bridge.
    pub rules: Vec<String>,
    /// Whether dnsmasq runs.
    pub dnsmasq: bool,
    /// Whether somebody else has the machine forward packets everywhere.
    pub routes: bool,
    /// Interfaces that forward packets.
    pub forwarding: BTreeSet<String>,
    /// Settings of the machine's kernel, by file.
    pub settings: BTreeMap<String, String>,
    /// Versions of what comes out of registries and builds.
    pub versions: BTreeMap<ServiceId, String>,
    /// Whether registries can be reached.
    pub registries: bool,
    /// Counts what is made at random, so that nothing is made twice alike.
    made: u32,
    /// Counts the machine's boots.
    boots: u32,
    /// Secrets and data as they were first seen; they may never change.
    treasures: BTreeMap<AbsPath, String>,
}

/// What a world is like in the end, without what is random and without traces
/// of how it came to be so.
#[derive(Debug, PartialEq)]
pub struct EndState {
    machine: BTreeMap<AbsPath, Node>,
    guest_files: BTreeMap<AbsPath, Node>,
    packages: BTreeMap<String, bool>,
    images: BTreeMap<String, ImageState>,
    containers: BTreeMap<String, ContainerState>,
    enabled: BTreeSet<String>,
    kernel: BTreeMap<String, String>,
    superuser: bool,
    bridge: (Option<Ipv4Addr>, Vec<String>, bool),
    forwarding: BTreeSet<String>,
    settings: BTreeMap<String, String>,
    ports: Vec<String>,
    boot: (BTreeSet<String>, bool),
    node: ProxmoxNode,
    disk: Option<GuestDisk>,
}

impl MemoryWorld {
    /// A machine on which nothing of `site` is.
    pub fn fresh(site: &Site) -> Self {
        let mut world = Self {
            site: site.clone(),
            machine: Place::default(),
            enabled: BTreeSet::new(),
            installed: false,
            guest: None,
            disk: None,
            loops: true,
            node: ProxmoxNode::default(),
            bridge: None,
            rules: Vec::new(),
            dnsmasq: false,
            routes: false,
            forwarding: BTreeSet::new(),
            settings: BTreeMap::new(),
            versions: [
                (stack::postgres::ID, "17.6"),
                (stack::redis::ID, "8.0.2"),
                (stack::synapse::ID, "1.157.1"),
                (stack::element::ID, "0.5.1"),
                (stack::coturn::ID, "4.6.1"),
                (stack::gateway::ID, "3.0.11"),
            ]
            .into_iter()
            .map(|(service, version)| (service, version.to_owned()))
            .collect(),
            registries: false,
            made: 0,
            boots: 1,
            treasures: BTreeMap::new(),
        };
        if site.backend.is_this_machine() {
            world.guest = Some(Guest { running: true, program: true, ..Guest::default() });
        }
        world
    }

    /// The same machine, looked at with another config.
    pub fn with_site(mut self, site: &Site) -> Self {
        self.site = site.clone();
        self
    }

    /// The site.
    pub fn site(&self) -> &Site {
        &self.site
    }

    /// The guest, which must be there.
    pub fn guest_mut(&mut self) -> &mut Guest {
        self.guest.as_mut().expect("there is a guest")
    }

    fn guest_name(&self) -> String {
        self.site.config.guest.name.to_string()
    }

    fn config_file(&self) -> AbsPath {
        AbsPath::parse(&format!("{LXC}/{}/config", self.guest_name())).unwrap()
    }

    /// What this world is like in the end.
    pub fn end_state(&self) -> EndState {
        let guest = self.guest.clone().unwrap_or_default();
        let mut guest_files = guest.place.files;
        let config = &self.site.config;
        for secret in stack::made_secrets(config).into_iter().map(|made| made.secret) {
            if let Some(node) = guest_files.get_mut(&layout::secret(secret)) {
                node.content = "random".to_owned();
            }
        }
        for file in stack::rooms(config).flat_map(|room| room.secret_files(config)) {
            if let Some(node) = guest_files.get_mut(&file.path) {
                node.content = file.template.shown();
            }
        }
        guest_files.retain(|_, node| {
            if node.content.contains("cluster") {
                node.content = "cluster".to_owned();
            }
            true
        });
        EndState {
            machine: self.machine.files.clone(),
            guest_files,
            packages: guest.place.packages,
            // An image whose naming was cut off stays behind under its id alone.
            images: guest.images.into_iter().filter(|(name, _)| name.contains('/')).collect(),
            containers: guest.containers,
            enabled: guest.enabled,
            kernel: guest.kernel,
            superuser: guest.superuser,
            bridge: (self.bridge, self.rules.clone(), self.dnsmasq),
            forwarding: self.forwarding.clone(),
            settings: self.settings.clone(),
            ports: guest.rules,
            boot: (self.enabled.clone(), self.installed),
            node: self.node.clone(),
            disk: self.disk,
        }
    }

    // ---- facts ----

    /// Asks `look` again and again, each time answering what it wants to know.
    pub fn look<T>(&self, look: impl Fn(&Observed) -> T) -> T {
        let mut seen = Observed::default();
        for _ in 0..20 {
            let result = look(&seen);
            let wanted = seen.take_wanted();
            if wanted.is_empty() {
                return result;
            }
            for (side, fact) in wanted {
                let answer = self.answer(side, &fact);
                seen.insert(side, fact, answer);
            }
        }
        panic!("the questions do not end");
    }

    fn answer(&self, side: Side, fact: &Fact) -> Answer {
        let this_machine = self.site.backend.is_this_machine();
        if side == Side::Guest && !this_machine {
            // It crosses the connection; what cannot be read there is never answered.
            let sent = serde_json::to_value(fact).and_then(serde_json::from_value::<Fact>);
            assert_eq!(sent.ok().as_ref(), Some(fact), "a question that cannot be sent");
            match &self.guest {
                None => {
                    return match fact.nowhere() {
                        Some(value) => Answer::Known(value),
                        None => Answer::Unknown("there is no guest yet".to_owned()),
                    };
                }
                Some(guest) if !guest.running => {
                    return Answer::Unknown("the guest does not run yet".to_owned());
                }
                Some(guest) if !guest.program => {
                    return Answer::Unknown("the program in the guest did not answer".to_owned());
                }
                Some(_) => {}
            }
        }
        Answer::Known(match (side, &self.guest) {
            (Side::Guest, Some(guest)) => self.answer_in_guest(guest, fact),
            (Side::Machine, Some(guest)) if this_machine => self.answer_in_guest(guest, fact),
            _ => self.answer_on_machine(fact),
        })
    }

    fn answer_on_machine(&self, fact: &Fact) -> Value {
        match fact {
            Fact::File(path) if path.as_str().starts_with("/proc/sys/net/") => {
                Value::File(self.setting(path.as_str()).map(|value| file_state(&Node::file(value), true)))
            }
            Fact::File(path) => Value::File(self.machine.files.get(path).map(|node| file_state(node, true))),
            Fact::Edition(_) => Value::Edition(None),
            Fact::Meta(path) if path.as_str() == "/dev/loop-control" => {
                Value::File(self.loops.then(|| file_state(&Node::file(""), false)))
            }
            Fact::Meta(path) | Fact::Target(path) => {
                Value::File(self.machine.files.get(path).map(|node| file_state(node, false)))
            }
            Fact::Packages(names) => Value::Found(installed(&self.machine, names)),
            Fact::Commands(names) => Value::Found(self.commands(names)),
            Fact::System => Value::System(Box::new(self.system("12"))),
            // Of a Proxmox container, whether LXC holds it; by its number.
            Fact::LxcGuest(name) if self.site.backend.id() == BackendId::Proxmox => {
                assert!(name.parse::<u32>().is_ok(), "{name}");
                Value::LxcGuest(GuestState::Absent)
            }
            Fact::LxcGuest(name) => {
                assert_eq!(*name, self.guest_name(), "only the site's own guest is asked for");
                Value::LxcGuest(self.guest_state())
            }
            Fact::GuestRoot(_) => {
                assert!(self.disk.is_none_or(|disk| disk.mounted), "nothing of the root can be seen");
                Value::GuestRoot(GuestRoot { programs: 600, empty: 0, data: true })
            }
            Fact::GuestDisk(_) => Value::GuestDisk(self.disk),
            Fact::LxcNeighbours => Value::Neighbours(self.neighbours()),
            Fact::Interface(_) => Value::Address(self.bridge),
            Fact::Ways(_) => Value::Lines(vec![WAY.to_owned()]),
            Fact::Rules(_) => Value::Lines(self.rules.clone()),
            Fact::Process(_) => Value::Yes(self.dnsmasq),
            Fact::TakenPorts(_) | Fact::TakenUdpPorts(_) => Value::Ports(BTreeSet::new()),
            Fact::Reachable(place) => Value::Yes(place == "apt" || self.registries),
            Fact::GuestProgram => {
                let same = self.guest.as_ref().is_some_and(|g| g.running && g.program);
                Value::GuestProgram(if same { GuestProgram::Same } else { GuestProgram::Other })
            }
            Fact::InstalledProgram => Value::Yes(self.installed),
            // What starts with the machine was started when that was said.
            Fact::Units(names) => Value::Units(units(names, &self.enabled, &self.enabled)),
            Fact::Proxmox(question) => {
                assert_eq!(
                    self.site.backend.id(),
                    BackendId::Proxmox,
                    "{fact:?} is no question to a machine with LXC"
                );
                Value::Proxmox(Box::new(
                    self.node.answer(question, self.guest.as_ref().is_some_and(|g| g.running)),
                ))
            }
            Fact::Containers | Fact::Images(_) | Fact::Edge(_) => {
                panic!("{fact:?} is a question to the guest")
            }
            _ => panic!("{fact:?} is asked by no resource"),
        }
    }

    fn answer_in_guest(&self, guest: &Guest, fact: &Fact) -> Value {
        match fact {
            Fact::Edge(_) => panic!("the guest is never asked about the edge"),
            Fact::File(path) if path.as_str() == storage::BOOT_ID => {
                Value::File(Some(file_state(&Node::file(self.boot_id()), true)))
            }
            Fact::File(path) => match path.as_str().strip_prefix("/proc/sys/") {
                Some(key) => {
                    let value = guest.kernel.get(&key.replace('/', ".")).cloned();
                    Value::File(Some(file_state(&Node::file(value.unwrap_or_else(|| "9".to_owned())), true)))
                }
                None if path.as_str() == "/proc/mounts" => {
                    Value::File(Some(file_state(&Node::file(self.node.mounts()), true)))
                }
                None => Value::File(guest.place.files.get(path).map(|node| file_state(node, true))),
            },
            Fact::Edition(_) => Value::Edition(None),
            Fact::Meta(path) if path.as_str() == "/dev/loop-control" => {
                Value::File(self.loops.then(|| file_state(&Node::file(""), false)))
            }
            Fact::Meta(path) | Fact::Target(path) => {
                Value::File(guest.place.files.get(path).map(|node| file_state(node, false)))
            }
            Fact::SecretFile { path, template } => {
                let there = guest.place.files.get(path).map(|node| node.content.clone());
                Value::Yes(there.is_some() && template.fill(|secret| self.secret(secret)).ok() == there)
            }
            Fact::Packages(names) => Value::Found(installed(&guest.place, names)),
            Fact::Commands(names) => Value::Found(self.commands(names)),
            Fact::Units(names) => Value::Units(units(names, &guest.enabled, &guest.active)),
            Fact::Containers => Value::Containers(guest.containers.values().cloned().collect()),
            Fact::Images(names) => Value::Images(
                names
                    .iter()
                    .filter_map(|name| {
                        let by_id = || guest.images.values().find(|image| image.id.hex() == name);
                        Some((name.clone(), guest.images.get(name).or_else(by_id)?.clone()))
                    })
                    .collect(),
            ),
            Fact::StoredImages => Value::StoredImages(
                guest
                    .images
                    .iter()
                    .map(|(name, image)| StoredImage {
                        id: image.id.clone(),
                        names: vec![name.clone()],
                        bytes: 1 << 20,
                        used: false,
                    })
                    .collect(),
            ),
            Fact::Roles => {
                let runs = guest.containers.contains_key(stack::postgres::ID.name());
                Value::Roles(match (runs, guest.superuser) {
                    (false, _) => Err("no container with name \"postgres_db\"".to_owned()),
                    (true, true) => Ok(Roles {
                        plain: false,
                        owner: "synapse".to_owned(),
                        others: 181,
                        missing: Vec::new(),
                        unfinished: guest.unfinished,
                    }),
                    (true, false) => Ok(Roles {
                        plain: true,
                        owner: "postgres".to_owned(),
                        others: 0,
                        missing: Vec::new(),
                        unfinished: guest.unfinished,
                    }),
                })
            }
            Fact::System => Value::System(Box::new(self.system("13"))),
            Fact::Link(_) => Value::Link(self.node.interface()),
            Fact::Room(path) => Value::Room(self.node.room(path.as_str())),
            Fact::TakenPorts(_) | Fact::TakenUdpPorts(_) => Value::Ports(BTreeSet::new()),
            Fact::InstalledProgram => Value::Yes(self.installed),
            Fact::Reachable(place) => Value::Yes(place == "apt" || self.registries),
            Fact::Rules(_) => Value::Lines(guest.rules.clone()),
            Fact::LxcGuest(_)
            | Fact::GuestRoot(_)
            | Fact::GuestDisk(_)
            | Fact::LxcNeighbours
            | Fact::Interface(_)
            | Fact::Ways(_)
            | Fact::Process(_)
            | Fact::Proxmox(_)
            | Fact::GuestProgram => panic!("{fact:?} is a question to the machine"),
            _ => panic!("{fact:?} is asked by no resource"),
        }
    }

    /// What a file below /proc/sys/net says on the machine.
    fn setting(&self, path: &str) -> Option<String> {
        if path.ends_with("/ip_forward") {
            return Some(u8::from(self.routes).to_string());
        }
        let interface = path.split('/').rev().nth(1).unwrap_or_default();
        if path.ends_with("/forwarding") {
            return Some(u8::from(self.routes || self.forwarding.contains(interface)).to_string());
        }
        // The kernel's own defaults: a machine believes who says that it routes.
        self.bridge.map(|_| self.settings.get(path).cloned().unwrap_or_else(|| "7".to_owned()))
    }

    fn commands(&self, names: &BTreeSet<String>) -> BTreeMap<String, String> {
        let package_of = |command: &str| match command {
            "lxc-start" => "lxc",
            "newuidmap" => "uidmap",
            "mmdebstrap" => "mmdebstrap",
            "ip" => "iproute2",
            "nft" => "nftables",
            "dnsmasq" => "dnsmasq-base",
            _ => "there from the start",
        };
        names
            .iter()
            .filter(|name| {
                let package = package_of(name);
                package == "there from the start" || self.machine.packages.get(package) == Some(&true)
            })
            .map(|name| (name.clone(), format!("/usr/bin/{name}")))
            .collect()
    }

    fn guest_state(&self) -> GuestState {
        let config = self.machine.files.get(&self.config_file());
        let (Some(guest), Some(config)) = (&self.guest, config) else { return GuestState::Absent };
        let site =
            config.content.lines().find_map(|l| l.strip_prefix(SITE_MARK)).map(|s| s.trim().to_owned());
        if guest.running {
            GuestState::Running { site, address: address_in(&config.content) }
        } else {
            GuestState::Stopped { site }
        }
    }

    fn neighbours(&self) -> Vec<Neighbour> {
        let Some(config) = self.machine.files.get(&self.config_file()) else { return Vec::new() };
        let ids = config.content.lines().find_map(|l| l.strip_prefix("lxc.idmap = u 0 ")).map(|rest| {
            let mut numbers = rest.split(' ').map(|n| n.parse().unwrap());
            (numbers.next().unwrap(), numbers.next().unwrap())
        });
        vec![Neighbour {
            name: self.guest_name(),
            site: self.guest_state().site().map(str::to_owned),
            ids,
            address: address_in(&config.content),
        }]
    }

    fn system(&self, release: &str) -> MachineInfo {
        MachineInfo {
            os: "debian".to_owned(),
            release: release.to_owned(),
            kernel: "6.12.43+deb13-amd64".to_owned(),
            arch: "x86_64".to_owned(),
            hostname: "machine".to_owned(),
            root: true,
            systemd: true,
            cgroup2: Some(vec!["cpu".to_owned(), "memory".to_owned(), "pids".to_owned()]),
            cgroup1: Vec::new(),
            swap_limits: true,
            apparmor: true,
            user_namespaces: true,
            overlay: true,
            memory: Bytes::gib(8),
            memory_free: Bytes::gib(6),
            disk_free: Bytes::gib(100),
            cores: 4,
            address: Some([192, 0, 2, 7].into()),
            resolvers: vec!["192.0.2.1".to_owned()],
            proxmox: false,
            container: release == "13",
            timezone: Some("UTC".to_owned()),
            binary_is_static: true,
        }
    }

    // ---- effects ----

    /// Does one effect, whole or in part. What an effect can be refused for in
    /// the real world is refused here too.
    pub fn apply(&mut self, effect: &Effect, extent: Extent) -> Result<(), String> {
        let whole = extent == Extent::Whole;
        self.guard(effect);
        if effect.side() == Side::Guest {
            let ready = self.guest.as_ref().is_some_and(|g| g.running && g.program);
            assert!(ready, "{} in a guest that cannot be spoken to", effect.describe());
        }
        match effect {
            Effect::Edge(_) => panic!("no site here names an edge"),
            // Whole or not at all: made beside their place, then renamed there.
            Effect::Here(Local::MakeDir { .. })
            | Effect::Here(Local::WriteFile { .. })
            | Effect::Here(Local::Link { .. })
            | Effect::Here(Local::RemoveFile { .. })
            | Effect::Here(Local::MakeSecret { .. })
            | Effect::Both(TwoSided::TakeSecret { .. })
            | Effect::Here(Local::WriteSecretFile { .. })
            | Effect::Here(Local::BuildRootfs { .. })
            | Effect::Here(Local::CreateGuest(_))
            | Effect::Both(TwoSided::PushProgram { .. })
            | Effect::Here(Local::InstallProgram { .. })
            | Effect::Here(Local::ReloadUnits { .. })
            | Effect::Here(Local::RestartDaemon { .. })
            | Effect::Here(Local::InitDatabase { .. })
                if !whole => {}
            Effect::Here(Local::MakeDir { side, path, mode, owner }) => {
                let node = Node { kind: FileKind::Dir, content: String::new(), mode: *mode, owner: *owner };
                self.place(*side).files.insert(path.clone(), node);
            }
            Effect::Here(Local::WriteFile { side, path, content, mode, owner }) => {
                let node =
                    Node { kind: FileKind::File, content: content.clone(), mode: *mode, owner: *owner };
                self.place(*side).files.insert(path.clone(), node);
            }
            Effect::Here(Local::Link { side, path, target }) => {
                let node = Node { kind: FileKind::Link, ..Node::file(target.clone()) };
                self.place(*side).files.insert(path.clone(), node);
            }
            Effect::Here(Local::RemoveFile { side, path }) => {
                self.place(*side).files.remove(path);
            }
            Effect::Here(Local::MakeSecret { secret }) => self.make_secret(*secret)?,
            Effect::Both(TwoSided::TakeSecret { secret, from }) => {
                let content = format!("what {from} holds");
                self.put_secret(*secret, content);
            }
            Effect::Here(Local::WriteSecretFile { path, template, owner }) => {
                let content = template.fill(|secret| self.secret(secret))?;
                let node = Node { kind: FileKind::File, content, mode: Mode(0o400), owner: *owner };
                self.guest_mut().place.files.insert(path.clone(), node);
            }
            Effect::Here(Local::Install { side, packages }) => {
                let count = if whole { packages.len() } else { packages.len().div_ceil(2) };
                let place = self.place(*side);
                if whole {
                    // Interrupted installations are finished first.
                    place.packages.values_mut().for_each(|installed| *installed = true);
                }
                for package in &packages[..count] {
                    place.packages.insert(package.clone(), whole);
                }
            }
            Effect::Here(Local::Purge { side, packages }) => {
                let count = if whole { packages.len() } else { packages.len() / 2 };
                for package in &packages[..count] {
                    self.place(*side).packages.remove(package);
                }
            }
            Effect::Here(Local::UpgradeRuntime { .. }) => panic!("no plan upgrades what containers run by"),
            Effect::Here(Local::Upgrade { stamp }) => {
                let place = self.place(Side::Guest);
                place.packages.values_mut().for_each(|installed| *installed = whole);
                if whole {
                    place.files.insert(stamp.clone(), Node::file(""));
                }
            }
            Effect::Here(Local::ApplySysctl) => self.apply_sysctl(whole),
            Effect::Here(Local::RestartDaemon { unit }) if unit == ports::UNIT => {
                load_port_rules(self.guest_mut())
            }
            Effect::Here(Local::ReloadUnits { .. })
            | Effect::Here(Local::RestartDaemon { .. })
            | Effect::Here(Local::Flush { .. }) => {}
            Effect::Here(Local::SettleStorage { check }) => {
                if *check {
                    let guest = self.guest_mut();
                    guest.images.retain(|name, _| name.contains('/'));
                    guest.damaged = false;
                }
                if whole {
                    self.note_storage(&Storage::Flushed);
                }
            }
            Effect::Here(Local::EnableUnit { side, unit, start }) => {
                if unit == ports::UNIT && !self.guest_mut().active.contains(unit) && whole {
                    load_port_rules(self.guest_mut());
                }
                if *side == Side::Machine {
                    self.enabled.insert(unit.clone());
                } else {
                    let guest = self.guest_mut();
                    guest.enabled.insert(unit.clone());
                    if *start && whole {
                        guest.active.insert(unit.clone());
                    }
                }
            }
            Effect::Here(Local::DisableUnit { side, unit }) => {
                let enabled =
                    if *side == Side::Machine { &mut self.enabled } else { &mut self.guest_mut().enabled };
                enabled.remove(unit);
            }
            Effect::Here(Local::InstallProgram { .. }) => self.installed = true,
            Effect::Here(Local::StopService { service }) => {
                self.guest_mut().containers.remove(service.name());
            }
            Effect::Here(Local::StartService { service, restart, .. }) => {
                self.start(*service, *restart, whole)?
            }
            Effect::Here(Local::AllowIds { start, count }) => {
                let line = format!("root:{start}:{count}\n");
                for file in if whole { &["/etc/subuid", "/etc/subgid"][..] } else { &["/etc/subuid"] } {
                    let node = self.machine.files.entry(path(file)).or_insert_with(|| Node::file(""));
                    if !node.content.contains(&line) {
                        node.content.push_str(&line);
                    }
                }
            }
            Effect::Here(Local::NetworkUp(network)) => {
                self.bridge = Some(network.address.address());
                let ipv6 = network.ipv6;
                for (name, value) in firewall::interface_settings(&network.bridge, ipv6) {
                    let file = firewall::setting_file(&name).to_string();
                    self.settings.insert(file, value.to_owned());
                }
                if whole {
                    self.rules = firewall::bridge_comments(network);
                    if !self.routes {
                        self.forwarding.extend([network.bridge.clone(), WAY.to_owned()]);
                    }
                    self.dnsmasq = true;
                }
            }
            Effect::Here(Local::BuildRootfs { archive, packages }) => {
                self.machine.files.insert(archive.clone(), Node::file(packages.join(" ")));
            }
            Effect::Here(Local::CreateGuest(guest)) => self.create(guest)?,
            Effect::Here(Local::MountDisk { .. }) | Effect::Here(Local::GrowGuestDisk { .. }) => {
                self.change_disk(effect, whole)
            }
            Effect::Here(Local::StartGuest { .. }) => self.boot()?,
            Effect::Here(Local::StopGuest { .. }) => self.stop_guest(),
            Effect::Both(TwoSided::PushProgram { .. }) => {
                let guest = self.guest_mut();
                assert!(guest.running, "the program is put into a guest that runs");
                guest.program = true;
            }
            // One transaction.
            Effect::Here(Local::SeparateRoles) => {
                let guest = self.guest_mut();
                if !guest.containers.contains_key(stack::postgres::ID.name()) {
                    return Err("PostgreSQL does not run".to_owned());
                }
                guest.superuser &= !whole;
            }
            Effect::Here(Local::EmptyUnfinishedDatabase) => self.guest_mut().unfinished &= !whole,
            // What they are about is in no file.
            Effect::Here(Local::ForgetOneTimeKeys)
            | Effect::Here(Local::MakeDatabases { .. })
            | Effect::Here(Local::CheckpointDatabase)
            | Effect::Here(Local::SnapshotContainer { .. })
            | Effect::Here(Local::RollBackContainer { .. }) => {}
            Effect::Here(Local::PullImage { .. })
            | Effect::Here(Local::DumpDatabase { .. })
            | Effect::Here(Local::RestoreDatabase { .. })
            | Effect::Here(Local::RemoveImage { .. })
            | Effect::Here(Local::DropDatabase { .. })
            | Effect::Here(Local::ForgetRemoteMedia { .. })
            | Effect::Here(Local::MoveDatabase(_))
            | Effect::Here(Local::SetClusterAside { .. })
            | Effect::Here(Local::RemoveCluster { .. }) => {
                panic!("{effect:?} belongs to no resource")
            }
            // Proxmox finishes what it has begun, or nothing is left of it.
            Effect::Here(Local::FetchTemplate { .. }) | Effect::Here(Local::SetContainer { .. })
                if !whole => {}
            Effect::Here(Local::FetchTemplate { storage, template, .. }) => {
                self.node.fetch(storage, template.as_ref())
            }
            Effect::Both(TwoSided::CreateContainer(new)) => self.create_container(new, whole)?,
            Effect::Here(Local::SetContainer { options, delete, .. }) => {
                let running = self.guest_mut().running;
                self.node.set(options, delete, running);
            }
            Effect::Here(Local::RemoveSnapshot { name, .. }) => self.node.remove_snapshot(name),
            Effect::Both(TwoSided::GrowDisk { volume, size, .. }) => self.node.grow(volume, *size, whole)?,
            Effect::Here(Local::StartContainer { .. }) => self.boot_container()?,
            Effect::Here(Local::RebootContainer { .. }) => {
                self.stop_guest();
                if whole {
                    self.boot_container()?;
                }
            }
            Effect::Here(Local::AwaitBoot) => {}
            Effect::Here(Local::AwaitAddress { address, .. }) => {
                let there = &self.node.link.addresses;
                let is_there = |wanted: &matrix_podman_core::name::Cidr4| {
                    there.iter().any(|(a, _)| *a == std::net::IpAddr::V4(wanted.address()))
                };
                if !address.map_or(!there.is_empty(), |wanted| is_there(&wanted)) {
                    return Err("the guest does not get its address".to_owned());
                }
            }
            Effect::Here(Local::SetInterface { mtu, address6, .. }) => {
                // One after the other; each is there or not.
                self.node.set_interface(*mtu, if whole { *address6 } else { None });
            }
            Effect::Here(Local::AwaitStack) => {
                let on = stack::services(&self.site.config).len();
                let healthy = self.guest_mut().containers.values().filter(|c| c.health == Health::Healthy);
                assert_eq!(healthy.count(), on, "everything comes back by itself");
            }
            Effect::Both(TwoSided::ObtainImage { service, from, tag }) => {
                self.obtain(*service, from, tag, whole)?
            }
            Effect::Here(Local::InitDatabase { image, major, .. }) => {
                self.init_database(image, *major)?;
                self.machine.files.remove(&layout::container_claim(self.site.config.site()));
            }
            Effect::Here(Local::TrySettings { .. }) => {}
            Effect::Here(Local::InstallSynapseConfig { image, content, mode, owner, .. }) => {
                self.need_image(image)?;
                let name = if whole { "homeserver.yaml" } else { "homeserver.yaml.new" };
                let node =
                    Node { kind: FileKind::File, content: content.clone(), mode: *mode, owner: *owner };
                let files = &mut self.guest_mut().place.files;
                if whole {
                    files.remove(&layout::in_root("synapse/homeserver.yaml.new"));
                }
                files.insert(layout::in_root("synapse").join(name), node);
            }
        }
        self.treasures_are_whole();
        Ok(())
    }

    /// Everything that a cut takes away.
    pub fn cut(&mut self, cut: Cut) {
        if cut == Cut::Program {
            return;
        }
        if !self.site.backend.is_this_machine() {
            self.stop_guest();
        } else if let Some(guest) = &mut self.guest {
            stop(guest);
            start_at_boot(guest);
        }
        if cut == Cut::Machine {
            self.boots += 1;
            let boot = self.boot_id();
            if let Some(guest) = &mut self.guest {
                let note = guest.place.files.get(&storage::file()).map(|node| node.content.as_str());
                let note = note.and_then(Storage::parse);
                guest.damaged |= note.is_some_and(|note| note.is_doubtful(&boot));
            }
            if let Some(disk) = &mut self.disk {
                disk.mounted = false;
            }
            (self.bridge, self.dnsmasq) = (None, false);
            self.rules.clear();
            self.forwarding.clear();
            self.settings.clear();
        }
        self.treasures_are_whole();
    }

    fn boot_id(&self) -> String {
        format!("boot-{}", self.boots)
    }

    fn note_storage(&mut self, note: &Storage) {
        let node = Node { mode: Mode(0o644), ..Node::file(note.render()) };
        self.guest_mut().place.files.insert(storage::file(), node);
    }

    /// This world as it is at a moment after the guest booted.
    pub fn seen_at(&self, glimpse: Glimpse) -> Self {
        let mut world = self.clone();
        if let Some(guest) = &mut world.guest {
            match glimpse {
                Glimpse::Running => {}
                Glimpse::Starting => {
                    guest.containers.values_mut().for_each(|c| c.health = Health::Starting);
                }
                Glimpse::Nothing => guest.containers.clear(),
            }
        }
        world
    }

    /// No act of another kind may touch what only services and their making
    /// may write.
    fn guard(&self, effect: &Effect) {
        if let Effect::Here(Local::WriteFile { path, .. })
        | Effect::Here(Local::RemoveFile { path, .. })
        | Effect::Here(Local::Link { path, .. }) = effect
        {
            let precious = PRECIOUS.iter().any(|folder| path.as_str().starts_with(folder))
                || path.as_str().starts_with(layout::SECRETS);
            assert!(!precious, "{} touches data", effect.describe());
        }
    }

    /// Secrets and data that were there once are there forever, unchanged.
    fn treasures_are_whole(&mut self) {
        let Some(guest) = &self.guest else {
            assert!(self.treasures.is_empty(), "the guest went away with its data");
            return;
        };
        let files = &guest.place.files;
        for (path, content) in &self.treasures {
            let now = files.get(path).map(|node| node.content.as_str());
            assert_eq!(now, Some(content.as_str()), "{path} is not what it was");
        }
        for (path, node) in files {
            let secret = path.as_str().starts_with(layout::SECRETS);
            let data = PRECIOUS.iter().any(|folder| path.as_str().starts_with(folder));
            if node.kind == FileKind::File && (secret || data) {
                self.treasures.insert(path.clone(), node.content.clone());
            }
        }
    }

    fn place(&mut self, side: Side) -> &mut Place {
        match side {
            Side::Machine if !self.site.backend.is_this_machine() => &mut self.machine,
            _ => &mut self.guest_mut().place,
        }
    }

    fn random(&mut self) -> String {
        self.made += 1;
        format!("random {}", self.made)
    }

    fn secret(&self, secret: Secret) -> Result<String, String> {
        let files = &self.guest.as_ref().unwrap().place.files;
        let node = files.get(&layout::secret(secret));
        node.map(|n| n.content.clone()).ok_or_else(|| format!("there is no secret {}", secret.file_name()))
    }

    fn make_secret(&mut self, secret: Secret) -> Result<(), String> {
        let content = match self.secret(secret) {
            Ok(there) => there,
            Err(_) => match secret {
                Secret::PGPASS => format!("pgpass {}", self.secret(Secret::POSTGRES)?),
                Secret::REDIS_ACL => format!("acl {}", self.secret(Secret::REDIS)?),
                _ => self.random(),
            },
        };
        self.put_secret(secret, content);
        Ok(())
    }

    fn put_secret(&mut self, secret: Secret, content: String) {
        let owner = stack::secret_owner(secret);
        let node = Node { kind: FileKind::File, content, mode: Mode(0o400), owner };
        self.guest_mut().place.files.insert(layout::secret(secret), node);
    }

    fn apply_sysctl(&mut self, whole: bool) {
        let guest = self.guest_mut();
        let settings = sysctl_of(guest);
        let count = if whole { settings.len() } else { settings.len() / 2 };
        guest.kernel.extend(settings.into_iter().take(count));
    }

    fn create(&mut self, guest: &NewGuest) -> Result<(), String> {
        if self.guest.is_some() {
            return Err("there is a guest already".to_owned());
        }
        let archive = self.machine.files.get(&guest.archive).ok_or("there is no archive")?;
        let packages = archive.content.split(' ').chain(BROUGHT_ALONG);
        let mut made = Guest::default();
        made.place.packages = packages.map(|package| (package.to_owned(), true)).collect();
        self.guest = Some(made);
        self.disk = guest.disk.map(|size| GuestDisk { size, mounted: true });
        self.machine.files.insert(self.config_file(), Node::file(guest.config.clone()));
        Ok(())
    }

    fn change_disk(&mut self, effect: &Effect, whole: bool) {
        assert!(!self.guest_mut().running, "nobody is on a disk that is mounted or grows");
        let disk = self.disk.as_mut().expect("the guest has a disk");
        if let Effect::Here(Local::GrowGuestDisk { size, .. }) = effect {
            assert!(disk.size < *size, "a disk only grows");
            // It is unmounted for that, and may be left so.
            *disk = GuestDisk { size: if whole { *size } else { disk.size }, mounted: false };
        }
        disk.mounted = whole;
    }

    fn create_container(&mut self, new: &NewContainer, whole: bool) -> Result<(), String> {
        let claim = Claim {
            container: new.container.clone(),
            made: whole,
            storages: Vec::new(),
            volumes: Vec::new(),
        };
        self.machine.files.insert(layout::container_claim(&new.site), Node::file(claim.render()));
        if whole {
            self.node.create(new)?;
            let mut made = Guest::default();
            made.place.packages = BROUGHT_ALONG.map(|package| (package.to_owned(), true)).into();
            self.guest = Some(made);
        }
        Ok(())
    }

    fn boot_container(&mut self) -> Result<(), String> {
        let policy = self.guest.as_ref().and_then(|g| g.place.files.get(&ifupdown::policy_file()));
        let policy = policy.and_then(|file| serde_json::from_str::<serde_json::Value>(&file.content).ok());
        let mtu = policy.and_then(|p| p["address"]["defaults"]["mtu"].as_str()?.parse().ok());
        self.node.starts(mtu);
        self.boot()
    }

    /// The guest boots, as LXC or Proxmox have begun to let it.
    pub fn boots(&mut self) {
        self.boot().unwrap();
    }

    /// Once begun, systemd goes on by itself, whether somebody waits or not.
    fn boot(&mut self) -> Result<(), String> {
        if matches!(self.site.config.guest.network, Network::Own { .. }) && self.bridge.is_none() {
            return Err("there is no bridge".to_owned());
        }
        assert!(self.disk.is_none_or(|disk| disk.mounted), "a guest has its root when it starts");
        let guest = self.guest_mut();
        guest.running = true;
        start_at_boot(guest);
        Ok(())
    }

    fn stop_guest(&mut self) {
        if let Some(guest) = &mut self.guest {
            guest.running = false;
            stop(guest);
        }
    }

    fn obtain(
        &mut self,
        service: ServiceId,
        from: &ImageSource,
        tag: &str,
        whole: bool,
    ) -> Result<(), String> {
        let podman = self.guest_mut().place.packages.get("podman") == Some(&true);
        if !podman {
            return Err("there is no podman".to_owned());
        }
        let version = self.versions[&service].clone();
        let digest = |what: &str| {
            let mut bytes = [0; 32];
            for (n, byte) in format!("{what} {service} {version}").bytes().enumerate() {
                bytes[n % 32] ^= byte.rotate_left(u32::try_from(n / 32).unwrap());
            }
            Digest::of_sha256(&bytes)
        };
        let mut image = ImageState {
            id: digest("id"),
            digest: digest("manifest"),
            repo_digests: vec![],
            version: version.clone(),
        };
        if let ImageSource::Registry(reference) = from {
            let text = reference.to_string();
            let name = text.split('@').next().unwrap().rsplit_once(':').map_or(text.as_str(), |(n, _)| n);
            image.repo_digests.push(format!("{name}@{}", image.digest));
        }
        let name = if whole { tag.to_owned() } else { image.id.hex().to_owned() };
        self.guest_mut().images.insert(name, image);
        let note = if whole { Storage::Flushed } else { Storage::written(&self.boot_id()) };
        self.note_storage(&note);
        Ok(())
    }

    fn need_image(&self, run: &str) -> Result<ImageState, String> {
        let images = &self.guest.as_ref().unwrap().images;
        images
            .values()
            .find(|image| image.id.hex() == run || image.repo_digests.iter().any(|d| d == run))
            .cloned()
            .ok_or_else(|| format!("there is no image {run}"))
    }

    fn init_database(&mut self, image: &str, major: u32) -> Result<(), String> {
        self.need_image(image)?;
        let password = self.secret(Secret::POSTGRES)?;
        let path = layout::in_root(&format!("postgresdata/{major}/docker/PG_VERSION"));
        if self.guest_mut().place.files.contains_key(&path) {
            return Ok(());
        }
        let content = format!("cluster {}", self.random());
        self.guest_mut().place.files.insert(path, Node::file(content));
        self.guest_mut().cluster_password = Some(password);
        Ok(())
    }

    /// Starts a service as its unit says, with all that would keep the real one
    /// from coming up.
    fn start(&mut self, service: ServiceId, restart: bool, whole: bool) -> Result<(), String> {
        let pgpass = self.secret(Secret::PGPASS);
        let guest = self.guest.as_ref().unwrap();
        let container = guest.containers.get(service.name());
        if !restart && container.is_some_and(|c| c.state == "running" && c.health == Health::Healthy) {
            return Ok(());
        }
        let container = container_of(guest, service)?;
        if guest.damaged {
            return Err(format!("{service}: files of its image are empty"));
        }
        if service == stack::synapse::ID && whole {
            let database = guest.containers.get(stack::postgres::ID.name());
            if !database.is_some_and(|c| c.health == Health::Healthy) {
                return Err("Synapse: the database does not answer".to_owned());
            }
            let known = guest.cluster_password.as_deref().unwrap_or_default();
            if pgpass? != format!("pgpass {known}") {
                return Err("Synapse: the database refuses the password".to_owned());
            }
        }
        let health = if whole { Health::Healthy } else { Health::Starting };
        let guest = self.guest_mut();
        guest.containers.insert(service.name().to_owned(), ContainerState { health, ..container });
        if service == stack::synapse::ID && whole {
            // The first picture arrives as soon as there is a server to take it.
            let picture = layout::in_root("synapse/media_store/picture");
            guest.place.files.entry(picture).or_insert_with(|| Node::file("a picture"));
        }
        Ok(())
    }
}

/// A path that is known to be one.
pub fn path(text: &str) -> AbsPath {
    AbsPath::parse(text).unwrap()
}

/// The container that the unit of a service makes, once everything that the
/// real one needs to run is there.
fn container_of(guest: &Guest, service: ServiceId) -> Result<ContainerState, String> {
    let files = &guest.place.files;
    let unit = files.get(&layout::container_file(service)).ok_or_else(|| format!("{service} has no unit"))?;
    let value = |key: &str| unit.content.lines().find_map(|line| line.strip_prefix(key)).unwrap_or_default();
    let run = value("Image=");
    let image = guest
        .images
        .values()
        .find(|image| image.id.hex() == run || image.repo_digests.iter().any(|d| d == run))
        .ok_or_else(|| format!("{service}: there is no image {run}"))?;
    for secret in stack::room(service).secrets().iter().map(|read| read.secret) {
        let mounted = unit.content.contains(&layout::secret(secret).to_string());
        if mounted && !files.contains_key(&layout::secret(secret)) {
            return Err(format!("{service}: there is no secret {}", secret.file_name()));
        }
    }
    if service == stack::postgres::ID {
        let major = image.version.split('.').next().unwrap_or_default();
        let cluster = layout::in_root(&format!("postgresdata/{major}/docker/PG_VERSION"));
        // The image would make an empty one, with nobody's data in it.
        assert!(files.contains_key(&cluster), "PostgreSQL {major} starts without a cluster");
    }
    if service == stack::synapse::ID && !files.contains_key(&layout::in_root("synapse/homeserver.yaml")) {
        return Err("synapse: there is no homeserver.yaml".to_owned());
    }
    let labels =
        files.get(&layout::labels_file(service)).ok_or_else(|| format!("{service} has no labels"))?;
    let label = labels.content.trim_end().strip_prefix(layout::CONFIG_LABEL);
    let label = label.and_then(|l| l.strip_prefix('=')).expect("a label").to_owned();
    Ok(ContainerState {
        name: service.name().to_owned(),
        state: "running".to_owned(),
        health: Health::Healthy,
        image: run.to_owned(),
        image_id: Some(image.id.clone()),
        labels: BTreeMap::from([(layout::CONFIG_LABEL.to_owned(), label)]),
    })
}

fn stop(guest: &mut Guest) {
    guest.containers.clear();
    guest.active.clear();
    guest.kernel.clear();
    guest.rules.clear();
}

/// Loads what the guest's file of rules says.
fn load_port_rules(guest: &mut Guest) {
    let Some(file) = guest.place.files.get(&ports::paths()[0]) else { return };
    let rules: serde_json::Value = serde_json::from_str(&file.content).unwrap();
    let parts = rules["nftables"].as_array().unwrap();
    let comment = |part: &serde_json::Value| part["add"]["rule"]["comment"].as_str().map(str::to_owned);
    guest.rules = parts.iter().filter_map(comment).collect();
}

/// What systemd does when a guest starts: kernel settings and, when it is
/// enabled, the stack. A service that cannot start yet is tried again by systemd.
fn start_at_boot(guest: &mut Guest) {
    let settings = sysctl_of(guest);
    guest.kernel.extend(settings);
    if guest.enabled.contains(ports::UNIT) {
        guest.active.insert(ports::UNIT.to_owned());
        load_port_rules(guest);
    }
    let timers: Vec<String> = guest.enabled.iter().filter(|unit| unit.ends_with(".timer")).cloned().collect();
    guest.active.extend(timers);
    if !guest.enabled.contains(layout::STACK_UNIT) {
        return;
    }
    guest.active.insert(layout::STACK_UNIT.to_owned());
    for service in ServiceId::ALL {
        if let Ok(container) = container_of(guest, service)
            && !guest.damaged
        {
            guest.containers.insert(service.name().to_owned(), container);
        }
    }
}

fn sysctl_of(guest: &Guest) -> Vec<(String, String)> {
    let text = guest.place.files.get(&path(SYSCTL)).map(|n| n.content.as_str()).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.trim_start_matches('-').split_once('='))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect()
}

fn units(
    names: &BTreeSet<String>,
    enabled: &BTreeSet<String>,
    active: &BTreeSet<String>,
) -> BTreeMap<String, UnitState> {
    let state = |name: &String| UnitState {
        load: "loaded".to_owned(),
        active: if active.contains(name) { "active" } else { "inactive" }.to_owned(),
        file: if enabled.contains(name) { "enabled" } else { "disabled" }.to_owned(),
        ..UnitState::default()
    };
    names.iter().map(|name| (name.clone(), state(name))).collect()
}

fn address_in(config: &str) -> Option<Ipv4Addr> {
    let line = config.lines().find_map(|line| line.strip_prefix("lxc.net.0.ipv4.address = "))?;
    line.split('/').next()?.parse().ok()
}

fn installed(place: &Place, names: &BTreeSet<String>) -> BTreeMap<String, String> {
    names
        .iter()
        .filter(|name| place.packages.get(*name) == Some(&true))
        .map(|name| (name.clone(), "1.0-1".to_owned()))
        .collect()
}

fn file_state(node: &Node, with_content: bool) -> FileState {
    FileState {
        kind: node.kind,
        mode: node.mode,
        owner: node.owner,
        content: (with_content && node.kind == FileKind::File).then(|| node.content.clone()),
        digest: None,
        target: (node.kind == FileKind::Link).then(|| node.content.clone()),
        age: 0,
    }
}
