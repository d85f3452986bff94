//! The container's interface: what it should be, and what of it can be changed
//! while the container runs.

use std::collections::BTreeMap;

use super::container::{properties, property_text};
use crate::config::{Address, Address6, Config, Network};

/// What of `net0` the config decides; the rest is Proxmox's or the operator's.
const OWN_NET: [&str; 9] = ["name", "bridge", "ip", "gw", "ip6", "gw6", "tag", "mtu", "firewall"];

/// What has nothing to do with which addresses the guest has.
const BESIDE: [&str; 1] = ["firewall"];

/// The container's interface: what the config decides of it, and what stands there
/// besides.
pub(super) fn net0(config: &Config, now: Option<&str>) -> String {
    let proxmox = &config.proxmox;
    let (Network::Own { bridge, address, .. } | Network::Existing { bridge, address, .. }) =
        &config.guest.network;
    let pinned = proxmox.mac.is_some();
    let mut net: BTreeMap<&str, String> = properties(now.unwrap_or_default())
        .into_iter()
        .filter(|(key, _)| !(OWN_NET.contains(key) || pinned && *key == "hwaddr"))
        .map(|(key, value)| (key, value.to_owned()))
        .collect();
    net.insert("name", "eth0".to_owned());
    net.insert("bridge", bridge.to_string());
    match address {
        Address::Auto | Address::Dhcp => {
            net.insert("ip", "dhcp".to_owned());
        }
        Address::Static { address, gateway } => {
            net.insert("ip", address.to_string());
            net.insert("gw", gateway.to_string());
        }
    }
    let mut optional = |key, value: Option<String>| {
        if let Some(value) = value {
            net.insert(key, value);
        }
    };
    optional(
        "ip6",
        proxmox.address6.and_then(|address| match address {
            // The kernel takes it from the router's advertisements. Said here, the
            // guest's ifupdown2 would run a DHCP client for it, which waits forever
            // or fails.
            Address6::Auto => None,
            Address6::Static(address) => Some(address.to_string()),
        }),
    );
    optional("gw6", proxmox.gateway6.map(|gateway| gateway.to_string()));
    optional("tag", proxmox.vlan.map(|tag| tag.get().to_string()));
    optional("mtu", proxmox.mtu.map(|mtu| mtu.get().to_string()));
    optional("firewall", proxmox.firewall.then(|| "1".to_owned()));
    optional("hwaddr", proxmox.mac.as_ref().map(ToString::to_string));
    net.entry("type").or_insert_with(|| "veth".to_owned());
    property_text(&net)
}

/// The fixed IPv4 address in the interface's properties.
pub(super) fn address<'a>(net: &BTreeMap<&str, &'a str>) -> Option<&'a str> {
    net.get("ip").copied().filter(|ip| ip.contains('/'))
}

/// Whether the change of an interface reaches a guest that runs. Proxmox adds and
/// removes fixed addresses from outside. It starts no DHCP client in the guest, so a
/// lease stays on a network that it is not of, or no address comes at all; another
/// hardware address makes the interface anew, without any; packet size and the way
/// to an IPv6 address are only written down.
pub(super) fn is_live(before: &str, after: &str) -> bool {
    let (before, after) = (before.to_ascii_lowercase(), after.to_ascii_lowercase());
    let (before, after) = (properties(&before), properties(&after));
    let same = |key: &str| before.get(key) == after.get(key);
    let keys = || before.keys().chain(after.keys());
    if keys().all(|key| BESIDE.contains(key) || same(key)) {
        return true;
    }
    let way6 = |net: &BTreeMap<&str, &str>| net.get("ip6").map(|ip| ip.contains('/').to_string());
    address(&before).is_some()
        && address(&after).is_some()
        && ["name", "hwaddr", "mtu", "type"].iter().all(|key| same(key))
        && way6(&before) == way6(&after)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxmox::container::tests::{RICH, config};

    #[test]
    fn only_from_one_fixed_address_to_another_is_live() {
        const FIXED: &str =
            "name=eth0,bridge=vmbr0,gw=10.0.0.1,hwaddr=BC:24:11:01:02:03,ip=10.0.0.5/24,type=veth";
        const DHCP: &str = "name=eth0,bridge=vmbr0,hwaddr=BC:24:11:01:02:03,ip=dhcp,type=veth";
        let with = |net: &str, more: &str| format!("{net},{more}");
        for (before, after, live) in [
            (FIXED.to_owned(), FIXED.replace("10.0.0.5", "10.0.0.6"), true),
            (FIXED.to_owned(), FIXED.replace("gw=10.0.0.1", "gw=10.0.0.2"), true),
            (FIXED.to_owned(), FIXED.replace("vmbr0", "vmbr1"), true),
            (FIXED.to_owned(), with(FIXED, "tag=30"), true),
            (FIXED.to_owned(), with(FIXED, "firewall=1"), true),
            (with(FIXED, "ip6=2001:db8::5/64"), with(FIXED, "ip6=2001:db8::6/64"), true),
            // As Proxmox writes it and as the program does.
            (FIXED.to_owned(), FIXED.replace("BC:24", "bc:24").replace("10.0.0.5", "10.0.0.6"), true),
            (DHCP.to_owned(), with(DHCP, "firewall=1"), true),
            (FIXED.to_owned(), DHCP.to_owned(), false),
            (DHCP.to_owned(), FIXED.to_owned(), false),
            (DHCP.to_owned(), DHCP.replace("vmbr0", "vmbr1"), false),
            (DHCP.to_owned(), with(DHCP, "tag=30"), false),
            (DHCP.to_owned(), DHCP.replace("01:02:03", "01:02:04"), false),
            (FIXED.to_owned(), FIXED.replace("01:02:03", "01:02:04"), false),
            (FIXED.to_owned(), with(FIXED, "mtu=1400"), false),
            (FIXED.to_owned(), with(FIXED, "ip6=2001:db8::5/64"), false),
            (with(DHCP, "ip6=auto"), DHCP.to_owned(), false),
            (String::new(), FIXED.to_owned(), false),
        ] {
            assert_eq!(is_live(&before, &after), live, "{before} → {after}");
        }
    }

    #[test]
    fn what_the_kernel_does_by_itself_is_not_said_to_proxmox() {
        let of = |lines: &str| net0(&config(lines), None);
        let auto = of("guest.ipv6 = true\n[proxmox]\naddress6 = \"auto\"\n");
        assert!(!auto.contains("ip6") && auto.contains("ip=dhcp"), "{auto}");
        assert!(of(RICH).contains("gw6=fe80::1,") && of(RICH).contains("ip6=2001:db8::5/64"), "{}", of(RICH));
        // What an earlier version wrote goes.
        let before = "name=eth0,bridge=vmbr0,ip=dhcp,ip6=auto,hwaddr=BC:24:11:01:02:03,type=veth,rate=10";
        let after = net0(&config("guest.ipv6 = true\n[proxmox]\naddress6 = \"auto\"\n"), Some(before));
        assert!(!after.contains("ip6") && after.contains("rate=10"), "{after}");
    }
}
