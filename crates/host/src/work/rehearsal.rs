//! Rehearsals of updates: the new images on a copy of the data, beside the
//! server, in containers without a network.

use std::{io::BufReader, time::Duration};

use matrix_podman_core::{
    fact::{Database, Side},
    layout,
    lock::Lock,
    resource,
    service::Service,
    stack::{self, Data},
    update::{self as rules, Progress, Rehearsal, Rehearsed, Undo, rehearsal},
};

use super::update::{ID, Proposal, Update, lock, schema_of};
use crate::{
    bounded,
    failure::{Doing, Failure},
    guest::calls::Call,
    progress::{Saying, Sink, told},
    world::see,
};

impl Update<'_> {
    /// Does to a copy of the data what `proposal` would do, and removes it again.
    /// What does not start, or loses something, is a failure. The server is not
    /// touched.
    pub fn rehearse(&self, proposal: &Proposal, within: Duration) -> Result<Rehearsed, Failure> {
        let doing = "rehearse the update";
        let what = "Rehearse it on a copy of the data";
        let site = self.world.site();
        let mut images: Lock = lock(self.world)?;
        images.images.extend(proposal.changes.iter().map(|change| (change.service, change.to.clone())));
        let facts = see(self.world, doing, |seen| resource::render_facts(site, seen))?;
        let rehearsal = rehearsal(&site.config, &images, &facts, within.as_secs())
            .map_err(|missing| Failure::new(doing, missing))?;
        told(self.listener, ID, what, |sink| {
            self.journal.around(ID, doing, || {
                let done = self.hold(rehearsal, sink).and_then(|done| match done.lost() {
                    lost if lost.is_empty() => Ok(done),
                    lost => Err(Failure::new(doing, "what people have would be lost").evidence(lost)),
                });
                done.map_err(|failure| match self.world.about_room(failure, Side::Guest) {
                    failure if failure.hint.is_some() => failure,
                    failure => failure.hint(
                        "the server was not touched and runs as before; the copy is gone. An update to another \
                         version may do: `matrix-podman update synapse=VERSION --rehearse`",
                    ),
                })
            })
        })
    }

    /// Why there is no room for a rehearsal that nobody asked for, where there is none.
    pub fn no_room_to_rehearse(&self) -> Result<Option<String>, Failure> {
        let doing = "look for room for a rehearsal";
        let site = self.world.site();
        let place = layout::in_root("postgresdata");
        let (database, disk, memory, facts) = see(self.world, doing, |seen| {
            let (database, disk) = (seen.database(), seen.room(Side::Guest, &place));
            let memory = seen.memory(stack::services(&site.config).into_iter().map(Service::unit));
            let facts = resource::render_facts(site, seen)?;
            Ok((database?.clone(), disk?, memory?.clone(), facts))
        })?;
        let size = match database {
            Database::Answers(state) => state.size,
            Database::Refuses(why) => return Err(Failure::new(doing, why)),
        };
        // On plain LXC the kernel tells the guest of the machine's memory.
        let memory = memory.total.min(facts.guest_memory.0).saturating_sub(memory.used);
        Ok(rules::no_room(size, disk.map_or(0, |disk| disk.free), memory))
    }

    /// How `proposal` could be taken back, going by what the rehearsal left.
    pub fn way_back_after(&self, proposal: &Proposal, done: &Rehearsed) -> Result<Undo, Failure> {
        if proposal.undo != Undo::Image {
            return Ok(proposal.undo);
        }
        let lock = lock(self.world)?;
        let mut keepers = Data::Tables.keepers().into_iter();
        let now = keepers.find_map(|service| schema_of(self.world, lock.images.get(&service)?));
        Ok(done.undo(now))
    }

    fn hold(&self, rehearsal: Rehearsal, sink: &Sink) -> Result<Rehearsed, Failure> {
        let doing = "rehearse the update";
        let from = BufReader::new(self.world.stream(Call::Rehearse(Box::new(rehearsal)))?);
        let lines = bounded::lines(from, bounded::LIST);
        for line in lines {
            let line = line.map_err(|error| Failure::carried(error, doing))?;
            match serde_json::from_str(&line).doing(|| "understand what the rehearsal said")? {
                Progress::WaitsFor(what) => sink(Saying::WaitsFor(what)),
                Progress::Ended(done) => return Ok(done),
            }
        }
        Err(Failure::new(doing, "it ended without a word"))
    }
}
