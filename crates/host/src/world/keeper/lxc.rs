//! A plain LXC guest, on this machine.

use std::{fs, path::Path, sync::Arc, time::Duration};

use matrix_podman_core::{
    config::{Config, Network},
    effect::Local,
    fact::GuestState,
    observed::Observed,
    render::machine,
};

use super::{Keeper, Ownership};
use crate::{
    apply::{self, lxc, network},
    failure::Failure,
    file,
    guest::{Connection, Doorway, wire::Request},
    lock::LockHolder,
    probe::lxc::LXC,
    process::Program,
    progress::Sink,
    world::World,
};

/// How long removing one thing may take.
const QUICK: Duration = Duration::from_secs(300);

/// See [`Keeper`].
pub(super) struct PlainLxc;

impl Keeper for PlainLxc {
    fn doorway(&self, world: &World) -> Result<Option<Doorway>, Failure> {
        Ok(Some(lxc::doorway(world.site.config.guest.name.as_str())))
    }

    fn ownership(&self, world: &World) -> Result<Ownership, Failure> {
        let name = world.site.config.guest.name.as_str();
        let state = world
            .look(&mut Observed::default(), |seen| seen.lxc(name).cloned())?
            .map_err(|_| Failure::new(format!("look at the guest {name}"), "its state is not known"))?;
        Ok(match state.site() {
            _ if state == GuestState::Absent => Ownership::Absent,
            Some(site) if site == world.site.config.site() => Ownership::Ours,
            other => Ownership::Foreign(other.map(str::to_owned)),
        })
    }

    fn hold(&self, world: &World, holder: &LockHolder, sink: &Sink) -> Result<(), Failure> {
        world.note_holder(Some(holder));
        // Somebody else may have changed them until now.
        world.forget_images();
        if let Some(open) = world.open_connection() {
            let locked = open.call(&Request::Lock(holder.clone()), sink);
            // One that broke while somebody thought about the plan says nothing
            // about the guest as it is now.
            if locked.is_ok() || !open.is_cut() {
                return locked;
            }
        }
        world.hang_up();
        if let (Ok(Some(doorway)), Ok(GuestState::Running { .. })) = (self.doorway(world), world.guest_state())
            // A guest that does not answer yet is locked once it does.
            && let Ok(connection) = Connection::open(&doorway)
        {
            connection.call(&Request::Lock(holder.clone()), sink)?;
            if let Ok(mut slot) = world.guest.write() {
                *slot = Some(Arc::new(connection));
            }
        }
        Ok(())
    }

    fn push_program(&self, world: &World, _: &Sink) -> Result<(), Failure> {
        world.hang_up();
        apply::program::push(&lxc::doorway(world.site.config.guest.name.as_str()))?;
        world.guest().map(drop)
    }

    fn apply(&self, world: &World, act: &Local, sink: &Sink) -> Option<Result<(), Failure>> {
        matches!(act, Local::StartGuest { .. } | Local::StopGuest { .. }).then(|| {
            world.hang_up();
            apply::apply(act, sink)
        })
    }

    fn losses(&self, world: &World) -> String {
        format!("the guest {} with everything in it", world.site.config.guest.name)
    }

    fn is_half_removed(&self, config: &Config) -> bool {
        lxc::is_half_removed(config.guest.name.as_str(), config.site())
    }

    fn remove(&self, world: &World, _: &Sink) -> Result<(), Failure> {
        let config = &world.site.config;
        let guest = config.guest.name.as_str();
        world.hang_up();
        forget_boot(&machine::boot_unit(config))?;
        lxc::destroy(guest)?;
        match &config.guest.network {
            Network::Own { bridge, .. } => leave_network(bridge.as_str(), guest),
            Network::Existing { .. } => Ok(()),
        }
    }
}

/// Removes the unit that brings the guest up at the machine's boot.
fn forget_boot(unit: &str) -> Result<(), Failure> {
    let file = Path::new("/etc/systemd/system").join(unit);
    if !file.exists() {
        return Ok(());
    }
    // Not stopped: what it would stop is removed next.
    Program::new(["systemctl", "disable", "--", unit]).deadline(QUICK).output();
    file::remove(&file)?;
    Program::new(["systemctl", "daemon-reload"]).deadline(QUICK).output();
    Ok(())
}

/// Takes the program's own bridge down when no guest is on it any more.
fn leave_network(bridge: &str, guest: &str) -> Result<(), Failure> {
    let used = fs::read_dir(LXC).is_ok_and(|guests| {
        guests.filter_map(Result::ok).any(|guest| {
            fs::read_to_string(guest.path().join("config")).is_ok_and(|config| {
                config.lines().any(|line| line.replace(' ', "") == format!("lxc.net.0.link={bridge}"))
            })
        })
    });
    network::leave(bridge, guest, used)
}
