//! Which image is loaded when: those that others wait for first.

use std::{
    collections::BTreeSet,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use matrix_podman_core::service::Service;

/// How long one that can wait looks out for others to be let by: at the beginning
/// of a run all come within a moment, in no particular order.
const LOOK_OUT: Duration = Duration::from_millis(100);

/// The road that images come on, a lane for one: loading keeps a processor and the
/// disk busy by itself. They go in the order in which services start, each behind what
/// it needs. PostgreSQL's cluster is made while Redis' image and then Synapse's are
/// loaded, and Redis is started meanwhile. The web client, which nobody waits for, is
/// loaded while Synapse starts.
#[derive(Default)]
pub(crate) struct LoadLane {
    road: Mutex<Road>,
    changed: Condvar,
}

#[derive(Default)]
struct Road {
    loading: Option<Service>,
    waiting: BTreeSet<Service>,
}

impl Road {
    fn is_free_for(&self, service: Service) -> bool {
        self.loading.is_none() && self.waiting.first() == Some(&service)
    }
}

/// The right to load; dropping it lets the next one go.
pub(crate) struct LoadTurn<'a>(&'a LoadLane);

impl LoadLane {
    /// Waits for the turn of `service`.
    pub(crate) fn take(&self, service: Service) -> LoadTurn<'_> {
        let mut road = self.road();
        road.waiting.insert(service);
        if Some(&service) != Service::ALL.first() {
            road = self
                .changed
                .wait_timeout_while(road, LOOK_OUT, |_| true)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        let mut road = self
            .changed
            .wait_while(road, |road| !road.is_free_for(service))
            .unwrap_or_else(PoisonError::into_inner);
        road.waiting.remove(&service);
        road.loading = Some(service);
        LoadTurn(self)
    }

    fn road(&self) -> MutexGuard<'_, Road> {
        self.road.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LoadTurn<'_> {
    fn drop(&mut self) {
        self.0.road().loading = None;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use matrix_podman_core::stack;

    use super::*;

    #[test]
    fn who_others_wait_for_goes_first_and_one_at_a_time() {
        let lane = LoadLane::default();
        let (done, order) = mpsc::channel();
        std::thread::scope(|scope| {
            let mut last_first = Service::ALL;
            last_first.reverse();
            let ends = last_first.map(|service| {
                let (done, lane) = (done.clone(), &lane);
                let (end, may_end) = mpsc::channel::<()>();
                scope.spawn(move || {
                    let _turn = lane.take(service);
                    done.send(service).unwrap();
                    let _ = may_end.recv();
                });
                (service, end)
            });
            let mut ends = std::collections::BTreeMap::from(ends);
            for service in Service::ALL {
                assert_eq!(order.recv_timeout(9 * LOOK_OUT), Ok(service));
                assert!(order.recv_timeout(2 * LOOK_OUT).is_err(), "another goes before its end");
                drop(ends.remove(&service));
            }
        });
    }

    #[test]
    fn one_that_is_alone_goes() {
        let lane = LoadLane::default();
        drop(lane.take(stack::element::ID));
        drop(lane.take(stack::synapse::ID));
    }
}
