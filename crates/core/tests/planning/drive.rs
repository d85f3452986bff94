//! Runs, as the executor makes them: ready resources side by side, each looked
//! at just before it is worked on and again afterwards. Only the interleaving
//! is chosen here, one act at a time, so that it can be repeated.

use std::collections::{BTreeMap, VecDeque};

use matrix_podman_core::{
    effect::Effect,
    plan::{self, Plan, Schedule, Standing},
    resource::{self, Diff, Resource, ResourceId, Risk},
};

use crate::memory::{Cut, Extent, Glimpse, MemoryWorld};

/// How often a resource may change something, as in the executor.
const ROUNDS: usize = 3;

/// Where a run is cut off: before, inside or after its effect of that number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    Before(usize),
    Inside(usize),
    After(usize),
}

/// How a run ended.
#[derive(Debug, PartialEq)]
pub enum End {
    /// Everything is as it should be; how many effects it took.
    Done(usize),
    /// It was cut off.
    Cut,
    /// Something could not be done.
    Failed(ResourceId, String),
}

/// Who is next among `count` that are ready: an order that can be repeated.
pub type Choose<'a> = &'a mut dyn FnMut(usize) -> usize;

/// Always the first: one thing after the other.
pub fn in_order(_: usize) -> usize {
    0
}

/// Brings `world` to where it should be, unless it is cut off before.
pub fn run(world: &mut MemoryWorld, choose: Choose, stop: Option<(Moment, Cut)>) -> End {
    run_watched(world, choose, stop, Risk::Outage, &mut |_, _| {})
}

/// The same as somebody has it done who agreed to the plan that was made of what
/// was seen of services at that moment.
pub fn run_agreed(world: &mut MemoryWorld, glimpse: Glimpse) -> End {
    let agreed = plan_for(&world.seen_at(glimpse)).agreed();
    run_watched(world, &mut in_order, None, agreed, &mut |_, _| {})
}

fn run_watched(
    world: &mut MemoryWorld,
    choose: Choose,
    stop: Option<(Moment, Cut)>,
    agreed: Risk,
    watch: &mut dyn FnMut(&MemoryWorld, &Effect),
) -> End {
    let site = world.site().clone();
    let resources = resource::all(&site);
    let by_id: BTreeMap<ResourceId, &dyn Resource> = resources.iter().map(|r| (r.id(), r.as_ref())).collect();
    let mut schedule = Schedule::new(&resources);
    let mut under_way: Vec<(ResourceId, VecDeque<Effect>, usize)> = Vec::new();
    let mut count = 0;
    loop {
        while let Some(id) = schedule.take() {
            under_way.push((id, VecDeque::new(), 0));
        }
        if under_way.is_empty() {
            let left = schedule.left_waiting();
            assert!(left.is_empty(), "nobody can begin, and these were never begun: {left:?}");
            return End::Done(count);
        }
        let chosen = choose(under_way.len()) % under_way.len();
        let (id, effects, rounds) = &mut under_way[chosen];
        if let Some(effect) = effects.pop_front() {
            count += 1;
            watch(world, &effect);
            let at = |moment| stop.filter(|(stop, _)| *stop == moment).map(|(_, cut)| cut);
            if let Some(cut) = at(Moment::Before(count)) {
                world.cut(cut);
                return End::Cut;
            }
            let inside = at(Moment::Inside(count));
            let extent = if inside.is_some() { Extent::Part } else { Extent::Whole };
            if let Err(why) = world.apply(&effect, extent) {
                return End::Failed(id.clone(), format!("{}: {why}", effect.describe()));
            }
            if let Some(cut) = inside.or(at(Moment::After(count))) {
                world.cut(cut);
                return End::Cut;
            }
            continue;
        }
        match world.look(|seen| plan::diff(by_id[&*id], seen)) {
            Diff::Settled { .. } => {
                schedule.finish(id, Standing::Done);
                under_way.remove(chosen);
            }
            Diff::Change(_) if *rounds == ROUNDS => {
                return End::Failed(id.clone(), "it never settles".to_owned());
            }
            Diff::Change(step) if step.risk > agreed => {
                return End::Failed(id.clone(), format!("{}: more than was agreed to", step.what));
            }
            Diff::Change(step) => {
                *rounds += 1;
                *effects = step.effects.into();
            }
            other => return End::Failed(id.clone(), format!("{other:?}")),
        }
    }
}

/// Brings `world` to where it should be and hands back what it was like before
/// each effect, and the effect.
pub fn record(world: &mut MemoryWorld) -> Vec<(MemoryWorld, Effect)> {
    let mut before = Vec::new();
    let end = run_watched(world, &mut in_order, None, Risk::Outage, &mut |world, effect| {
        before.push((world.clone(), effect.clone()));
    });
    assert_eq!(end, End::Done(before.len()));
    before
}

/// Brings `world` to where it should be, which must be possible.
pub fn bring_up(world: &mut MemoryWorld) -> usize {
    match run(world, &mut in_order, None) {
        End::Done(count) => count,
        other => panic!("{other:?}"),
    }
}

/// The plan for `world` as it is.
pub fn plan_for(world: &MemoryWorld) -> Plan {
    let resources = resource::all(world.site());
    world.look(|seen| Plan::make(&resources, seen))
}
