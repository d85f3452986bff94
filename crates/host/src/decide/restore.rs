//! How far a restore has come, and what remains to be done.

use std::collections::BTreeSet;

use matrix_podman_core::{
    ids::{self, ResourceId},
    resource::Resource,
};

/// What a restore leaves in the guest while it is under way: whether each is there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traces {
    /// The note that data are changing places.
    pub switch: bool,
    /// The dump that the database is filled from.
    pub dump: bool,
    /// What holds Synapse back.
    pub hold: bool,
    /// The lock, which every server has.
    pub lock: bool,
}

/// What is in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reached {
    /// Nothing of a server.
    Nothing,
    /// A server.
    Server,
    /// Some of the old data and some of the new; nothing runs on them.
    Switching,
    /// Files and dump are in their place.
    Files,
    /// The database is filled too, and was found right.
    Filled,
}

/// One thing that a restore does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RestoreStep {
    /// Files and media are put beside what is there.
    Put,
    /// They take its place.
    Switch,
    /// The database is filled and counted.
    Fill,
}

impl Reached {
    /// What `traces` show; `begun` says whether a restore was begun on this machine.
    pub fn of(traces: Traces, begun: bool) -> Self {
        match traces {
            Traces { switch: true, .. } => Reached::Switching,
            Traces { dump: true, .. } => Reached::Files,
            // The dump is removed at the very end, and what holds Synapse back only then.
            Traces { hold: true, lock: true, .. } if begun => Reached::Filled,
            Traces { lock: true, .. } => Reached::Server,
            Traces { lock: false, .. } => Reached::Nothing,
        }
    }

    /// Whether an earlier restore is continued.
    pub fn continues(self, begun: bool) -> bool {
        begun || matches!(self, Reached::Switching | Reached::Files)
    }

    /// Whether a restore that was begun was cut off before it changed anything.
    pub fn changed_nothing(self, begun: bool) -> bool {
        begun && self == Reached::Server
    }

    /// Whether there is a server that has to be left alone.
    pub fn is_in_the_way(self, may_replace: bool) -> bool {
        self == Reached::Server && !may_replace
    }

    /// What remains to be done, in order.
    pub fn remaining(self) -> &'static [RestoreStep] {
        match self {
            Reached::Nothing | Reached::Server => &[RestoreStep::Put, RestoreStep::Switch, RestoreStep::Fill],
            Reached::Switching => &[RestoreStep::Switch, RestoreStep::Fill],
            Reached::Files => &[RestoreStep::Fill],
            Reached::Filled => &[],
        }
    }
}

/// Of all resources, `last` and what it needs. What keeps others out while a restore is
/// under way is not among them.
pub fn needed_for(last: &ResourceId, all: Vec<Box<dyn Resource>>) -> Vec<Box<dyn Resource>> {
    let needs = |id: &ResourceId| {
        all.iter().find(|resource| resource.id() == *id).map(|resource| resource.needs()).unwrap_or_default()
    };
    let mut wanted: BTreeSet<ResourceId> = BTreeSet::new();
    let mut open = vec![last.clone()];
    while let Some(id) = open.pop() {
        if wanted.insert(id.clone()) {
            open.extend(needs(&id));
        }
    }
    wanted.remove(&ids::SERVER_NAME);
    all.into_iter().filter(|resource| wanted.contains(&resource.id())).collect()
}

#[cfg(test)]
mod tests {
    use matrix_podman_core::{
        observed::{Observed, Seen},
        resource::Diff,
    };

    use super::*;

    /// A guest that a restore works on, which can be cut off after any write.
    #[derive(Clone, Copy, Default)]
    struct Guest {
        traces: Traces,
        begun: bool,
        filled: bool,
        writes_left: usize,
    }

    impl Guest {
        /// One write; `None` when the power failed before it.
        fn write(&mut self, change: fn(&mut Guest)) -> Option<()> {
            self.writes_left = self.writes_left.checked_sub(1)?;
            change(self);
            Some(())
        }

        fn step(&mut self, step: RestoreStep) -> Option<()> {
            match step {
                // What lies beside the data leaves no trace that counts.
                RestoreStep::Put => self.write(|guest| guest.begun = true),
                RestoreStep::Switch => {
                    self.write(|guest| guest.traces.switch = true)?;
                    self.write(|guest| guest.traces.lock = false)?;
                    self.write(|guest| {
                        guest.traces = Traces { switch: true, dump: true, hold: true, lock: true };
                    })?;
                    self.write(|guest| guest.traces.switch = false)
                }
                RestoreStep::Fill => {
                    self.write(|guest| guest.filled = true)?;
                    self.write(|guest| guest.traces.dump = false)
                }
            }
        }

        /// One run, until it is done or cut off.
        fn run(&mut self) -> Option<()> {
            for step in Reached::of(self.traces, self.begun).remaining() {
                self.step(*step)?;
            }
            self.write(|guest| guest.traces.hold = false)?;
            self.write(|guest| guest.begun = false)
        }
    }

    #[test]
    fn a_restore_that_is_cut_off_anywhere_is_finished_by_the_next_run() {
        for lock in [false, true] {
            for cut in 0..12 {
                let mut guest = Guest { writes_left: cut, ..Guest::default() };
                guest.traces.lock = lock;
                let first = guest.run();
                guest.writes_left = usize::MAX;
                if first.is_none() {
                    guest.run().unwrap();
                }
                assert!(guest.filled && !guest.begun, "cut off after {cut} writes");
                assert_eq!(guest.traces, Traces { lock: true, ..Traces::default() });
            }
        }
    }

    #[test]
    fn a_server_is_in_the_way_unless_it_may_be_replaced() {
        let server = Traces { lock: true, ..Traces::default() };
        assert!(Reached::of(server, false).is_in_the_way(false));
        assert!(!Reached::of(server, false).is_in_the_way(true));
        // Held back by whoever made a snapshot, not by a restore.
        assert_eq!(Reached::of(Traces { hold: true, ..server }, false), Reached::Server);
        assert!(Reached::of(server, true).changed_nothing(true));
        assert!(!Reached::of(Traces { hold: true, ..server }, true).changed_nothing(true));
        assert!(!Reached::Nothing.is_in_the_way(false));
    }

    #[test]
    fn what_was_begun_goes_on() {
        assert!(Reached::Switching.continues(false) && Reached::Files.continues(false));
        assert!(Reached::Nothing.continues(true) && !Reached::Nothing.continues(false));
    }

    struct Named(ResourceId, Vec<ResourceId>);

    impl Resource for Named {
        fn id(&self) -> ResourceId {
            self.0.clone()
        }

        fn needs(&self) -> Vec<ResourceId> {
            self.1.clone()
        }

        fn diff(&self, _: &Observed) -> Seen<Diff> {
            Ok(Diff::settled("as it is"))
        }
    }

    #[test]
    fn what_keeps_others_out_is_not_needed() {
        let all: Vec<Box<dyn Resource>> = vec![
            Box::new(Named(ids::GUEST_RUNNING, Vec::new())),
            Box::new(Named(ids::SERVER_NAME, vec![ids::GUEST_RUNNING])),
            Box::new(Named(ids::DATABASE, vec![ids::SERVER_NAME])),
            Box::new(Named(ids::GUEST_MOTD, vec![ids::GUEST_RUNNING])),
        ];
        let wanted: Vec<ResourceId> =
            needed_for(&ids::DATABASE, all).iter().map(|resource| resource.id()).collect();
        assert_eq!(wanted, [ids::GUEST_RUNNING, ids::DATABASE]);
    }
}
