//! The snapshot of the guest that an update makes for itself.
//!
//! It is a way back beside the dump, so an update goes on without it: that a
//! storage is full or a backup is under way is no reason to leave a server with
//! a known hole in it. What was not made is said, when it is so and at the end.

use matrix_podman_core::{
    effect::Container,
    name::SnapshotName,
    proxmox::Snapshot,
    update::{self, Precaution},
};

use super::{
    super::snapshot::{self, Work},
    Proposal, Update, history, lock,
};
use crate::{apply::proxmox::snapshot::all, failure::Failure, progress::Event, world::see};

impl Proposal {
    /// Whether what keeps people's data is replaced.
    pub fn touches_data(&self) -> bool {
        update::touches_data(self.changes.iter().map(|change| change.service))
    }
}

impl Update<'_> {
    /// What is done for the guest as a whole before this.
    pub(super) fn precaution(&self, proposal: &Proposal) -> Result<Precaution, Failure> {
        if !proposal.touches_data() {
            return Ok(Precaution::Needless);
        }
        let (site, number) = (self.world.site(), proposal.number);
        let looked = see(self.world, "find out whether a snapshot can be made", |seen| {
            update::precaution(site, number, seen)
        });
        Ok(looked.unwrap_or_else(|failure| Precaution::Without { why: failure.why }))
    }

    /// Makes the snapshot that was proposed: its name, or why there is none.
    pub(super) fn make_snapshot(
        &self,
        proposal: &Proposal,
    ) -> Result<(Option<SnapshotName>, Option<String>), Failure> {
        // What a run left that was cut off would keep the new Synapse from starting.
        snapshot::free(self.world)?;
        let Precaution::Snapshot { container, name } = &proposal.precaution else { return Ok((None, None)) };
        let Err(failure) = self.work(container).make(name, Some(proposal.number)) else {
            self.remove_superseded(container, name);
            return Ok((Some(name.clone()), None));
        };
        if snapshot::is_held(self.world)? {
            return Err(failure);
        }
        let mut why = failure.to_string();
        if let Some(hint) = &failure.hint {
            why = format!("{why} ({hint})");
        }
        self.listener.on(&Event::Note {
            text: format!("No snapshot of the guest: {why}. The update goes on without it."),
        });
        Ok((None, Some(why)))
    }

    /// Removes the snapshots of updates that failed, now that there is one that
    /// is newer.
    fn remove_superseded(&self, container: &Container, own: &SnapshotName) {
        let removed = history(self.world).and_then(|history| {
            let serving = history.current(&lock(self.world)?).map(|generation| generation.number);
            self.remove(container, |there| update::superseded(there, own, serving))
        });
        self.stays_where(removed);
    }

    /// Removes the snapshots of earlier updates, after one that did.
    pub(super) fn remove_outlived(&self, proposal: &Proposal, own: Option<&SnapshotName>) {
        let container = match &proposal.precaution {
            // A way back is one of those that they are kept for.
            Precaution::Needless => return,
            Precaution::Snapshot { container, .. } => Ok(container.clone()),
            Precaution::Without { .. } if self.has_none() => return,
            Precaution::Without { .. } => self.world.container(),
        };
        self.stays_where(
            container.and_then(|container| self.remove(&container, |there| update::outlived(there, own))),
        );
    }

    fn has_none(&self) -> bool {
        let site = self.world.site();
        site.backend.no_snapshots(site).is_some()
    }

    fn remove(
        &self,
        container: &Container,
        which: impl Fn(&[Snapshot]) -> Vec<SnapshotName>,
    ) -> Result<(), Failure> {
        let work = self.work(container);
        which(&all(container)?).iter().try_for_each(|name| work.remove(name))
    }

    /// What could not be removed is no reason to fail: the next update comes to it
    /// again.
    fn stays_where(&self, removed: Result<(), Failure>) {
        if let Err(failure) = removed {
            let text = format!("A snapshot of an earlier update stays, and costs room: {failure}");
            self.listener.on(&Event::Note { text });
        }
    }

    fn work<'a>(&'a self, container: &'a Container) -> Work<'a> {
        Work { world: self.world, journal: self.journal, listener: self.listener, container }
    }
}
