//! Interfaces, ports and networks.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};

use super::Invalid;

checked_string!(
    /// The name of a network interface or bridge: at most 15 characters
    /// (`IFNAMSIZ` in the kernel's `if.h`).
    InterfaceName,
    |text| {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        if text.is_empty() || text.len() > 15 {
            Err(Invalid::new("an interface name has 1 to 15 characters"))
        } else if !text.chars().all(ok) || text.starts_with(['-', '.']) {
            Err(Invalid::new("an interface name holds letters, digits, - _ and ."))
        } else {
            Ok(text.to_owned())
        }
    }
);

known!(InterfaceName);

/// A TCP port that a service can listen on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u16", into = "u16")]
pub struct Port(u16);

impl Port {
    /// A port from 1 to 65535.
    pub fn new(port: u16) -> Result<Self, Invalid> {
        match port {
            0 => Err(Invalid::new("a port is between 1 and 65535")),
            port => Ok(Self(port)),
        }
    }

    pub(crate) const fn known(port: u16) -> Self {
        Self(port)
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl TryFrom<u16> for Port {
    type Error = Invalid;
    fn try_from(port: u16) -> Result<Self, Invalid> {
        Self::new(port)
    }
}

impl From<Port> for u16 {
    fn from(port: Port) -> u16 {
        port.0
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// An IPv4 address with the length of its network's prefix: `10.86.0.10/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr4 {
    address: Ipv4Addr,
    prefix: u8,
}

impl Cidr4 {
    /// Checks `text`; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let form = || Invalid::new("an address with its network looks like 192.168.1.20/24");
        let (address, prefix) = text.split_once('/').ok_or_else(form)?;
        let address = address.parse().map_err(|_| form())?;
        let prefix: u8 = prefix.parse().map_err(|_| form())?;
        if !(8..=30).contains(&prefix) {
            return Err(Invalid::new("the prefix length is between 8 and 30"));
        }
        Ok(Self { address, prefix })
    }

    pub(crate) const fn known(a: u8, b: u8, c: u8, d: u8, prefix: u8) -> Self {
        Self { address: Ipv4Addr::new(a, b, c, d), prefix }
    }

    /// The address.
    pub fn address(self) -> Ipv4Addr {
        self.address
    }

    /// The prefix length.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// The network's first address.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) & self.mask())
    }

    /// The network's last address.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from(u32::from(self.address) | !self.mask())
    }

    /// Whether `other` is an address inside this network that a host can have.
    pub fn has_host(self, other: Ipv4Addr) -> bool {
        u32::from(other) & self.mask() == u32::from(self.network())
            && other != self.network()
            && other != self.broadcast()
    }

    /// The same network with another address in it.
    pub fn with_address(self, address: Ipv4Addr) -> Self {
        Self { address, prefix: self.prefix }
    }

    /// The network itself, `10.86.0.0/24`.
    pub fn as_network(self) -> Self {
        self.with_address(self.network())
    }

    fn mask(self) -> u32 {
        u32::MAX << (32 - self.prefix)
    }
}

impl fmt::Display for Cidr4 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A network of either family: `192.168.0.0/16`, `fd00::/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    address: IpAddr,
    prefix: u8,
}

impl Cidr {
    /// The network that `address` is in; none when there is no such prefix, or
    /// when it would be everybody.
    pub fn new(address: IpAddr, prefix: u8) -> Option<Self> {
        let address = match address {
            IpAddr::V4(a) if (1..=32).contains(&prefix) => {
                IpAddr::from(Ipv4Addr::from(u32::from(a) & (u32::MAX << (32 - prefix))))
            }
            IpAddr::V6(a) if (1..=128).contains(&prefix) => {
                IpAddr::from(Ipv6Addr::from(u128::from(a) & (u128::MAX << (128 - prefix))))
            }
            _ => return None,
        };
        Some(Self { address, prefix })
    }

    /// The same as a network of IPv4, if it is one.
    pub fn v4(self) -> Option<Cidr4> {
        match self.address {
            IpAddr::V4(address) => Some(Cidr4 { address, prefix: self.prefix }),
            IpAddr::V6(_) => None,
        }
    }

    /// This machine and the private networks: where a tunnel comes from unless
    /// somebody says otherwise.
    pub fn private_networks() -> Vec<Self> {
        [(127, 0, 8), (10, 0, 8), (172, 16, 12), (192, 168, 16)]
            .map(|(a, b, prefix)| Self::known(a, b, prefix))
            .to_vec()
    }

    const fn known(a: u8, b: u8, prefix: u8) -> Self {
        Self { address: IpAddr::V4(Ipv4Addr::new(a, b, 0, 0)), prefix }
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl TryFrom<String> for Cidr4 {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<Cidr4> for String {
    fn from(cidr: Cidr4) -> String {
        cidr.to_string()
    }
}

/// An IPv6 address with the length of its network's prefix: `2001:db8::20/64`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Cidr6 {
    address: Ipv6Addr,
    prefix: u8,
}

impl Cidr6 {
    /// Checks `text`; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let form = || Invalid::new("an IPv6 address with its network looks like 2001:db8::20/64");
        let (address, prefix) = text.split_once('/').ok_or_else(form)?;
        let address: Ipv6Addr = address.parse().map_err(|_| form())?;
        let prefix: u8 = prefix.parse().map_err(|_| form())?;
        if !(8..=127).contains(&prefix) {
            return Err(Invalid::new("the prefix length is between 8 and 127, mostly 64"));
        }
        if address.is_multicast() || address.is_unspecified() || address.is_loopback() {
            return Err(Invalid::new("no machine can have this address"));
        }
        Ok(Self { address, prefix })
    }

    /// The address.
    pub fn address(self) -> Ipv6Addr {
        self.address
    }

    /// The prefix length.
    pub fn prefix(self) -> u8 {
        self.prefix
    }
}

impl fmt::Display for Cidr6 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl TryFrom<String> for Cidr6 {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Self::parse(&text)
    }
}

impl From<Cidr6> for String {
    fn from(cidr: Cidr6) -> String {
        cidr.to_string()
    }
}

/// A machine that is reached through ssh: `ssh://root@pve.lan:22`. The host may
/// be a name of the operator's own ssh config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshHost {
    user: Option<String>,
    host: String,
    port: Option<u16>,
}

impl SshHost {
    /// Checks `text`; the error says what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let Some(rest) = text.strip_prefix("ssh://") else {
            return Err(Invalid::new(match text.split_once("://") {
                Some((scheme, _)) => format!("{scheme}:// is not ssh://"),
                None => format!("ssh:// is missing in front: try {:?}", format!("ssh://{text}")),
            }));
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (user, rest) = match rest.split_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        let (host, port) = match rest.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        };
        // Words of ssh's command line: none may look like an option.
        let word = |text: &str| {
            let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
            !text.is_empty() && text.len() <= 253 && text.chars().all(ok) && !text.starts_with(['-', '.'])
        };
        if let Some(user) = user.filter(|user| !word(user)) {
            return Err(Invalid::new(match user.split_once(':') {
                Some(_) => "a password has no place here: ssh asks for it, or better, uses a key".to_owned(),
                None => format!("{user:?} is not the name of a user"),
            }));
        }
        if !word(host) {
            return Err(Invalid::new(format!("{host:?} is not the name of a machine")));
        }
        let port = match port.map(str::parse::<u16>) {
            None => None,
            Some(Ok(port @ 1..)) => Some(port),
            Some(_) => return Err(Invalid::new("behind the colon there must be a port, from 1 to 65535")),
        };
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port })
    }

    /// The user to log in as, when one is named.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// The machine.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The port, when one is named.
    pub fn port(&self) -> Option<u16> {
        self.port
    }
}

impl fmt::Display for SshHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ssh://")?;
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        f.write_str(&self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks() {
        let net = Cidr4::parse("10.86.1.9/24").unwrap();
        assert_eq!(net.network().to_string(), "10.86.1.0");
        assert_eq!(net.broadcast().to_string(), "10.86.1.255");
        assert!(net.has_host([10, 86, 1, 1].into()));
        assert!(!net.has_host([10, 86, 1, 255].into()));
        assert!(!net.has_host([10, 86, 2, 1].into()));
        for bad in ["10.0.0.1", "10.0.0.1/33", "10.0.0/8", "x/24", "10.0.0.1/7"] {
            assert!(Cidr4::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn networks_of_ipv6() {
        assert_eq!(Cidr6::parse("2001:db8::20/64").unwrap().to_string(), "2001:db8::20/64");
        for bad in ["2001:db8::20", "::/64", "ff02::1/64", "2001:db8::20/129", "10.0.0.1/24", "x/64"] {
            Cidr6::parse(bad).unwrap_err();
        }
    }

    #[test]
    fn machines_behind_ssh() {
        for (text, user, host, port) in [
            ("ssh://root@pve.lan", Some("root"), "pve.lan", None),
            ("ssh://pve", None, "pve", None),
            ("ssh://root@192.168.1.5:2222/", Some("root"), "192.168.1.5", Some(2222)),
        ] {
            let parsed = SshHost::parse(text).unwrap();
            assert_eq!((parsed.user(), parsed.host(), parsed.port()), (user, host, port));
            assert_eq!(SshHost::parse(&parsed.to_string()).unwrap(), parsed);
        }
        for bad in [
            "root@pve.lan",
            "http://pve.lan",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://root:secret@pve",
            "ssh://pve:0",
            "ssh://pve:x",
            "ssh://a b",
            "ssh://pve/path",
        ] {
            SshHost::parse(bad).unwrap_err();
        }
    }
}
