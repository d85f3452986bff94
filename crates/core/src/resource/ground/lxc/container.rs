//! The container of plain LXC: its root file system, its config, its address.

use std::net::Ipv4Addr;

use sha2::{Digest as _, Sha256};

use super::{disk, machine};
use crate::{
    config::{Address, Network},
    effect::{Effect, Local, NewGuest},
    fact::{GuestState, Neighbour, Side},
    ids,
    name::{AbsPath, Cidr4},
    observed::{Observed, Seen},
    render::lxc::{self, LxcAddress, LxcCgroups, LxcSpec},
    resource::{Diff, FileChange, Resource, ResourceId, Risk, Site, Step, debian, write},
    size::{Bytes, Seconds},
};

/// Folder of LXC's containers.
const LXC: &str = "/var/lib/lxc";
/// What is wrong with a guest whose files lost what was in them.
const DAMAGED: &str = "a power cut emptied the files of the guest's system";
/// Folder of root file systems made earlier.
const CACHE: &str = "/var/cache/matrix-podman";

fn archive() -> AbsPath {
    AbsPath::known(format!("{CACHE}/rootfs-trixie.tar"))
}

fn config_file(name: &str) -> AbsPath {
    AbsPath::known(format!("{LXC}/{name}/config"))
}

/// What is asked of the guest's container.
pub fn lxc_spec(site: &Site, seen: &Observed) -> Seen<LxcSpec> {
    let guest = &site.config.guest;
    let machine = seen.system(Side::Machine)?;
    let (Network::Own { bridge, .. } | Network::Existing { bridge, .. }) = &guest.network;
    let has = |controller: &str| machine.cgroup1.iter().any(|c| c == controller);
    Ok(LxcSpec {
        site: site.config.site().to_owned(),
        name: guest.name.clone(),
        rootfs: AbsPath::known(format!("{LXC}/{}/rootfs", guest.name)),
        id_base: machine::first_id(site, seen)?,
        id_count: machine::IDS,
        bridge: bridge.clone(),
        mac: Some(mac(site)),
        address: planned_address(site, seen)?,
        cgroups: match machine.cgroup2 {
            Some(_) => LxcCgroups::V2 { swap: machine.swap_limits },
            None => LxcCgroups::V1 {
                memory: has("memory"),
                swap: machine.swap_limits,
                cpu: has("cpu"),
                pids: has("pids"),
            },
        },
        memory: *guest.memory,
        cores: guest.cores.get(),
        apparmor: machine.apparmor,
        start_at_boot: guest.start_at_boot,
    })
}

/// A hardware address that stays, so that a DHCP server gives the same address
/// each time: locally administered (second bit), the rest from the names.
fn mac(site: &Site) -> String {
    let digest = Sha256::digest(format!("{} {}", site.config.site(), site.config.guest.name).as_bytes());
    let rest: Vec<String> = digest.iter().take(5).map(|byte| format!("{byte:02x}")).collect();
    format!("02:{}", rest.join(":"))
}

/// The address that the guest is given; the first free one where it is ours
/// to choose.
fn planned_address(site: &Site, seen: &Observed) -> Seen<LxcAddress> {
    let network = &site.config.guest.network;
    let address = match network {
        Network::Own { address, .. } | Network::Existing { address, .. } => *address,
    };
    match (address, network) {
        (Address::Dhcp, _) | (Address::Auto, Network::Existing { .. }) => Ok(LxcAddress::Dhcp),
        (Address::Static { address, gateway }, _) => Ok(LxcAddress::Static { address, gateway }),
        (Address::Auto, Network::Own { subnet, .. }) => {
            let neighbours = seen.neighbours()?;
            let own = neighbours.iter().find(|n| n.name == site.config.guest.name.as_str());
            let kept = own.and_then(|n| n.address).filter(|a| subnet.has_host(*a));
            let free =
                |a: &Ipv4Addr| *a != subnet.address() && neighbours.iter().all(|n| n.address != Some(*a));
            let chosen = kept.or_else(|| hosts(*subnet).find(free)).unwrap_or(subnet.broadcast());
            Ok(LxcAddress::Static { address: subnet.with_address(chosen), gateway: subnet.address() })
        }
    }
}

/// The address that the guest has or will have, where LXC sets it.
pub(super) fn fixed_address(site: &Site, seen: &Observed) -> Seen<Option<Ipv4Addr>> {
    Ok(match planned_address(site, seen)? {
        LxcAddress::Static { address, .. } => Some(address.address()),
        LxcAddress::Dhcp => None,
    })
}

/// Host addresses of a network from its tenth on; DHCP leases begin at the hundredth.
fn hosts(network: Cidr4) -> impl Iterator<Item = Ipv4Addr> {
    let first = u32::from(network.network());
    (10..100).map(move |n| Ipv4Addr::from(first + n)).filter(move |a| network.has_host(*a))
}

/// The archive that guests are made from.
pub(super) struct Rootfs;

impl Resource for Rootfs {
    fn id(&self) -> ResourceId {
        ids::GUEST_ROOTFS
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ids::MACHINE_PACKAGES]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        // A month-old archive still makes a guest, which is brought up to date
        // before anything else; an old one only costs time.
        if seen.meta(Side::Machine, &archive())?.is_some() {
            return Ok(Diff::settled(format!("{} is there", archive())));
        }
        Ok(Diff::quiet(
            "Make a Debian 13 root file system",
            "guests are made from it; it is kept for the next one",
            vec![Effect::Here(Local::BuildRootfs {
                archive: archive(),
                packages: debian::GUEST_PACKAGES.iter().map(|p| (*p).to_owned()).collect(),
            })],
        ))
    }
}

/// How the container differs: there, ours, and with the config that it should have.
pub(super) fn diff(site: &Site, seen: &Observed) -> Seen<Diff> {
    let name = site.config.guest.name.as_str();
    let state = seen.lxc(name)?;
    let spec = lxc_spec(site, seen)?;
    let file = lxc::file(&spec);
    let config = file.content.clone();
    match (state, state.site()) {
        (GuestState::Absent, _) => {
            let mine = |n: &&Neighbour| n.site.as_deref() == Some(site.config.site());
            if let Some(other) = seen.neighbours()?.iter().find(mine) {
                return Ok(Diff::Blocked {
                    why: format!("this site's guest is called {}, not {name}", other.name),
                    hint: format!(
                        "write guest.name = \"{}\" again; under another name an empty server would be made",
                        other.name
                    ),
                });
            }
            let disk = disk::size_of_new(site, seen)?;
            let why = "there is none: an unprivileged Debian 13 container";
            Ok(Diff::quiet(
                format!("Create the guest {name}"),
                disk.map_or_else(|| why.to_owned(), |size| format!("{why} with a disk of {size}")),
                vec![create(site, &spec, config, disk)],
            ))
        }
        (GuestState::Stopped { .. }, Some(mark))
            if mark == site.config.site()
                && !disk::is_away(seen, name)?
                && seen.guest_root(name)?.is_damaged() =>
        {
            if seen.guest_root(name)?.data {
                return Ok(Diff::Blocked {
                    why: format!("{DAMAGED}, and there are data in the guest {name}"),
                    hint: "`matrix-podman doctor` says how it comes back from a backup".to_owned(),
                });
            }
            Ok(Diff::quiet(
                format!("Create the guest {name} again"),
                format!("{DAMAGED}, and there are no data in it yet"),
                vec![create(site, &spec, config, disk::size_of_new(site, seen)?)],
            ))
        }
        (_, Some(mark)) if mark == site.config.site() => {
            let path = config_file(name);
            let now = seen.file(Side::Machine, &path)?.and_then(|f| f.content.clone()).unwrap_or_default();
            let fixed = |config: &str| config.contains("lxc.net.0.ipv4.address");
            if fixed(&now) != fixed(&config) {
                return Ok(Diff::Blocked {
                    why: "the guest cannot go from a fixed address to DHCP, or back, once it is made"
                        .to_owned(),
                    hint: "write guest.network.address as it was; another fixed address is fine".to_owned(),
                });
            }
            if now == config {
                return Ok(Diff::settled(format!("the guest {name} has the config that it should have")));
            }
            let write = write(Side::Machine, &file);
            let stop = Effect::Here(Local::StopGuest { name: name.to_owned(), timeout: Seconds(180) });
            Ok(Diff::Change(Step {
                what: format!("Change the config of the guest {name} and restart it"),
                why: "the guest's settings changed".to_owned(),
                risk: Risk::Outage,
                changes: vec![FileChange { side: Side::Machine, path, before: Some(now), after: config }],
                effects: vec![stop, write],
            }))
        }
        (_, Some(other)) => Ok(Diff::Blocked {
            why: format!("there is a guest {name} already, of the site {other}"),
            hint: "give this site's guest another name: guest.name = \"…\"".to_owned(),
        }),
        (_, None) => Ok(Diff::Blocked {
            why: format!("there is an LXC container {name} already that matrix-podman did not make"),
            hint: "it is left alone; give this site's guest another name: guest.name = \"…\"".to_owned(),
        }),
    }
}

fn create(site: &Site, spec: &LxcSpec, config: String, disk: Option<Bytes>) -> Effect {
    let dhcp = matches!(spec.address, LxcAddress::Dhcp);
    Effect::Here(Local::CreateGuest(NewGuest {
        name: spec.name.to_string(),
        site: spec.site.clone(),
        archive: archive(),
        config,
        resolvers: if dhcp { Vec::new() } else { resolvers(site) },
        dhcp,
        disk,
    }))
}

fn resolvers(site: &Site) -> Vec<Ipv4Addr> {
    match &site.config.guest.network {
        Network::Own { subnet, .. } => vec![subnet.address()],
        Network::Existing { dns, .. } => dns.clone(),
    }
}
