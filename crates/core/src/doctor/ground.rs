//! What everything in the guest stands on: disk, clock, names, memory, and a
//! container runtime that works.

use super::{Case, Found, Mend};
use crate::{
    disk,
    fact::{Ran, Room, Side},
    ids, layout,
    lock::LockedImages,
    name::AbsPath,
    observed::Seen,
    resource::read_lock,
    service::ServiceId,
    size::{Bytes, Seconds},
    stack::{self, Data},
};

/// Below this, it is time to do something.
const LOW: u64 = 2 << 30;
/// How far a file may seem to come from the future: clocks are set in steps.
const AHEAD: u64 = 300;

fn rooms<'a>(case: &Case<'a>) -> Seen<Vec<(AbsPath, Room)>> {
    // All are asked before the first answer is looked at.
    let asked: Vec<_> =
        disk::places_in_guest().into_iter().map(|path| (case.seen.room(Side::Guest, &path), path)).collect();
    let mut rooms: Vec<(AbsPath, Room)> = Vec::new();
    for (room, path) in asked {
        // A file system is told of once, by its first place.
        if let Some(room) = room?
            && !rooms.iter().any(|(_, other)| *other == room)
        {
            rooms.push((path, room));
        }
    }
    Ok(rooms)
}

pub(super) fn disk_full(case: &Case<'_>) -> Found {
    Ok(rooms(case)?.into_iter().find(|(_, room)| disk::is_full(*room)).map(|(path, room)| {
        let what = format!("The disk that holds {path} is full.");
        (what, vec![disk::left(room)], make_room(case))
    }))
}

fn make_room(case: &Case<'_>) -> Mend {
    let look = "du --one-file-system --max-depth=2 /opt/matrix /var/lib/containers /var/log";
    Mend::Type(format!("{}   # what takes the room: make some, or give the disk more", case.in_guest(look)))
}

pub(super) fn disk_low(case: &Case<'_>) -> Found {
    if case.has("disk/full") {
        return Ok(None);
    }
    let low = |room: &Room| room.free < LOW.min(room.total / 5);
    Ok(rooms(case)?.into_iter().find(|(_, room)| low(room)).map(|(path, room)| {
        (
            format!("The disk that holds {path} is nearly full."),
            vec![format!("{} of {} are free there", Bytes(room.free).rounded(), Bytes(room.total).rounded())],
            make_room(case),
        )
    }))
}

pub(super) fn clock(case: &Case<'_>) -> Found {
    let files = (13..=20)
        .map(|major| layout::in_root(&format!("postgresdata/{major}/docker/global/pg_control")))
        .chain([layout::lock_file(), layout::applied_config(), AbsPath::known("/var/lib/dpkg/status")]);
    let clock = case.seen.newest(files)?;
    Ok(match &clock.file {
        Some((path, written)) if *written > clock.now + AHEAD => Some((
            "The clock is wrong: it is behind what was already written.".to_owned(),
            vec![format!("{path} was last written {} from now", Seconds(written - clock.now).rounded())],
            // A guest has the machine's clock and cannot set it.
            Mend::Type("timedatectl set-ntp true   # on the machine, whose clock the guest uses".to_owned()),
        )),
        _ => None,
    })
}

pub(super) fn names(case: &Case<'_>) -> Found {
    let servers = case.seen.system(Side::Guest)?.resolvers.clone();
    let edit = || {
        let mend = if case.drifts(&ids::MACHINE_NETWORK) {
            Mend::Up
        } else {
            Mend::Type(format!(
                "{}   # which they are; name a server that answers",
                case.in_guest("cat /etc/resolv.conf")
            ))
        };
        ("The guest cannot look up any name.".to_owned(), mend)
    };
    if servers.is_empty() {
        let (what, mend) = edit();
        return Ok(Some((what, vec!["/etc/resolv.conf names no server".to_owned()], mend)));
    }
    // Others than IPv4 addresses cannot be asked about here and count as good.
    let asked: Vec<_> =
        servers.iter().map(|text| text.parse().map_or(Ok(true), |at| case.seen.name_server(at))).collect();
    for answer in asked {
        if answer? {
            return Ok(None);
        }
    }
    let (what, mend) = edit();
    Ok(Some((what, vec![format!("{} does not answer", servers.join(", "))], mend)))
}

pub(super) fn memory(case: &Case<'_>) -> Found {
    let guest = &case.site.config.guest;
    Ok(case.site.backend.oom_kills(case.site, case.seen)?.filter(|kills| *kills > 0).map(|kills| {
        let more = Bytes(guest.memory.0 + guest.memory.0.div_ceil(2)).as_mib();
        (
            "The guest ran out of memory, and the kernel ended processes in it.".to_owned(),
            vec![format!("{kills} killed since the guest was started; it may use {}", *guest.memory)],
            Mend::Type(format!("write guest.memory = \"{more}M\" in matrix.toml, then `matrix-podman up`")),
        )
    }))
}

/// The trial container, with or without the stack's networks.
fn trial<'a>(case: &Case<'a>, networks: &[&str], name: &str) -> Seen<Option<&'a Ran>> {
    // The image of who looks up others has `getent` in it, official and built alike.
    let lock = read_lock(case.seen)?;
    let looks_up = |images: &LockedImages| {
        let mut rooms = stack::ALL.into_iter().filter(|room| !room.needs().is_empty());
        rooms.find_map(|room| Some(images.get(&room.id())?.run.clone()))
    };
    let Some(image) = lock.and_then(|lock| looks_up(&lock.images)) else {
        return Ok(None);
    };
    case.seen.canary(&image, networks, name).map(Some)
}

/// Podman's own exit statuses for a container that it could not run.
fn could_not_run(trial: &Ran) -> bool {
    matches!(trial.status, None | Some(125 | 126))
}

pub(super) fn runtime(case: &Case<'_>) -> Found {
    let Some(trial) = trial(case, &[], "localhost")? else { return Ok(None) };
    if !could_not_run(trial) {
        return Ok(None);
    }
    let mend = match case.site.backend {
        _ if case.drifts(&ids::GUEST_PODMAN) || case.drifts(&ids::GUEST_PACKAGES) => Mend::Up,
        _ => {
            let command = case.in_guest("apt-get install --reinstall crun podman conmon netavark");
            Mend::Type(format!("{command}   # if an upgrade broke it, go back to the version before"))
        }
    };
    Ok(Some(("Containers cannot be started in the guest.".to_owned(), tail(trial), mend)))
}

fn tail(trial: &Ran) -> Vec<String> {
    match trial.said.as_slice() {
        [] => vec!["a trial container did not start in time".to_owned()],
        said => said[said.len().saturating_sub(3)..].to_vec(),
    }
}

/// Whether containers find each other by name.
pub(super) fn container_names(case: &Case<'_>) -> Found {
    if case.has("runtime/") {
        return Ok(None);
    }
    for room in stack::ALL {
        let mut needs = room.needs().iter().filter(|need| stack::room(**need).data() == Data::Cluster);
        if let Some(need) = needs.next()
            && case.runs(*need)?
            && let Some(found) = not_found(case, room.id(), *need)?
        {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

/// Whether `service` does not find the one that it needs.
fn not_found(case: &Case<'_>, service: ServiceId, need: ServiceId) -> Found {
    // A trial container would make Podman start the name server anew, so one
    // that runs already is asked where there is one.
    let (trial, who) = if case.runs(service)? {
        (case.seen.lookup(service.name(), need.name())?, service.name())
    } else {
        match trial(case, &[layout::DB_NETWORK], need.name())? {
            Some(trial) if could_not_run(trial) => {
                let what = "Containers cannot be connected to the stack's networks.".to_owned();
                return Ok(Some((what, tail(trial), Mend::Restart(need))));
            }
            Some(trial) => (trial, "a trial container"),
            None => return Ok(None),
        }
    };
    Ok(match trial.status {
        // `getent`'s own word for "not found".
        Some(2) => Some((
            "Containers cannot find each other by name.".to_owned(),
            vec![format!("{who} does not find {need} in the network {}", layout::DB_NETWORK)],
            Mend::Restart(service),
        )),
        _ => None,
    })
}
