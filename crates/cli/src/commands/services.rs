//! `restart`, `stop`, `start`: services, in the order in which they need each
//! other, and waited for.

use std::{path::Path, time::Instant};

use matrix_podman_core::{effect::Effect, service::Service, size::Seconds};
use matrix_podman_host::{
    failure::Failure,
    lock::{LockHolder, RunLock},
    progress::{Event, Listener},
};

use crate::{args, error::Error, output::Reporter, site};

/// As long as a unit may take to start.
const PATIENCE: Seconds = Seconds(2100);

/// What is done with them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    Restart,
    Stop,
    Start,
}

impl Verb {
    fn sentence(self, service: Service) -> String {
        let verb = match self {
            Verb::Restart => "Restart",
            Verb::Stop => "Stop",
            Verb::Start => "Start",
        };
        format!("{verb} {}", service.title())
    }

    fn effect(self, service: Service) -> Effect {
        match self {
            Verb::Restart => Effect::StartService { service, restart: true, timeout: PATIENCE },
            Verb::Start => Effect::StartService { service, restart: false, timeout: PATIENCE },
            Verb::Stop => Effect::StopService { service },
        }
    }
}

pub fn run(config: Option<&Path>, args: &args::Services, verb: Verb, out: &Reporter) -> Result<u8, Error> {
    let named: Vec<Service> = args.services.iter().map(|s| Service::from(*s)).collect();
    act(config, &named, verb, out)?;
    super::OK
}

/// Does it with `named`, or with all when none is.
pub fn act(config: Option<&Path>, named: &[Service], verb: Verb, out: &Reporter) -> Result<(), Error> {
    let (world, _) = super::world(config, out)?;
    let listener = out.listener();
    let holder = LockHolder::this(&format!("{verb:?}").to_lowercase());
    let _lock = RunLock::take(&site::state_folder(world.site()).join("run.lock"), &holder, &|_| {})?;
    world.hold(&holder, &|_| {})?;
    let mut services: Vec<Service> =
        Service::ALL.into_iter().filter(|s| named.is_empty() || named.contains(s)).collect();
    if verb == Verb::Stop {
        services.reverse();
    }
    for service in services {
        shown(listener.as_ref(), service, &verb.sentence(service), || {
            world.apply(&verb.effect(service), &|saying| {
                listener.on(&Event::Said { id: service.name(), saying: &saying });
            })
        })?;
    }
    Ok(())
}

fn shown(
    listener: &dyn Listener,
    service: Service,
    what: &str,
    act: impl FnOnce() -> Result<(), Failure>,
) -> Result<(), Failure> {
    let id = service.name();
    let started = Instant::now();
    listener.on(&Event::Started { id, what });
    let result = act();
    match &result {
        Ok(()) => {
            let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            listener.on(&Event::Finished { id, what, millis });
        }
        Err(failure) => listener.on(&Event::Failed { id, what, why: failure.to_string() }),
    }
    result
}
