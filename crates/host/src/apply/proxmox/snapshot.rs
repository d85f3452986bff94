//! Snapshots of a container.

use std::time::Instant;

use matrix_podman_core::{
    effect::Container,
    name::SnapshotName,
    proxmox::{Act, Answer, Question, SNAPSHOT_DESCRIPTION, Snapshot},
};

use super::{Sink, ask, call, odd, settings, status};
use crate::failure::Failure;

/// The snapshots of a container, oldest first.
pub fn all(container: &Container) -> Result<Vec<Snapshot>, Failure> {
    match ask(Question::Snapshots { node: container.node.clone(), id: container.id })? {
        Answer::Snapshots(all) => Ok(all),
        other => Err(odd(&other)),
    }
}

/// Whether Proxmox can make any of it.
pub fn can(container: &Container) -> Result<bool, Failure> {
    match ask(Question::CanSnapshot { node: container.node.clone(), id: container.id })? {
        Answer::Yes(can) => Ok(can),
        other => Err(odd(&other)),
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
    said: Result<Vec<String>, Failure>,
    shows: Result<bool, Failure>,
) -> Result<(), Failure> {
    match (shows?, said) {
        (true, _) => Ok(()),
        (false, Err(failure)) => Err(failure),
        (false, Ok(lines)) => Err(Failure::new(doing, format!("Proxmox took it, but {what}"))
            .evidence(lines)
            .hint("the task log of the node in Proxmox's web pages says more")),
    }
}

/// Nothing is begun on a container that something else is at work on.
fn unlocked(container: &Container, doing: &str) -> Result<(), Failure> {
    match settings(container)?.lock() {
        None => Ok(()),
        Some(lock) => Err(Failure::new(doing, format!("it is locked ({lock})")).hint(format!(
            "wait until what is being done to it is over, then run the same again; only if nothing is, `pct unlock {}`",
            container.id
        ))),
    }
}

pub(in crate::apply) fn make(container: &Container, name: &SnapshotName, sink: &Sink) -> Result<(), Failure> {
    let doing = format!("make the snapshot {name} of the container {}", container.id);
    unlocked(container, &doing)?;
    let description = SNAPSHOT_DESCRIPTION.to_owned();
    let said = call(&Act::Snapshot { id: container.id, name: name.clone(), description }, &doing, sink);
    let made = find(container, name);
    let whole = made.map(|made| made.is_some_and(|snapshot| snapshot.under_way.is_none()));
    became(&doing, "there is no such snapshot", said, whole)
    .map_err(|failure| match find(container, name) {
        Ok(Some(_)) => failure.hint(format!(
            "a part of it is there; `pct delsnapshot {0} {name} --force` removes that, after `pct unlock {0}` if \
             nothing else is at work on it",
            container.id
        )),
        _ => failure,
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
    unlocked(container, &doing)?;
    let before = status(container)?;
    let begun = Instant::now();
    let was_stopped = || -> Result<bool, Failure> {
        let now = status(container)?;
        Ok(!now.running || (now.uptime <= begun.elapsed().as_secs() && now.uptime < before.uptime))
    };
    let said = call(&Act::Rollback { id: container.id, name: name.clone() }, &doing, sink);
    if let Err(failure) = &said
        && !(before.running && was_stopped()? && settings(container)?.lock().is_none())
    {
        return Err(failure.clone());
    }
    became(&doing, "the container runs as before", said, was_stopped())
}

pub(in crate::apply) fn remove(
    container: &Container,
    name: &SnapshotName,
    sink: &Sink,
) -> Result<(), Failure> {
    let doing = format!("remove the snapshot {name} of the container {}", container.id);
    unlocked(container, &doing)?;
    let said = call(&Act::RemoveSnapshot { id: container.id, name: name.clone() }, &doing, sink);
    became(&doing, "it is still there", said, find(container, name).map(|found| found.is_none()))
}
