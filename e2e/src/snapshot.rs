//! What a machine looks like, to see what a command changed on it.

use std::collections::BTreeSet;

use crate::Invocation;

/// Interfaces, addresses, nftables, guests and listening ports of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MachineSnapshot {
    lines: BTreeSet<String>,
}

impl MachineSnapshot {
    /// Looks at the machine; what belongs to names in `except` is left out, and
    /// so is what other tests do at the same time.
    #[track_caller]
    pub fn take(except: &[&str]) -> Self {
        let mut lines = BTreeSet::new();
        let mut add = |what: &str, text: String| {
            let relevant = |line: &&str| {
                !line.trim().is_empty()
                    && !line.contains("<defunct>")
                    && !except.iter().any(|name| line.contains(name))
            };
            lines.extend(text.lines().filter(relevant).map(|line| format!("{what}: {}", line.trim())));
        };
        let say = |argv: &[&str]| Invocation::new(argv).quietly().run().stdout;
        let links = say(&["ip", "-brief", "address", "show"]);
        // Of a pair with an end in another namespace, that end is a guest, which is listed itself, or
        // another test's network.
        let pair = |line: &&str| line.split(' ').next().is_some_and(|name| name.contains("@if"));
        add("link", links.lines().filter(|line| !pair(line)).collect::<Vec<_>>().join("\n"));
        // The table of what is forwarded belongs to all sites, those of other tests too;
        // the tests of the network look at it.
        let tables = say(&["nft", "list", "tables"]);
        add("nft", tables.lines().filter(|l| !l.ends_with("-forwarding")).collect::<Vec<_>>().join("\n"));
        add(
            "guest",
            std::fs::read_dir("/var/lib/lxc")
                .into_iter()
                .flatten()
                .flatten()
                .map(|e| e.file_name().to_string_lossy().into_owned())
                .collect::<Vec<_>>()
                .join("\n"),
        );
        add("daemon", say(&["pgrep", "--list-full", "dnsmasq"]));
        Self { lines }
    }

    /// What speaks of that guest or bridge, or of what is named after it.
    pub fn about(&self, name: &str) -> Vec<&str> {
        let after = format!("-{name}");
        let speaks = |line: &&str| {
            line.split(|c: char| !c.is_alphanumeric() && c != '-')
                .any(|word| word == name || word.ends_with(&after))
        };
        self.lines.iter().map(String::as_str).filter(speaks).collect()
    }

    /// Fails unless `other` is the same.
    #[track_caller]
    pub fn same_as(&self, other: &Self) {
        let gone: Vec<_> = self.lines.difference(&other.lines).collect();
        let new: Vec<_> = other.lines.difference(&self.lines).collect();
        assert!(gone.is_empty() && new.is_empty(), "the machine changed: gone {gone:#?}, new {new:#?}");
    }
}
