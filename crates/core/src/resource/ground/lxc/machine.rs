//! What a machine needs before it can have a guest: packages, ids, a network.

use std::collections::BTreeSet;

use super::container;
use crate::{
    config::Network,
    effect::{Effect, Local},
    fact::{Fact, Side},
    firewall::{self, LetIn, OwnNetwork, Source},
    ids,
    name::{AbsPath, Cidr4, InterfaceName},
    observed::{Gap, Observed, Seen},
    render::ports,
    resource::{Diff, Resource, ResourceId, Risk, Site, Step},
};

/// Where the processes that serve a bridge write their ids, below a folder
/// named after the bridge.
pub const BRIDGE_PID_FILES: &str = "/run/matrix-podman";

/// How many ids a guest has: all that a 16 bit id can name.
pub(super) const IDS: u32 = 65_536;

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let mut all: Vec<Box<dyn Resource>> = vec![
        Box::new(Packages { own_network: own_network(site).is_some() }),
        Box::new(Ids { site: site.clone() }),
    ];
    if own_network(site).is_some() {
        all.push(Box::new(Bridge { site: site.clone() }));
    }
    all
}

/// The bridge and the machine's address on it, where the bridge is ours.
fn own_network(site: &Site) -> Option<(&InterfaceName, Cidr4)> {
    match &site.config.guest.network {
        Network::Own { bridge, subnet, .. } => Some((bridge, *subnet)),
        Network::Existing { .. } => None,
    }
}

/// The Debian packages that the machine needs, by the command that each is
/// needed for: a command may have come in another way.
struct Packages {
    own_network: bool,
}

const FOR_GUESTS: [(&str, &str); 3] =
    [("lxc-start", "lxc"), ("newuidmap", "uidmap"), ("mmdebstrap", "mmdebstrap")];
const FOR_NETWORK: [(&str, &str); 3] = [("ip", "iproute2"), ("nft", "nftables"), ("dnsmasq", "dnsmasq-base")];

impl Resource for Packages {
    fn id(&self) -> ResourceId {
        ids::MACHINE_PACKAGES
    }

    fn needs(&self) -> Vec<ResourceId> {
        Vec::new()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let network: &[(&str, &str)] = if self.own_network { &FOR_NETWORK } else { &FOR_NETWORK[..1] };
        let wanted: Vec<(&str, &str)> = FOR_GUESTS.iter().chain(network).copied().collect();
        let there = seen.commands(Side::Machine, wanted.iter().map(|(command, _)| *command))?;
        let missing: BTreeSet<&str> = wanted
            .iter()
            .filter(|(command, _)| !there.contains_key(*command))
            .map(|(_, package)| *package)
            .collect();
        if missing.is_empty() {
            return Ok(Diff::settled("the machine has the programs that it needs"));
        }
        let packages: Vec<String> = missing.iter().map(|p| (*p).to_owned()).collect();
        Ok(Diff::quiet(
            format!("Install {} on this machine", packages.join(", ")),
            "they make and connect the guest",
            vec![Effect::Here(Local::Install { side: Side::Machine, packages })],
        ))
    }
}

/// The range of ids that stand for the guest's users on the machine.
struct Ids {
    site: Site,
}

impl Resource for Ids {
    fn id(&self) -> ResourceId {
        ids::MACHINE_IDS
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ids::MACHINE_PACKAGES]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let start = first_id(&self.site, seen)?;
        for file in ["/etc/subuid", "/etc/subgid"] {
            let path = AbsPath::known(file);
            let text =
                seen.file(Side::Machine, &path)?.and_then(|f| f.content.as_deref()).unwrap_or_default();
            if !allows(text, start) {
                return Ok(Diff::quiet(
                    format!("Let root give the ids {start} to {} to the guest", start + IDS - 1),
                    "the guest's root then is nobody on this machine",
                    vec![Effect::Here(Local::AllowIds { start, count: IDS })],
                ));
            }
        }
        Ok(Diff::settled(format!("root may give away the ids from {start} on")))
    }
}

/// First id of this guest: its own where it exists, else the first range of
/// its own that no other guest uses.
pub(super) fn first_id(site: &Site, seen: &Observed) -> Seen<u32> {
    let neighbours = seen.neighbours()?;
    let own = neighbours.iter().find(|n| n.name == site.config.guest.name.as_str());
    if let Some((start, _)) = own.and_then(|n| n.ids) {
        return Ok(start);
    }
    let free = |start: u32| {
        neighbours
            .iter()
            .filter_map(|n| n.ids)
            .all(|(other, count)| start + IDS <= other || other + count <= start)
    };
    let candidates = (0..1000).map(|n| 100_000 + n * IDS);
    Ok(candidates.into_iter().find(|start| free(*start)).unwrap_or(100_000))
}

/// Whether a subuid file lets root use all ids of a guest that begins at `start`.
fn allows(text: &str, start: u32) -> bool {
    text.lines().any(|line| {
        let mut fields = line.trim().split(':');
        let (Some(who), Some(first), Some(count)) = (fields.next(), fields.next(), fields.next()) else {
            return false;
        };
        let (Ok(first), Ok(count)) = (first.parse::<u64>(), count.parse::<u64>()) else { return false };
        (who == "root" || who == "0")
            && first <= u64::from(start)
            && u64::from(start) + u64::from(IDS) <= first + count
    })
}

/// The program's own bridge: who may pass it, NAT, names and leases.
struct Bridge {
    site: Site,
}

impl Bridge {
    /// The network as it should be.
    fn network(&self, seen: &Observed) -> Seen<OwnNetwork> {
        let Some((bridge, address)) = own_network(&self.site) else {
            return Err(Gap::Unknown("the bridge is not ours".to_owned()));
        };
        let config = &self.site.config;
        Ok(OwnNetwork {
            bridge: bridge.to_string(),
            address,
            ipv6: config.guest.ipv6,
            guest: LetIn {
                guest: config.guest.name.to_string(),
                address: container::fixed_address(&self.site, seen)?,
                proxies: config.edge.proxies.iter().copied().map(Source::from).collect(),
                ports: ports::published(config),
                open: ports::open(config),
            },
        })
    }
}

/// What one of the kernel's settings is; `None` where the kernel has no such.
fn setting<'a>(name: &str, seen: &'a Observed) -> Seen<Option<&'a str>> {
    let file = seen.file(Side::Machine, &firewall::setting_file(name))?;
    Ok(file.and_then(|f| f.content.as_deref()).map(str::trim))
}

impl Resource for Bridge {
    fn id(&self) -> ResourceId {
        ids::MACHINE_NETWORK
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ids::MACHINE_PACKAGES]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let network = self.network(seen);
        let Some((bridge, own)) = own_network(&self.site) else {
            return Ok(Diff::settled("the bridge is not ours"));
        };
        let (bridge, address) = (bridge.as_str(), own.address());
        // All is asked before the first answer is looked at.
        let has = seen.interface(bridge);
        let dnsmasq = seen.yes(Side::Machine, Fact::Process(dnsmasq_pid_file(bridge)));
        let rules = seen.rules(Side::Machine, &firewall::bridge_table_name(bridge));
        let routes = setting(firewall::FORWARDING_EVERYWHERE, seen);
        let forwards = setting(&firewall::forwarding(bridge), seen);
        let ways = seen.ways(self.site.config.edge.proxies.iter().map(|proxy| proxy.address()));
        let wanted = firewall::interface_settings(bridge, self.site.config.guest.ipv6);
        let states: Vec<_> = wanted.iter().map(|(name, _)| setting(name, seen)).collect();
        let has = has?;
        if let Some(other) = has.filter(|other| *other != address) {
            return Ok(Diff::Blocked {
                why: format!("the bridge {bridge} is there with the address {other}, not {address}"),
                hint: "set guest.network.subnet to the bridge's own, or guest.network.bridge to a name that is free"
                    .to_owned(),
            });
        }
        let (network, dnsmasq, rules, routes) = (network?, dnsmasq?, rules?, routes?);
        let ways: Vec<_> = ways?
            .iter()
            .filter(|way| way.as_str() != bridge)
            .map(|way| setting(&firewall::forwarding(way), seen))
            .collect();
        let routes = routes == Some("1");
        let mut forwards = routes || forwards? == Some("1");
        for way in ways {
            forwards &= routes || way? == Some("1");
        }
        let mut hardened = true;
        for ((_, value), state) in wanted.iter().zip(states) {
            // A setting that this kernel does not have protects from nothing.
            hardened &= state?.is_none_or(|now| now == *value);
        }
        let table = firewall::are_loaded(&firewall::bridge_comments(&network), rules);
        let missing: Vec<&str> = [
            (has.is_some(), "the bridge"),
            (has.is_none() || hardened, "what keeps a guest from rerouting the machine"),
            (forwards, "forwarding"),
            (table, "who may pass it"),
            (dnsmasq, "dnsmasq"),
        ]
        .into_iter()
        .filter_map(|(there, what)| (!there).then_some(what))
        .collect();
        let who = reached(&network);
        if missing.is_empty() {
            return Ok(Diff::settled(format!("{bridge} is up with {own}; {who}")));
        }
        let mut why =
            format!("guests reach the internet through it, and {} missing; {who}", is_missing(&missing));
        if has.is_some() && !table && routes {
            // The mark of a bridge that an earlier version brought up.
            why.push_str(
                "; net.ipv4.ip_forward stays on: if only an earlier matrix-podman turned it on, it goes off at the \
                 machine's next start",
            );
        }
        Ok(Diff::Change(Step {
            what: format!("Bring up the bridge {bridge} with {own}"),
            why,
            risk: Risk::None,
            changes: Vec::new(),
            effects: vec![Effect::Here(Local::NetworkUp(network))],
        }))
    }
}

/// Who reaches the guest.
fn reached(network: &OwnNetwork) -> String {
    let proxies: Vec<String> = network.guest.proxies.iter().map(Source::to_string).collect();
    let who = match proxies.as_slice() {
        [] => "only this machine reaches the guest".to_owned(),
        named => format!("only this machine and {} reach the guest", named.join(", ")),
    };
    match network.guest.open.as_slice() {
        [] => who,
        open => {
            let open: Vec<String> = open.iter().map(ToString::to_string).collect();
            format!("{who}; its ports {} are open to everybody", open.join(", "))
        }
    }
}

fn is_missing(what: &[&str]) -> String {
    match what {
        [one] => format!("{one} is"),
        many => format!("{} are", many.join(", ")),
    }
}

/// Where the dnsmasq of a bridge writes its process id.
pub fn dnsmasq_pid_file(bridge: &str) -> AbsPath {
    AbsPath::known(format!("{BRIDGE_PID_FILES}/{bridge}/dnsmasq.pid"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subordinate_ids() {
        assert!(allows("root:100000:65536\n", 100_000));
        assert!(allows("lxc:1:2\nroot:100000:131072\n", 165_536));
        assert!(!allows("root:100000:65536\n", 165_536));
        assert!(!allows("anna:100000:65536\n", 100_000));
        assert!(!allows("root:x:y\nroot\n", 100_000));
    }
}
