//! Values of the way in: addresses of services, networks, people, variables.

use std::net::IpAddr;

use super::{Flaw, TextType};
use crate::{
    config::ZoneChoice,
    name::{Cidr, Cidr4, Domain},
};

/// The address of a service on the internet or at home: `http://host:port/path`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceUrl(pub(in crate::config) String);

impl TextType for ServiceUrl {
    fn wanted() -> String {
        "an address that begins with http:// or https://".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let Some((scheme @ ("http" | "https"), rest)) = text.split_once("://") else {
            return Err(Flaw::new("http:// or https:// is missing in front"));
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (authority, path) = rest.split_once('/').map_or((rest, None), |(a, p)| (a, Some(p)));
        if authority.contains('@') {
            return Err(Flaw::new("a name or password cannot stand in an address")
                .hint("write the address alone; credentials have a file of their own"));
        }
        let (host, port) = authority.split_once(':').map_or((authority, None), |(h, p)| (h, Some(p)));
        let host_ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '.' | '_');
        if host.is_empty()
            || !host.chars().all(host_ok)
            || host.starts_with(['.', '-'])
            || host.ends_with('.')
        {
            return Err(Flaw::new(format!("{host:?} is not a name or an IPv4 address")));
        }
        if port.is_some_and(|p| !matches!(p.parse::<u16>(), Ok(1..)) || p.starts_with(['0', '+'])) {
            return Err(Flaw::new("what follows the colon is not a port between 1 and 65535"));
        }
        let path_ok = |c: char| {
            c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '<' | '>' | '\\' | '`' | '#' | '?' | '$')
        };
        if path.is_some_and(|path| !path.chars().all(path_ok)) {
            return Err(Flaw::new("the path holds letters that cannot stand there"));
        }
        Ok(Self(format!("{scheme}://{rest}")))
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn pattern() -> Option<String> {
        Some("^https?://[a-z0-9._-]+(:[0-9]{1,5})?(/.*)?$".to_owned())
    }
}

impl TextType for ZoneChoice {
    fn wanted() -> String {
        "a domain, or the id of a zone".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        if ZoneChoice::is_id(text) {
            return Ok(Self::Id(text.to_owned()));
        }
        Ok(Self::Named(<Domain as TextType>::from_text(text)?))
    }
    fn to_text(&self) -> String {
        match self {
            Self::Named(name) => name.as_str().to_owned(),
            Self::Id(id) => id.clone(),
        }
    }
    fn pattern() -> Option<String> {
        let domain = <Domain as TextType>::pattern()?;
        Some(format!("^[0-9a-f]{{32}}$|{domain}"))
    }
}

/// A network, `192.168.0.0/16`, or one machine, `192.168.1.7/32`; IPv6, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct NetworkCidr(pub Cidr);

impl NetworkCidr {
    /// This machine and the private networks.
    pub(in crate::config) fn private() -> Vec<Self> {
        Cidr::private_networks().into_iter().map(Self).collect()
    }
}

impl TextType for NetworkCidr {
    fn wanted() -> String {
        "a network such as 192.168.1.0/24 or fd00::/8, or one address such as 192.168.1.7/32".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        if let Ok(address) = text.parse::<IpAddr>() {
            let whole = if address.is_ipv4() { 32 } else { 128 };
            return Err(Flaw::new("the length of the network's prefix is missing")
                .hint(format!("for this one address: {:?}", format!("{text}/{whole}"))));
        }
        let (address, prefix) = text
            .split_once('/')
            .and_then(|(a, p)| Some((a.parse::<IpAddr>().ok()?, p.parse::<u8>().ok()?)))
            .ok_or_else(|| Flaw::new(format!("this is not {}", Self::wanted())))?;
        Cidr::new(address, prefix).map(Self).ok_or_else(|| {
            let most = if address.is_ipv4() { 32 } else { 128 };
            Flaw::new(format!("the prefix length is a number from 1 to {most}"))
                .hint("everybody's word about addresses cannot be believed")
        })
    }
    fn to_text(&self) -> String {
        self.0.to_string()
    }
    fn pattern() -> Option<String> {
        Some("^([0-9]{1,3}(\\.[0-9]{1,3}){3}|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)/[0-9]{1,3}$".to_owned())
    }
}

/// The same of IPv4 alone: what is published is published there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct NetworkCidr4(pub Cidr4);

impl TextType for NetworkCidr4 {
    fn wanted() -> String {
        "a network such as 192.168.1.0/24, or one address such as 192.168.1.7/32".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        NetworkCidr::from_text(text)?.0.v4().map(Self).ok_or_else(|| {
            Flaw::new("the guest's ports are published for IPv4 only")
                .hint(format!("write {}", Self::wanted()))
        })
    }
    fn to_text(&self) -> String {
        self.0.to_string()
    }
    fn pattern() -> Option<String> {
        Some("^[0-9]{1,3}(\\.[0-9]{1,3}){3}/[0-9]{1,2}$".to_owned())
    }
}

/// The name of an environment variable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct EnvName(pub String);

impl TextType for EnvName {
    const NAMES_LOCAL: bool = true;

    fn wanted() -> String {
        "the name of an environment variable".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let ok = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
        if text.is_empty()
            || text.len() > 100
            || !text.chars().all(ok)
            || text.starts_with(|c: char| c.is_ascii_digit())
        {
            // Somebody may have written the secret itself: it is not repeated.
            return Err(Flaw::new("a variable's name holds A-Z, 0-9 and _, and does not begin with a digit"));
        }
        Ok(Self(text.to_owned()))
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn pattern() -> Option<String> {
        Some("^[A-Z_][A-Z0-9_]{0,99}$".to_owned())
    }
    fn repair(_raw: &str) -> Option<String> {
        None
    }
}

/// A Matrix room: its id, or an alias.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Room(pub(in crate::config) String);

impl TextType for Room {
    fn wanted() -> String {
        "a room's id or address, such as !abc:chat.home.arpa or #server:chat.home.arpa".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let rest = text.strip_prefix(['!', '#']).unwrap_or_default();
        let graphic = text.chars().all(|c| !c.is_control() && !c.is_whitespace());
        // Rooms of newer versions have no server in their id.
        let whole = text.starts_with('!')
            || rest.split_once(':').is_some_and(|(name, server)| !name.is_empty() && !server.is_empty());
        if !rest.is_empty() && graphic && whole && text.len() <= 255 {
            return Ok(Self(text.to_owned()));
        }
        Err(Flaw::new(format!("this is not {}", Self::wanted()))
            .hint("a client shows it in the room's settings, under \"Advanced\""))
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn pattern() -> Option<String> {
        Some("^[!#][^\\s]+$".to_owned())
    }
}

/// An e-mail address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Email(pub(in crate::config) String);

impl TextType for Email {
    fn wanted() -> String {
        "an e-mail address".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let good = text.split_once('@').is_some_and(|(name, host)| {
            !name.is_empty() && !host.is_empty() && !host.contains('@') && text.len() <= 254
        });
        let graphic =
            |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '<' | '>' | '\\' | '`' | '$');
        if good && text.chars().all(graphic) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Flaw::new("this is not an e-mail address such as anna@chat.home.arpa"))
        }
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn pattern() -> Option<String> {
        Some("^[!-~]+@[!-~]+$".to_owned())
    }
}

/// A Matrix user id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UserId(pub(in crate::config) String);

impl TextType for UserId {
    fn wanted() -> String {
        "a Matrix user id such as @anna:chat.home.arpa".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let good = text
            .strip_prefix('@')
            .and_then(|rest| rest.split_once(':'))
            .is_some_and(|(name, server)| !name.is_empty() && !server.is_empty() && text.len() <= 255);
        let graphic =
            |c: char| c.is_ascii_graphic() && !matches!(c, '"' | '\'' | '<' | '>' | '\\' | '`' | '$');
        if good && text.chars().all(graphic) {
            Ok(Self(text.to_owned()))
        } else {
            Err(Flaw::new(format!("this is not {}", Self::wanted())))
        }
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn pattern() -> Option<String> {
        Some("^@[!-~]+:[!-~]+$".to_owned())
    }
}
