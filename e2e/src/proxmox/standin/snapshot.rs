//! `pct snapshot`, `rollback`, `delsnapshot`, `listsnapshot`.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    time::{SystemTime, UNIX_EPOCH},
};

use serde_json::{Value, json};

use super::{Arguments, Outcome, die, lxc, pct, say};
use crate::{
    cleaning::discard,
    proxmox::state::{Folder, GuestState, SnapshotState, State},
};

/// Kinds of storages that make snapshots of containers' disks.
const CAN: [&str; 4] = ["zfspool", "lvmthin", "rbd", "btrfs"];

fn volumes(guest: &GuestState) -> impl Iterator<Item = &str> {
    let is_disk =
        |key: &str| key == "rootfs" || key.strip_prefix("mp").is_some_and(|n| n.parse::<u8>().is_ok());
    guest.config.iter().filter(move |(key, _)| is_disk(key)).map(|(_, value)| value.as_str())
}

fn kind<'a>(state: &'a State, volume: &str) -> &'a str {
    let storage = volume.split(':').next().unwrap_or_default();
    state.storages.iter().find(|s| s.name == storage).map(|s| s.kind.as_str()).unwrap_or_default()
}

/// Whether all its disks are on storages that can; a folder or a device of the
/// node never is.
pub(super) fn available(state: &State, guest: &GuestState) -> bool {
    volumes(guest).all(|volume| !volume.starts_with('/') && CAN.contains(&kind(state, volume)))
}

/// As `pvesh` lists them: in no order, and with what is now.
pub(super) fn list(guest: &GuestState, running: bool) -> Value {
    let mut rows: Vec<Value> = Vec::new();
    for (name, snapshot) in guest.snapshots.iter().rev() {
        let mut row = json!({"name": name, "snaptime": snapshot.at, "description": snapshot.description});
        if let Some(parent) = &snapshot.parent {
            row["parent"] = parent.clone().into();
        }
        if let Some(state) = &snapshot.state {
            row["snapstate"] = state.clone().into();
        }
        rows.push(row);
    }
    let mut current = json!({"name": "current", "digest": "0123", "running": u8::from(running),
                             "description": "You are here!"});
    if let Some(parent) = guest.config.get("parent") {
        current["parent"] = parent.clone().into();
    }
    rows.push(current);
    rows.into()
}

pub(super) fn print(folder: &Folder, words: &[String]) -> Outcome {
    let id = Arguments::read(words, &[])?.id()?;
    folder.state(|state| {
        let guest = state.container(id)?;
        let mut all: Vec<(&String, &SnapshotState)> = guest.snapshots.iter().collect();
        all.sort_by_key(|(_, snapshot)| snapshot.at);
        for (depth, (name, snapshot)) in all.iter().enumerate() {
            println!("{}`-> {name:<23} {} {}", " ".repeat(depth), snapshot.at, snapshot.description.trim());
        }
        println!("{}`-> {:<23} You are here!", " ".repeat(all.len()), "current");
        Ok(0)
    })
}

fn named(arguments: &Arguments) -> Result<(u32, String), String> {
    match arguments.words.as_slice() {
        [_, name] => Ok((arguments.id()?, name.clone())),
        _ => Err("400 not enough arguments".to_owned()),
    }
}

fn place(lxc_name: &str, snapshot: &str) -> PathBuf {
    lxc::place(lxc_name).join("snapshots").join(snapshot)
}

pub(super) fn make(folder: &Folder, words: &[String], killed: bool) -> Outcome {
    let arguments = Arguments::read(words, &["description"])?;
    let (id, name) = named(&arguments)?;
    let ok = |c: char| c.is_ascii_alphanumeric() || "-_".contains(c);
    if !(2..=40).contains(&name.len()) || !name.chars().all(ok) || !name.starts_with(char::is_alphabetic) {
        return Err("400 Parameter verification failed.\nsnapname: invalid format".to_owned());
    }
    if ["current", "vzdump"].contains(&name.as_str()) {
        return Err(format!("unable to use snapshot name '{name}' (reserved name)"));
    }
    let lxc_name = folder.state(|state| {
        let (whole, lxc_name) = (state.clone(), state.lxc(id));
        let guest = state.container(id)?;
        pct::unlocked(guest)?;
        if guest.snapshots.contains_key(&name) {
            return Err(format!("snapshot name '{name}' already used"));
        }
        if !available(&whole, guest) {
            return Err("snapshot feature is not available".to_owned());
        }
        let at = SystemTime::now().duration_since(UNIX_EPOCH).map(|d| d.as_secs()).unwrap_or_default();
        let snapshot = SnapshotState {
            at,
            // Proxmox ends it with a line break of its own.
            description: arguments.get("description").map(|text| format!("{text}\n")).unwrap_or_default(),
            parent: guest.config.get("parent").cloned(),
            state: Some("prepare".to_owned()),
            config: guest.config.clone(),
        };
        guest.snapshots.insert(name.clone(), snapshot);
        guest.config.insert("lock".to_owned(), "snapshot".to_owned());
        state.tasks.push(("vzsnapshot".to_owned(), id, std::process::id()));
        Ok(lxc_name)
    })?;
    // As LVM-thin's lvcreate does. Whoever is ended by that leaves the lock.
    if killed || say(&format!("  Logical volume \"snap_vm-{id}-disk-0_{name}\" created.")).is_err() {
        die();
    }
    let copied = lxc::frozen(&lxc_name, || lxc::copy_disks(&lxc::place(&lxc_name), &place(&lxc_name, &name)));
    if say("snapshot: the guest goes on").is_err() {
        die();
    }
    folder.state(|state| {
        state.tasks.retain(|(_, _, process)| *process != std::process::id());
        let guest = state.container(id)?;
        guest.config.remove("lock");
        if let Err(why) = copied {
            guest.snapshots.remove(&name);
            return Err(why);
        }
        if let Some(snapshot) = guest.snapshots.get_mut(&name) {
            snapshot.state = None;
        }
        guest.config.insert("parent".to_owned(), name.clone());
        Ok(0)
    })
}

/// Back to it, as it was then, its config too. The container is killed for that
/// and stays down.
pub(super) fn roll_back(folder: &Folder, words: &[String], killed: bool) -> Outcome {
    let arguments = Arguments::read(words, &["start"])?;
    let (id, name) = named(&arguments)?;
    let lxc_name = folder.state(|state| {
        let (whole, lxc_name) = (state.clone(), state.lxc(id));
        let guest = state.container(id)?;
        let snapshot = guest.snapshots.get(&name).ok_or(format!("snapshot '{name}' does not exist"))?;
        if let Some(state) = &snapshot.state {
            return Err(format!("unable to rollback to incomplete snapshot (snapstate = {state})"));
        }
        let newer = guest.snapshots.values().any(|other| other.at > snapshot.at);
        if let Some(volume) = volumes(guest).find(|volume| newer && kind(&whole, volume) == "zfspool") {
            let volume = volume.split([':', ',']).nth(1).unwrap_or_default();
            return Err(format!("can't rollback, '{name}' is not most recent snapshot on '{volume}'"));
        }
        pct::unlocked(guest)?;
        guest.config.insert("lock".to_owned(), "rollback".to_owned());
        Ok(lxc_name)
    })?;
    if lxc::uptime(&lxc_name).is_some() {
        lxc::kill(&lxc_name)?;
    }
    if killed {
        die();
    }
    let from = place(&lxc_name, &name);
    for disk in ["rootfs", "volume"] {
        let now = lxc::place(&lxc_name).join(disk);
        if now.exists() {
            discard(&now);
        }
    }
    lxc::copy_disks(&from, &lxc::place(&lxc_name))?;
    let ha = folder.state(|state| {
        let guest = state.container(id)?;
        let then: BTreeMap<String, String> =
            guest.snapshots.get(&name).map(|snapshot| snapshot.config.clone()).unwrap_or_default();
        guest.config = then;
        guest.config.insert("parent".to_owned(), name.clone());
        guest.pending.clear();
        Ok::<_, String>(guest.ha)
    })?;
    if ha {
        // HA finds it stopped, which it is not to be, when it comes round.
        pct::ask_ha("start", &[id.to_string()])?;
    }
    if arguments.get("start").is_some_and(|start| start != "0") {
        return pct::run(folder, &["start".to_owned(), id.to_string()], None);
    }
    Ok(0)
}

pub(super) fn remove(folder: &Folder, words: &[String]) -> Outcome {
    let arguments = Arguments::read(words, &["force"])?;
    let (id, name) = named(&arguments)?;
    let lxc_name = folder.state(|state| {
        let lxc_name = state.lxc(id);
        let guest = state.container(id)?;
        pct::unlocked(guest)?;
        guest.snapshots.get(&name).ok_or(format!("snapshot '{name}' does not exist"))?;
        Ok::<_, String>(lxc_name)
    })?;
    // Of one that was cut off there may be nothing.
    let disks = place(&lxc_name, &name);
    if disks.exists() {
        discard(&disks);
    }
    folder.state(|state| {
        let guest = state.container(id)?;
        let parent = guest.snapshots.remove(&name).and_then(|snapshot| snapshot.parent);
        for other in guest.snapshots.values_mut().filter(|other| other.parent.as_ref() == Some(&name)) {
            other.parent = parent.clone();
        }
        if guest.config.get("parent") == Some(&name) {
            match parent {
                Some(parent) => guest.config.insert("parent".to_owned(), parent),
                None => guest.config.remove("parent"),
            };
        }
        Ok(0)
    })
}
