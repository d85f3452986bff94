//! The machine is the guest.

use std::{path::Path, sync::Mutex, time::Duration};

use matrix_podman_core::{
    effect::Local,
    fact::Fact,
    firewall, layout,
    observed::Answer,
    render::{ports, timer},
    service::Service,
    stack,
};

use super::{Keeper, Ownership};
use crate::{
    apply::network,
    failure::{Doing, Failure},
    file,
    guest::Doorway,
    lock::{self, LockHolder, RunLock},
    probe,
    process::Program,
    progress::Sink,
    world::World,
};

/// How long removing one thing may take.
const QUICK: Duration = Duration::from_secs(300);

/// See [`Keeper`].
#[derive(Default)]
pub(super) struct ThisMachine {
    /// What would be the guest's lock.
    lock: Mutex<Option<RunLock>>,
}

impl Keeper for ThisMachine {
    fn doorway(&self, _: &World) -> Result<Option<Doorway>, Failure> {
        Ok(None)
    }

    fn ownership(&self, _: &World) -> Result<Ownership, Failure> {
        Ok(Ownership::Ours)
    }

    fn observe(&self, _: &World, facts: &[Fact]) -> Vec<Answer> {
        probe::answer_all(facts)
    }

    fn hold(&self, world: &World, holder: &LockHolder, sink: &Sink) -> Result<(), Failure> {
        if let Ok(mut own) = self.lock.lock() {
            // One that an earlier piece of work of this run took is no other run's.
            own.take();
            world.note_holder(None);
            world.forget_images();
            *own = Some(RunLock::take(&lock::file_here("guest"), holder, sink)?);
            world.note_holder(Some(holder));
        }
        Ok(())
    }

    /// The one that runs is the one that is there.
    fn push_program(&self, _: &World, _: &Sink) -> Result<(), Failure> {
        Ok(())
    }

    fn apply(&self, _: &World, _: &Local, _: &Sink) -> Option<Result<(), Failure>> {
        None
    }

    fn losses(&self, _: &World) -> String {
        format!("the containers and {} on this machine", layout::ROOT)
    }

    fn remove(&self, _: &World, _: &Sink) -> Result<(), Failure> {
        remove_stack()
    }
}

/// Removes the rules that say who may speak to the ports.
fn open_ports() -> Result<(), Failure> {
    Program::new(["systemctl", "disable", "--now", "--", ports::UNIT]).deadline(QUICK).output();
    for path in ports::paths() {
        file::remove(Path::new(path.as_str()))?;
    }
    network::forget(firewall::PORTS_TABLE, "remove the rules of the published ports")
}

/// Removes the timers that update the server and look whether that is overdue: a guest
/// takes them along, a machine goes on without them.
fn forget_updates() -> Result<(), Failure> {
    let timers = [layout::UPDATE_TIMER, layout::WATCH_TIMER];
    Program::new(["systemctl", "disable", "--now", "--"].into_iter().chain(timers)).deadline(QUICK).output();
    timer::files().iter().try_for_each(|unit| file::remove(Path::new(unit.path.as_str())))
}

/// Removes the stack from this machine: units first, then containers, then data.
fn remove_stack() -> Result<(), Failure> {
    let doing = "stop the stack";
    forget_updates()?;
    for service in Service::ALL.into_iter().rev() {
        // A unit that is not there needs no stopping.
        Program::new(["systemctl", "stop", "--", &service.unit()]).deadline(QUICK).output();
        file::remove(Path::new(layout::container_file(service).as_str()))?;
        file::remove(Path::new(layout::labels_file(service).as_str()))?;
    }
    Program::new(["systemctl", "disable", "--now", "--", layout::STACK_UNIT]).deadline(QUICK).output();
    let own = stack::ALL.into_iter().filter_map(|room| Some(room.network()?.name));
    for name in [layout::DB_NETWORK, layout::EDGE_NETWORK, layout::EDGE_NETWORK_IPV6].into_iter().chain(own) {
        Program::new(["systemctl", "stop", "--", &format!("{name}-network.service")])
            .deadline(QUICK)
            .output();
        file::remove(Path::new(layout::network_file(name).as_str()))?;
        Program::new(["podman", "network", "rm", "--force", "--", name]).deadline(QUICK).output();
    }
    open_ports()?;
    file::remove(Path::new(layout::MOTD_HOOK))?;
    file::remove(&Path::new("/etc/systemd/system").join(layout::STACK_UNIT))?;
    Program::new(["systemctl", "daemon-reload"]).deadline(QUICK).run(doing, &|_| {})?;
    file::remove_tree(Path::new(layout::ROOT)).doing(|| format!("remove {}", layout::ROOT))
}
