//! The guest as a plain LXC container: root file system, config, running, spoken to.

use std::net::Ipv4Addr;

use sha2::{Digest as _, Sha256};

use super::{Diff, FileChange, Resource, ResourceId, Risk, Site, Step, guest_disk, machine};
use crate::{
    config::{Address, Network},
    effect::{Effect, NewGuest},
    fact::{GuestProgram, GuestState, Neighbour, Side, Suspension},
    format::UPGRADE,
    layout,
    name::{AbsPath, Cidr4},
    observed::{Observed, Seen},
    render::lxc::{self, LxcAddress, LxcCgroups, LxcSpec},
    size::{Bytes, Seconds},
};

/// Folder of LXC's containers.
const LXC: &str = "/var/lib/lxc";
/// What is wrong with a guest whose files lost what was in them.
pub(crate) const DAMAGED: &str = "a power cut emptied the files of the guest's system";
/// Folder of root file systems made earlier.
const CACHE: &str = "/var/cache/matrix-podman";

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![
        Box::new(Rootfs),
        Box::new(Container { site: site.clone() }),
        Box::new(Running { site: site.clone() }),
        Box::new(Program { site: site.clone() }),
    ]
}

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
        memory: guest.memory,
        cores: guest.cores,
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

/// Whether there is a guest, whose it is, and whether it runs.
pub fn guest_state(site: &Site, seen: &Observed) -> Seen<GuestState> {
    match site.backend {
        super::Backend::Lxc => seen.lxc(site.config.guest.name.as_str()).cloned(),
        super::Backend::Proxmox => super::proxmox::guest_state(site, seen),
        super::Backend::ThisMachine => Ok(GuestState::Running {
            site: Some(site.config.site().to_owned()),
            address: seen.system(Side::Machine)?.address,
        }),
    }
}

/// Why a container of the guest's name is none of this site's business, if it is not:
/// only what carries its mark is.
pub fn foreign(site: &Site, state: &GuestState) -> Option<String> {
    let name = &site.config.guest.name;
    match (state, state.site()) {
        (GuestState::Absent, _) => None,
        (_, Some(own)) if own == site.config.site() => None,
        (_, Some(other)) => Some(format!("the container {name} is the guest of another site, {other}")),
        (_, None) => Some(format!("the container {name} was not made by matrix-podman")),
    }
}

/// The address at which the guest can be reached, once it is known.
pub fn guest_address(site: &Site, seen: &Observed) -> Seen<Option<Ipv4Addr>> {
    match site.backend {
        super::Backend::ThisMachine => Ok(seen.system(Side::Machine)?.address),
        super::Backend::Proxmox => super::proxmox::guest_address(site, seen),
        super::Backend::Lxc => match seen.lxc(site.config.guest.name.as_str())? {
            GuestState::Running { address: Some(address), .. } => Ok(Some(*address)),
            _ => Ok(match planned_address(site, seen)? {
                LxcAddress::Static { address, .. } => Some(address.address()),
                LxcAddress::Dhcp => None,
            }),
        },
    }
}

/// The archive that guests are made from.
struct Rootfs;

impl Resource for Rootfs {
    fn id(&self) -> ResourceId {
        ResourceId::new("guest/rootfs")
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ResourceId::new("machine/packages")]
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
            vec![Effect::BuildRootfs {
                archive: archive(),
                packages: super::debian::GUEST_PACKAGES.iter().map(|p| (*p).to_owned()).collect(),
            }],
        ))
    }
}

/// The container: there, ours, and with the config that it should have.
struct Container {
    site: Site,
}

impl Resource for Container {
    fn id(&self) -> ResourceId {
        ResourceId::new("guest/container")
    }

    fn needs(&self) -> Vec<ResourceId> {
        ["guest/rootfs", "machine/ids", "guest/disk"].map(ResourceId::new).to_vec()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let name = self.site.config.guest.name.as_str();
        let state = seen.lxc(name)?;
        let spec = lxc_spec(&self.site, seen)?;
        let file = lxc::file(&spec);
        let config = file.content.clone();
        match (state, state.site()) {
            (GuestState::Absent, _) => {
                let mine = |n: &&Neighbour| n.site.as_deref() == Some(self.site.config.site());
                if let Some(other) = seen.neighbours()?.iter().find(mine) {
                    return Ok(Diff::Blocked {
                        why: format!("this site's guest is called {}, not {name}", other.name),
                        hint: format!(
                            "write guest.name = \"{}\" again; under another name an empty server would be made",
                            other.name
                        ),
                    });
                }
                let disk = guest_disk::size_of_new(&self.site, seen)?;
                let why = "there is none: an unprivileged Debian 13 container";
                Ok(Diff::quiet(
                    format!("Create the guest {name}"),
                    disk.map_or_else(|| why.to_owned(), |size| format!("{why} with a disk of {size}")),
                    vec![self.create(&spec, config, disk)],
                ))
            }
            (GuestState::Stopped { .. }, Some(site))
                if site == self.site.config.site()
                    && !guest_disk::is_away(seen, name)?
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
                    vec![self.create(&spec, config, guest_disk::size_of_new(&self.site, seen)?)],
                ))
            }
            (_, Some(site)) if site == self.site.config.site() => {
                let path = config_file(name);
                let now =
                    seen.file(Side::Machine, &path)?.and_then(|f| f.content.clone()).unwrap_or_default();
                let fixed = |config: &str| config.contains("lxc.net.0.ipv4.address");
                if fixed(&now) != fixed(&config) {
                    return Ok(Diff::Blocked {
                        why: "the guest cannot go from a fixed address to DHCP, or back, once it is made"
                            .to_owned(),
                        hint: "write guest.network.address as it was; another fixed address is fine"
                            .to_owned(),
                    });
                }
                if now == config {
                    return Ok(Diff::settled(format!("the guest {name} has the config that it should have")));
                }
                let write = super::write(Side::Machine, &file);
                let stop = Effect::StopGuest { name: name.to_owned(), timeout: Seconds(180) };
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
}

impl Container {
    fn create(&self, spec: &LxcSpec, config: String, disk: Option<Bytes>) -> Effect {
        let dhcp = matches!(spec.address, LxcAddress::Dhcp);
        Effect::CreateGuest(NewGuest {
            name: spec.name.to_string(),
            site: spec.site.clone(),
            archive: archive(),
            config,
            resolvers: if dhcp { Vec::new() } else { resolvers(&self.site) },
            dhcp,
            disk,
        })
    }
}

fn resolvers(site: &Site) -> Vec<Ipv4Addr> {
    match &site.config.guest.network {
        Network::Own { subnet, .. } => vec![subnet.address()],
        Network::Existing { dns, .. } => dns.clone(),
    }
}

/// A guest that somebody suspended is left so: they had a reason. `lxc` is its
/// name in LXC's words.
pub(super) fn held(by: Suspension, name: &str, lxc: &str) -> Diff {
    Diff::Blocked { why: by.why(name), hint: format!("`{}` lets it go on", by.fix(lxc)) }
}

/// The guest runs.
struct Running {
    site: Site,
}

impl Resource for Running {
    fn id(&self) -> ResourceId {
        ResourceId::new("guest/running")
    }

    fn needs(&self) -> Vec<ResourceId> {
        let mut needs = ["guest/container", "guest/disk"].map(ResourceId::new).to_vec();
        if matches!(self.site.config.guest.network, Network::Own { .. }) {
            needs.push(ResourceId::new("machine/network"));
        }
        needs
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let name = self.site.config.guest.name.as_str();
        Ok(match seen.lxc(name)? {
            GuestState::Running { .. } => Diff::settled(format!("{name} runs")),
            GuestState::Suspended { by, .. } => held(*by, name, name),
            GuestState::Stopped { .. } | GuestState::Absent => Diff::quiet(
                format!("Start the guest {name}"),
                "it does not run",
                vec![Effect::StartGuest { name: name.to_owned() }],
            ),
        })
    }
}

/// The program is in the guest, and is this one.
struct Program {
    site: Site,
}

impl Resource for Program {
    fn id(&self) -> ResourceId {
        ResourceId::new("guest/program")
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ResourceId::new("guest/running")]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let name = self.site.config.guest.name.as_str();
        Ok(match seen.lxc(name)? {
            GuestState::Absent => push_program(name),
            GuestState::Stopped { .. } => {
                Diff::later("Put matrix-podman into the guest", "the guest does not run yet")
            }
            GuestState::Suspended { by, .. } => Diff::later("Put matrix-podman into the guest", by.why(name)),
            GuestState::Running { .. } => {
                let attach = format!("lxc-attach --name {name} --");
                program_in_guest(seen.guest_program()?, name, &attach)
            }
        })
    }
}

fn push_program(name: &str) -> Diff {
    Diff::quiet(
        "Put matrix-podman into the guest",
        "the same program works on both sides, over one connection",
        vec![Effect::PushProgram { name: name.to_owned() }],
    )
}

/// Has the guest the program that asks? `attach` is what a command in it begins with.
pub(super) fn program_in_guest(program: &GuestProgram, name: &str, attach: &str) -> Diff {
    match program {
        GuestProgram::Same => Diff::settled("the guest has this very program"),
        GuestProgram::Other => push_program(name),
        GuestProgram::Newer(why) => Diff::Blocked {
            why: format!("matrix-podman in the guest {name} is newer than this one: {why}"),
            hint: format!(
                "{UPGRADE}. To go back to this version instead: `{attach} rm {}`, then `matrix-podman up`",
                layout::BINARY
            ),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        fact::{Fact, Value},
        observed::Answer,
        resource::Backend,
    };

    #[test]
    fn a_guest_of_somebody_elses_is_known_by_its_mark() {
        let config = Config::parse("domain = \"chat.home.arpa\"\n", "matrix.toml").unwrap();
        let site = Site::new(config, Backend::Lxc);
        let own = Some(site.config.site().to_owned());
        for (mark, words) in [
            (own, None),
            (Some("other.home.arpa".to_owned()), Some("another site, other.home.arpa")),
            (None, Some("was not made by matrix-podman")),
        ] {
            for state in [
                GuestState::Stopped { site: mark.clone() },
                GuestState::Running { site: mark.clone(), address: None },
                GuestState::Suspended { site: mark.clone(), by: Suspension::Frozen },
            ] {
                let why = foreign(&site, &state);
                assert_eq!(why.is_some(), words.is_some(), "{state:?}");
                assert!(why.unwrap_or_default().contains(words.unwrap_or_default()), "{state:?}");
            }
        }
        assert_eq!(foreign(&site, &GuestState::Absent), None);
    }

    #[test]
    fn a_program_in_the_guest_that_speaks_a_newer_protocol_is_not_replaced() {
        let newer = GuestProgram::Newer("it is version 9.0.0".to_owned());
        let Diff::Blocked { why, hint } = program_in_guest(&newer, "family", "pct exec 104 --") else {
            panic!("it would be replaced")
        };
        assert!(why.contains("in the guest family is newer than this one: it is version 9.0.0"), "{why}");
        assert!(hint.contains("`pct exec 104 -- rm /usr/local/bin/matrix-podman`"), "{hint}");
        let other = program_in_guest(&GuestProgram::Other, "family", "");
        assert!(matches!(other, Diff::Change(_)), "{other:?}");
    }

    #[test]
    fn a_guest_that_is_suspended_is_left_so_and_named() {
        let config = Config::parse("domain = \"chat.home.arpa\"\n", "matrix.toml").unwrap();
        let running = Running { site: Site::new(config.clone(), Backend::Lxc) };
        let name = config.guest.name.to_string();
        for (by, words, fix) in [
            (Suspension::Frozen, "is frozen", format!("`lxc-unfreeze --name {name}`")),
            (Suspension::Stopped { pid: 4711 }, "SIGSTOP", "`kill -CONT 4711`".to_owned()),
        ] {
            let state = GuestState::Suspended { site: Some("chat.home.arpa".to_owned()), by };
            let mut seen = Observed::default();
            let answer = Answer::Known(Value::LxcGuest(state));
            seen.insert(Side::Machine, Fact::LxcGuest(name.clone()), answer);
            let Ok(Diff::Blocked { why, hint }) = running.diff(&seen) else { panic!("{by:?}") };
            assert!(why.contains(words) && hint.contains(&fix), "{why} {hint}");
        }
    }
}
