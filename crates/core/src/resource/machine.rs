//! What a machine needs before it can have a guest: packages, ids, a network.

use std::collections::BTreeSet;

use super::{Diff, Resource, ResourceId, Risk, Site, Step};
use crate::{
    config::Network,
    effect::{Effect, OwnNetwork},
    fact::{Fact, Side},
    name::AbsPath,
    observed::{Observed, Seen},
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
    if let Some(network) = own_network(site) {
        all.push(Box::new(Bridge { network }));
    }
    all
}

fn own_network(site: &Site) -> Option<OwnNetwork> {
    match &site.config.guest.network {
        Network::Own { bridge, subnet, .. } => {
            Some(OwnNetwork { bridge: bridge.to_string(), address: *subnet })
        }
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
        ResourceId::new("machine/packages")
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
            vec![Effect::Install { side: Side::Machine, packages }],
        ))
    }
}

/// The range of ids that stand for the guest's users on the machine.
struct Ids {
    site: Site,
}

impl Resource for Ids {
    fn id(&self) -> ResourceId {
        ResourceId::new("machine/ids")
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ResourceId::new("machine/packages")]
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
                    vec![Effect::AllowIds { start, count: IDS }],
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

/// The program's own bridge with forwarding, NAT, names and leases.
struct Bridge {
    network: OwnNetwork,
}

impl Resource for Bridge {
    fn id(&self) -> ResourceId {
        ResourceId::new("machine/network")
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ResourceId::new("machine/packages")]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let bridge = &self.network.bridge;
        let address = self.network.address.address();
        let has = seen.interface(bridge)?;
        if let Some(other) = has.filter(|other| *other != address) {
            return Ok(Diff::Blocked {
                why: format!("the bridge {bridge} is there with the address {other}, not {address}"),
                hint: "set guest.network.subnet to the bridge's own, or guest.network.bridge to a name that is free"
                    .to_owned(),
            });
        }
        let nat = seen.yes(Side::Machine, Fact::NatTable(bridge.clone()))?;
        let dnsmasq = seen.yes(Side::Machine, Fact::Process(dnsmasq_pid_file(bridge)))?;
        let forwarding = seen
            .file(Side::Machine, &AbsPath::known("/proc/sys/net/ipv4/ip_forward"))?
            .and_then(|f| f.content.as_deref())
            .is_some_and(|text| text.trim() == "1");
        let missing: Vec<&str> = [
            (has.is_some(), "the bridge"),
            (forwarding, "forwarding"),
            (nat, "address translation"),
            (dnsmasq, "dnsmasq"),
        ]
        .into_iter()
        .filter_map(|(there, what)| (!there).then_some(what))
        .collect();
        if missing.is_empty() {
            return Ok(Diff::settled(format!("{bridge} is up with {}", self.network.address)));
        }
        Ok(Diff::Change(Step {
            what: format!("Bring up the bridge {bridge} with {}", self.network.address),
            why: format!("guests reach the internet through it, and {} missing", is_missing(&missing)),
            risk: Risk::None,
            changes: Vec::new(),
            effects: vec![Effect::NetworkUp(self.network.clone())],
        }))
    }
}

fn is_missing(what: &[&str]) -> String {
    match what {
        [one] => format!("{one} is"),
        many => format!("{} are", many.join(", ")),
    }
}

/// Where the dnsmasq of a bridge writes its process id.
pub(crate) fn dnsmasq_pid_file(bridge: &str) -> AbsPath {
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
