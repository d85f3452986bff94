//! A node of Proxmox VE in memory, with at most the site's container on it.

use std::{collections::BTreeMap, net::IpAddr};

use matrix_podman_core::{
    effect::{Container, NewContainer},
    fact::{Link, Room},
    name::{Cidr4, Cidr6, ContainerId, SnapshotName, StorageName, TemplateName},
    proxmox::{
        Answer, ClusterGuest, DISKS, GuestKind, Question, Setting, Settings, Snapshot, Status,
        least_file_system, properties, snapshot_description,
    },
    size::Bytes,
};

/// What the node is called, as the machine is.
const NAME: &str = "machine";
/// The number of the site's container.
const ID: ContainerId = ContainerId(100);
/// What takes hold only when a container starts.
const AT_START: [&str; 2] = ["features", "nameserver"];
/// The address that the DHCP server gives.
const LEASE: ([u8; 4], u8) = ([192, 0, 2, 7], 24);

/// The node.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Node {
    /// Volumes of templates.
    pub templates: Vec<String>,
    /// The settings of the container, when there is one.
    pub container: Option<Settings>,
    /// Whether its storages make no snapshots.
    pub no_snapshots: bool,
    /// The snapshots of the container.
    pub snapshots: Vec<Snapshot>,
    /// Kinds of the tasks that are at work on it.
    pub tasks: Vec<String>,
    /// How the task ended that made it.
    pub creation: Option<String>,
    /// The pool that it is in.
    pub pool: Option<String>,
    /// The guest's interface, as it is in there.
    pub link: Link,
    /// The network that the guest's address is of: bridge and VLAN.
    pub network: String,
    /// How large the disks are that its file systems fill.
    pub file_systems: BTreeMap<String, Bytes>,
}

impl Node {
    /// What Proxmox says to a question of a resource's.
    pub fn answer(&self, question: &Question, running: bool) -> Answer {
        match question {
            Question::Guests => Answer::Guests(self.container.iter().map(|s| self.listed(s)).collect()),
            Question::Settings { node, id } => {
                assert_eq!((node.as_str(), *id), (NAME, ID), "only a container that is there is asked for");
                Answer::Settings(self.container.clone().unwrap())
            }
            Question::Status { .. } => Answer::Status(Status { running, uptime: 60, ha: false }),
            Question::NextId => Answer::Id(ID),
            Question::Templates { .. } => Answer::Names(self.templates.clone()),
            Question::Snapshots { .. } => Answer::Snapshots(self.snapshots.clone()),
            Question::CanSnapshot { .. } => Answer::Yes(!self.no_snapshots),
            Question::Tasks { .. } => Answer::Names(self.tasks.clone()),
            Question::Creation { .. } => Answer::Ended(self.creation.clone()),
            other => panic!("{other:?} is asked by no resource"),
        }
    }

    /// Downloads a template.
    pub fn fetch(&mut self, storage: &StorageName, template: Option<&TemplateName>) {
        let file = template.map_or("debian-13-standard_13.1-2_amd64.tar.zst".to_owned(), ToString::to_string);
        self.templates.push(format!("{storage}:vztmpl/{file}"));
    }

    /// Makes the container.
    pub fn create(&mut self, new: &NewContainer) -> Result<(), String> {
        if self.container.is_some() {
            return Err(format!("CT {ID} already exists"));
        }
        if !self.templates.contains(&new.template) {
            return Err(format!("volume {} does not exist", new.template));
        }
        assert_eq!(new.container, Container { id: ID, node: NAME.to_owned() });
        let mut settings = Settings::default();
        for (key, value) in &new.options {
            let value = match key.as_str() {
                "rootfs" | "mp0" => volume(key, value),
                "net0" => format!("{value},hwaddr=BC:24:11:00:00:64"),
                _ => value.clone(),
            };
            settings.0.insert(key.clone(), Setting { now: Some(value), ..Setting::default() });
        }
        self.file_systems = DISKS
            .iter()
            .filter_map(|(disk, _)| Some(((*disk).to_owned(), size_of(&settings, disk)?)))
            .collect();
        self.pool = new.options.iter().find(|(key, _)| key == "pool").map(|(_, pool)| pool.clone());
        self.creation = Some("OK".to_owned());
        self.container = Some(settings);
        Ok(())
    }

    fn listed(&self, settings: &Settings) -> ClusterGuest {
        let tags = settings.get("tags").unwrap_or_default();
        ClusterGuest {
            id: ID,
            kind: GuestKind::Container,
            node: NAME.to_owned(),
            name: settings.get("hostname").map(str::to_owned),
            tags: tags.split(';').map(str::to_owned).collect(),
            pool: self.pool.clone(),
        }
    }

    /// What the guest says of its interface.
    pub fn interface(&self) -> Option<Link> {
        Some(self.link.clone())
    }

    /// What the guest says of the file system at a path.
    pub fn room(&self, path: &str) -> Option<Room> {
        // The root is asked about by something in it.
        let path = if path == "/usr" { "/" } else { path };
        let (disk, _) = DISKS.iter().find(|(_, place)| *place == path)?;
        // A folder of the other disk where there is no volume of its own.
        let size = self.file_systems.get(*disk).or(self.file_systems.get("rootfs"))?;
        let total = least_file_system(*size).0 + Bytes::mib(20).0;
        Some(Room { free: total / 2, total, files_free: None })
    }

    /// What the guest says is mounted in it.
    pub fn mounts(&self) -> String {
        let line = |place: &str| format!("/dev/loop0 {place} ext4 rw,relatime 0 0\n");
        let places = DISKS.iter().filter(|(disk, _)| self.file_systems.contains_key(*disk));
        places.map(|(_, place)| line(place)).collect()
    }

    /// What a creation leaves that was killed together with the node.
    pub fn leave_unmade(&mut self) {
        let lock = Setting { now: Some("create".to_owned()), ..Setting::default() };
        self.container = Some(Settings([("lock".to_owned(), lock)].into()));
    }

    /// Changes settings; some wait until it starts again.
    pub fn set(&mut self, options: &[(String, String)], delete: &[String], running: bool) {
        if let Some((_, net)) = options.iter().find(|(key, _)| key == "net0")
            && running
        {
            self.replug(net);
        }
        let settings = &mut self.container.as_mut().unwrap().0;
        for key in delete {
            if running && AT_START.contains(&key.as_str()) {
                settings.get_mut(key).unwrap().goes = true;
            } else {
                settings.remove(key);
            }
        }
        for (key, value) in options {
            let setting = settings.entry(key.clone()).or_default();
            if running && AT_START.contains(&key.as_str()) {
                setting.pending = Some(value.clone());
            } else {
                *setting = Setting { now: Some(value.clone()), ..Setting::default() };
            }
        }
    }

    /// What a snapshot that was being made leaves when everything is cut off.
    pub fn leave_part_of_snapshot(&mut self) {
        self.lock("snapshot");
        self.snapshots.push(Snapshot {
            name: SnapshotName::parse("cut-off").unwrap(),
            at: 0,
            description: snapshot_description(None),
            under_way: Some("prepare".to_owned()),
        });
    }

    /// Something is at work on the container, or was when it was cut off.
    pub fn lock(&mut self, lock: &str) {
        let setting = Setting { now: Some(lock.to_owned()), ..Setting::default() };
        self.container.as_mut().unwrap().0.insert("lock".to_owned(), setting);
    }

    /// Removes a snapshot, with the lock that was left with a part of one.
    pub fn remove_snapshot(&mut self, name: &SnapshotName) {
        let removed: Vec<Snapshot> = self.snapshots.extract_if(.., |s| s.name == *name).collect();
        if removed.iter().any(|snapshot| snapshot.under_way.is_some()) {
            self.container.as_mut().unwrap().0.remove("lock");
        }
    }

    /// What Proxmox does to the interface of a guest that runs: it starts no DHCP client
    /// in there.
    fn replug(&mut self, net: &str) {
        let before = self.container.as_ref().unwrap().get("net0").unwrap_or_default().to_owned();
        let (before, after) = (properties(&before), properties(net));
        let fixed = |net: &BTreeMap<&str, &str>| net.get("ip").filter(|ip| ip.contains('/')).map(|ip| v4(ip));
        if before.get("hwaddr") != after.get("hwaddr") {
            // The interface is made anew.
            self.link.addresses.clear();
            self.network.clear();
            return;
        }
        let (old, new) = (fixed(&before), fixed(&after));
        self.link.addresses.retain(|address| Some(*address) != old);
        if let Some(new) = new {
            self.link.addresses.push(new);
            self.network = network_of(&after);
        }
    }

    /// The address that an interface gets when the guest starts, whose ifupdown2 was
    /// told of a packet size, or was not.
    fn boots(&mut self, mtu: Option<u32>) {
        let net = self.container.as_ref().unwrap().get("net0").unwrap_or_default().to_owned();
        let net = properties(&net);
        let address = match net["ip"] {
            "dhcp" => (IpAddr::from(LEASE.0), LEASE.1),
            fixed => v4(fixed),
        };
        let mut addresses = vec![address];
        addresses.extend(net.get("ip6").map(|ip| v6(ip)));
        self.link = Link { mtu: mtu.unwrap_or(1500), addresses };
        self.network = network_of(&net);
    }

    /// Gives the interface something while the guest runs.
    pub fn set_interface(&mut self, mtu: Option<u32>, address6: Option<Cidr6>) {
        self.link.mtu = mtu.unwrap_or(self.link.mtu);
        self.link.addresses.extend(address6.map(|address| (IpAddr::V6(address.address()), address.prefix())));
    }

    /// Makes a disk larger; where everything is cut off, its file system is as before.
    pub fn grow(&mut self, volume: &str, size: Bytes, whole: bool) -> Result<(), String> {
        let setting = self.container.as_mut().unwrap().0.get_mut(volume).ok_or("no such volume")?;
        let now = setting.now.clone().unwrap_or_default();
        let (front, has) = now.rsplit_once("size=").unwrap();
        if Bytes::parse(has).unwrap() > size {
            return Err("unable to shrink disk size".to_owned());
        }
        setting.now = Some(format!("{front}size={size}"));
        if whole {
            self.file_systems.insert(volume.to_owned(), size);
        }
        Ok(())
    }

    /// The container starts: what waited for that holds now.
    pub fn starts(&mut self, mtu: Option<u32>) {
        let settings = &mut self.container.as_mut().unwrap().0;
        settings.retain(|_, setting| !setting.goes);
        for setting in settings.values_mut() {
            if let Some(pending) = setting.pending.take() {
                setting.now = Some(pending);
            }
        }
        self.boots(mtu);
    }
}

fn v4(text: &str) -> (IpAddr, u8) {
    let cidr = Cidr4::parse(text).unwrap();
    (IpAddr::V4(cidr.address()), cidr.prefix())
}

fn v6(text: &str) -> (IpAddr, u8) {
    let cidr = Cidr6::parse(text).unwrap();
    (IpAddr::V6(cidr.address()), cidr.prefix())
}

fn network_of(net: &BTreeMap<&str, &str>) -> String {
    format!("{} {}", net["bridge"], net.get("tag").copied().unwrap_or("untagged"))
}

fn size_of(settings: &Settings, disk: &str) -> Option<Bytes> {
    Bytes::parse(properties(settings.get(disk)?).get("size")?).ok()
}

/// `STORAGE:SIZE,…` as it is written once the volume is made.
fn volume(key: &str, value: &str) -> String {
    let (storage, rest) = value.split_once(':').unwrap();
    let (size, more) = rest.split_once(',').map_or((rest, String::new()), |(s, m)| (s, format!(",{m}")));
    format!("{storage}:vm-{ID}-{key}{more},size={size}G")
}
