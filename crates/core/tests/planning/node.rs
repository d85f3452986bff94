//! A node of Proxmox VE in memory, with at most the site's container on it.

use matrix_podman_core::{
    effect::{Container, NewContainer},
    name::{ContainerId, SnapshotName, StorageName, TemplateName},
    proxmox::{
        Answer, ClusterGuest, GuestKind, Question, Setting, Settings, Snapshot, Status, snapshot_description,
    },
    size::Bytes,
};

/// What the node is called, as the machine is.
const NAME: &str = "machine";
/// The number of the site's container.
const ID: ContainerId = ContainerId(100);
/// What takes hold only when a container starts.
const AT_START: [&str; 2] = ["features", "nameserver"];

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
}

impl Node {
    /// What Proxmox says to a question of a resource's.
    pub fn answer(&self, question: &Question, running: bool) -> Answer {
        match question {
            Question::Guests => Answer::Guests(self.container.iter().map(listed).collect()),
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
        self.container = Some(settings);
        Ok(())
    }

    /// What a creation leaves that was killed together with the node.
    pub fn leave_unmade(&mut self) {
        let lock = Setting { now: Some("create".to_owned()), ..Setting::default() };
        self.container = Some(Settings([("lock".to_owned(), lock)].into()));
    }

    /// Changes settings; some wait until it starts again.
    pub fn set(&mut self, options: &[(String, String)], running: bool) {
        let settings = &mut self.container.as_mut().unwrap().0;
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

    /// Makes a disk larger.
    pub fn grow(&mut self, volume: &str, size: Bytes) -> Result<(), String> {
        let setting = self.container.as_mut().unwrap().0.get_mut(volume).ok_or("no such volume")?;
        let now = setting.now.clone().unwrap_or_default();
        let (front, has) = now.rsplit_once("size=").unwrap();
        if Bytes::parse(has).unwrap() > size {
            return Err("unable to shrink disk size".to_owned());
        }
        setting.now = Some(format!("{front}size={size}"));
        Ok(())
    }

    /// The container starts: what waited for that holds now.
    pub fn starts(&mut self) {
        for setting in self.container.as_mut().unwrap().0.values_mut() {
            if let Some(pending) = setting.pending.take() {
                setting.now = Some(pending);
            }
        }
    }
}

fn listed(settings: &Settings) -> ClusterGuest {
    let tags = settings.get("tags").unwrap_or_default();
    ClusterGuest {
        id: ID,
        kind: GuestKind::Container,
        node: NAME.to_owned(),
        name: settings.get("hostname").map(str::to_owned),
        tags: tags.split(';').map(str::to_owned).collect(),
    }
}

/// `STORAGE:SIZE,…` as it is written once the volume is made.
fn volume(key: &str, value: &str) -> String {
    let (storage, rest) = value.split_once(':').unwrap();
    let (size, more) = rest.split_once(',').map_or((rest, String::new()), |(s, m)| (s, format!(",{m}")));
    format!("{storage}:vm-{ID}-{key}{more},size={size}G")
}
