//! What Proxmox answers. Its JSON comes out of Perl: numbers may be text,
//! truth is 0 or 1 or missing, and there is always more than was known.

use std::{cmp::Ordering, collections::BTreeMap};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    name::{ContainerId, SnapshotName, StorageName},
    size::Bytes,
};

/// The answer to a [`super::Question`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Answer {
    /// All guests of the cluster.
    Guests(Vec<ClusterGuest>),
    /// The settings of a container.
    Settings(Settings),
    /// How a container is.
    Status(Status),
    /// The storages of a node.
    Storages(Vec<Storage>),
    /// Names: of bridges, of templates, of kinds of tasks, of volumes.
    Names(Vec<String>),
    /// The cluster.
    Cluster(Cluster),
    /// Packages and their versions.
    Versions(BTreeMap<String, String>),
    /// A number that is free.
    Id(ContainerId),
    /// The snapshots of a container, oldest first.
    Snapshots(Vec<Snapshot>),
    /// Whether it is so.
    Yes(bool),
    /// How something ended, in Proxmox's words; nothing when it was never begun, or
    /// goes on.
    Ended(Option<String>),
}

/// Begins the line of a snapshot's description that says that the program made
/// it: Synapse does not start from it before [`crate::layout::HOLD`] is gone.
pub const SNAPSHOT_MARK: &str = "Made by matrix-podman.";

/// A snapshot of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Its name.
    pub name: SnapshotName,
    /// When it was made, in seconds since 1970.
    pub at: u64,
    /// What people see beside it.
    pub description: String,
    /// What Proxmox is doing with it, or was doing when it was cut off.
    pub under_way: Option<String>,
}

/// What kind of guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestKind {
    /// A container.
    Container,
    /// A virtual machine.
    Machine,
}

/// A guest of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClusterGuest {
    /// Its number.
    pub id: ContainerId,
    /// What it is.
    pub kind: GuestKind,
    /// The node that it is on.
    pub node: String,
    /// Its name, when the cluster has heard of it.
    pub name: Option<String>,
    /// Its tags.
    pub tags: Vec<String>,
    /// The pool that it is in.
    pub pool: Option<String>,
}

/// The settings of a container.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings(pub BTreeMap<String, Setting>);

/// One setting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting {
    /// What holds now.
    pub now: Option<String>,
    /// What will hold after a reboot, when that differs.
    pub pending: Option<String>,
    /// Whether it will be gone after a reboot.
    pub goes: bool,
}

impl Settings {
    /// What is set, or will be after a reboot.
    pub fn get(&self, key: &str) -> Option<&str> {
        let setting = self.0.get(key)?;
        if setting.goes {
            return None;
        }
        setting.pending.as_deref().or(setting.now.as_deref())
    }

    /// Whether a change of `key` waits for a reboot.
    pub fn is_pending(&self, key: &str) -> bool {
        self.0.get(key).is_some_and(|setting| setting.goes || setting.pending.is_some())
    }

    /// Why nothing may be done to it now.
    pub fn lock(&self) -> Option<&str> {
        self.get("lock")
    }

    /// The site whose mark it carries.
    pub fn site(&self) -> Option<&str> {
        super::site_in(self.get("description")?)
    }
}

/// How a container is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Whether it runs.
    pub running: bool,
    /// For how many seconds.
    pub uptime: u64,
    /// Whether HA starts and stops it.
    pub ha: bool,
}

/// A storage of a node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Storage {
    /// Its name.
    pub name: String,
    /// What may be kept on it: `rootdir`, `vztmpl`, …
    pub content: Vec<String>,
    /// Whether it can be used now.
    pub usable: bool,
    /// Room that is left.
    pub free: Bytes,
}

/// The cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cluster {
    /// Whether enough nodes see each other for anything to be changed; a node
    /// alone always does.
    pub quorate: bool,
}

pub(super) fn number(value: &Value) -> Option<u64> {
    match value {
        Value::Number(number) => number.as_u64().or_else(|| number.as_f64().map(|n| n as u64)),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    }
}

fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(yes) => Some(u8::from(*yes).to_string()),
        _ => None,
    }
}

fn yes(value: &Value) -> bool {
    matches!(value, Value::Bool(true)) || number(value).is_some_and(|n| n != 0)
}

fn rows(value: &Value) -> &[Value] {
    value.as_array().map(Vec::as_slice).unwrap_or_default()
}

fn separated(text: &str) -> Vec<String> {
    text.split([';', ',', ' ']).filter(|part| !part.is_empty()).map(str::to_owned).collect()
}

pub(super) fn texts(value: &Value, key: &str) -> Vec<String> {
    rows(value).iter().filter_map(|row| text(&row[key])).collect()
}

pub(super) fn guests(value: &Value) -> Vec<ClusterGuest> {
    rows(value)
        .iter()
        .filter_map(|row| {
            Some(ClusterGuest {
                id: ContainerId(u32::try_from(number(&row["vmid"])?).ok()?),
                kind: match row["type"].as_str()? {
                    "lxc" => GuestKind::Container,
                    _ => GuestKind::Machine,
                },
                node: text(&row["node"])?,
                name: text(&row["name"]),
                tags: separated(&text(&row["tags"]).unwrap_or_default()),
                pool: text(&row["pool"]),
            })
        })
        .collect()
}

pub(super) fn settings(value: &Value) -> Settings {
    let entry = |row: &Value| {
        let setting = Setting {
            now: text(&row["value"]),
            pending: text(&row["pending"]),
            // 2 means that it is forced.
            goes: yes(&row["delete"]),
        };
        Some((text(&row["key"])?, setting))
    };
    Settings(rows(value).iter().filter_map(entry).collect())
}

pub(super) fn status(value: &Value) -> Option<Status> {
    Some(Status {
        running: value["status"].as_str()? == "running",
        uptime: number(&value["uptime"]).unwrap_or_default(),
        ha: yes(&value["ha"]["managed"]),
    })
}

pub(super) fn storages(value: &Value) -> Vec<Storage> {
    rows(value)
        .iter()
        .filter_map(|row| {
            Some(Storage {
                name: text(&row["storage"])?,
                content: separated(&text(&row["content"]).unwrap_or_default()),
                usable: yes(&row["active"]) && row.get("enabled").is_none_or(yes),
                free: Bytes(number(&row["avail"]).unwrap_or_default()),
            })
        })
        .collect()
}

/// `None` when there is not even the entry that stands for what is now.
pub(super) fn snapshots(value: &Value) -> Option<Vec<Snapshot>> {
    let rows = rows(value);
    rows.iter().find(|row| row["name"] == "current")?;
    let mut all: Vec<Snapshot> = rows
        .iter()
        .filter_map(|row| {
            Some(Snapshot {
                name: SnapshotName::parse(&text(&row["name"])?).ok()?,
                at: number(&row["snaptime"]).unwrap_or_default(),
                description: text(&row["description"]).unwrap_or_default(),
                under_way: text(&row["snapstate"]),
            })
        })
        .collect();
    all.sort_by(|a, b| (a.at, &a.name).cmp(&(b.at, &b.name)));
    Some(all)
}

pub(super) fn has_feature(value: &Value) -> Option<bool> {
    Some(yes(value.get("hasFeature")?))
}

pub(super) fn cluster(value: &Value) -> Cluster {
    let row = rows(value).iter().find(|row| row["type"] == "cluster");
    Cluster { quorate: row.is_none_or(|row| yes(&row["quorate"])) }
}

/// Reads `pveversion --verbose`: `pve-container: 6.0.13`, with remarks in
/// brackets behind some. Proxmox VE's own package is always among them.
pub(super) fn parse_versions(text: &str) -> Option<BTreeMap<String, String>> {
    let versions: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| {
            let (package, rest) = line.split_once(": ")?;
            Some((package.to_owned(), rest.split_whitespace().next()?.to_owned()))
        })
        .collect();
    versions.contains_key("pve-manager").then_some(versions)
}

/// Reads `pveam list`: a header, which an empty storage has too, then
/// `STORAGE:vztmpl/FILE SIZE`.
pub(super) fn parse_templates(text: &str) -> Option<Vec<String>> {
    let first = |line: &str| line.split_whitespace().next().map(str::to_owned);
    text.lines()
        .any(|line| first(line).as_deref() == Some("NAME"))
        .then(|| text.lines().filter_map(first).filter(|volume| volume.contains(":vztmpl/")).collect())
}

/// Reads `pveam available`: section, file and, in newer versions, architecture.
/// Nothing at all is printed before the first `pveam update`.
pub(super) fn parse_offered(text: &str) -> Option<Vec<String>> {
    let files: Vec<String> = text
        .lines()
        .filter_map(|line| line.split_whitespace().nth(1))
        .filter(|file| file.contains(".tar."))
        .map(str::to_owned)
        .collect();
    (!files.is_empty() || text.trim().is_empty()).then_some(files)
}

/// The newest Debian 13 standard template for `arch` (as the kernel calls it)
/// among volumes or file names.
pub fn newest_template<'a>(names: &'a [String], arch: &str) -> Option<&'a str> {
    let arch = match arch {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    names
        .iter()
        .filter_map(|name| {
            let file = name.rsplit('/').next()?;
            let mut parts = file.strip_prefix("debian-13-standard_")?.split('_');
            let (version, rest) = (parts.next()?, parts.next()?);
            (rest.strip_prefix(arch)?.starts_with(".tar.")).then_some((version, name.as_str()))
        })
        .max_by(|(a, _), (b, _)| by_version(a, b))
        .map(|(_, name)| name)
}

/// Compares `13.1-2` and `13.10-1` by their numbers.
pub fn by_version(a: &str, b: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u64> {
        text.split(|c: char| !c.is_ascii_digit()).map(|part| part.parse().unwrap_or_default()).collect()
    };
    numbers(a).cmp(&numbers(b)).then_with(|| a.cmp(b))
}

/// What a storage may hold; for messages.
impl Storage {
    /// Whether containers' disks may be on it.
    pub fn holds_disks(&self) -> bool {
        self.usable && self.content.iter().any(|c| c == "rootdir")
    }

    /// Whether templates may be on it.
    pub fn holds_templates(&self) -> bool {
        self.usable && self.content.iter().any(|c| c == "vztmpl")
    }

    /// Whether it is the one called `name`.
    pub fn is(&self, name: &StorageName) -> bool {
        self.name == name.as_str()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn guests_of_a_cluster() {
        let found = guests(&json!([
            {"id": "lxc/120", "vmid": 120, "type": "lxc", "node": "pve", "name": "matrix", "status": "running",
             "tags": "lxc;matrix;matrix-podman-chat.home.arpa", "pool": "home"},
            {"id": "qemu/100", "vmid": "100", "type": "qemu", "node": "pve2", "status": "unknown"},
            {"id": "storage/pve/local", "type": "storage", "node": "pve", "storage": "local"},
        ]));
        assert_eq!(found.len(), 2);
        assert_eq!(found[0].tags, ["lxc", "matrix", "matrix-podman-chat.home.arpa"]);
        assert_eq!((found[0].pool.as_deref(), found[1].pool.as_deref()), (Some("home"), None));
        assert_eq!(
            (found[1].id, found[1].kind, &found[1].name),
            (ContainerId(100), GuestKind::Machine, &None)
        );
        assert_eq!(guests(&json!({})), []);
    }

    #[test]
    fn snapshots_come_oldest_first_and_without_what_is_now() {
        let found = snapshots(&json!([
            {"name": "current", "digest": "0", "running": 1, "parent": "before-pg17", "description": "You are here!"},
            {"name": "before-pg17", "snaptime": "1760000100", "parent": "by-hand",
             "description": "Made by matrix-podman. Synapse waits in it.\n"},
            {"name": "by-hand", "snaptime": 1_760_000_000, "description": ""},
            {"name": "half", "snaptime": 1_760_000_200, "snapstate": "prepare"},
        ]))
        .unwrap();
        let names: Vec<_> = found.iter().map(|s| (s.name.as_str(), s.is_held())).collect();
        assert_eq!(names, [("by-hand", false), ("before-pg17", true), ("half", false)]);
        assert_eq!(found[1].at, 1_760_000_100);
        assert_eq!(found[2].under_way.as_deref(), Some("prepare"));
        assert_eq!(snapshots(&json!([{"name": "current"}])), Some(vec![]));
        // An answer without what is now is none.
        assert_eq!(snapshots(&json!([])), None);
        assert_eq!(snapshots(&json!({"errors": "x"})), None);
    }

    #[test]
    fn whether_a_storage_can_make_snapshots() {
        let answers =
            [json!({"hasFeature": 1}), json!({"hasFeature": ""}), json!({"hasFeature": 0}), json!({})];
        assert_eq!(answers.map(|answer| has_feature(&answer)), [Some(true), Some(false), Some(false), None]);
    }

    #[test]
    fn settings_that_wait_for_a_reboot() {
        let found = settings(&json!([
            {"key": "cores", "value": 4},
            {"key": "features", "value": "nesting=1", "pending": "keyctl=1,nesting=1"},
            {"key": "mp0", "value": "local-lvm:vm-120-disk-1,mp=/x,size=1G", "delete": 1},
            {"key": "description", "value": "Hello\nmatrix-podman site: chat.home.arpa\n"},
        ]));
        assert_eq!(found.get("cores"), Some("4"));
        assert_eq!(found.get("features"), Some("keyctl=1,nesting=1"));
        assert_eq!(found.get("mp0"), None);
        assert!(found.is_pending("features") && found.is_pending("mp0") && !found.is_pending("cores"));
        assert_eq!(found.site(), Some("chat.home.arpa"));
    }

    #[test]
    fn a_status() {
        let running = json!({"status": "running", "uptime": "17", "ha": {"managed": 1}, "vmid": 120});
        assert_eq!(status(&running), Some(Status { running: true, uptime: 17, ha: true }));
        assert_eq!(
            status(&json!({"status": "stopped"})),
            Some(Status { running: false, uptime: 0, ha: false })
        );
        assert_eq!(status(&json!({})), None);
    }

    #[test]
    fn storages_of_a_node() {
        let found = storages(&json!([
            {"storage": "local", "content": "vztmpl,iso,backup", "active": 1, "enabled": 1, "avail": "1000"},
            {"storage": "local-lvm", "content": "rootdir,images", "active": 0, "enabled": 1, "avail": 17179869184_u64},
        ]));
        assert!(found[0].holds_templates() && !found[0].holds_disks());
        assert!(!found[1].holds_disks(), "it cannot be used now");
        assert_eq!(found[1].free, Bytes::gib(16));
    }

    #[test]
    fn versions() {
        let found = parse_versions(
            "proxmox-ve: 9.0.0 (running kernel: 6.14.11-3-pve)\npve-manager: 9.0.11 (running version: 9.0.11/3bf5)\n\
             pve-container: 6.0.13\nnot a line\npve-firewall: not correctly installed\n",
        )
        .unwrap();
        assert_eq!((found["pve-manager"].as_str(), found["pve-container"].as_str()), ("9.0.11", "6.0.13"));
        assert_eq!(by_version("6.0.9", "6.0.10"), Ordering::Less);
    }

    #[test]
    fn quorum() {
        assert!(cluster(&json!([{"type": "node", "local": 1}])).quorate);
        assert!(cluster(&json!([{"type": "cluster", "quorate": 1}])).quorate);
        assert!(!cluster(&json!([{"type": "cluster", "quorate": "0"}, {"type": "node"}])).quorate);
    }

    #[test]
    fn templates() {
        let list = "NAME                                                         SIZE  \n\
                    local:vztmpl/debian-12-standard_12.7-1_amd64.tar.zst         120.65MB\n\
                    local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst         123.45MB\n";
        assert_eq!(
            newest_template(&parse_templates(list).unwrap(), "x86_64"),
            Some("local:vztmpl/debian-13-standard_13.1-2_amd64.tar.zst")
        );
        let offered = "system          alpine-3.22-default_20250617_amd64.tar.xz   amd64\n\
                       system          debian-13-standard_13.10-1_amd64.tar.zst\n\
                       system          debian-13-standard_13.9-3_amd64.tar.zst     amd64\n\
                       system          debian-13-standard_13.11-1_arm64.tar.zst    arm64\n";
        let offered = parse_offered(offered).unwrap();
        assert_eq!(newest_template(&offered, "x86_64"), Some("debian-13-standard_13.10-1_amd64.tar.zst"));
        assert_eq!(newest_template(&offered, "aarch64"), Some("debian-13-standard_13.11-1_arm64.tar.zst"));
        assert_eq!(parse_templates("NAME      SIZE\n"), Some(Vec::new()));
        assert_eq!(parse_offered(""), Some(Vec::new()));
    }

    #[test]
    fn what_is_no_answer_is_not_taken_for_an_empty_one() {
        let babble = "Use of uninitialized value in string at /usr/share/perl5/PVE/X.pm line 7.\n";
        assert_eq!(parse_templates(babble), None);
        assert_eq!(parse_templates(""), None);
        assert_eq!(parse_offered(babble), None);
        assert_eq!(parse_versions(babble), None);
    }
}
