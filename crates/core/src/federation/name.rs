//! Server names as they are met on the network, which is more than what this
//! program lets its own servers be called.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::name::Invalid;

/// A server name or the target of a delegation: a host, perhaps a port
/// (Matrix specification, appendix "Server name").
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// The host.
    pub host: Host,
    /// The port, when one was written.
    pub port: Option<u16>,
    text: String,
}

/// The host of a server name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Host {
    /// A name that has to be looked up.
    Name(String),
    /// An address.
    Ip(IpAddr),
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Name(name) => f.write_str(name),
            Host::Ip(IpAddr::V4(address)) => address.fmt(f),
            Host::Ip(IpAddr::V6(address)) => write!(f, "[{address}]"),
        }
    }
}

impl Named {
    /// Exactly as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Named {
    type Err = Invalid;

    fn from_str(text: &str) -> Result<Self, Invalid> {
        if let Some((_, rest)) = text.split_once("://") {
            let name = rest.split(['/', '?', '#']).next().unwrap_or_default();
            return Err(Invalid::new(format!("this is an address, not the name of a server: try {name}")));
        }
        if text.starts_with(['@', '#', '!', '+'])
            && let Some((_, server)) = text.split_once(':')
        {
            return Err(Invalid::new(format!("this is the id of a user or room: try its server, {server}")));
        }
        let (host, port) = split_port(text)?;
        let host = if let Some(inner) = host.strip_prefix('[') {
            let inner = inner.strip_suffix(']').ok_or_else(|| Invalid::new("an IPv6 address ends with ]"))?;
            Host::Ip(IpAddr::V6(
                inner
                    .parse::<Ipv6Addr>()
                    .map_err(|_| Invalid::new("there is no IPv6 address between [ and ]"))?,
            ))
        } else if let Ok(address) = host.parse::<Ipv4Addr>() {
            Host::Ip(IpAddr::V4(address))
        } else {
            name(host)?
        };
        Ok(Self { host, port, text: text.to_owned() })
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), Invalid> {
    // The colons of an IPv6 address are inside brackets.
    let after_address = text.rfind(']').map_or(0, |at| at + 1);
    let Some(colon) = text[after_address..].find(':').map(|at| at + after_address) else {
        return Ok((text, None));
    };
    let port = &text[colon + 1..];
    let digits = !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits && port > 0 => Ok((&text[..colon], Some(port))),
        _ => Err(Invalid::new("after the colon a port is wanted, from 1 to 65535")),
    }
}

fn name(text: &str) -> Result<Host, Invalid> {
    let labels_ok = text.split('.').all(|label| !label.is_empty() && label.len() <= 63);
    if text.is_empty() || text.len() > 255 || !labels_ok {
        return Err(Invalid::new("a server's name looks like matrix.example.org"));
    }
    if let Some(odd) = text.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '.')) {
        return Err(Invalid::new(format!(
            "the name of a server has no {odd:?}; it looks like matrix.example.org"
        )));
    }
    Ok(Host::Name(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, Option<u16>) {
        let named: Named = text.parse().unwrap_or_else(|e| panic!("{text}: {e}"));
        assert_eq!(named.as_str(), text);
        (named.host.to_string(), named.port)
    }

    #[test]
    fn names() {
        for (text, host, port) in [
            ("matrix.org", "matrix.org", None),
            ("matrix.org:8448", "matrix.org", Some(8448)),
            ("localhost", "localhost", None),
            ("Example.ORG", "Example.ORG", None),
            ("1.2.3.4", "1.2.3.4", None),
            ("1.2.3.4:1", "1.2.3.4", Some(1)),
            ("1.2.3.4.5", "1.2.3.4.5", None),
            ("[::1]", "[::1]", None),
            ("[2001:db8::1]:65535", "[2001:db8::1]", Some(65535)),
            ("xn--bcher-kva.example", "xn--bcher-kva.example", None),
        ] {
            assert_eq!(parsed(text), (host.to_owned(), port), "{text}");
        }
        assert!(matches!("1.2.3.4".parse::<Named>().unwrap().host, Host::Ip(_)));
        assert!(matches!("256.2.3.4".parse::<Named>().unwrap().host, Host::Name(_)));
    }

    #[test]
    fn what_is_no_name() {
        for text in [
            "",
            ":8448",
            "a:",
            "a:0",
            "a:65536",
            "a:+80",
            "a:http",
            "a b",
            "a..b",
            ".a",
            "a_b.example",
            "bücher.example",
            "::1",
            "[::1",
            "[a.example]",
            "a/b",
            "a:1:2",
        ] {
            assert!(text.parse::<Named>().is_err(), "{text:?} was accepted");
        }
    }

    #[test]
    fn what_people_paste_instead() {
        let said = |text: &str| text.parse::<Named>().unwrap_err().to_string();
        assert!(said("https://matrix.org/_matrix").ends_with("try matrix.org"));
        assert!(said("@anna:matrix.org").ends_with("its server, matrix.org"));
    }
}
