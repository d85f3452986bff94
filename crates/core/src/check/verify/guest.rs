//! The guest and what runs in it.

use super::{Asked, Check, Question, address};
use crate::{
    fact::{GuestState, Health, HttpAnswer, HttpQuestion, Side},
    layout,
    lock::Lock,
    name::AbsPath,
    observed::{Observed, Seen},
    resource,
    size::Bytes,
    stack,
};

pub(super) const QUESTIONS: &[Question] = &[
    ("guest/running", running),
    ("guest/units", units),
    ("guest/containers", containers),
    ("guest/versions", versions),
    ("guest/restarts", restarts),
    ("guest/disk", disk),
    ("guest/memory", memory),
    ("guest/clock", clock),
    ("guest/reboot", reboot),
];

/// Below this, PostgreSQL may stop at any time.
const DISK_FULL: Bytes = Bytes::gib(1);
/// Below this, it is time to do something.
const DISK_LOW: Bytes = Bytes::gib(3);
/// Below this much free memory the kernel soon ends something.
const MEMORY_LOW: Bytes = Bytes::mib(150);

fn running(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "guest/running";
    let name = &asked.site.config.guest.name;
    let address = asked.site.backend.address_from_inside(asked.site, seen);
    Ok(match asked.site.backend.is_this_machine() {
        true => Check::pass(id, "this machine is the guest"),
        false => {
            let state = with_address(resource::guest_state(asked.site, seen)?, address);
            if let Some(why) = resource::foreign(asked.site, &state) {
                let hint = "write the name of this site's guest in matrix.toml: guest.name = \"…\"";
                return Ok(Check::fail(id, why, hint));
            }
            match state {
                GuestState::Absent => {
                    Check::fail(id, format!("there is no guest {name}"), "matrix-podman up")
                }
                GuestState::Stopped { .. } => {
                    Check::fail(id, format!("the guest {name} does not run"), "matrix-podman up")
                }
                GuestState::Suspended { by, .. } => {
                    Check::fail(id, by.why(name.as_str()), "`matrix-podman doctor` says what lets it go on")
                }
                GuestState::Running { address: None, .. } => Check::fail(
                    id,
                    format!("the guest {name} runs and has no address"),
                    "`matrix-podman up` mends its network; with a bridge of your own, see its DHCP server",
                ),
                GuestState::Running { address: Some(address), .. } => {
                    Check::pass(id, format!("{name} runs at {address}"))
                }
            }
        }
    })
}

/// The state of a guest whose address was found out in another way.
fn with_address(state: GuestState, found: Option<std::net::Ipv4Addr>) -> GuestState {
    match state {
        GuestState::Running { site, address } => GuestState::Running { site, address: address.or(found) },
        other => other,
    }
}

fn units(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "guest/units";
    let names = resource::all_units(&asked.site.config);
    let units = seen.units(Side::Guest, names.iter().map(String::as_str))?;
    let mut wrong = Vec::new();
    for name in &names {
        match units.get(name) {
            Some(unit) if unit.load != "loaded" => wrong.push(format!("{name} is {}", unit.load)),
            Some(unit) if unit.active != "active" => wrong.push(format!("{name} is {}", unit.active)),
            Some(_) => {}
            None => wrong.push(format!("there is no {name}")),
        }
    }
    if units.get(layout::STACK_UNIT).is_some_and(|unit| unit.file != "enabled") {
        wrong.push(format!("{} does not start at boot", layout::STACK_UNIT));
    }
    Ok(if wrong.is_empty() {
        Check::pass(id, format!("all {} are active, and start at boot", names.len()))
    } else {
        Check::fail(
            id,
            wrong.join("; "),
            "`matrix-podman up` starts them; `matrix-podman logs` says why one does not",
        )
    })
}

fn containers(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "guest/containers";
    let mut wrong = Vec::new();
    for service in stack::services(&asked.site.config) {
        match seen.container(service.name())? {
            None => wrong.push((service, format!("{service} is not there"))),
            Some(c) if c.state != "running" => wrong.push((service, format!("{service} is {}", c.state))),
            Some(c) if c.health != Health::Healthy => {
                wrong.push((service, format!("{service} is {}", c.health.as_str())));
            }
            Some(_) => {}
        }
    }
    Ok(match wrong.first() {
        None => Check::pass(id, "all run and are healthy"),
        Some((first, _)) => Check::fail(
            id,
            wrong.iter().map(|(_, what)| what.as_str()).collect::<Vec<_>>().join("; "),
            format!("`matrix-podman logs {first}` says why; `matrix-podman up` mends what it can"),
        ),
    })
}

fn versions(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "guest/versions";
    // All is asked before the first answer is looked at.
    let file = seen.file(Side::Guest, &layout::lock_file());
    let on = stack::services(&asked.site.config);
    let running: Vec<_> = on.iter().map(|service| seen.container(service.name())).collect();
    let said = address(asked, asked.site.config.ports.synapse.get(), seen).and_then(|base| {
        seen.http(Side::Machine, &HttpQuestion::get(format!("{base}/_matrix/federation/v1/version")))
    });
    let text = file?.and_then(|f| f.content.clone()).unwrap_or_default();
    let mut lock = match Lock::parse(&text) {
        Ok(lock) => lock,
        Err(why) => {
            return Ok(Check::fail(id, format!("matrix.lock cannot be read: {why}"), "matrix-podman up"));
        }
    };
    // What is tried is not in the lock yet.
    lock.images.extend(asked.site.trial.clone());
    let mut wrong = Vec::new();
    let mut shown = Vec::new();
    for (service, container) in on.into_iter().zip(running) {
        match (lock.images.get(&service), container?) {
            (None, _) => wrong.push(format!("matrix.lock does not know {service}")),
            (Some(_), None) => wrong.push(format!("{service} is not there")),
            (Some(image), Some(container)) if container.image_id.as_ref() != Some(&image.id) => {
                wrong.push(format!("{service} runs another image than matrix.lock says"));
            }
            (Some(image), Some(_)) => shown.push(format!("{service} {}", image.version)),
        }
    }
    let mut answering = stack::Data::Tables.keepers().into_iter();
    if let (HttpAnswer::Answered(reply), Some(image)) =
        (said?, answering.find_map(|service| lock.images.get(&service)))
    {
        let said = reply.json();
        let said = said.pointer("/server/version").and_then(serde_json::Value::as_str).unwrap_or_default();
        // A version from a source tree has the branch behind it, in brackets.
        let said = said.split_whitespace().next().unwrap_or_default();
        if said != image.version.trim_start_matches('v') {
            wrong.push(format!("Synapse says that it is {said:?}, and matrix.lock says {}", image.version));
        }
    }
    Ok(if wrong.is_empty() {
        Check::pass(id, format!("as in matrix.lock: {}", shown.join(", ")))
    } else {
        Check::fail(id, wrong.join("; "), "`matrix-podman up` makes it what the lock says")
    })
}

fn restarts(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "guest/restarts";
    let names = resource::all_units(&asked.site.config);
    let units = seen.units(Side::Guest, names.iter().map(String::as_str))?;
    let again: Vec<String> = units
        .iter()
        .filter(|(_, unit)| unit.restarts > 0)
        .map(|(name, unit)| format!("{} {}", name.trim_end_matches(".service"), times(unit.restarts)))
        .collect();
    Ok(if again.is_empty() {
        Check::pass(id, "no service was restarted automatically")
    } else {
        Check::weaker(
            id,
            format!("restarted because they ended: {}", again.join(", ")),
            "people notice each time; `matrix-podman logs` says why",
        )
    })
}

fn times(count: u32) -> String {
    if count == 1 { "once".to_owned() } else { format!("{count} times") }
}

fn disk(_: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "guest/disk";
    let free = seen.system(Side::Guest)?.disk_free;
    let shown = free.rounded();
    Ok(if free < DISK_FULL {
        Check::fail(
            id,
            format!("only {shown} are free; PostgreSQL stops when there is nothing"),
            "make room on the disk: `podman image prune` in the guest frees old images",
        )
    } else if free < DISK_LOW {
        Check::weaker(id, format!("only {shown} are free"), "media and rooms fill it before long")
    } else {
        Check::pass(id, format!("{shown} are free"))
    })
}

fn memory(_: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "guest/memory";
    let events = AbsPath::known("/sys/fs/cgroup/memory.events");
    let (system, events) = (seen.system(Side::Guest), seen.file(Side::Guest, &events));
    let system = system?;
    let killed = events?
        .and_then(|file| file.content.as_deref())
        .and_then(|text| text.lines().find_map(|line| line.strip_prefix("oom_kill ")))
        .and_then(|count| count.trim().parse::<u32>().ok())
        .unwrap_or_default();
    let shown = system.memory_free.rounded();
    Ok(if system.memory_free < MEMORY_LOW {
        Check::fail(
            id,
            format!("only {shown} of memory are free"),
            "give the guest more (guest.memory), or stop what else runs on the machine",
        )
    } else if killed > 0 {
        Check::weaker(
            id,
            format!("since its boot the kernel ended {killed} processes of the guest for want of memory"),
            "services stop without warning; guest.memory gives them more",
        )
    } else {
        Check::pass(id, format!("{shown} are free, and nothing was ended for want of it"))
    })
}

/// A difference between two clocks that a slow answer does not explain, in
/// milliseconds.
const APART: u64 = 60_000;

fn clock(_: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "guest/clock";
    let (guest, machine) = (seen.clock(Side::Guest), seen.clock(Side::Machine));
    let (guest, machine) = (guest?, machine?);
    Ok(if guest.now.abs_diff(machine.now) > APART {
        Check::fail(
            id,
            "guest and machine do not agree on the time",
            "set the machine's clock (`timedatectl set-ntp true`) and restart the guest",
        )
    } else if guest.synchronized == Some(true) || machine.synchronized == Some(true) {
        Check::pass(id, "it follows time servers")
    } else {
        Check::weaker(
            id,
            "clock synchronization could not be confirmed",
            "a clock that is wrong by minutes breaks certificates and federation; chrony or systemd-timesyncd on \
             the machine keeps it right",
        )
    })
}

fn reboot(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "guest/reboot";
    let file = AbsPath::known("/run/reboot-required");
    let sides = match asked.site.backend.is_this_machine() {
        true => &[(Side::Machine, "this machine")][..],
        false => &[(Side::Guest, "the guest"), (Side::Machine, "the machine")],
    };
    let waiting: Vec<_> = sides.iter().map(|(side, name)| (seen.meta(*side, &file), *name)).collect();
    let mut names = Vec::new();
    for (state, name) in waiting {
        if state?.is_some() {
            names.push(name);
        }
    }
    Ok(if names.is_empty() {
        Check::pass(id, "no update waits for a reboot")
    } else {
        Check::weaker(
            id,
            format!("updates wait for a reboot of {}", names.join(" and ")),
            "they are not in force until then",
        )
    })
}
