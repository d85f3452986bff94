//! Removing a site, which is never a part of anything else.

use std::{fs, path::Path, time::Duration};

use matrix_podman_core::{
    config::{Config, Network},
    effect::Container,
    fact::nat_table,
    layout,
    name::{Mode, Owner},
    observed::Observed,
    render::{
        backups::{self, Chore},
        machine,
    },
    resource::{self, BRIDGE_PID_FILES, Backend, Claim, Place},
    service::Service,
};

use crate::{
    apply::{Sink, file, lxc, proxmox},
    failure::{Doing, Failure},
    process::Program,
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
                Network::Own { bridge, .. } => take_down_unused(bridge.as_str()),
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
    let Some(Claim { container }) = Claim::parse(&text) else { return Ok(None) };
    let found = world.look(&mut Observed::default(), |seen| {
        resource::find_container(world.site(), seen).map(|place| match place {
            Place::Here { container, .. } => Some((container, false)),
            Place::Unfinished { container } => Some((container, true)),
            Place::Absent | Place::Refused { .. } => None,
        })
    })?;
    Ok(match found {
        Ok(Some((found, unfinished))) if found == container => Some(Failed { container, unfinished }),
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
}

/// Removes what a failed first run left.
pub fn remove_failed(world: &World, failed: &Failed, sink: &Sink) -> Result<(), Failure> {
    let Failed { container, unfinished } = failed;
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

/// Removes the timers that make backups, or the lines for cron.
fn forget_timers(config: &Config) -> Result<(), Failure> {
    file::remove(Path::new(backups::cron_file(config).path.as_str()))?;
    for chore in Chore::ALL {
        let units = chore.units(config);
        if !units.iter().any(|unit| Path::new(unit.path.as_str()).exists()) {
            continue;
        }
        Program::new(["systemctl", "disable", "--now", "--", &chore.timer(config)]).deadline(QUICK).output();
        units.iter().try_for_each(|unit| file::remove(Path::new(unit.path.as_str())))?;
        Program::new(["systemctl", "daemon-reload"]).deadline(QUICK).output();
    }
    Ok(())
}

/// Takes the program's own bridge down when no guest is on it any more.
fn take_down_unused(bridge: &str) -> Result<(), Failure> {
    let doing = format!("take down the bridge {bridge}");
    let used = fs::read_dir(lxc::LXC).is_ok_and(|guests| {
        guests.filter_map(Result::ok).any(|guest| {
            fs::read_to_string(guest.path().join("config")).is_ok_and(|config| {
                config.lines().any(|line| line.replace(' ', "") == format!("lxc.net.0.link={bridge}"))
            })
        })
    });
    let link = Path::new("/sys/class/net").join(bridge);
    if used || fs::read_dir(link.join("brif")).is_ok_and(|mut members| members.next().is_some()) {
        return Ok(());
    }
    let folder = Path::new(BRIDGE_PID_FILES).join(bridge);
    if let Ok(pid) = fs::read_to_string(folder.join("dnsmasq.pid"))
        && let Some(pid) = pid.trim().parse().ok().and_then(rustix::process::Pid::from_raw)
    {
        // A dnsmasq that is gone already is what is wanted.
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
    file::remove_partial(&folder)?;
    let table = nat_table(bridge);
    if Program::new(["nft", "list", "table", "inet", &table]).output().status == Some(0) {
        Program::new(["nft", "delete", "table", "inet", &table]).deadline(QUICK).run(&doing, &|_| {})?;
    }
    if link.exists() {
        Program::new(["ip", "link", "delete", "dev", bridge]).deadline(QUICK).run(&doing, &|_| {})?;
    }
    Ok(())
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
    file::remove(Path::new(layout::MOTD_HOOK))?;
    file::remove(&Path::new("/etc/systemd/system").join(layout::STACK_UNIT))?;
    Program::new(["systemctl", "daemon-reload"]).deadline(QUICK).run(doing, &|_| {})?;
    fs::remove_dir_all(layout::ROOT)
        .or_else(|e| if e.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(e) })
        .doing(|| format!("remove {}", layout::ROOT))
}
