//! Values with a form of their own: sizes, spans of time, addresses, URLs.

use serde_json::{Value as Json, json};

use super::{Flaw, TextType, nearest};
use crate::{
    name::{AbsPath, Cidr4, Domain},
    size::{Bytes, Seconds},
};

/// A size from `MIN` to `MAX` mebibytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Size<const MIN: u64, const MAX: u64>(pub Bytes);

impl<const MIN: u64, const MAX: u64> TextType for Size<MIN, MAX> {
    fn wanted() -> String {
        format!("a size from {} to {}", Bytes::mib(MIN), Bytes::mib(MAX))
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let size = Bytes::parse(text)?;
        if (Bytes::mib(MIN)..=Bytes::mib(MAX)).contains(&size) {
            return Ok(Self(size));
        }
        let flaw = Flaw::new(format!("must be {}", Self::wanted()));
        let bare = text.chars().all(|c| c.is_ascii_digit());
        Err(match Self::repair(text) {
            Some(better) if bare => flaw.hint(format!("without a unit these are bytes; did you mean {better:?}?")),
            _ => flaw,
        })
    }
    fn to_text(&self) -> String {
        self.0.to_string()
    }
    fn pattern() -> Option<String> {
        Some("^[0-9]+[KMGT]?B?$".to_owned())
    }
    /// Other tools count memory in mebibytes and disks in gibibytes.
    fn repair(raw: &str) -> Option<String> {
        let raw = raw.trim_matches('"');
        ["M", "G"].iter().map(|unit| format!("{raw}{unit}")).find(|text| {
            Bytes::parse(text).is_ok_and(|size| (Bytes::mib(MIN)..=Bytes::mib(MAX)).contains(&size))
        })
    }
}

/// A span of time from `MIN` to `MAX` seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct Span<const MIN: u64, const MAX: u64>(pub Seconds);

const SPAN_PATTERN: &str = "[0-9]+[wdhms]";

impl<const MIN: u64, const MAX: u64> TextType for Span<MIN, MAX> {
    fn wanted() -> String {
        format!("a span of time from {} to {}", Seconds(MIN), Seconds(MAX))
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let span = Seconds::parse(text)?;
        if (MIN..=MAX).contains(&span.0) {
            Ok(Self(span))
        } else {
            Err(Flaw::new(format!("must be {}", Self::wanted())))
        }
    }
    fn to_text(&self) -> String {
        self.0.to_string()
    }
    fn pattern() -> Option<String> {
        Some(format!("^{SPAN_PATTERN}$"))
    }
}

/// How long something is kept: at least an hour, or for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct KeptFor(pub Option<Seconds>);

impl TextType for KeptFor {
    fn wanted() -> String {
        "a span of time such as 90d, or forever".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        if text == "forever" {
            return Ok(Self(None));
        }
        let span = Seconds::parse(text)
            .map_err(|_| Flaw::new("a span of time looks like 90d or 12h; \"forever\" keeps everything"))?;
        // Synapse takes milliseconds in a signed 64-bit number.
        if (3600..=100 * 365 * 86_400).contains(&span.0) {
            Ok(Self(Some(span)))
        } else {
            Err(Flaw::new("must be from 1h to 36500d").hint("to keep everything, write \"forever\""))
        }
    }
    fn to_text(&self) -> String {
        self.0.map_or_else(|| "forever".to_owned(), |span| span.to_string())
    }
    fn pattern() -> Option<String> {
        Some(format!("^(forever|{SPAN_PATTERN})$"))
    }
}

const CIDR_PATTERN: &str = "[0-9]{1,3}(\\.[0-9]{1,3}){3}/[0-9]{1,2}";

/// The address of a host in a network, `192.168.1.20/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::config) struct HostCidr(pub Cidr4);

impl HostCidr {
    fn parse(text: &str) -> Result<Self, Flaw> {
        let cidr = Cidr4::parse(text)?;
        if cidr.has_host(cidr.address()) {
            return Ok(Self(cidr));
        }
        let which = if cidr.address() == cidr.network() { "the network itself" } else { "the network's broadcast address" };
        let first = std::net::Ipv4Addr::from(u32::from(cidr.network()) | 1);
        Err(Flaw::new(format!("{} is {which}; a machine's address in it is wanted", cidr.address()))
            .hint(format!("for example {:?}", cidr.with_address(first).to_string())))
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
        let cidr = HostCidr::parse(text)?.0;
        let [a, b, ..] = cidr.network().octets();
        let shared = a == 100 && (64..128).contains(&b);
        let wide_enough = cidr.prefix() >= if a == 172 { 12 } else if a == 192 { 16 } else { 8 };
        if (cidr.network().is_private() && wide_enough) || (shared && cidr.prefix() >= 10) {
            Ok(Self(cidr))
        } else {
            Err(Flaw::new("this is not a private network, so machines on the internet would become unreachable")
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
            text if text.contains('/') => Ok(Self::Static(HostCidr::parse(text)?.0)),
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

/// A public address: `https://host` or `https://host:port`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct PublicUrl(pub String);

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
                return Err(match check_authority(text) {
                    Ok(()) => flaw.hint(format!("write {:?}", format!("https://{text}"))),
                    Err(_) => flaw,
                });
            }
        };
        if let Some(at) = rest.find(['/', '?', '#']) {
            return Err(Flaw::new("the address is wanted without a path")
                .hint(format!("write {:?}", format!("{scheme}://{}", &rest[..at]))));
        }
        check_authority(rest)?;
        Ok(Self(format!("{scheme}://{rest}")))
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn pattern() -> Option<String> {
        Some("^https?://[a-z0-9.-]+(:[0-9]{1,5})?/?$".to_owned())
    }
}

/// Checks `host` or `host:port`; the host may be an IPv4 address.
fn check_authority(text: &str) -> Result<(), Flaw> {
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(port)),
        None => (text, None),
    };
    if host.parse::<std::net::Ipv4Addr>().is_err() {
        Domain::parse(host)?;
    }
    match port {
        Some(port) if !matches!(port.parse::<u16>(), Ok(1..)) => {
            Err(Flaw::new(format!("{port:?} is not a port between 1 and 65535")))
        }
        _ => Ok(()),
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
        let Some((scheme, rest)) = text.split_once(':') else { return Err(form()) };
        match scheme {
            "turn" | "turns" => {}
            "stun" | "stuns" => return Err(Flaw::new("a STUN server relays no calls; turn: or turns: is wanted")),
            _ => return Err(form()),
        }
        if let Some(rest) = rest.strip_prefix("//") {
            return Err(form().hint(format!("TURN addresses have no slashes: {:?}", format!("{scheme}:{rest}"))));
        }
        let (authority, query) = match rest.split_once('?') {
            Some((authority, query)) => (authority, Some(query)),
            None => (rest, None),
        };
        check_authority(authority)?;
        match query {
            None | Some("transport=udp" | "transport=tcp") => Ok(Self(text.to_owned())),
            Some(_) => Err(Flaw::new("after the ? only transport=udp or transport=tcp can stand")),
        }
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn pattern() -> Option<String> {
        Some("^turns?:[a-z0-9.-]+(:[0-9]{1,5})?(\\?transport=(udp|tcp))?$".to_owned())
    }
}

/// A line of text for people to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Words(pub String);

impl TextType for Words {
    fn wanted() -> String {
        "a line of text".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        if text.trim().is_empty() {
            Err(Flaw::new("the text is empty"))
        } else if text.chars().any(char::is_control) {
            Err(Flaw::new("the text must be one line, without control characters"))
        } else if text.chars().count() > 200 {
            Err(Flaw::new("the text has more than 200 characters"))
        } else {
            Ok(Self(text.to_owned()))
        }
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn text_schema() -> Json {
        json!({ "type": "string", "minLength": 1, "maxLength": 200 })
    }
}

/// The path of a file with a secret. Whoever writes the secret itself here by
/// mistake must not see it in a message, so its messages do not show the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct SecretPath(pub AbsPath);

impl TextType for SecretPath {
    fn wanted() -> String {
        "the path of a file that holds the secret".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        AbsPath::parse(text).map(Self).map_err(|why| Flaw::from(why).hint("put the secret into a file of its own, and write that file's path here"))
    }
    fn to_text(&self) -> String {
        self.0.to_string()
    }
    fn pattern() -> Option<String> {
        <AbsPath as TextType>::pattern()
    }
    fn repair(_raw: &str) -> Option<String> {
        None
    }
}

/// A two-letter country code (ISO 3166-1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct Country(pub String);

impl TextType for Country {
    fn wanted() -> String {
        "a country's two letters, such as DE".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let two_letters = text.len() == 2 && text.chars().all(|c| c.is_ascii_alphabetic());
        if two_letters && text.chars().all(|c| c.is_ascii_uppercase()) {
            return Ok(Self(text.to_owned()));
        }
        let flaw = Flaw::new("a country is written with two capital letters, such as DE");
        Err(if two_letters { flaw.hint(format!("write {:?}", text.to_ascii_uppercase())) } else { flaw })
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn pattern() -> Option<String> {
        Some("^[A-Z]{2}$".to_owned())
    }
}

/// A release of a Python package (PEP 440, without its rarer forms).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::config) struct BuildVersion(pub String);

impl TextType for BuildVersion {
    fn wanted() -> String {
        "a version such as 1.157.1".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let (release, candidate) = text.split_once("rc").unwrap_or((text, "0"));
        let number = |part: &str| !part.is_empty() && part.len() <= 9 && part.chars().all(|c| c.is_ascii_digit());
        if number(candidate) && release.split('.').count() >= 2 && release.split('.').all(number) {
            return Ok(Self(text.to_owned()));
        }
        let flaw = Flaw::new("a version here looks like 1.157.1 or 1.158.0rc1");
        Err(match text.strip_prefix('v') {
            Some(rest) if Self::from_text(rest).is_ok() => flaw.hint(format!("packages have no v in front: {rest:?}")),
            _ => flaw,
        })
    }
    fn to_text(&self) -> String {
        self.0.clone()
    }
    fn pattern() -> Option<String> {
        Some("^[0-9]+(\\.[0-9]+)+(rc[0-9]+)?$".to_owned())
    }
}
