//! Names, ids and addresses as types, so that one cannot stand for another.
//!
//! Each type is made only by `parse`, whose error is a sentence fragment that
//! says what is wrong with the value and reads well after `… is not valid: `.

use std::{fmt, str::FromStr};

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

mod file;
pub mod idn;
mod image;
mod net;
mod proxmox;
mod repository;

pub use file::{AbsPath, Mode, Owner};
pub use image::{Digest, ImageRef};
pub use net::{Cidr, Cidr4, Cidr6, InterfaceName, Port, SshHost};
pub use proxmox::{ContainerId, MacAddress, PoolName, SnapshotName, StorageName, Tag, TemplateName};
pub use repository::RepositoryName;

checked_string!(
    /// A DNS name of at least two labels, in lower case: `example.com`. Letters
    /// beyond ASCII become what DNS carries for them.
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

known!(GuestName, Timezone);

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
    let text = &idn::ascii(text)?;
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
        .find(|p| text == *p || text.strip_suffix(**p).is_some_and(|rest| rest.ends_with('.')));
    match placeholder {
        Some(placeholder) => Err(Invalid::new(format!(
            "{placeholder} is a placeholder; the name is part of every user id forever, so use a domain of your own"
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn domains() {
        for good in ["chat.home.arpa", "a-b.de", "xn--bcher-kva.ch", "example.com.au"] {
            assert_eq!(Domain::parse(good).unwrap().as_str(), good);
        }
        assert_eq!(Domain::parse("bücher.ch").unwrap().as_str(), "xn--bcher-kva.ch");
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
            "Bücher.ch",
            "ä ö.de",
            "ä",
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
    fn local_parts() {
        for good in ["anna", "a.b-c_d=e/f+1"] {
            assert!(Localpart::parse(good).is_ok(), "{good:?} was refused");
        }
        for bad in ["", "Anna", "@anna", "anna:a.de", "_bot", "an na", "änna"] {
            assert!(Localpart::parse(bad).is_err(), "{bad:?} was accepted");
        }
    }
}
