//! The executor: works off a plan, side by side where nothing speaks against
//! it, looking again at the world just before each step.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::mpsc,
};

use matrix_podman_core::{
    effect::Effect,
    observed::Observed,
    plan::{self, Plan, Schedule, Standing},
    resource::{Diff, Resource, ResourceId, Risk, lower_first},
};

use crate::{
    failure::Failure,
    journal::Journal,
    progress::{Event, Listener, told},
    world::World,
};

/// How often a resource may change something before it counts as never settled.
const CHANGES: usize = 3;

/// How a run ended.
#[derive(Debug, Default)]
pub struct Ended {
    /// What was done, in the order in which it was finished.
    pub done: Vec<String>,
    /// What failed.
    pub failed: Vec<(ResourceId, Failure)>,
    /// What was not begun because of that.
    pub left: Vec<ResourceId>,
}

/// Brings all resources to where they should be. Stops beginning new work at
/// the first failure, and lets what is under way finish.
///
/// The journal is left open: this may be a part of a larger run.
///
/// What `plan` found settled is looked at again only behind something that was
/// changed meanwhile.
pub fn run(
    resources: &[Box<dyn Resource>],
    plan: &Plan,
    world: &World,
    journal: &Journal,
    allowed: Risk,
    listener: &dyn Listener,
) -> Result<Ended, Failure> {
    journal.planned(plan.steps())?;
    let by_id: BTreeMap<ResourceId, &dyn Resource> = resources.iter().map(|r| (r.id(), r.as_ref())).collect();
    let mut schedule = Schedule::new(resources);
    let settled: BTreeSet<&ResourceId> = plan
        .entries
        .iter()
        .filter_map(|entry| matches!(entry.diff, Diff::Settled { .. }).then_some(&entry.id))
        .collect();
    // What was changed, and what stands behind that.
    let mut changed: BTreeSet<ResourceId> = BTreeSet::new();
    let mut ended = Ended::default();
    std::thread::scope(|scope| {
        let (report, reports) = mpsc::channel();
        loop {
            while ended.failed.is_empty()
                && let Some(id) = schedule.take()
            {
                let resource = by_id[&id];
                let behind_change = resource.needs().iter().any(|need| changed.contains(need));
                if behind_change {
                    changed.insert(id.clone());
                } else if settled.contains(&id) {
                    schedule.finish(&id, Standing::Done);
                    continue;
                }
                let report = report.clone();
                scope.spawn(move || {
                    let work = Work { resource, id: &id, world, journal, allowed, listener };
                    let result = work.settle();
                    let _ = report.send((id, result));
                });
            }
            if !schedule.is_busy() {
                break;
            }
            let Ok((id, result)) = reports.recv() else { break };
            match result {
                Ok(what) => {
                    schedule.finish(&id, Standing::Done);
                    if !what.is_empty() {
                        changed.insert(id);
                    }
                    ended.done.extend(what);
                }
                Err(failure) => {
                    schedule.finish(&id, Standing::Failed);
                    ended.failed.push((id, failure));
                }
            }
        }
    });
    ended.left = schedule.left_waiting().into_iter().cloned().collect();
    Ok(ended)
}

/// The work on one resource.
struct Work<'a> {
    resource: &'a dyn Resource,
    id: &'a ResourceId,
    world: &'a World,
    journal: &'a Journal,
    allowed: Risk,
    listener: &'a dyn Listener,
}

impl Work<'_> {
    /// Does what is to do until nothing is; the sentences of what was done.
    fn settle(&self) -> Result<Vec<String>, Failure> {
        let mut done = Vec::new();
        loop {
            let diff = self.world.look(&mut Observed::default(), |seen| plan::diff(self.resource, seen))?;
            match diff {
                Diff::Settled { .. } => return Ok(done),
                Diff::Later { what, why } => {
                    return Err(Failure::new(lower_first(&what), why));
                }
                Diff::Blocked { why, hint } => {
                    return Err(Failure::new(format!("settle {}", self.id), why).hint(hint));
                }
                // Looked at once more after the last change: what that brought counts.
                Diff::Change(_) if done.len() == CHANGES => {
                    return Err(Failure::new(
                        format!("settle {}", self.id),
                        "it is still not as it should be after it was set right",
                    )
                    .hint("`matrix-podman plan` shows what differs; something else may be changing it"));
                }
                Diff::Change(step) => {
                    if step.risk > self.allowed {
                        return Err(Failure::new(
                            step.what.clone(),
                            "this interrupts more than the plan that was agreed to said",
                        )
                        .hint("run `matrix-podman up` again and look at its plan"));
                    }
                    self.carry_out(&step.what, &step.effects)?;
                    done.push(step.what);
                }
            }
        }
    }

    fn carry_out(&self, what: &str, effects: &[Effect]) -> Result<(), Failure> {
        let id = self.id.as_str();
        told(self.listener, id, what, |sink| {
            effects.iter().try_for_each(|effect| {
                let described = effect.describe();
                self.listener.on(&Event::Doing { id, effect: described.clone() });
                self.journal.around(id, &described, || {
                    self.world
                        .apply(effect, sink)
                        .map_err(|failure| self.world.about_room(failure, effect.side()))
                })
            })
        })
    }
}
