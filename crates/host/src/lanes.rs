//! Which image is loaded when: two at a time, those that others wait for first.

use std::{
    collections::BTreeSet,
    sync::{Condvar, Mutex, PoisonError},
};

use matrix_podman_core::service::Service;

/// Two lanes. Synapse's image is as large as the others together and is the last
/// thing that its first start waits for, so it has one to itself. The others
/// take turns on the other, PostgreSQL first: its cluster is still to be made.
#[derive(Default)]
pub(crate) struct LoadLanes {
    synapse: Lane,
    others: Lane,
}

/// A stretch of road for one at a time.
#[derive(Default)]
struct Lane {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    busy: bool,
    waiting: BTreeSet<Service>,
}

/// The right to load; dropping it lets the next one go.
pub(crate) struct OnLane<'a>(&'a Lane);

impl LoadLanes {
    /// Waits for the turn of `service`.
    pub(crate) fn take(&self, service: Service) -> OnLane<'_> {
        let lane = if service == Service::Synapse { &self.synapse } else { &self.others };
        let mut state = lane.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.waiting.insert(service);
        let not_yet = |state: &mut State| state.busy || state.waiting.first() != Some(&service);
        let mut state = lane.changed.wait_while(state, not_yet).unwrap_or_else(PoisonError::into_inner);
        state.waiting.remove(&service);
        state.busy = true;
        OnLane(lane)
    }
}

impl Drop for OnLane<'_> {
    fn drop(&mut self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).busy = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_others_wait_for_goes_first_and_synapse_waits_for_nobody() {
        let lanes = LoadLanes::default();
        let first = lanes.take(Service::Web);
        drop(lanes.take(Service::Synapse));
        let (done, order) = mpsc::channel();
        std::thread::scope(|scope| {
            for service in [Service::Redis, Service::Postgres] {
                let (done, lanes) = (done.clone(), &lanes);
                scope.spawn(move || {
                    let _lane = lanes.take(service);
                    done.send(service).unwrap();
                });
            }
            while lanes.others.state.lock().unwrap().waiting.len() < 2 {
                std::thread::yield_now();
            }
            drop(first);
        });
        assert_eq!(order.try_iter().collect::<Vec<_>>(), [Service::Postgres, Service::Redis]);
    }
}
