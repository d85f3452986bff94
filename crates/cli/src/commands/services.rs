//! `restart`, `stop`, `start`: services, in the order in which they need each
//! other, and waited for.

use std::path::Path;

use matrix_podman_core::{
    effect::{Effect, Local},
    fact::Side,
    name::{Mode, Owner},
    service::Service,
    size::Seconds,
    stack, stopped,
};
use matrix_podman_host::{
    lock::{LockHolder, RunLock},
    progress::told,
    world::World,
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
            Verb::Restart => Effect::Here(Local::StartService { service, restart: true, timeout: PATIENCE }),
            Verb::Start => Effect::Here(Local::StartService { service, restart: false, timeout: PATIENCE }),
            Verb::Stop => Effect::Here(Local::StopService { service }),
        }
    }
}

pub fn run(config: Option<&Path>, args: &args::Services, verb: Verb, out: &Reporter) -> Result<u8, Error> {
    act(config, &args.services, verb, out)?;
    super::OK
}

/// Says of a service that the config has it switched off.
pub fn switched_off(service: Service) -> Error {
    Error::usage(
        format!("{service} is switched off"),
        format!("`matrix-podman status` shows what runs; matrix.toml says whether {} does", service.title()),
    )
}

/// Does it with `named`, or with all when none is.
pub fn act(config: Option<&Path>, named: &[Service], verb: Verb, out: &Reporter) -> Result<(), Error> {
    let (world, _) = super::world(config, out)?;
    let listener = out.listener();
    let holder = LockHolder::this(&format!("{verb:?}").to_lowercase());
    let _lock = RunLock::take(&site::state_folder(world.site()).join("run.lock"), &holder, &|_| {})?;
    world.hold(&holder, &|_| {})?;
    let on = stack::services(&world.site().config);
    if let Some(off) = named.iter().find(|service| !on.contains(service)) {
        return Err(switched_off(*off));
    }
    let mut services: Vec<Service> =
        on.into_iter().filter(|s| named.is_empty() || named.contains(s)).collect();
    if verb == Verb::Stop {
        services.reverse();
    }
    for service in services {
        told(listener.as_ref(), service.name(), &verb.sentence(service), |sink| {
            world.apply(&verb.effect(service), sink)
        })?;
        if verb == Verb::Stop {
            note_stopped(&world, service);
        }
    }
    Ok(())
}

/// Notes for `status` and `doctor` that the operator stopped a service; what starts it again
/// removes the note. That it cannot be noted is no reason to fail.
fn note_stopped(world: &World, service: Service) {
    let note = Local::WriteFile {
        side: Side::Guest,
        path: stopped::file(service),
        content: String::new(),
        mode: Mode(0o600),
        owner: Owner::ROOT,
    };
    let _ = world.apply(&Effect::Here(note), &|_| {});
}
