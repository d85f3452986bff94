//! The way back: to what ran before, because a person wants to, because what is
//! new fails, or because the run that tried it was cut off.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Instant,
};

use matrix_podman_core::{
    effect::{Effect, Local},
    ids,
    lock::LockedImage,
    name::AbsPath,
    service::Service,
    stack::{self, Data},
    update::{self, Generation, Outcome, Undo},
};

use super::{
    Change, Proposal, Report, Update, demanded, history, lock, next, running, schema_of, write_history,
};
use crate::{
    failure::Failure,
    progress::{Event, millis},
    world::see,
};

impl Update<'_> {
    /// The way back to the images of `generation`, from what the lock names;
    /// `dump` is the one taken before what runs now was tried.
    pub fn way_back(&self, generation: &Generation, dump: Option<AbsPath>) -> Result<Proposal, Failure> {
        let lock = lock(self.world)?;
        let number = next(self.world, &lock)?;
        let changes = lock.images.iter().filter_map(|(service, from)| {
            let to = generation.images.get(service).filter(|to| to.id != from.id)?;
            // The lock goes on answering to what the config asks for.
            let to = LockedImage { wanted: from.wanted.clone(), ..to.clone() };
            Some(Change { service: *service, from: from.clone(), to })
        });
        let changes: Vec<Change> = changes.collect();
        for change in &changes {
            let id = change.to.id.hex();
            if see(self.world, "look for the image", |seen| Ok(seen.image(id, [id])?.is_none()))? {
                return Err(Failure::new(
                    format!("go back to generation {}", generation.number),
                    format!("its image of {} is no longer in the guest", change.service),
                )
                .hint(format!(
                    "`matrix-podman update {}={}` gets it again",
                    change.service, change.to.version
                )));
            }
        }
        self.proposal(changes, number, dump, true)
    }

    /// Puts back what the lock names, and the dump where the older Synapse does
    /// not open what the newer one left.
    pub(super) fn take_back(
        &self,
        generation: &Generation,
        why: String,
        log: Vec<String>,
        green: &BTreeSet<&'static str>,
    ) -> Result<Report, Failure> {
        let started = Instant::now();
        let lock = lock(self.world)?;
        let changed: Vec<Service> = Service::ALL
            .into_iter()
            .filter(|s| generation.images.contains_key(s))
            .filter(|s| {
                let id = |images: &BTreeMap<Service, LockedImage>| images.get(s).map(|i| i.id.clone());
                id(&generation.images) != id(&lock.images)
            })
            .collect();
        // The config may want what was tried; what the lock names is put back.
        let mut trial = self.world.site().clone();
        trial.trial.extend(lock.images.known().clone());
        let site = &trial;
        let major = |images: &BTreeMap<Service, LockedImage>| stack::cluster_major(images);
        let majors = major(&lock.images).zip(major(&generation.images)).filter(|(from, to)| from != to);
        if let Some(majors) = majors {
            self.leave_cluster(site, generation, majors)?;
        }
        let (with_tables, others): (Vec<Service>, Vec<Service>) =
            changed.into_iter().partition(|service| Data::Tables.is_kept_by(*service));
        for service in &with_tables {
            self.stop_one(*service)?;
        }
        for service in others {
            self.replace(site, service, None)?;
        }
        let mut undo = if majors.is_some() { Undo::Cluster } else { Undo::Image };
        for service in with_tables {
            // After a power cut the guest may still be starting.
            let needs: Vec<_> = stack::room(service).needs().iter().copied().map(ids::service).collect();
            self.settle(site, &needs)?;
            undo = update::undo(
                demanded(self.world)?,
                lock.images.get(&service).and_then(|image| schema_of(self.world, image)),
            );
            if undo == Undo::Dump || generation.restores.is_some() {
                undo = Undo::Dump;
                let Some(from) = generation.dump.clone() else {
                    return Err(Failure::new("put the old Synapse back", "there is no dump to restore"));
                };
                self.restore(from, update::database_kept(generation.number))?;
            }
            self.replace(site, service, None)?;
        }
        let still_ill = self.failing_checks(site, green)?;
        let mut history = history(self.world)?;
        if let Some(last) = history.generations.last_mut() {
            last.undo = Some(undo);
        }
        write_history(self.world, &history)?;
        let generation = self.close(Outcome::Undone { why, log })?;
        Ok(Report { still_ill, millis: millis(started), ..Report::of(generation) })
    }

    /// Puts a dump in the place of the database.
    pub(super) fn restore(&self, from: AbsPath, keep_as: String) -> Result<(), Failure> {
        self.stop(Data::Tables)?;
        // They are of what the database will no longer know.
        self.stop(Data::Copies)?;
        self.act("Restore the dump", &Effect::Here(Local::RestoreDatabase { from, keep_as }))?;
        self.settle(self.world.site(), &running(Data::Copies))
    }

    /// Settles an update whose run was cut off: what was not kept is taken back.
    pub fn recover(&self) -> Result<Option<Report>, Failure> {
        let history = history(self.world)?;
        let Some(generation) = history.under_way().cloned() else { return Ok(None) };
        if *generation.images == *lock(self.world)?.images {
            return self.close(Outcome::Kept).map(Report::of).map(Some);
        }
        let why = format!("the update begun at {} was cut off", generation.at);
        match self.go_on(&generation) {
            Ok(false) => {}
            Ok(true) => {
                self.listener.on(&Event::Note {
                    text: format!("{why}. The other cluster serves already: it is kept."),
                });
                return self.close(Outcome::Kept).map(Report::of).map(Some);
            }
            Err(failure) => {
                let why = format!("{why}, and {failure}");
                self.listener.on(&Event::Note { text: format!("{why}. What ran before is put back.") });
                return self.take_back(&generation, why, failure.evidence, &BTreeSet::new()).map(Some);
            }
        }
        self.listener.on(&Event::Note { text: format!("{why}. What ran before is put back.") });
        self.take_back(&generation, why, Vec::new(), &BTreeSet::new()).map(Some)
    }
}
