//! What the node is like, kept in a file that all its commands share.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

/// The node with all its guests.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct State {
    /// Name of the node.
    pub node: String,
    /// Whether its cluster has quorum; without a cluster there is none.
    pub quorate: Option<bool>,
    /// Packages of Proxmox's and their versions.
    pub versions: BTreeMap<String, String>,
    /// Its storages.
    pub storages: Vec<Storage>,
    /// Its bridges.
    pub bridges: Vec<String>,
    /// Templates that can be downloaded.
    pub offered: Vec<String>,
    /// Templates that are offered after `pveam update`.
    pub offered_after_update: Vec<String>,
    /// Volumes of templates.
    pub templates: Vec<String>,
    /// Pools.
    pub pools: BTreeMap<String, Vec<u32>>,
    /// All guests of the cluster.
    pub guests: BTreeMap<u32, GuestState>,
    /// What is under way: the task's kind, its guest, and its process.
    pub tasks: Vec<(String, u32, u32)>,
    /// All volumes that were made, whether a config knows them or not.
    pub volumes: Vec<String>,
    /// How the last creation of a container of that number ended.
    pub creations: BTreeMap<u32, String>,
    /// Seconds that it takes to mount an ext4 volume which was not unmounted in order.
    pub unclean_start: u64,
    /// Milliseconds that each call takes besides.
    pub slowness: u64,
    /// The archive that every template really is.
    pub archive: String,
    /// LXC guests are called this and their number.
    pub prefix: String,
}

/// A storage.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Storage {
    /// Its name.
    pub name: String,
    /// Its kind: `dir`, `lvmthin`, `zfspool`, …
    pub kind: String,
    /// What it may hold.
    pub content: Vec<String>,
    /// Whether it can be reached.
    pub active: bool,
    /// Room left, in GiB.
    pub free: u64,
}

/// A guest.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct GuestState {
    /// `lxc` or `qemu`.
    pub kind: String,
    /// The node that it is on.
    pub node: String,
    /// Its config.
    pub config: BTreeMap<String, String>,
    /// What waits for a reboot; without a value, what goes then.
    pub pending: BTreeMap<String, Option<String>>,
    /// Whether HA has it.
    pub ha: bool,
    /// Whether it runs, or did when it was killed.
    pub unclean: bool,
    /// Its snapshots.
    pub snapshots: BTreeMap<String, SnapshotState>,
}

/// A snapshot.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct SnapshotState {
    /// When it was made, in seconds since 1970.
    pub at: u64,
    /// What is said of it.
    pub description: String,
    /// The one that it came after.
    pub parent: Option<String>,
    /// What is being done with it.
    pub state: Option<String>,
    /// The config of then.
    pub config: BTreeMap<String, String>,
}

/// How a call goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum How {
    /// It dies before it does anything.
    Dies,
    /// It does nothing and ends with 0, as calls do whose worker failed; why, it says on
    /// standard error.
    DoesNothing,
    /// It does what it should, and dies all the same.
    DiesAfterwards,
    /// Something else has the container's lock.
    Locked,
    /// The lock of its config cannot be had in time.
    TimesOut,
    /// It is killed in the middle.
    Killed,
    /// A creation is killed when its config is written, and its password, its keys and
    /// its pool are not.
    KilledLate,
    /// It prints something that nobody can read.
    Babbles,
}

/// A call that is to go wrong.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Fault {
    /// The first words of the call, as in `pct start`.
    pub call: String,
    /// How many such calls go well before.
    pub after: u32,
    /// How.
    pub how: How,
}

/// A call that was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Call {
    /// Its words.
    pub argv: Vec<String>,
}

impl State {
    /// The guest, when it is a container on this node.
    pub fn container(&mut self, id: u32) -> Result<&mut GuestState, String> {
        let node = self.node.clone();
        match self.guests.get_mut(&id) {
            Some(guest) if guest.kind == "lxc" && guest.node == node => Ok(guest),
            _ => Err(format!("Configuration file 'nodes/{node}/lxc/{id}.conf' does not exist")),
        }
    }

    /// Name of the LXC guest behind a container.
    pub fn lxc(&self, id: u32) -> String {
        format!("{}{id}", self.prefix)
    }
}

/// The folder with everything of a node.
#[derive(Debug, Clone)]
pub struct Folder(pub PathBuf);

impl Folder {
    fn open(&self, name: &str) -> File {
        let path = self.0.join(name);
        let file = File::options().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.unwrap_or_else(|e| panic!("open {}: {e}", path.display()));
        file.lock().unwrap_or_else(|e| panic!("lock {}: {e}", path.display()));
        file
    }

    fn edit<T: Default + Serialize + for<'a> Deserialize<'a>, R>(
        &self,
        name: &str,
        edit: impl FnOnce(&mut T) -> R,
    ) -> R {
        let mut file = self.open(name);
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap_or_else(|e| panic!("read {name}: {e}"));
        let mut value: T = if text.is_empty() {
            T::default()
        } else {
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}: {e}"))
        };
        let result = edit(&mut value);
        let new = serde_json::to_string_pretty(&value).unwrap_or_else(|e| panic!("{name}: {e}"));
        if new != text {
            file.set_len(0)
                .and_then(|()| file.rewind())
                .and_then(|()| file.write_all(new.as_bytes()))
                .unwrap_or_else(|e| panic!("write {name}: {e}"));
        }
        result
    }

    /// Looks at the node, or changes it; others wait meanwhile.
    pub fn state<R>(&self, edit: impl FnOnce(&mut State) -> R) -> R {
        self.edit("state.json", edit)
    }

    /// Looks at the calls that are to go wrong, or changes them.
    pub fn faults<R>(&self, edit: impl FnOnce(&mut Vec<Fault>) -> R) -> R {
        self.edit("faults.json", edit)
    }

    /// Writes a call down.
    pub fn note(&self, call: &Call) {
        let mut file = self.open("calls.jsonl");
        let line = serde_json::to_string(call).unwrap_or_default();
        let _ = file.seek(std::io::SeekFrom::End(0)).and_then(|_| writeln!(file, "{line}"));
    }

    /// The calls that were made.
    pub fn calls(&self) -> Vec<Call> {
        let text = fs::read_to_string(self.0.join("calls.jsonl")).unwrap_or_default();
        text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Where something of this node is.
    pub fn join(&self, name: impl AsRef<Path>) -> PathBuf {
        self.0.join(name)
    }
}
