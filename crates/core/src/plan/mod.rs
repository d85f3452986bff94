//! Plans: what to do, in order and with reasons, and what is left alone.

mod schedule;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

pub use schedule::{Schedule, Standing};
pub use text::{PlanText, diff_lines};

use crate::{
    observed::{Gap, Observed},
    resource::{Diff, Resource, ResourceId, Risk},
};

/// A plan: every resource in the order in which it is looked at, and how it
/// differs from what it should be.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// One entry for each resource.
    pub entries: Vec<Entry>,
}

/// One resource in a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Entry {
    /// The resource.
    pub id: ResourceId,
    /// How it differs.
    #[serde(flatten)]
    pub diff: Diff,
    /// The most that a step of it can come to ([`Resource::can_lead_to`]).
    #[serde(skip)]
    pub can_lead_to: Risk,
}

impl Plan {
    /// Compares all resources with what is known. What `seen` does not know yet
    /// is noted there; the plan is complete when nothing was noted.
    pub fn make(resources: &[Box<dyn Resource>], seen: &Observed) -> Self {
        let entries = order(resources)
            .into_iter()
            .map(|index| {
                let resource = &resources[index];
                Entry {
                    id: resource.id(),
                    diff: diff(resource.as_ref(), seen),
                    can_lead_to: resource.can_lead_to(),
                }
            })
            .collect();
        Plan { entries }
    }

    /// Whether there is anything to do or that stands in the way.
    pub fn is_settled(&self) -> bool {
        self.entries.iter().all(|entry| matches!(entry.diff, Diff::Settled { .. }))
    }

    /// How many steps it has, with those that are decided on the way.
    pub fn steps(&self) -> usize {
        self.changing().count()
    }

    /// The resources that are changed, or looked at again on the way.
    pub fn changing(&self) -> impl Iterator<Item = &ResourceId> {
        let steps = |entry: &&Entry| matches!(entry.diff, Diff::Change(_) | Diff::Later { .. });
        self.entries.iter().filter(steps).map(|entry| &entry.id)
    }

    /// What cannot be made right, and what to do about it.
    pub fn blocked(&self) -> impl Iterator<Item = (&ResourceId, &str, &str)> {
        self.entries.iter().filter_map(|entry| match &entry.diff {
            Diff::Blocked { why, hint } => Some((&entry.id, why.as_str(), hint.as_str())),
            _ => None,
        })
    }

    /// What agreeing to it covers: its risk, the most that its steps can
    /// come to by the time of their turn, and where it cannot be said yet what they
    /// are, whatever they take. It follows from what is asked for, not from the
    /// moment in which the plan was made.
    pub fn agreed(&self) -> Risk {
        self.entries
            .iter()
            .map(|entry| match &entry.diff {
                Diff::Change(step) => step.risk.max(entry.can_lead_to),
                Diff::Later { .. } => Risk::Outage,
                Diff::Settled { .. } | Diff::Blocked { .. } => Risk::None,
            })
            .max()
            .unwrap_or(Risk::None)
    }

    /// The greatest risk of its steps, as they are seen now.
    pub fn risk(&self) -> Risk {
        self.entries
            .iter()
            .map(|entry| match &entry.diff {
                Diff::Change(step) => step.risk,
                _ => Risk::None,
            })
            .max()
            .unwrap_or(Risk::None)
    }
}

/// How one resource differs, with a gap in what is known made a state.
pub fn diff(resource: &dyn Resource, seen: &Observed) -> Diff {
    match resource.diff(seen) {
        Ok(diff) => diff,
        Err(Gap::NotAsked) => Diff::later(look_again(&resource.id()), "it has not been looked at yet"),
        Err(Gap::Unknown(why)) => Diff::later(look_again(&resource.id()), why),
    }
}

/// What is said of a resource that cannot be compared yet.
fn look_again(id: &ResourceId) -> String {
    format!("See to {id}")
}

/// Indexes of `resources` so that each stands behind what it needs; otherwise
/// in the order given. Needs that are not among them are taken as met.
fn order(resources: &[Box<dyn Resource>]) -> Vec<usize> {
    let ids: BTreeMap<ResourceId, usize> = resources.iter().enumerate().map(|(i, r)| (r.id(), i)).collect();
    let needs: Vec<Vec<usize>> =
        resources.iter().map(|r| r.needs().iter().filter_map(|id| ids.get(id).copied()).collect()).collect();
    let mut done = BTreeSet::new();
    let mut order = Vec::new();
    while order.len() < resources.len() {
        let next =
            (0..resources.len()).find(|i| !done.contains(i) && needs[*i].iter().all(|n| done.contains(n)));
        // A circle cannot be ordered; a test over all sites makes sure that
        // there is none, and what is left is then taken as it stands.
        let next = next.or_else(|| (0..resources.len()).find(|i| !done.contains(i)));
        let Some(next) = next else { break };
        done.insert(next);
        order.push(next);
    }
    order
}
