//! What can be worked on next: the pure half of the executor.

use std::collections::BTreeMap;

use crate::resource::{Resource, ResourceId};

/// How far a resource is in a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Not begun.
    Waiting,
    /// Somebody works on it.
    Running,
    /// It is as it should be.
    Done,
    /// It could not be made so.
    Failed,
}

/// Who is where in a run, and who may begin.
#[derive(Debug)]
pub struct Schedule {
    needs: BTreeMap<ResourceId, Vec<ResourceId>>,
    standing: BTreeMap<ResourceId, Standing>,
    order: Vec<ResourceId>,
}

impl Schedule {
    /// A run in which nothing has begun.
    pub fn new(resources: &[Box<dyn Resource>]) -> Self {
        let order: Vec<ResourceId> = super::order(resources).into_iter().map(|i| resources[i].id()).collect();
        let standing = order.iter().map(|id| (id.clone(), Standing::Waiting)).collect::<BTreeMap<_, _>>();
        let needs = resources
            .iter()
            .map(|r| (r.id(), r.needs().into_iter().filter(|need| standing.contains_key(need)).collect()))
            .collect();
        Self { needs, standing, order }
    }

    /// Takes the first resource whose needs are met, if there is one.
    pub fn take(&mut self) -> Option<ResourceId> {
        let ready = |id: &&ResourceId| {
            self.standing[*id] == Standing::Waiting
                && self.needs[*id].iter().all(|need| self.standing[need] == Standing::Done)
        };
        let id = self.order.iter().find(ready)?.clone();
        self.standing.insert(id.clone(), Standing::Running);
        Some(id)
    }

    /// Says how the work on `id` ended.
    pub fn finish(&mut self, id: &ResourceId, standing: Standing) {
        self.standing.insert(id.clone(), standing);
    }

    /// Whether somebody works on something.
    pub fn is_busy(&self) -> bool {
        self.standing.values().any(|s| *s == Standing::Running)
    }

    /// Those that were never begun, because something that they need failed.
    pub fn left_waiting(&self) -> Vec<&ResourceId> {
        self.order.iter().filter(|id| self.standing[*id] == Standing::Waiting).collect()
    }
}
