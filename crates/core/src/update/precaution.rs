//! The snapshot of the whole guest that an update makes for itself, where that
//! can be had: a way back beside the images and the dump.

use serde::Serialize;

use crate::{
    effect::Container,
    name::SnapshotName,
    observed::{Gap, Observed, Seen},
    proxmox::{Answer, Question, Snapshot, lock_reason, why_no_snapshots},
    resource::{Place, Site, find_container},
    service::ServiceId,
    stack,
};

/// What is done for the guest as a whole before anything is replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "is", rename_all = "kebab-case")]
pub enum Precaution {
    /// Nothing: what keeps no data is replaced.
    Needless,
    /// This snapshot is made.
    Snapshot {
        /// Of which container.
        #[serde(skip)]
        container: Container,
        /// Its name.
        name: SnapshotName,
    },
    /// None can be made.
    Without {
        /// Why.
        why: String,
    },
}

impl Precaution {
    /// For a person, before it is agreed to.
    pub fn words(&self) -> Option<String> {
        match self {
            Precaution::Needless => None,
            Precaution::Snapshot { name, .. } => {
                Some(format!("Before anything is replaced, the whole guest gets the snapshot {name}."))
            }
            Precaution::Without { why } => Some(format!("No snapshot of the guest is made before: {why}.")),
        }
    }

    /// What holds of an update by the timer in the guest instead, where `auto` says
    /// that there is one and this one here has a snapshot.
    pub fn what_the_timer_lacks(&self, auto: bool) -> Option<&'static str> {
        (auto && matches!(self, Precaution::Snapshot { .. })).then_some(
            "matrix-update.timer updates from inside the guest, from where no snapshot can be made: it has the dump \
             alone.",
        )
    }
}

/// Whether an update of these keeps people's data at risk.
pub fn touches_data(mut services: impl Iterator<Item = ServiceId>) -> bool {
    services.any(|service| stack::room(service).data().is_precious())
}

/// What is done before the generation `number` is tried.
pub fn precaution(site: &Site, number: u32, seen: &Observed) -> Seen<Precaution> {
    let without = |why: String| Ok(Precaution::Without { why });
    if let Some(none) = site.backend.no_snapshots(site) {
        return without(none.before_update.to_owned());
    }
    let Place::Here { container, settings } = find_container(site, seen)? else {
        return without("this site's container was not found on this node".to_owned());
    };
    let (node, id) = (container.node.clone(), container.id);
    // Both are asked before the first answer is looked at.
    let can = seen.proxmox(Question::CanSnapshot { node: node.clone(), id });
    let there = seen.proxmox(Question::Snapshots { node, id });
    let unexpected = |answer: &Answer| Gap::Unknown(format!("Proxmox gave an unexpected answer: {answer:?}"));
    match can? {
        Answer::Yes(true) => {}
        Answer::Yes(false) => return without(why_no_snapshots(settings)),
        other => return Err(unexpected(other)),
    }
    let there = match there? {
        Answer::Snapshots(there) => there,
        other => return Err(unexpected(other)),
    };
    // What is left of one of ours is cleared away first.
    let ours_was_cut_off = there.iter().any(Snapshot::is_our_remains);
    match settings.lock() {
        Some(lock) if !(lock.starts_with("snapshot") && ours_was_cut_off) => without(format!(
            "the container {id} is locked, {}; once that is over, the same command makes one",
            lock_reason(lock)
        )),
        _ => Ok(Precaution::Snapshot { name: free_name(number, there), container }),
    }
}

/// The name of the snapshot before a generation. After going back to one, its
/// number comes again.
fn free_name(number: u32, there: &[Snapshot]) -> SnapshotName {
    let is_free = |name: &SnapshotName| there.iter().all(|snapshot| snapshot.name != *name);
    let mut names = (1..).map(|time| SnapshotName::before_update(number, time));
    names.find(is_free).unwrap_or_else(|| SnapshotName::before_update(number, 1))
}

/// The snapshots of earlier updates that go once `own` is made and what runs is
/// well: those from before what failed. The one from before what runs now
/// (`serving`) stays until something newer does.
pub fn superseded(there: &[Snapshot], own: &SnapshotName, serving: Option<u32>) -> Vec<SnapshotName> {
    let goes = |snapshot: &&Snapshot| {
        let of = snapshot.before_update();
        of.is_some() && of != serving && snapshot.name != *own && snapshot.under_way.is_none()
    };
    there.iter().filter(goes).map(|snapshot| snapshot.name.clone()).collect()
}

/// The snapshots of earlier updates that go when an update did: all but its own.
pub fn outlived(there: &[Snapshot], own: Option<&SnapshotName>) -> Vec<SnapshotName> {
    let goes = |snapshot: &&Snapshot| {
        snapshot.before_update().is_some() && Some(&snapshot.name) != own && snapshot.under_way.is_none()
    };
    there.iter().filter(goes).map(|snapshot| snapshot.name.clone()).collect()
}
