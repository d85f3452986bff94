//! A container's interface: what the guest's ifupdown2 is told of it, and what Proxmox
//! does to a guest that runs when it changes.

use std::collections::BTreeMap;

use super::lxc;

/// The properties of an interface.
pub(super) type Net<'a> = BTreeMap<&'a str, &'a str>;

pub(super) fn parse(net: &str) -> Net<'_> {
    net.split(',').filter_map(|part| part.split_once('=')).collect()
}

fn fixed<'a>(net: &Net<'a>, key: &str) -> Option<&'a str> {
    net.get(key).copied().filter(|ip| ip.contains('/'))
}

/// `/etc/network/interfaces`, as Proxmox writes it at each start.
pub(super) fn interfaces(net: &Net) -> String {
    let mut text = "auto lo\niface lo inet loopback\n\nauto eth0\n".to_owned();
    for (family, ip, gateway) in [("inet", "ip", "gw"), ("inet6", "ip6", "gw6")] {
        match net.get(ip) {
            None => {}
            Some(address) if address.contains('/') => {
                text.push_str(&format!("iface eth0 {family} static\n\taddress {address}\n"));
                if let Some(gateway) = net.get(gateway) {
                    text.push_str(&format!("\tgateway {gateway}\n"));
                }
                text.push('\n');
            }
            Some(way) => text.push_str(&format!("iface eth0 {family} {way}\n\n")),
        }
    }
    text + "source /etc/network/interfaces.d/*\n"
}

/// What Proxmox does to the interface of a guest that runs. It starts no DHCP client in
/// there, and writes packet size and ways to IPv6 addresses down only.
pub(super) fn replug(name: &str, before: &str, after: &str) -> Result<(), String> {
    let (old, new) = (parse(before), parse(after));
    let ip = |words: &[&str]| lxc::ip(name, words);
    let hardware = |net: &Net| net.get("hwaddr").map(|address| address.to_lowercase());
    if hardware(&old) != hardware(&new) {
        // The interface is taken away and made anew, without an address.
        ip(&["link", "set", "dev", "eth0", "down"])?;
        ip(&["address", "flush", "dev", "eth0"])?;
        ip(&["link", "set", "dev", "eth0", "address", new.get("hwaddr").unwrap_or(&"")])?;
        ip(&["link", "set", "dev", "eth0", "up"])?;
        return lxc::write(name, "etc/network/interfaces", &interfaces(&new));
    }
    for (family, key, gateway) in [("-4", "ip", "gw"), ("-6", "ip6", "gw6")] {
        if old.get(key) != new.get(key)
            && let Some(address) = fixed(&new, key)
        {
            ip(&[family, "address", "add", address, "dev", "eth0"])?;
        }
        if (old.get(key), old.get(gateway)) != (new.get(key), new.get(gateway))
            && let Some(router) = new.get(gateway)
        {
            ip(&[family, "route", "replace", "default", "via", router, "dev", "eth0"])?;
        }
        // A lease stays as it is.
        if old.get(key) != new.get(key)
            && let Some(address) = fixed(&old, key)
        {
            ip(&[family, "address", "delete", address, "dev", "eth0"])?;
        }
    }
    lxc::write(name, "etc/network/interfaces", &interfaces(&new))
}
