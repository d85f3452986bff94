//! How servers find and recognise each other
//! (Matrix server-server API, "Resolving server names" and "Retrieving server keys").
//!
//! Everything here judges answers; asking is the probes' task. Discovery is a
//! function over [`Observed`](crate::observed::Observed): it notes what it has
//! to know next, is called again with the answers, and so walks the order of
//! the standard step by step.

mod canonical;
mod discovery;
mod keys;
mod name;
mod report;
#[cfg(test)]
pub(crate) mod testing;
mod tls;

pub use canonical::{NotCanonical, canonical};
pub use discovery::{Discovery, MOST_TARGETS, Place, discover};
pub(crate) use discovery::{fetch, host_of};
pub use keys::{KeyAnswer, SeenKey, judge};
pub use name::{Host, Named};
pub use report::{AddressReport, Problem, Report, Version, report};
pub use tls::{DAY, certificate_hint, certificate_problem, date};

use std::net::{IpAddr, SocketAddr};

use crate::{
    fact::{HttpQuestion, Side},
    name::Invalid,
    observed::{Observed, Seen},
};

/// What the operator says of the network beyond what the system knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Net {
    /// `--resolve`: where names are that the name servers do not know.
    pub resolve: Vec<Resolve>,
    /// `--ca-file`: certificates (PEM) to trust besides those of the system.
    pub ca: Option<String>,
}

/// One `--resolve NAME:PORT:ADDRESS`, as curl has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolve {
    /// The name.
    pub name: String,
    /// For connections to this port.
    pub port: u16,
    /// Where it is.
    pub address: IpAddr,
}

impl std::str::FromStr for Resolve {
    type Err = Invalid;
    fn from_str(text: &str) -> Result<Self, Invalid> {
        let form =
            || Invalid::new("this looks like NAME:PORT:ADDRESS, as in matrix.example.org:443:192.168.1.20");
        let (name, rest) = text.split_once(':').ok_or_else(form)?;
        let (port, address) = rest.split_once(':').ok_or_else(form)?;
        let address = address.trim_start_matches('[').trim_end_matches(']');
        Ok(Self {
            name: name.to_ascii_lowercase(),
            port: port.parse().map_err(|_| form())?,
            address: address.parse().map_err(|_| form())?,
        })
    }
}

impl Net {
    /// Where `host` is for connections to `port`; empty when there is no such
    /// name.
    pub fn addresses(&self, host: &Host, port: u16, seen: &Observed) -> Seen<Vec<SocketAddr>> {
        let name = match host {
            Host::Ip(address) => return Ok(vec![SocketAddr::new(*address, port)]),
            Host::Name(name) => name,
        };
        let given: Vec<SocketAddr> = self
            .resolve
            .iter()
            .filter(|r| r.port == port && r.name.eq_ignore_ascii_case(name))
            .map(|r| SocketAddr::new(r.address, port))
            .collect();
        if !given.is_empty() {
            return Ok(given);
        }
        let found = seen.addresses(Side::Machine, name)?;
        Ok(found.addresses.iter().map(|address| SocketAddr::new(*address, port)).collect())
    }

    /// The same question, asked at `address`, trusting what the operator trusts.
    pub fn at(&self, question: HttpQuestion, address: SocketAddr) -> HttpQuestion {
        HttpQuestion { at: Some(address), ca: self.ca.clone(), ..question }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_given_by_hand() {
        let given: Resolve = "Matrix.example.org:443:[2001:db8::1]".parse().unwrap();
        assert_eq!((given.name.as_str(), given.port), ("matrix.example.org", 443));
        assert!(given.address.is_ipv6());
        for bad in ["a", "a:443", "a:b:1.2.3.4", "a:443:b", "a:70000:1.2.3.4"] {
            assert!(bad.parse::<Resolve>().is_err(), "{bad}");
        }
        let net = Net { resolve: vec![given], ca: None };
        let host = Host::Name("matrix.example.org".to_owned());
        let seen = Observed::default();
        assert_eq!(net.addresses(&host, 443, &seen).unwrap()[0].to_string(), "[2001:db8::1]:443");
        // For another port the name servers are asked.
        assert!(net.addresses(&host, 8448, &seen).is_err());
    }
}
