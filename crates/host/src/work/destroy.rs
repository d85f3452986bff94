//! Removing a site, which is never a part of anything else.

use std::{fs, path::Path, time::Duration};

use matrix_podman_core::{
    config::{Config, Network},
    effect::Container,
    firewall, layout,
    name::{Mode, Owner},
    observed::{Gap, Observed},
    render::{
        backups::{self, Chore},
        machine, ports, timer,
    },
    resource::{self, Backend, Claim, Place},
    service::Service,
};

use crate::{
    apply::{lxc, network, proxmox},
    failure::{Doing, Failure},
    file,
    probe::lxc::LXC,
    process::Program,
    progress::Sink,
    world::World,
};

const QUICK: Duration = Duration::from_secs(300);

/// What would be lost, in sentences.
pub fn losses(world: &World) -> Vec<String> {
    let config = &world.site().config;
    let place = match world.site().backend {
        Backend::Proxmox => {
            let id = world.container().map(|container| container.id.to_string()).unwrap_or_default();
            format!("the container {id} ({}) with its disks and everything on them", config.guest.name)
        }
        Backend::Lxc => format!("the guest {} with everything in it", config.guest.name),
        Backend::ThisMachine => format!("the four containers and {} on this machine", layout::ROOT),
    };
    vec![
        place,
        "all accounts, rooms, messages and media (the PostgreSQL database and the media store)".to_owned(),
        format!(
            "the signing key: nobody can ever be {} again in the eyes of other servers",
            config.server_name
        ),
    ]
}

/// Whether a removal of the site was cut off: it goes on with the next one. One of an
/// older version is known by what it left of the guest, with keys and database in it.
pub fn is_begun(world: &World) -> bool {
    let config = &world.site().config;
    let noted = Path::new(layout::destroy_begun(config.site()).as_str()).exists();
    let left = || lxc::is_half_removed(config.guest.name.as_str(), config.site());
    noted || (world.site().backend == Backend::Lxc && left())
}

/// Removes the site, or goes on with a removal that was cut off.
pub fn destroy(world: &World, sink: &Sink) -> Result<(), Failure> {
    let begun = layout::destroy_begun(world.site().config.site());
    file::write(Path::new(begun.as_str()), b"", Mode(0o600), Owner::ROOT)?;
    carry_out(world, sink)?;
    let begun = Path::new(begun.as_str());
    file::remove(begun)?;
    file::sync_folder(begun.parent().unwrap_or(Path::new("/"))).doing(|| "note that the site is removed")
}

fn carry_out(world: &World, sink: &Sink) -> Result<(), Failure> {
    // What is gone needs no backups any more; those that there are stay.
    forget_timers(&world.site().config)?;
    match world.site().backend {
        Backend::Proxmox => {
            let place = world.look(&mut Observed::default(), |seen| {
                resource::find_container(world.site(), seen).map(|place| place == Place::Absent)
            })?;
            if place == Ok(true) {
                // A removal that was cut off came that far.
                return Ok(());
            }
            let container = world.container()?;
            world.hang_up();
            proxmox::destroy(&container, false, sink)
        }
        Backend::Lxc => {
            world.hang_up();
            forget_boot(&machine::boot_unit(&world.site().config))?;
            lxc::destroy(world.site().config.guest.name.as_str())?;
            match &world.site().config.guest.network {
                Network::Own { bridge, .. } => {
                    leave_network(bridge.as_str(), world.site().config.guest.name.as_str())
                }
                Network::Existing { .. } => Ok(()),
            }
        }
        Backend::ThisMachine => destroy_here(),
    }
}

/// A container of Proxmox's that this site made and that never held a
/// database: what a failed first run left.
pub fn failed(world: &World) -> Result<Option<Failed>, Failure> {
    if world.site().backend != Backend::Proxmox {
        return Ok(None);
    }
    let file = layout::container_claim(world.site().config.site());
    let Ok(text) = fs::read_to_string(file.as_str()) else { return Ok(None) };
    let Some(claim) = Claim::parse(&text) else { return Ok(None) };
    let found = world.look(&mut Observed::default(), |seen| {
        Ok::<_, Gap>(match resource::find_container(world.site(), seen)? {
            Place::Here { container, .. } => Some((container, false)),
            Place::Unfinished { container } => {
                // One that Proxmox went on with is whole.
                let finished = resource::was_finished(world.site(), seen, &container)?;
                Some((container, !finished))
            }
            Place::Absent | Place::Refused { .. } => None,
        })
    })?;
    Ok(match found {
        Ok(Some((found, unfinished))) if found == claim.container => {
            Some(Failed { container: found, unfinished, claim })
        }
        _ => None,
    })
}

/// See [`failed`].
#[derive(Debug, Clone)]
pub struct Failed {
    /// The container.
    pub container: Container,
    /// Whether not even its making was finished.
    pub unfinished: bool,
    /// What was written down before it was made.
    claim: Claim,
}

/// Removes what a failed first run left.
pub fn remove_failed(world: &World, failed: &Failed, sink: &Sink) -> Result<(), Failure> {
    let Failed { container, unfinished, claim } = failed;
    world.hang_up();
    if *unfinished {
        let tasks = proxmox::busy_with(container)?;
        if !tasks.is_empty() {
            return Err(Failure::new(
                format!("remove the container {}", container.id),
                format!("Proxmox is still at work on it ({})", tasks.join(", ")),
            )
            .hint("wait until that task is over, then run the same again"));
        }
    }
    proxmox::destroy(container, *unfinished, sink)?;
    // The settings of one whose making was cut off do not know its volumes yet.
    proxmox::sweep(claim, &format!("remove the container {}", container.id), sink)?;
    world.forget_guests();
    file::remove(Path::new(layout::container_claim(world.site().config.site()).as_str()))
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

/// Removes the timers that make backups and updates, or the lines for cron.
fn forget_timers(config: &Config) -> Result<(), Failure> {
    for cron in [backups::cron_file(config), timer::cron_file(config)] {
        file::remove(Path::new(cron.path.as_str()))?;
    }
    let chores = Chore::ALL.map(|chore| (chore.units(config).to_vec(), chore.timer(config)));
    let updates = (timer::machine_files(config).to_vec(), timer::machine_timer(config));
    for (units, timer) in chores.into_iter().chain([updates]) {
        if !units.iter().any(|unit| Path::new(unit.path.as_str()).exists()) {
            continue;
        }
        Program::new(["systemctl", "disable", "--now", "--", &timer]).deadline(QUICK).output();
        units.iter().try_for_each(|unit| file::remove(Path::new(unit.path.as_str())))?;
        Program::new(["systemctl", "daemon-reload"]).deadline(QUICK).output();
    }
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

/// Removes the rules that say who may speak to the ports.
fn open_ports() -> Result<(), Failure> {
    Program::new(["systemctl", "disable", "--now", "--", ports::UNIT]).deadline(QUICK).output();
    for path in ports::paths() {
        file::remove(Path::new(path.as_str()))?;
    }
    network::forget(firewall::PORTS_TABLE, "remove the rules of the published ports")
}

/// Removes the stack from this machine: units first, then containers, then data.
fn destroy_here() -> Result<(), Failure> {
    let doing = "stop the stack";
    for service in Service::ALL.into_iter().rev() {
        // A unit that is not there needs no stopping.
        Program::new(["systemctl", "stop", "--", &service.unit()]).deadline(QUICK).output();
        file::remove(Path::new(layout::container_file(service).as_str()))?;
        file::remove(Path::new(layout::labels_file(service).as_str()))?;
    }
    Program::new(["systemctl", "disable", "--now", "--", layout::STACK_UNIT]).deadline(QUICK).output();
    for name in [layout::DB_NETWORK, layout::EDGE_NETWORK, layout::EDGE_NETWORK_IPV6] {
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
