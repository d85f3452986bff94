//! A range of ports.

use std::fmt;

use super::{Flaw, TextType};
use crate::name::Port;

/// Ports from one to another, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: Port,
    last: Port,
}

/// Ports below belong to services that everybody knows.
const FIRST: u16 = 1024;
/// Podman makes a rule of each published range; a call takes four ports at most.
const MOST: u16 = 5000;

impl PortRange {
    /// The first 101 ports that the internet's registry leaves to everybody.
    pub(in crate::config) fn usual() -> Self {
        Self { first: Port::known(49152), last: Port::known(49252) }
    }

    /// The first port.
    pub fn first(self) -> Port {
        self.first
    }

    /// The last port.
    pub fn last(self) -> Port {
        self.last
    }

    /// How many there are.
    pub fn count(self) -> u16 {
        self.last.get() - self.first.get() + 1
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl TextType for PortRange {
    fn wanted() -> String {
        "a range of ports such as 49152-49252".to_owned()
    }
    fn from_text(text: &str) -> Result<Self, Flaw> {
        let form = || Flaw::new("this is not a range of ports such as 49152-49252");
        let (first, last) = text.split_once('-').ok_or_else(form)?;
        let port =
            |text: &str| text.trim().parse().ok().and_then(|port| Port::new(port).ok()).ok_or_else(form);
        let (first, last) = (port(first)?, port(last)?);
        if first > last {
            return Err(Flaw::new("the range ends before it begins").hint(format!("write {last}-{first}")));
        }
        if first.get() < FIRST {
            return Err(Flaw::new(format!("ports below {FIRST} belong to other services")));
        }
        let range = Self { first, last };
        // The difference first: the count of all ports is no u16.
        if last.get() - first.get() >= MOST {
            return Err(Flaw::new(format!("these are more than {MOST} ports")).hint("100 do for a club"));
        }
        Ok(range)
    }
    fn to_text(&self) -> String {
        self.to_string()
    }
    fn pattern() -> Option<String> {
        Some("^[0-9]{1,5} *- *[0-9]{1,5}$".to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges() {
        let range = PortRange::from_text("49152 - 49252").unwrap();
        assert_eq!((range, range.count()), (PortRange::usual(), 101));
        assert_eq!(PortRange::from_text("2000-2000").unwrap().count(), 1);
        for wrong in
            ["", "49152", "49152-", "a-b", "0-5", "49252-49152", "80-90", "1024-65535", "60000-70000"]
        {
            assert!(PortRange::from_text(wrong).is_err(), "{wrong}");
        }
    }
}
