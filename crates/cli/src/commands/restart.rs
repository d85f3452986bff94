//! `restart`: restart services, and wait until they answer.

use std::path::Path;

use matrix_podman_core::{effect::Effect, service::Service, size::Seconds};
use matrix_podman_host::run::{Event, LockHolder, RunLock};

use crate::{args, error::Error, output, site};

/// As long as a unit may take to start.
const PATIENCE: Seconds = Seconds(2100);

pub fn run(config: Option<&Path>, args: &args::Restart) -> Result<u8, Error> {
    let named: Vec<Service> = args.services.iter().map(|s| Service::from(*s)).collect();
    services(config, &named)?;
    super::OK
}

/// Restarts `named`, or all when none is, in the order in which they start.
pub fn services(config: Option<&Path>, named: &[Service]) -> Result<(), Error> {
    let (world, _) = super::world(config)?;
    let listener = output::listener(false);
    let holder = LockHolder::this("restart");
    let _lock = RunLock::take(&site::state_folder(world.site()).join("run.lock"), &holder, &|_| {})?;
    world.hold(&holder, &|_| {})?;
    let services = Service::ALL.into_iter().filter(|s| named.is_empty() || named.contains(s));
    for service in services {
        let effect = Effect::StartService { service, restart: true, timeout: PATIENCE };
        let what = format!("Restart {}", service.title());
        let started = std::time::Instant::now();
        listener.on(&Event::Started { id: service.name(), what: &what });
        let result =
            world.apply(&effect, &|saying| listener.on(&Event::Said { id: service.name(), saying: &saying }));
        match &result {
            Ok(()) => {
                let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
                listener.on(&Event::Finished { id: service.name(), what: &what, millis });
            }
            Err(failure) => {
                listener.on(&Event::Failed { id: service.name(), what: &what, why: failure.to_string() });
            }
        }
        result?;
    }
    Ok(())
}
