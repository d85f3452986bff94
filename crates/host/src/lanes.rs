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

/// The order of a first start. PostgreSQL's image goes first and alone: its
/// cluster is still to be made, and what it shares with the others is then there.
/// Synapse's, as large as the others together, and Redis' come beside the making
/// of the cluster. The web client, which nobody waits for, is loaded while Synapse
/// starts.
#[derive(Default)]
pub(crate) struct LoadLanes {
    road: Mutex<Road>,
    changed: Condvar,
}

#[derive(Default)]
struct Road {
    loading: BTreeSet<Service>,
    waiting: BTreeSet<Service>,
}

impl Road {
    fn is_free_for(&self, service: Service) -> bool {
        let ahead: &[Service] = match service {
            Service::Postgres => &[],
            Service::Synapse | Service::Redis => &[Service::Postgres],
            Service::Web => &[Service::Postgres, Service::Redis, Service::Synapse],
        };
        !self.loading.contains(&service)
            && ahead.iter().all(|other| !self.loading.contains(other) && !self.waiting.contains(other))
    }
}

/// The right to load; dropping it lets the next one go.
pub(crate) struct OnLane<'a> {
    lanes: &'a LoadLanes,
    service: Service,
}

impl LoadLanes {
    /// Waits for the turn of `service`.
    pub(crate) fn take(&self, service: Service) -> OnLane<'_> {
        let mut road = self.road();
        road.waiting.insert(service);
        if service != Service::Postgres {
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
        road.loading.insert(service);
        OnLane { lanes: self, service }
    }

    fn road(&self) -> MutexGuard<'_, Road> {
        self.road.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for OnLane<'_> {
    fn drop(&mut self) {
        self.lanes.road().loading.remove(&self.service);
        self.lanes.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn who_others_wait_for_goes_first() {
        let lanes = LoadLanes::default();
        let (done, order) = mpsc::channel();
        std::thread::scope(|scope| {
            let all = [Service::Web, Service::Redis, Service::Synapse, Service::Postgres];
            let ends = all.map(|service| {
                let (done, lanes) = (done.clone(), &lanes);
                let (end, may_end) = mpsc::channel::<()>();
                scope.spawn(move || {
                    let _lane = lanes.take(service);
                    done.send(service).unwrap();
                    let _ = may_end.recv();
                });
                end
            });
            let [_web, redis, synapse, postgres] = ends;
            let next = || order.recv_timeout(3 * LOOK_OUT);
            assert_eq!(next(), Ok(Service::Postgres));
            assert!(next().is_err(), "they go before its end");
            drop(postgres);
            let both = [next().unwrap(), next().unwrap()];
            assert!(both.contains(&Service::Synapse) && both.contains(&Service::Redis));
            drop(redis);
            assert!(next().is_err(), "nobody waits for the web client but itself");
            drop(synapse);
            assert_eq!(next(), Ok(Service::Web));
        });
    }

    #[test]
    fn one_that_is_alone_goes() {
        let lanes = LoadLanes::default();
        drop(lanes.take(Service::Web));
        let _synapse = lanes.take(Service::Synapse);
        drop(lanes.take(Service::Postgres));
    }
}
