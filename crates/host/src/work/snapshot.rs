//! Snapshots of the guest, on Proxmox, and back to them.
//!
//! After a rollback the database is an older one, and one-time keys in it may
//! have been given out since. So a snapshot is made while [`layout::HOLD`] is in
//! the guest: going back to it, in Proxmox's web pages too, gives a guest
//! in which Synapse waits until `up` had those keys forgotten.

use matrix_podman_core::{
    effect::{Container, Effect, Local},
    fact::Side,
    ids, layout,
    name::{Mode, Owner, SnapshotName},
    observed::{Observed, Seen},
    service::Service,
    size::Seconds,
    stack,
};

use crate::{
    apply::proxmox::snapshot,
    failure::Failure,
    journal::Journal,
    postgres::psql_line,
    progress::Listener,
    world::{World, see},
};

/// The name of this in events and the journal.
const ID: &str = "snapshot";
/// How long Synapse may take to start.
const START: Seconds = Seconds(2100);

/// Work on snapshots, under way.
pub struct Work<'a> {
    /// The two sides.
    pub world: &'a World,
    /// The journal.
    pub journal: &'a Journal,
    /// Who watches.
    pub listener: &'a dyn Listener,
    /// The container.
    pub container: &'a Container,
}

impl Work<'_> {
    fn act(&self, what: &str, effect: &Effect) -> Result<(), Failure> {
        super::act(self.world, self.journal, self.listener, ID, what, effect)
    }

    fn synapse_runs(&self) -> Result<bool, Failure> {
        see(self.world, "look at Synapse", synapse_runs)
    }

    /// Makes one, of a server that goes on; `before_update` is the generation that an
    /// update makes it before, automatically.
    pub fn make(&self, name: &SnapshotName, before_update: Option<u32>) -> Result<(), Failure> {
        if !free(self.world)? {
            return Err(Failure::new(
                format!("make the snapshot {name}"),
                "the server's data went back in time, and it is not done with that",
            )
            .hint("`matrix-podman up` first"));
        }
        let ran = self.synapse_runs()?;
        self.act("Have PostgreSQL write everything to the disk", &Effect::Here(Local::CheckpointDatabase))?;
        let made = self
            .world
            .apply(
                &Effect::Here(Local::WriteFile {
                    side: Side::Guest,
                    path: layout::hold(),
                    content: "a snapshot\n".to_owned(),
                    mode: Mode(0o600),
                    owner: Owner::ROOT,
                }),
                &|_| {},
            )
            .and_then(|()| {
                let effect = Effect::Here(Local::SnapshotContainer {
                    container: self.container.clone(),
                    name: name.clone(),
                    before_update,
                });
                self.act(&format!("Make the snapshot {name}"), &effect)
            });
        // Whatever became of it: the data of now did not go back in time.
        let removed = self
            .world
            .apply(&Effect::Here(Local::RemoveFile { side: Side::Guest, path: layout::hold() }), &|_| {});
        // One that ended in that moment was not started again.
        if ran && removed.is_ok() && !self.synapse_runs()? {
            for service in holdable() {
                let effect = Effect::Here(Local::StartService { service, restart: false, timeout: START });
                self.act(&format!("Start {} again", service.title()), &effect)?;
            }
        }
        made?;
        removed.map_err(|failure| {
            failure.hint("the snapshot is made; `matrix-podman up` removes what would hold Synapse back")
        })
    }

    /// Brings the guest back, and starts it; Synapse waits in it.
    pub fn roll_back(&self, name: &SnapshotName) -> Result<(), Failure> {
        let container = self.container.clone();
        let what = format!("Bring the guest back to {name}");
        self.act(
            &what,
            &Effect::Here(Local::RollBackContainer { container: container.clone(), name: name.clone() }),
        )
        .map_err(|failure| match snapshot::is_running(self.container) {
            Ok(false) => failure.hint(
                "the guest is stopped now: run the same again, or `matrix-podman up` starts what is there",
            ),
            _ => failure,
        })?;
        self.act("Start the guest", &Effect::Here(Local::StartContainer { container }))?;
        // An older program may be in there, which `up` replaces before it looks.
        match self.world.look(&mut Observed::default(), held)? {
            Ok(false) => Err(Failure::new(
                format!("bring the guest back to {name}"),
                "Proxmox took it, but these are not the data of that snapshot",
            )
            .hint("the task log of the node in Proxmox's web pages says more")),
            Ok(true) | Err(_) => Ok(()),
        }
    }

    /// Removes one.
    pub fn remove(&self, name: &SnapshotName) -> Result<(), Failure> {
        let effect =
            Effect::Here(Local::RemoveSnapshot { container: self.container.clone(), name: name.clone() });
        self.act(&format!("Remove the snapshot {name}"), &effect)
    }
}

fn held(seen: &Observed) -> Seen<bool> {
    Ok(seen.meta(Side::Guest, &layout::hold())?.is_some())
}

/// Whether the data did not go back in time, as far as anything shows. What a run
/// left in the guest that was cut off while it made a snapshot is removed: where
/// Synapse runs, it was started before that.
pub(crate) fn free(world: &World) -> Result<bool, Failure> {
    let (held, switching, runs) = see(world, "look into the guest", |seen| {
        let (held, switching, runs) = (held(seen), switching(seen), synapse_runs(seen));
        Ok((held?, switching?, runs?))
    })?;
    if held && !switching && runs {
        world.apply(&Effect::Here(Local::RemoveFile { side: Side::Guest, path: layout::hold() }), &|_| {})?;
        return Ok(true);
    }
    Ok(!held && !switching)
}

/// Whether something holds Synapse back, at its next start.
pub(crate) fn is_held(world: &World) -> Result<bool, Failure> {
    see(world, "look into the guest", held)
}

/// Those that do not start while the data may have gone back in time.
fn holdable() -> Vec<Service> {
    stack::wait_for(&ids::DATABASE_ONE_TIME_KEYS)
}

fn synapse_runs(seen: &Observed) -> Seen<bool> {
    holdable().into_iter().try_fold(true, |runs, service| {
        Ok(seen.container(service.name())?.is_some_and(|c| c.state == "running") && runs)
    })
}

fn switching(seen: &Observed) -> Seen<bool> {
    Ok(seen.meta(Side::Guest, &layout::switch())?.is_some()
        || seen.meta(Side::Guest, &layout::restore_dump())?.is_some())
}

/// What was made since a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Since {
    /// Messages, encrypted ones too.
    pub messages: u64,
    /// Accounts.
    pub accounts: u64,
    /// Files that people sent.
    pub files: u64,
}

/// Counts what was made since `at`, in seconds since 1970; the database has to
/// answer for that.
pub fn since(world: &World, at: u64) -> Result<Since, Failure> {
    let doing = "count what was made since";
    let statement = format!(
        "SET statement_timeout = '30s'; SELECT \
         (SELECT count(*) FROM events WHERE received_ts > {at}000 AND type IN ('m.room.message', 'm.room.encrypted')), \
         (SELECT count(*) FROM users WHERE creation_ts > {at}), \
         (SELECT count(*) FROM local_media_repository WHERE created_ts > {at}000)"
    );
    let argv = psql_line(&["--command", &statement]);
    let mut said = Vec::new();
    let status = world.follow(argv, &mut |bytes| said.extend_from_slice(bytes))?;
    let text = String::from_utf8_lossy(&said).trim().to_owned();
    parse(&text)
        .filter(|_| status == Some(0))
        .ok_or_else(|| Failure::new(doing, text.lines().last().unwrap_or("the database said nothing")))
}

fn parse(text: &str) -> Option<Since> {
    let mut numbers = text.split('|').map(|number| number.trim().parse::<u64>());
    let mut next = || numbers.next()?.ok();
    let since = Since { messages: next()?, accounts: next()?, files: next()? };
    numbers.next().is_none().then_some(since)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_read() {
        assert_eq!(parse("12|1|0"), Some(Since { messages: 12, accounts: 1, files: 0 }));
        for bad in ["", "12", "12|1", "1|2|3|4", "ERROR:  canceling statement due to statement timeout"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
