//! A container that is locked, and by whom.

use super::place::{Place, find_container, unexpected};
use crate::{
    effect::Container,
    name::SnapshotName,
    observed::{Observed, Seen},
    proxmox::{Answer, Question, at_work, left_lock_reason, lock_reason, way_out},
    resource::Site,
};

/// A container that is locked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Locked {
    /// Which.
    pub container: Container,
    /// What Proxmox calls the lock.
    pub lock: String,
    /// Kinds of the tasks that are at work on it; none when the lock was left.
    pub tasks: Vec<String>,
    /// What is left of snapshots of ours that were cut off: it goes with the lock.
    pub ours: Vec<SnapshotName>,
    /// What is left of a snapshot of somebody else's.
    pub part: Option<SnapshotName>,
}

impl Locked {
    /// Whether what had it locked was cut off.
    pub fn is_left(&self) -> bool {
        self.tasks.is_empty()
    }

    /// What the lock means.
    pub fn reason(&self) -> String {
        if self.is_left() { left_lock_reason(&self.lock) } else { lock_reason(&self.lock) }
    }

    /// What to do about it.
    pub fn way_out(&self) -> String {
        match self.is_left() {
            true if !self.ours.is_empty() => "`matrix-podman up` removes what is left of it".to_owned(),
            true => way_out(self.container.id, &self.lock, self.part.as_ref().map(SnapshotName::as_str)),
            false => "wait until that is over, then run the same again".to_owned(),
        }
    }
}

/// Kinds of the tasks that do something to a container.
pub(super) fn tasks(seen: &Observed, container: &Container) -> Seen<Vec<String>> {
    match seen.proxmox(Question::Tasks { node: container.node.clone(), id: container.id })? {
        Answer::Names(kinds) => Ok(at_work(kinds).into_iter().map(str::to_owned).collect()),
        other => Err(unexpected(other)),
    }
}

/// Who has a container locked.
pub(super) fn locked(seen: &Observed, container: &Container, lock: &str) -> Seen<Locked> {
    let snapshots = Question::Snapshots { node: container.node.clone(), id: container.id };
    // Both are asked before the first answer is looked at.
    let (tasks, there) = (tasks(seen, container), seen.proxmox(snapshots));
    let (tasks, there) = match there? {
        Answer::Snapshots(there) => (tasks?, there),
        other => return Err(unexpected(other)),
    };
    let idle = tasks.is_empty() && lock.starts_with("snapshot");
    let left: Vec<_> = there.iter().filter(|snapshot| idle && snapshot.under_way.is_some()).collect();
    let ours = left.iter().filter(|s| s.is_our_remains()).map(|s| s.name.clone()).collect();
    let part = left.iter().find(|s| !s.is_our_remains()).map(|s| s.name.clone());
    Ok(Locked { container: container.clone(), lock: lock.to_owned(), tasks, ours, part })
}

/// Who has the site's container locked, when it is.
pub fn container_lock(site: &Site, seen: &Observed) -> Seen<Option<Locked>> {
    let Place::Here { container, settings } = find_container(site, seen)? else { return Ok(None) };
    settings.lock().map(|lock| locked(seen, &container, lock)).transpose()
}
