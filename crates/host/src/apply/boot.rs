//! Waiting for the guest to have booted and for the stack to be ready.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use matrix_podman_core::{
    fact::{Fact, Health, Value},
    layout,
    observed::Answer,
    service::Service,
};

use crate::{
    failure::Failure,
    probe,
    process::Program,
    progress::{Saying, Sink},
};

/// How long a guest may take to have a working systemd and an address.
const BOOT: Duration = Duration::from_secs(180);
/// How long the stack may take to be ready after that.
const STACK: Duration = Duration::from_secs(600);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);

/// Waits until systemd has done all that it does at boot and there is an address.
pub(super) fn await_boot(sink: &Sink) -> Result<(), Failure> {
    sink(Saying::WaitsFor("the guest's systemd and an address".to_owned()));
    let started = Instant::now();
    loop {
        let output = Program::new(["systemctl", "is-system-running", "--wait"]).deadline(BOOT).output();
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let up = matches!(said.as_str(), "running" | "degraded");
        let address = match probe::answer(&Fact::System) {
            Answer::Known(Value::System(system)) => system.address,
            _ => None,
        };
        if up && address.is_some() {
            return Ok(());
        }
        if started.elapsed() > BOOT {
            let (why, hint) = if up {
                (
                    "it has no address",
                    "see whether a DHCP server answers on its bridge (and VLAN), or write a fixed guest.network.address",
                )
            } else {
                ("its systemd is not done", "`systemctl list-jobs` in the guest shows what it waits for")
            };
            return Err(Failure::new(
                "wait for the guest to boot",
                format!("{why} after {} s", BOOT.as_secs()),
            )
            .hint(hint));
        }
        std::thread::sleep(LOOK);
    }
}

/// The services that have a unit.
fn set_up() -> impl Iterator<Item = Service> {
    let has_unit = |service: &Service| Path::new(layout::container_file(*service).as_str()).exists();
    Service::ALL.into_iter().filter(has_unit)
}

/// Waits until all services are ready, without helping them.
pub(super) fn await_stack(sink: &Sink) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        let containers = match probe::answer(&Fact::Containers) {
            Answer::Known(Value::Containers(containers)) => containers,
            _ => Vec::new(),
        };
        let ready = |service: &Service| {
            containers
                .iter()
                .any(|c| c.name == service.name() && c.state == "running" && c.health == Health::Healthy)
        };
        let missing: Vec<&str> = set_up().filter(|service| !ready(service)).map(Service::title).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if started.elapsed() > STACK {
            return Err(Failure::new(
                "see the stack come back after a restart",
                format!("{} did not come back in {} s", missing.join(", "), STACK.as_secs()),
            )
            .hint("`matrix-podman logs` says why; `matrix-podman up` tries again"));
        }
        sink(Saying::WaitsFor(format!("{} to come back", missing.join(", "))));
        std::thread::sleep(LOOK);
    }
}
