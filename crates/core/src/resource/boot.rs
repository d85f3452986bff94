//! The program on the machine.

use super::{Diff, Resource, ResourceId, Site};
use crate::{
    effect::{Effect, Local},
    fact::{Fact, Side},
    ids, layout,
    observed::{Observed, Seen},
};

pub(super) fn all(_: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(Program)]
}

/// The program is where people and units find it.
struct Program;

impl Resource for Program {
    fn id(&self) -> ResourceId {
        ids::MACHINE_PROGRAM
    }

    fn needs(&self) -> Vec<ResourceId> {
        Vec::new()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        if seen.yes(Side::Machine, Fact::InstalledProgram)? {
            return Ok(Diff::settled(format!("{} is this very program", layout::BINARY)));
        }
        Ok(Diff::quiet(
            format!("Copy the program to {}", layout::BINARY),
            "so that it can be called by its name, and by the machine's boot",
            vec![Effect::Here(Local::InstallProgram { side: Side::Machine })],
        ))
    }
}
