//! Snapshots of a container.

use std::time::Instant;

use matrix_podman_core::{
    effect::Container,
    name::SnapshotName,
    proxmox::{Act, Answer, Question, Snapshot, snapshot_description},
};

use super::{
    Sink,
    act::{OrHint as _, Said, TASK_LOG, call, look},
    ask, busy_with, refuse, settings, status, unexpected,
};
use crate::failure::Failure;

/// The snapshots of a container, oldest first.
pub fn all(container: &Container) -> Result<Vec<Snapshot>, Failure> {
    match ask(Question::Snapshots { node: container.node.clone(), id: container.id })? {
        Answer::Snapshots(all) => Ok(all),
        other => Err(unexpected(&other)),
    }
}

/// Whether Proxmox can make any of it.
pub fn can(container: &Container) -> Result<bool, Failure> {
    match ask(Question::CanSnapshot { node: container.node.clone(), id: container.id })? {
        Answer::Yes(can) => Ok(can),
        other => Err(unexpected(&other)),
    }
}

/// Whether the container runs.
pub fn is_running(container: &Container) -> Result<bool, Failure> {
    Ok(status(container)?.running)
}

fn find(container: &Container, name: &SnapshotName) -> Result<Option<Snapshot>, Failure> {
    Ok(all(container)?.into_iter().find(|snapshot| snapshot.name == *name))
}

/// Snapshots are done when the call ends, so what shows then is what became of it.
fn became(
    doing: &str,
    what: &str,
    said: Result<Said, Failure>,
    shows: Result<bool, Failure>,
) -> Result<(), Failure> {
    match (shows?, said) {
        (true, _) => Ok(()),
        (false, Err(failure)) => Err(failure),
        (false, Ok(said)) => {
            Err(said.nothing_came(doing, format!("Proxmox took it, but {what}")).or_hint(TASK_LOG))
        }
    }
}

/// Nothing is begun on a container that something else is at work on. A lock that
/// a snapshot of ours left, which was cut off, is no such thing.
fn unlocked(container: &Container, doing: &str, sink: &Sink) -> Result<(), Failure> {
    let mut settings = settings(container)?;
    if settings.lock().is_some_and(is_of_a_snapshot) {
        clear(container, doing, sink)?;
        settings = super::settings(container)?;
    }
    match settings.lock() {
        None => Ok(()),
        Some(lock) => Err(refuse(container, lock, doing)),
    }
}

fn is_of_a_snapshot(lock: &str) -> bool {
    lock.starts_with("snapshot")
}

/// Removes what is left of snapshots of ours whose making or removal was cut off,
/// as by a power cut, with the lock that they left. While anything is at work on
/// the container, it is somebody else's to end.
fn clear(container: &Container, doing: &str, sink: &Sink) -> Result<(), Failure> {
    let remains = || -> Result<Vec<Snapshot>, Failure> {
        Ok(all(container)?.into_iter().filter(Snapshot::is_our_remains).collect())
    };
    if remains()?.is_empty() || !busy_with(container)?.is_empty() {
        return Ok(());
    }
    // Who was at work may have ended it.
    let remains = remains()?;
    if remains.is_empty() {
        return Ok(());
    }
    // Only a snapshot's own lock is taken away.
    match settings(container)?.lock() {
        Some(lock) if is_of_a_snapshot(lock) => {
            call(&Act::Unlock { id: container.id }, doing, sink)?;
        }
        Some(_) => return Ok(()),
        None => {}
    }
    for Snapshot { name, .. } in remains {
        let act = Act::RemoveSnapshot { id: container.id, name: name.clone(), part: true };
        let said = call(&act, doing, sink);
        let gone = find(container, &name).map(|found| found.is_none());
        became(doing, &format!("what is left of the snapshot {name} is still there"), said, gone)?;
    }
    Ok(())
}

pub(in crate::apply) fn make(
    container: &Container,
    name: &SnapshotName,
    before_update: Option<u32>,
    sink: &Sink,
) -> Result<(), Failure> {
    let doing = format!("make the snapshot {name} of the container {}", container.id);
    unlocked(container, &doing, sink)?;
    let description = snapshot_description(before_update);
    let said = call(&Act::Snapshot { id: container.id, name: name.clone(), description }, &doing, sink);
    let made = find(container, name);
    let whole = made.map(|made| made.is_some_and(|snapshot| snapshot.under_way.is_none()));
    became(&doing, "there is no such snapshot", said, whole).map_err(|failure| {
        // Nothing of it is left where that can be helped.
        match clear(container, &doing, sink).and_then(|()| find(container, name)) {
            Ok(None) => failure,
            Ok(Some(_)) | Err(_) => failure.hint(format!(
                "a part of it is there; `matrix-podman guest remove-snapshot {name}` removes that"
            )),
        }
    })
}

/// The container is stopped afterwards, unless HA started it already. Whether
/// the disks are those of the snapshot, Proxmox does not tell.
pub(in crate::apply) fn roll_back(
    container: &Container,
    name: &SnapshotName,
    sink: &Sink,
) -> Result<(), Failure> {
    let doing = format!("bring the container {} back to the snapshot {name}", container.id);
    unlocked(container, &doing, sink)?;
    let before = look(|| status(container))?;
    let begun = Instant::now();
    let was_stopped = || -> Result<bool, Failure> {
        let now = look(|| status(container))?;
        Ok(!now.running || (now.uptime <= begun.elapsed().as_secs() && now.uptime < before.uptime))
    };
    let said = call(&Act::Rollback { id: container.id, name: name.clone() }, &doing, sink)
        .map_err(|failure| newer_first(container, name, failure));
    if let Err(failure) = &said
        && !(before.running && was_stopped()? && settings(container)?.lock().is_none())
    {
        return Err(failure.clone());
    }
    became(&doing, "the container runs as before", said, was_stopped())
}

/// Where the storage goes back to its newest snapshot only, names those that have
/// to go first.
fn newer_first(container: &Container, name: &SnapshotName, failure: Failure) -> Failure {
    if !failure.evidence.iter().any(|line| line.contains("not most recent snapshot")) {
        return failure;
    }
    let there = all(container).unwrap_or_default();
    // The newest first: this order is the only one.
    let newer = there.iter().rev().take_while(|snapshot| snapshot.name != *name);
    let words: Vec<String> =
        newer.map(|snapshot| format!("`matrix-podman guest remove-snapshot {}`", snapshot.name)).collect();
    failure.hint(format!(
        "this storage, as ZFS does, goes back to its newest snapshot only; nothing was changed. Remove the newer ones \
         first: {}",
        words.join(", ")
    ))
}

pub(in crate::apply) fn remove(
    container: &Container,
    name: &SnapshotName,
    sink: &Sink,
) -> Result<(), Failure> {
    let doing = format!("remove the snapshot {name} of the container {}", container.id);
    unlocked(container, &doing, sink)?;
    // It may have been no more than what was left of one.
    let Some(found) = find(container, name)? else { return Ok(()) };
    let part = found.under_way.is_some();
    let act = Act::RemoveSnapshot { id: container.id, name: name.clone(), part };
    let said = call(&act, &doing, sink);
    became(&doing, "it is still there", said, find(container, name).map(|found| found.is_none()))
}
