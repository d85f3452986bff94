//! What must be so before anything is changed.

use std::collections::BTreeSet;

use super::{Check, Verdict};
use crate::{
    config::Network,
    endpoint::Reach,
    fact::{Fact, GuestState, MachineInfo, Side},
    firewall::{self, Transport},
    observed::{Gap, Observed, Seen},
    render::ports,
    resource::{self, Preflight, Site, guest_state},
    size::Bytes,
    stack,
};

/// Room that root file system, images and an empty database need together.
pub(super) const ROOM: Bytes = Bytes::gib(6);
/// Memory below which Synapse and PostgreSQL do not live together.
const MEMORY: Bytes = Bytes::gib(1);

pub(super) type Question = fn(&Site, &Observed, &MachineInfo) -> Seen<Option<Check>>;

/// All checks that come before the first change, in the order in which a
/// person would want to read them.
pub fn preflight(site: &Site, seen: &Observed) -> Vec<Check> {
    let machine = match seen.system(Side::Machine) {
        Ok(machine) => machine,
        Err(gap) => return vec![Check::gap("machine", gap)],
    };
    let questions: &[(&'static str, Question)] = match site.backend.preflight() {
        Preflight::Node => &super::proxmox::QUESTIONS,
        Preflight::Machine => &QUESTIONS,
    };
    let mut checks: Vec<Check> = questions
        .iter()
        .filter_map(|(id, ask)| match ask(site, seen, machine) {
            Ok(check) => check,
            // All of them must be known before a container is made or changed.
            Err(Gap::Unknown(why)) if site.backend.preflight() == Preflight::Node => Some(Check::fail(
                id,
                why,
                "see what that command says when it is typed, then run the same again",
            )),
            Err(gap) => Some(Check::gap(id, gap)),
        })
        .chain(super::edge::edge_checks(site, seen))
        .collect();
    // One question that is not answered leaves many checks open, all for the
    // same reason.
    let mut told = BTreeSet::new();
    checks.retain(|check| match &check.verdict {
        Verdict::Fail { why, .. } => told.insert(why.clone()),
        _ => true,
    });
    checks
}

const QUESTIONS: [(&str, Question); 13] = [
    ("root", root),
    ("debian", debian),
    ("program", program),
    ("kernel", kernel),
    ("cgroup", cgroup),
    ("apparmor", apparmor),
    ("memory", memory),
    ("disk", disk),
    ("disk-limit", disk_limit),
    ("ports", published),
    ("open-ports", open_ports),
    ("names", names),
    ("packages", packages),
];

/// Whether there is a guest already; much is asked only before there is one.
fn is_new(site: &Site, seen: &Observed) -> Seen<bool> {
    match site.backend.is_this_machine() {
        true => stack::Data::Tables
            .keepers()
            .into_iter()
            .try_fold(true, |new, service| Ok(new && seen.container(service.name())?.is_none())),
        false => Ok(guest_state(site, seen)? == GuestState::Absent),
    }
}

pub(super) fn root(_: &Site, _: &Observed, machine: &MachineInfo) -> Seen<Option<Check>> {
    Ok(Some(if machine.root {
        Check::pass("root", "it runs as root")
    } else {
        Check::fail("root", "making containers and bridges takes root", "run the same with sudo")
    }))
}

fn debian(site: &Site, seen: &Observed, machine: &MachineInfo) -> Seen<Option<Check>> {
    let shown = format!("{} {} on {}", machine.os, machine.release, machine.arch);
    let major: u32 = machine.release.split('.').next().and_then(|r| r.parse().ok()).unwrap_or_default();
    let here = site.backend.is_this_machine();
    let wanted = if here { 13 } else { 12 };
    let apt = seen.commands(Side::Machine, ["apt-get"])?.contains_key("apt-get");
    Ok(Some(match here {
        _ if !apt => Check::fail("debian", format!("{shown} has no apt"), "use a Debian machine"),
        true if machine.os != "debian" || major < wanted || !machine.systemd => Check::fail(
            "debian",
            format!("this machine is {shown}{}", if machine.systemd { "" } else { " without systemd" }),
            "backend this-machine takes Debian 13 with systemd; use guest.backend = \"lxc\" instead",
        ),
        false if machine.os == "debian" && major < wanted => Check::fail(
            "debian",
            format!("this machine is {shown}, whose LXC cannot mount a guest with shifted ids"),
            "use Debian 12 or later",
        ),
        _ => Check::pass("debian", shown),
    }))
}

pub(super) fn program(site: &Site, _: &Observed, machine: &MachineInfo) -> Seen<Option<Check>> {
    Ok(match machine.binary_is_static {
        _ if site.backend.is_this_machine() => None,
        true => Some(Check::pass("program", "it is statically linked, so it runs in the guest too")),
        false => Some(Check::fail(
            "program",
            "this matrix-podman was linked dynamically and may not run in a Debian 13 guest",
            "build it in its own folder, where .cargo/config.toml says how, and without RUSTFLAGS set",
        )),
    })
}

fn kernel(site: &Site, _: &Observed, machine: &MachineInfo) -> Seen<Option<Check>> {
    let (major, minor) = version(&machine.kernel);
    let lacks = |what: &str| {
        Check::fail(
            "kernel",
            format!("Linux {} {what}", machine.kernel),
            "use Debian's own kernel, or a newer one",
        )
    };
    let shifts_ids = !site.backend.is_this_machine();
    Ok(Some(match machine.overlay {
        false => lacks("has no overlay file system"),
        true if shifts_ids && !machine.user_namespaces => lacks("does not let root make user namespaces"),
        true if shifts_ids && (major, minor) < (5, 13) => {
            lacks("cannot shift ids where a file system is mounted")
        }
        true => Check::pass("kernel", format!("Linux {} with namespaces and overlay", machine.kernel)),
    }))
}

/// Major and minor of a kernel's release, `6.12.43+deb13`.
fn version(release: &str) -> (u32, u32) {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse().unwrap_or_default());
    (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default())
}

fn cgroup(_: &Site, _: &Observed, machine: &MachineInfo) -> Seen<Option<Check>> {
    Ok(Some(match &machine.cgroup2 {
        None => Check::weaker(
            "cgroup",
            "this machine has control groups of version 1",
            "one service cannot be kept from taking the guest's whole memory",
        ),
        Some(controllers) if !controllers.iter().any(|c| c == "memory") => Check::weaker(
            "cgroup",
            "the memory controller is not handed down",
            "one service cannot be kept from taking the guest's whole memory",
        ),
        Some(_) => Check::pass("cgroup", "version 2, with memory limits"),
    }))
}

fn apparmor(site: &Site, _: &Observed, machine: &MachineInfo) -> Seen<Option<Check>> {
    Ok(match machine.apparmor {
        _ if site.backend.is_this_machine() => None,
        true => Some(Check::pass("apparmor", "it is on, and the guest gets a profile of its own")),
        false => Some(Check::weaker(
            "apparmor",
            "this machine has no AppArmor",
            "the guest is held by user namespaces and seccomp alone",
        )),
    })
}

pub(super) fn memory(site: &Site, _: &Observed, machine: &MachineInfo) -> Seen<Option<Check>> {
    let wanted = *site.config.guest.memory;
    let (has, free) = (machine.memory.rounded(), machine.memory_free.rounded());
    Ok(Some(if machine.memory < MEMORY {
        Check::fail("memory", format!("this machine has {has} of memory"), "give it at least 2G")
    } else if !site.backend.is_this_machine() && machine.memory < wanted {
        Check::weaker(
            "memory",
            format!("the guest may use {wanted} and this machine has {has}"),
            "guest and machine compete for memory when both are busy",
        )
    } else {
        Check::pass("memory", format!("{has}, of which {free} are free"))
    }))
}

fn disk(site: &Site, seen: &Observed, machine: &MachineInfo) -> Seen<Option<Check>> {
    if !is_new(site, seen)? {
        return growth(site, seen, machine);
    }
    let free = machine.disk_free.rounded();
    Ok(Some(if machine.disk_free < ROOM {
        Check::fail(
            "disk",
            format!("/var has {free} left and {ROOM} are needed"),
            "make room on the disk of /var",
        )
    } else if machine.disk_free < site.config.guest.expected_disk() {
        Check::weaker(
            "disk",
            format!(
                "/var has {free} left, less than the guest.disk of {}",
                site.config.guest.expected_disk()
            ),
            "media and rooms will fill it one day",
        )
    } else {
        Check::pass("disk", format!("{free} are free on /var"))
    }))
}

/// Whether there is room for what a guest's disk is to grow by: it takes it only as
/// the guest fills it.
fn growth(site: &Site, seen: &Observed, machine: &MachineInfo) -> Seen<Option<Check>> {
    let wanted = resource::wanted_disk(site).filter(|_| !site.backend.is_this_machine());
    let Some(wanted) = wanted else { return Ok(None) };
    let Some(disk) = seen.guest_disk(site.config.guest.name.as_str())? else { return Ok(None) };
    let more = Bytes(wanted.0.saturating_sub(disk.size.0));
    Ok((machine.disk_free < more).then(|| {
        Check::weaker(
            "disk",
            format!(
                "guest.disk grows by {}, and /var has {} left",
                more.rounded(),
                machine.disk_free.rounded()
            ),
            "once this machine's disk is full, the guest cannot write to its own",
        )
    }))
}

/// What keeps a plain LXC guest from filling the machine's own file system: a disk
/// of its own, where it was made with one.
fn disk_limit(site: &Site, seen: &Observed, _: &MachineInfo) -> Seen<Option<Check>> {
    if site.backend.is_this_machine() {
        return Ok(None);
    }
    let weaker = |why: String| Check::weaker("disk-limit", why, "a guest that goes wrong can fill /var");
    let folder = "the guest is a folder on this machine's file system";
    if !is_new(site, seen)? {
        return Ok(Some(match seen.guest_disk(site.config.guest.name.as_str())? {
            Some(disk) => {
                Check::pass("disk-limit", format!("the guest has a disk of its own of {}", disk.size))
            }
            None => weaker(format!("guest.disk is no limit here: {folder}")),
        }));
    }
    Ok(Some(match (resource::wanted_disk(site), resource::cannot_have_disk(seen)?) {
        (Some(size), None) => {
            Check::pass("disk-limit", format!("the guest gets a disk of its own of {size}"))
        }
        (Some(_), Some(why)) => weaker(format!("guest.disk is no limit here: {why}, and {folder}")),
        (None, _) => weaker(format!("guest.disk is not written, so {folder}")),
    }))
}

fn published(site: &Site, seen: &Observed, _: &MachineInfo) -> Seen<Option<Check>> {
    if !site.backend.is_this_machine() || !is_new(site, seen)? {
        return Ok(None);
    }
    let endpoints = stack::endpoints(&site.config);
    let taken = seen.taken_ports(Side::Guest, endpoints.iter().map(|endpoint| endpoint.port.get()))?;
    // One that our own service listens on, after a run that was cut off, say,
    // is in the right hands.
    let ours: Vec<Seen<bool>> = endpoints
        .iter()
        .map(|endpoint| Ok(seen.container(endpoint.service.name())?.is_some_and(|c| c.state == "running")))
        .collect();
    let mut others = Vec::new();
    for (endpoint, ours) in endpoints.iter().zip(ours) {
        if taken.contains(&endpoint.port.get()) && !ours? {
            others.push(endpoint.port);
        }
    }
    let all: Vec<String> = endpoints.iter().map(|endpoint| endpoint.port.to_string()).collect();
    Ok(Some(match others.first() {
        Some(port) => Check::fail(
            "ports",
            format!("something listens on port {port} already"),
            format!("`ss -ltnp sport = :{port}` names it; stop it, or choose another port in [ports]"),
        ),
        None => Check::pass("ports", format!("{} are free", all.join(" and "))),
    }))
}

/// Whether the ports that anybody may speak to are free where they are led from.
fn open_ports(site: &Site, seen: &Observed, _: &MachineInfo) -> Seen<Option<Check>> {
    let id = "open-ports";
    let open = ports::open(&site.config);
    let (side, rules) = match &site.config.guest.network {
        _ if open.is_empty() => return Ok(None),
        _ if site.backend.is_this_machine() => (Side::Guest, None),
        Network::Own { bridge, .. } => (Side::Machine, Some(firewall::bridge_table_name(bridge.as_str()))),
        // They are the guest's own there.
        Network::Existing { .. } => return Ok(None),
    };
    // A range is for packets that are expected; whoever asks comes at a single port.
    let single = |protocol| {
        let of = open.iter().filter(move |ports| ports.first == ports.last && ports.protocol == protocol);
        of.map(|ports| ports.first).collect::<Vec<_>>()
    };
    let loaded = rules.map(|table| seen.rules(Side::Machine, &table)).transpose();
    let tcp = seen.taken_ports(side, single(Transport::Tcp));
    let udp = seen.taken_udp_ports(side, single(Transport::Udp));
    if let Some(loaded) = loaded?
        && let Some((ports, other)) = firewall::led_elsewhere(loaded, site.config.guest.name.as_str(), &open)
    {
        return Ok(Some(Check::fail(
            id,
            format!("{ports} of this machine leads to the guest {other} already"),
            "one guest of a machine can have it: leave server out of [turn] here, and name the other one's with \
             uris and secret_file",
        )));
    }
    let (tcp, udp) = (tcp?, udp?);
    if side == Side::Guest {
        // One that our own service listens on is in the right hands.
        for room in stack::rooms(&site.config) {
            let opens = room.ports(&site.config).iter().any(|ports| ports.reach == Reach::Anybody);
            if opens && seen.container(room.id().name())?.is_some_and(|c| c.state == "running") {
                return Ok(None);
            }
        }
    }
    let taken = tcp.iter().map(|port| (port, "t")).chain(udp.iter().map(|port| (port, "u"))).next();
    Ok(Some(match taken {
        Some((port, kind)) => Check::fail(
            id,
            format!("something listens on port {port} already"),
            format!("`ss -ln{kind}p sport = :{port}` names it; stop it"),
        ),
        None => Check::pass(
            id,
            format!("{} are free", open.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")),
        ),
    }))
}

fn names(site: &Site, seen: &Observed, machine: &MachineInfo) -> Seen<Option<Check>> {
    if !is_new(site, seen)? {
        return Ok(None);
    }
    Ok(Some(if machine.resolvers.is_empty() {
        Check::fail(
            "names",
            "/etc/resolv.conf names no name server",
            "set one, so that packages can be found",
        )
    } else {
        Check::pass("names", format!("names are asked of {}", machine.resolvers.join(", ")))
    }))
}

fn packages(site: &Site, seen: &Observed, _: &MachineInfo) -> Seen<Option<Check>> {
    if !is_new(site, seen)? {
        return Ok(None);
    }
    Ok(Some(if seen.yes(Side::Machine, Fact::Reachable("apt".to_owned()))? {
        Check::pass("packages", "the package source answers")
    } else {
        Check::fail(
            "packages",
            "the package source of this machine (apt) does not answer",
            "`apt-get update` shows why: network, name server or proxy",
        )
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kernel_versions() {
        assert_eq!(version("6.12.43+deb13-amd64"), (6, 12));
        assert_eq!(version("5.10.0-30"), (5, 10));
        assert_eq!(version("odd"), (0, 0));
    }
}
