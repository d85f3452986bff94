//! The guest's network interface, from inside.

use std::{
    net::{IpAddr, Ipv6Addr},
    time::{Duration, Instant},
};

use matrix_podman_core::{
    fact::{Fact, Link, Value},
    name::{Cidr4, Cidr6},
    observed::Answer,
};

use crate::{
    failure::Failure,
    probe,
    process::Program,
    progress::{Saying, Sink},
};

/// How long an address may take after the guest has booted.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(250);
/// How long `ip` may take.
const QUICK: Duration = Duration::from_secs(20);

/// Waits until an interface has an address; any IPv4 address when none is named.
pub(super) fn await_address(interface: &str, address: Option<Cidr4>, sink: &Sink) -> Result<(), Failure> {
    let started = Instant::now();
    let wanted = address.map_or("an address".to_owned(), |address| format!("the address {address}"));
    sink(Saying::WaitsFor(format!("{interface} to get {wanted}")));
    loop {
        let link = match probe::answer(&Fact::Link(interface.to_owned())) {
            Answer::Known(Value::Link(link)) => link,
            _ => None,
        };
        let fits = |(there, prefix): &(IpAddr, u8)| match address {
            Some(wanted) => *there == IpAddr::V4(wanted.address()) && *prefix == wanted.prefix(),
            None => there.is_ipv4(),
        };
        if link.as_ref().is_some_and(|link| link.addresses.iter().any(fits)) {
            return Ok(());
        }
        if started.elapsed() > PATIENCE {
            let has = link.map_or("there is no such interface".to_owned(), |link: Link| link.shown(false));
            return Err(Failure::new(
                format!("see {interface} get {wanted}"),
                format!("after {} s, what it has: {has}", PATIENCE.as_secs()),
            )
            .hint(match address {
                Some(_) => {
                    "`systemctl status networking` in the guest says what became of /etc/network/interfaces there"
                }
                None => {
                    "see whether a DHCP server answers on its bridge (and VLAN), or write a fixed guest.network.address"
                }
            }));
        }
        std::thread::sleep(LOOK);
    }
}

/// Gives an interface that is up what it should have had at boot.
pub(super) fn set(
    interface: &str,
    mtu: Option<u32>,
    address6: Option<Cidr6>,
    gateway6: Option<Ipv6Addr>,
) -> Result<(), Failure> {
    let doing = format!("set the interface {interface}");
    let ip = |words: &[&str]| Program::new(["ip"].iter().chain(words)).deadline(QUICK).run(&doing, &|_| {});
    if let Some(mtu) = mtu {
        ip(&["link", "set", "dev", interface, "mtu", &mtu.to_string()])?;
    }
    if let Some(address) = address6 {
        ip(&["-6", "address", "replace", &address.to_string(), "dev", interface])?;
    }
    if let Some(gateway) = gateway6 {
        ip(&["-6", "route", "replace", "default", "via", &gateway.to_string(), "dev", interface])?;
    }
    Ok(())
}
