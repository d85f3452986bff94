//! Interfaces, ports and networks.

use std::{fmt, net::Ipv4Addr, str::FromStr};

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
    pub fn get(self) -> u16 {
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
}
