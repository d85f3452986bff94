//! `[guest.network]`: its keys depend on one another more than any others.

use super::{
    Address, Network,
    keys::{
        AnyKey,
        guest::{ADDRESS, BRIDGE, DNS, EXISTING, GATEWAY, SUBNET},
    },
    read::{Got, Origin, Reader},
    types::{AddressChoice, Flaw},
};
use crate::name::{Cidr4, InterfaceName};

/// Proxmox's own first bridge.
const PROXMOX_BRIDGE: &str = "vmbr0";

/// Reads `[guest.network]`. On Proxmox every bridge is one that is there
/// already.
pub(super) fn network(r: &mut Reader<'_>, on_proxmox: bool) -> Network {
    let existing = r.value(&EXISTING);
    let address = r.optional(&ADDRESS);
    if on_proxmox && existing.written() && !existing.value {
        r.complain(
            &EXISTING,
            Flaw::new("bridges on a Proxmox node belong to Proxmox, so the program makes none there")
                .hint("remove it; guest.network.bridge names the bridge"),
        );
    }
    // With a wrong `existing`, either reading would raise mistakes that are none.
    if on_proxmox || existing.value {
        existing_bridge(r, address, on_proxmox)
    } else {
        own_bridge(r, address, existing.sound())
    }
}

/// A bridge that is there already.
fn existing_bridge(r: &mut Reader<'_>, address: Got<Option<AddressChoice>>, on_proxmox: bool) -> Network {
    let (mut bridge, subnet) = (r.value(&BRIDGE), r.optional(&SUBNET));
    let (gateway, dns) = (r.optional(&GATEWAY), r.optional(&DNS));
    if on_proxmox && bridge.origin == Origin::Default {
        bridge.value = InterfaceName::known(PROXMOX_BRIDGE);
    } else if !bridge.written() && bridge.sound() {
        r.complain(
            &EXISTING,
            Flaw::new("which bridge is it?").hint(format!("name it: bridge = {}", BRIDGE.example)),
        );
    }
    if subnet.written() {
        r.complain(
            &SUBNET,
            Flaw::new("an existing bridge has its own network, so this would have no effect")
                .hint("remove it; the guest's address is set with address"),
        );
    }
    let AddressChoice::Static(fixed) = address.value.unwrap_or(AddressChoice::Dhcp) else {
        if address.value == Some(AddressChoice::Auto) {
            r.complain(
                &ADDRESS,
                Flaw::new("auto takes an address from the program's own network, and on an existing bridge there is none")
                    .hint("write \"dhcp\", or a fixed address that is free, such as \"192.168.1.20/24\""),
            );
        }
        let unused: [(&dyn AnyKey, bool); 2] = [(&GATEWAY, gateway.written()), (&DNS, dns.written())];
        for (key, _) in unused.into_iter().filter(|(_, written)| *written && address.sound()) {
            r.complain(
                key,
                Flaw::new("the DHCP server tells the guest this, so it would have no effect")
                    .hint("remove it, or give the guest a fixed address"),
            );
        }
        return Network::Existing { bridge: bridge.value, address: Address::Dhcp, dns: Vec::new() };
    };
    if gateway.value.is_none() && gateway.sound() {
        r.complain(
            &ADDRESS,
            Flaw::new("a fixed address needs the router's beside it").hint(format!(
                "for example gateway = {}",
                {
                    let router = std::net::Ipv4Addr::from(u32::from(fixed.network()) | 1);
                    format!("{:?}", router.to_string())
                }
            )),
        );
    }
    let router = gateway.value.unwrap_or(fixed.network());
    if gateway.written() {
        if router == fixed.address() {
            r.complain(
                &GATEWAY,
                Flaw::new("this is the guest's own address; the router's is wanted")
                    .hint("ip route shows it, after \"default via\""),
            );
        } else if !fixed.has_host(router) {
            r.complain(
                &GATEWAY,
                Flaw::new(format!(
                    "no machine in {} has this address, so the guest could not reach it",
                    fixed.as_network()
                ))
                .hint("ip route shows the router's address, after \"default via\""),
            );
        }
    }
    if dns.value.as_ref().is_some_and(|list| list.0.is_empty()) {
        r.complain(
            &DNS,
            Flaw::new("without a name server the guest reaches nothing")
                .hint("leave it out to ask the gateway"),
        );
    }
    Network::Existing {
        bridge: bridge.value,
        address: Address::Static { address: fixed, gateway: router },
        dns: dns.value.map_or_else(|| vec![router], |list| list.0),
    }
}

/// The program's own bridge. With `sure` unset, only values are read.
fn own_bridge(r: &mut Reader<'_>, address: Got<Option<AddressChoice>>, sure: bool) -> Network {
    let (bridge, subnet) = (r.value(&BRIDGE), r.value(&SUBNET));
    let (gateway, dns) = (r.optional(&GATEWAY), r.optional(&DNS));
    let machine = subnet.value.0;
    if dns.written() && sure {
        r.complain(
            &DNS,
            Flaw::new("on the program's own bridge the guest asks the machine, so this would have no effect")
                .hint("remove it, or write existing = true if the bridge is there already"),
        );
    }
    let fixed = match address.value.unwrap_or(AddressChoice::Auto) {
        AddressChoice::Auto | AddressChoice::Dhcp => None,
        AddressChoice::Static(fixed) => Some(fixed),
    };
    if let Some(gateway) = gateway.value
        && sure
        && subnet.sound()
        && gateway != machine.address()
    {
        r.complain(
            &GATEWAY,
            Flaw::new(format!(
                "on the program's own bridge the way out is the machine, {}",
                machine.address()
            ))
            .hint("remove it, or write existing = true if the bridge is there already"),
        );
    }
    let Some(fixed) = fixed else {
        let dhcp = address.value == Some(AddressChoice::Dhcp);
        let address = if dhcp { Address::Dhcp } else { Address::Auto };
        return Network::Own { bridge: bridge.value, subnet: machine, address };
    };
    if sure && subnet.sound() {
        inside(r, machine, fixed);
    }
    let address = Address::Static { address: fixed, gateway: machine.address() };
    Network::Own { bridge: bridge.value, subnet: machine, address }
}

/// Checks that a fixed address is one that a guest on the program's own bridge
/// can have.
fn inside(r: &mut Reader<'_>, machine: Cidr4, fixed: Cidr4) {
    let next = std::net::Ipv4Addr::from(u32::from(machine.network()) | 2);
    let flaw = if !machine.has_host(fixed.address()) {
        Flaw::new(format!("this is outside the bridge's network {}", machine.as_network()))
    } else if fixed.prefix() != machine.prefix() {
        Flaw::new(format!("the bridge's network has the prefix length {}", machine.prefix()))
    } else if fixed.address() == machine.address() {
        Flaw::new("this is the machine's own address on the bridge (guest.network.subnet)")
    } else {
        return;
    };
    let suggestion = if machine.has_host(fixed.address()) && fixed.address() != machine.address() {
        machine.with_address(fixed.address())
    } else {
        machine.with_address(next)
    };
    r.complain(&ADDRESS, flaw.hint(format!("for example {:?}", suggestion.to_string())));
}
