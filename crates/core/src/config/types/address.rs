//! Addresses: in a network, of a page, of a TURN server.

use std::net::Ipv6Addr;

use super::{Flaw, TextType, nearest};
use crate::{
    config::Address6,
    name::{Cidr4, Cidr6, Domain, SshHost},
};

const CIDR_PATTERN: &str = "[0-9]{1,3}(\\.[0-9]{1,3}){3}/[0-9]{1,2}";

/// The address of a host in a network, `192.168.1.20/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct HostCidr(pub Cidr4);

impl HostCidr {
    /// Reads the text; `suggested` is the host of the network for the hint.
    fn parse(text: &str, suggested: u32) -> Result<Self, Flaw> {
        let cidr = Cidr4::parse(text)?;
        if cidr.has_host(cidr.address()) {
            return Ok(Self(cidr));
        }
        let which = if cidr.address() == cidr.network() {
            "the network itself"
        } else {
            "the network's broadcast address"
        };
        let first = std::net::Ipv4Addr::from(u32::from(cidr.network()) | suggested);
        Err(Flaw::new(format!("{} is {which}; a machine's address in it is wanted", cidr.address()))
            .hint(format!("for example {:?}", cidr.with_address(first).to_string())))
    }
}

/// A network, by its first address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PrivateNetwork(pub(in crate::config) Cidr4);

impl TextType for PrivateNetwork {
    fn wanted() -> String {
        "a network such as 192.168.1.0/24".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let cidr = Cidr4::parse(text)?;
        if cidr.address() != cidr.network() {
            return Err(Flaw::new("this is a machine's address in a network; the network itself is wanted")
                .hint(format!("write {:?}", cidr.as_network().to_string())));
        }
        Ok(Self(cidr))
    }
    fn to_text(&self) -> String {
        self.0.to_string()
    }
    fn pattern() -> Option<String> {
        Some(format!("^{CIDR_PATTERN}$"))
    }
}

/// The network of the program's own bridge, by the machine's address in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Subnet(pub Cidr4);

impl TextType for Subnet {
    fn wanted() -> String {
        "the machine's address on the bridge, with its network, such as 10.86.42.1/24".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let cidr = HostCidr::parse(text, 1)?.0;
        let [a, b, ..] = cidr.network().octets();
        let shared = a == 100 && (64..128).contains(&b);
        let wide_enough = cidr.prefix()
            >= if a == 172 {
                12
            } else if a == 192 {
                16
            } else {
                8
            };
        if (cidr.network().is_private() && wide_enough) || (shared && cidr.prefix() >= 10) {
            Ok(Self(cidr))
        } else {
            Err(Flaw::new(
                "this is not a private network, so machines on the internet would become unreachable",
            )
            .hint("use a part of 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16 that is free at your place"))
        }
    }
    fn to_text(&self) -> String {
        self.0.to_string()
    }
    fn pattern() -> Option<String> {
        Some(format!("^{CIDR_PATTERN}$"))
    }
}

/// `guest.network.address`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) enum AddressChoice {
    Auto,
    Dhcp,
    Static(Cidr4),
}

impl TextType for AddressChoice {
    fn wanted() -> String {
        "auto, dhcp or an address such as 192.168.1.20/24".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        match text {
            "auto" => Ok(Self::Auto),
            "dhcp" => Ok(Self::Dhcp),
            text if text.parse::<std::net::Ipv4Addr>().is_ok() => {
                Err(Flaw::new("the length of the network's prefix is missing")
                    .hint(format!("in a home network it is mostly 24: {:?}", format!("{text}/24"))))
            }
            text if text.contains('/') => Ok(Self::Static(HostCidr::parse(text, 2)?.0)),
            text => {
                let flaw = Flaw::new(format!("must be {}", Self::wanted()));
                Err(match nearest(text, ["auto", "dhcp"]) {
                    Some(near) => flaw.hint(format!("did you mean {near:?}?")),
                    None => flaw,
                })
            }
        }
    }
    fn to_text(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Dhcp => "dhcp".to_owned(),
            Self::Static(cidr) => cidr.to_string(),
        }
    }
    fn pattern() -> Option<String> {
        Some(format!("^(auto|dhcp|{CIDR_PATTERN})$"))
    }
}

impl TextType for Address6 {
    fn wanted() -> String {
        "auto or an IPv6 address such as 2001:db8::20/64".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        Ok(match text {
            "auto" => Self::Auto,
            "dhcp" => {
                return Err(Flaw::new(
                    "Proxmox's Debian template cannot do this: beside DHCP for IPv4 its start hangs at times, and beside a \
                     fixed address it asks nobody",
                )
                .hint("write \"auto\" if the router advertises a prefix, or a fixed address"));
            }
            text => Self::Static(Cidr6::parse(text)?),
        })
    }
    fn to_text(&self) -> String {
        match self {
            Self::Auto => "auto".to_owned(),
            Self::Static(cidr) => cidr.to_string(),
        }
    }
    fn pattern() -> Option<String> {
        Some("^(auto|[0-9A-Fa-f:.]+/[0-9]{1,3})$".to_owned())
    }
}

impl TextType for Ipv6Addr {
    fn wanted() -> String {
        "an IPv6 address such as fe80::1".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let address: Self =
            text.parse().map_err(|_| Flaw::new("this is not an IPv6 address such as fe80::1"))?;
        if address.is_multicast() || address.is_unspecified() {
            return Err(Flaw::new("no machine can have this address"));
        }
        Ok(address)
    }
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn pattern() -> Option<String> {
        Some("^[0-9A-Fa-f:.]+$".to_owned())
    }
}

impl TextType for SshHost {
    const NAMES_LOCAL: bool = true;

    fn wanted() -> String {
        "a machine such as ssh://root@pve.lan".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        Ok(Self::parse(text)?)
    }
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn pattern() -> Option<String> {
        Some("^ssh://[^\\s]+$".to_owned())
    }
}

/// A public address: `https://host` or `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicUrl(pub(in crate::config) String);

impl TextType for PublicUrl {
    fn wanted() -> String {
        "an address that begins with https://".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let (scheme, rest) = match text.split_once("://") {
            Some((scheme @ ("https" | "http"), rest)) => (scheme, rest.strip_suffix('/').unwrap_or(rest)),
            Some((scheme, _)) => return Err(Flaw::new(format!("{scheme}:// is not https://"))),
            None => {
                let flaw = Flaw::new("https:// is missing in front");
                return Err(match authority(text) {
                    Ok(_) => flaw.hint(format!("write {:?}", format!("https://{text}"))),
                    Err(_) => flaw,
                });
            }
        };
        if let Some(at) = rest.find(['/', '?', '#']) {
            return Err(Flaw::new("the address is wanted without a path")
                .hint(format!("write {:?}", format!("{scheme}://{}", &rest[..at]))));
        }
        Ok(Self(format!("{scheme}://{}", authority(rest)?)))
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn pattern() -> Option<String> {
        Some("^https?://([a-z0-9.-]|[^\\x00-\\x7f])+(:[0-9]{1,5})?/?$".to_owned())
    }
}

/// Checks `host` or `host:port`; the host may be an IPv4 address. A name comes
/// back as DNS carries it.
fn authority(text: &str) -> Result<String, Flaw> {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    let host = match host.parse::<std::net::Ipv4Addr>() {
        Ok(_) => host.to_owned(),
        Err(_) => Domain::parse(host)?.as_str().to_owned(),
    };
    match port {
        Some(port) if !is_port(port) => Err(Flaw::new(format!("{port:?} is not a port between 1 and 65535"))),
        Some(port) => Ok(format!("{host}:{port}")),
        None => Ok(host),
    }
}

/// The address of a TURN server (RFC 7065).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct TurnUri(pub String);

impl TextType for TurnUri {
    fn wanted() -> String {
        "a TURN address such as turn:turn.home.arpa?transport=udp".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let form = || Flaw::new(format!("this is not {}", Self::wanted()));
        let Some((scheme, rest)) = text.split_once(':') else {
            return Err(form());
        };
        match scheme {
            "turn" | "turns" => {}
            "stun" | "stuns" => {
                return Err(Flaw::new("a STUN server relays no calls; turn: or turns: is wanted"));
            }
            _ => return Err(form()),
        }
        if let Some(rest) = rest.strip_prefix("//") {
            return Err(
                form().hint(format!("TURN addresses have no slashes: {:?}", format!("{scheme}:{rest}")))
            );
        }
        let (server, query) = match rest.split_once('?') {
            Some((server, query)) => (server, Some(query)),
            None => (rest, None),
        };
        let server = authority(server)?;
        match query {
            None => Ok(Self(format!("{scheme}:{server}"))),
            Some(query @ ("transport=udp" | "transport=tcp")) => {
                Ok(Self(format!("{scheme}:{server}?{query}")))
            }
            Some(_) => Err(Flaw::new("after the ? only transport=udp or transport=tcp can stand")),
        }
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn pattern() -> Option<String> {
        Some("^turns?:([a-z0-9.-]|[^\\x00-\\x7f])+(:[0-9]{1,5})?(\\?transport=(udp|tcp))?$".to_owned())
    }
}

/// Whether the text is a port, without sign or leading zeros.
fn is_port(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_digit() && c != '0') && text.parse::<u16>().is_ok()
}
