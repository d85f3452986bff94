//! Names, ids and addresses as types, so that one cannot stand for another.
//!
//! Each type is made only by `parse`, whose error is a sentence fragment that
//! says what is wrong with the value and reads well after `… is not valid: `.

use std::{fmt, net::Ipv4Addr, str::FromStr};

use serde::{Deserialize, Serialize};

/// Why a value is not what it should be; reads as "… : {0}".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Invalid(pub String);

impl Invalid {
    /// An [`Invalid`] from anything that reads as a sentence fragment.
    pub fn new(why: impl Into<String>) -> Self {
        Self(why.into())
    }
}

/// Makes a string newtype that can only hold what its check accepts.
macro_rules! checked_string {
    ($(#[$doc:meta])* $name:ident, $check:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text`; the error says what is wrong with it.
            pub fn parse(text: &str) -> Result<Self, Invalid> {
                let check: fn(&str) -> Result<String, Invalid> = $check;
                check(text).map(Self)
            }

            /// The checked text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = Invalid;
            fn from_str(text: &str) -> Result<Self, Invalid> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = Invalid;
            fn try_from(text: String) -> Result<Self, Invalid> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }
    };
}

checked_string!(
    /// A DNS name of at least two labels, in lower case: `example.com`.
    Domain,
    parse_domain
);

checked_string!(
    /// A Matrix server name: the part after the colon of every user id, for
    /// ever. A DNS name, optionally with a port
    /// (Matrix specification, appendices, "Server name").
    ServerName,
    |text| {
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        };
        let host = parse_domain(host)?;
        match port {
            None => Ok(host),
            Some(port) => match port.parse::<u16>() {
                Ok(1..) if !port.starts_with(['+', '0']) => Ok(format!("{host}:{port}")),
                _ => Err(Invalid::new(format!("{port:?} is not a port between 1 and 65535"))),
            },
        }
    }
);

checked_string!(
    /// The local part of a user id that Synapse lets people register
    /// (Matrix specification, appendices, "User identifiers").
    Localpart,
    |text| {
        if text.is_empty() {
            return Err(Invalid::new("a user name cannot be empty"));
        }
        if text.len() > 200 {
            return Err(Invalid::new("a user name has at most 200 characters"));
        }
        if text.starts_with('_') {
            return Err(Invalid::new("names that begin with _ are kept for bridges"));
        }
        match text.chars().find(|c| !matches!(c, 'a'..='z' | '0'..='9' | '.' | '_' | '=' | '-' | '/' | '+')) {
            Some(c) if c.is_ascii_uppercase() => Err(Invalid::new(format!(
                "user names are in lower case: try {:?}",
                text.to_ascii_lowercase()
            ))),
            Some('@' | ':') => Err(Invalid::new("give the name alone, without @ and :server")),
            Some(c) => Err(Invalid::new(format!("{c:?} cannot stand in a user name (a-z 0-9 . _ = - / +)"))),
            None => Ok(text.to_owned()),
        }
    }
);

checked_string!(
    /// The name of a guest, which is also its host name: one DNS label.
    GuestName,
    |text| {
        if text.is_empty() || text.len() > 63 {
            return Err(Invalid::new("a guest name has 1 to 63 characters"));
        }
        check_label(text).map(|()| text.to_owned())
    }
);

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

checked_string!(
    /// A Debian package name (Debian policy, 5.6.1).
    PackageName,
    |text| {
        let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '+' | '-' | '.');
        if text.len() < 2 || !text.chars().all(ok) || !text.starts_with(|c: char| c.is_ascii_alphanumeric()) {
            Err(Invalid::new("Debian package names hold a-z, 0-9 and + - . and begin with a letter or digit"))
        } else {
            Ok(text.to_owned())
        }
    }
);

checked_string!(
    /// An IANA time zone name in `Area/City` form, or `UTC`. Whether the zone
    /// exists is checked against the tz database when the config is read.
    Timezone,
    |text| {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '_' | '-' | '+');
        if text.is_empty() || text.starts_with('/') || text.ends_with('/') || !text.chars().all(ok) {
            Err(Invalid::new("a time zone looks like Europe/Berlin or UTC"))
        } else {
            Ok(text.to_owned())
        }
    }
);

checked_string!(
    /// A container image in a registry, fully qualified:
    /// `registry/path[:tag][@sha256:…]`.
    ImageRef,
    parse_image_ref
);

checked_string!(
    /// A `sha256:` digest with 64 hexadecimal digits.
    Digest,
    |text| {
        let hex = text.strip_prefix("sha256:").unwrap_or_default();
        if hex.len() == 64 && hex.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f')) {
            Ok(text.to_owned())
        } else {
            Err(Invalid::new("a digest is sha256: and 64 hexadecimal digits"))
        }
    }
);

checked_string!(
    /// An absolute path without `..`, empty or `.` segments, spaces or control
    /// characters, and without a trailing slash.
    AbsPath,
    |text| {
        let Some(rest) = text.strip_prefix('/') else {
            return Err(Invalid::new("a path here begins with /"));
        };
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(Invalid::new("a path here holds no spaces or control characters"));
        }
        if rest.split('/').any(|part| part.is_empty() || part == "." || part == "..") {
            return Err(Invalid::new("a path here has no empty, . or .. parts and no / at its end"));
        }
        Ok(text.to_owned())
    }
);

impl AbsPath {
    /// A path that the program itself knows; checked by a test, not at run time.
    pub(crate) fn known(path: impl Into<String>) -> Self {
        Self(path.into())
    }

    /// This path with `name` below it.
    pub fn join(&self, name: &str) -> Self {
        Self(format!("{}/{name}", self.0))
    }

    /// The folder that this path is in; `/x` is in `/`.
    pub fn parent(&self) -> &str {
        match self.0.rfind('/') {
            Some(0) | None => "/",
            Some(at) => &self.0[..at],
        }
    }

    /// The last part of the path.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or_default()
    }
}

/// Gives a checked type a constructor for the program's own constants; a test
/// parses every one of them.
macro_rules! known {
    ($($name:ident),*) => {
        $(impl $name {
            pub(crate) fn known(text: &'static str) -> Self {
                Self(text.to_owned())
            }
        })*
    };
}

known!(GuestName, ImageRef, InterfaceName, Timezone);

impl Digest {
    /// A digest from the 32 bytes of a SHA-256.
    pub fn of_sha256(bytes: &[u8]) -> Self {
        use fmt::Write as _;
        let mut text = String::from("sha256:");
        for byte in bytes {
            let _ = write!(text, "{byte:02x}");
        }
        Self(text)
    }

    /// The hexadecimal digits alone.
    pub fn hex(&self) -> &str {
        &self.0["sha256:".len()..]
    }
}

impl ServerName {
    /// The host without the port.
    pub fn host(&self) -> &str {
        self.0.split_once(':').map_or(self.as_str(), |(host, _)| host)
    }
}

impl From<Domain> for ServerName {
    fn from(domain: Domain) -> Self {
        Self(domain.0)
    }
}

impl Domain {
    /// `label.` in front of this domain; `label` is one of the program's own.
    pub fn child(&self, label: &'static str) -> Domain {
        Domain(format!("{label}.{}", self.0))
    }
}

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

/// Who owns a file: numeric, since names differ between machine and images.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Owner {
    /// root:root.
    pub const ROOT: Owner = Owner::same(0);

    /// The user `id` and the group of the same number.
    pub const fn same(id: u32) -> Self {
        Self { uid: id, gid: id }
    }
}

/// Permission bits of a file, shown in octal.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Mode(pub u32);

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04o}", self.0)
    }
}

impl fmt::Debug for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Names that documentation uses and that nobody owns; a server under one of
/// them could never be reached (RFC 2606, RFC 6761).
const PLACEHOLDERS: [&str; 8] = [
    "example.com",
    "example.org",
    "example.net",
    "example",
    "test",
    "invalid",
    "localhost",
    "yourdomain.com",
];

fn parse_domain(text: &str) -> Result<String, Invalid> {
    if text.contains("://") || text.contains('/') {
        return Err(Invalid::new("give the domain alone, without https:// and without a path"));
    }
    if text.parse::<std::net::IpAddr>().is_ok() {
        return Err(Invalid::new("an IP address cannot become a server name that lasts; use a domain"));
    }
    if let Some(c) = text.chars().find(char::is_ascii_uppercase) {
        return Err(Invalid::new(format!(
            "domains here are in lower case ({c:?} is not): try {:?}",
            text.to_ascii_lowercase()
        )));
    }
    if text.len() > 230 {
        return Err(Invalid::new("a domain has at most 230 characters here"));
    }
    let labels: Vec<&str> = text.split('.').collect();
    if labels.len() < 2 {
        return Err(Invalid::new("a domain has at least two parts, such as home.arpa"));
    }
    for label in &labels {
        if label.is_empty() || label.len() > 63 {
            return Err(Invalid::new("each part between the dots has 1 to 63 characters"));
        }
        check_label(label)?;
    }
    if labels.last().is_some_and(|last| last.chars().all(|c| c.is_ascii_digit())) {
        return Err(Invalid::new("the last part of a domain is not a number"));
    }
    let placeholder = PLACEHOLDERS
        .iter()
        .find(|p| text == **p || text.strip_suffix(**p).is_some_and(|rest| rest.ends_with('.')));
    match placeholder {
        Some(placeholder) => Err(Invalid::new(format!(
            "{placeholder} is a placeholder; the name is part of every user id for ever, so use a domain of your own"
        ))),
        None => Ok(text.to_owned()),
    }
}

fn check_label(label: &str) -> Result<(), Invalid> {
    let ok = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    match label.chars().find(|c| !ok(*c)) {
        Some(c) => Err(Invalid::new(format!("{c:?} cannot stand in a name (a-z, 0-9 and - can)"))),
        None if label.starts_with('-') || label.ends_with('-') => {
            Err(Invalid::new(format!("{label:?} begins or ends with -")))
        }
        None => Ok(()),
    }
}

/// The grammar of the distribution project's reference package, with the
/// registry named: a short name would be looked up wherever Podman searches.
fn parse_image_ref(text: &str) -> Result<String, Invalid> {
    let (rest, digest) = match text.split_once('@') {
        Some((rest, digest)) => (rest, Some(digest)),
        None => (text, None),
    };
    if let Some(digest) = digest {
        Digest::parse(digest)?;
    }
    let (registry, path) = rest
        .split_once('/')
        .ok_or_else(|| Invalid::new("name the registry too, as in docker.io/library/postgres:18-alpine"))?;
    let registry_host = registry.split_once(':').map_or(registry, |(host, _)| host);
    if !(registry.contains('.') || registry.contains(':') || registry == "localhost")
        || registry_host.is_empty()
    {
        return Err(Invalid::new(format!(
            "{registry:?} is not a registry's host name; write for example docker.io/{rest}"
        )));
    }
    let (path, tag) = match path.rsplit_once(':') {
        Some((path, tag)) => (path, Some(tag)),
        None => (path, None),
    };
    let part_ok = |part: &str| {
        !part.is_empty()
            && part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '.' | '_' | '-'))
    };
    if !path.split('/').all(part_ok) {
        return Err(Invalid::new(format!("{path:?} is not an image's path (a-z 0-9 . _ - and /)")));
    }
    if let Some(tag) = tag {
        let ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if tag.is_empty() || tag.len() > 128 || !tag.chars().all(ok) || tag.starts_with(['.', '-']) {
            return Err(Invalid::new(format!("{tag:?} is not a tag")));
        }
    }
    if tag.is_none() && digest.is_none() {
        return Err(Invalid::new("name a tag or a digest, as in …:v1.2.3"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        for good in ["chat.home.arpa", "a-b.de", "xn--bcher-kva.ch", "example.com.au"] {
            assert_eq!(Domain::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "com",
            "example.com",
            "chat.example.com",
            "foo.test",
            "https://a.de",
            "a.de/x",
            "1.2.3.4",
            "A.de",
            "a..de",
            "-a.de",
            "a-.de",
            "a_b.de",
            "a.12",
            "ä.de",
            "a.de.",
            " a.de",
        ] {
            assert!(Domain::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn server_names() {
        assert_eq!(ServerName::parse("a.de:8448").unwrap().host(), "a.de");
        for bad in ["a.de:0", "a.de:70000", "a.de:x", "example.org:443"] {
            assert!(ServerName::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn image_references() {
        for good in [
            "docker.io/library/postgres:18-alpine",
            "ghcr.io/element-hq/synapse:v1.157.1",
            "localhost:5000/x:1",
            "10.0.0.1:5000/a/b@sha256:0000000000000000000000000000000000000000000000000000000000000000",
        ] {
            assert_eq!(ImageRef::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "postgres",
            "postgres:18",
            "library/postgres:18",
            "docker.io/library/postgres",
            "docker.io/x:",
            "docker.io/X:1",
            "docker.io/x@sha256:12",
            "docker.io/x:-1",
            "docker.io//x:1",
            "docker.io/x y:1",
        ] {
            assert!(ImageRef::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn local_parts() {
        for good in ["anna", "a.b-c_d=e/f+1"] {
            assert!(Localpart::parse(good).is_ok(), "{good:?} was refused");
        }
        for bad in ["", "Anna", "@anna", "anna:a.de", "_bot", "an na", "änna"] {
            assert!(Localpart::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }

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
    fn paths() {
        let path = AbsPath::parse("/opt/matrix/synapse").unwrap();
        assert_eq!((path.parent(), path.file_name()), ("/opt/matrix", "synapse"));
        for bad in ["", "opt", "/opt/", "/opt/../etc", "/a//b", "/a b"] {
            assert!(AbsPath::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
