//! The guest's own filter: who may speak to its published ports.

use crate::{
    config::Config,
    desired::DesiredFile,
    document::unit::{self, Section},
    endpoint::Reach,
    firewall::{self, OpenPorts, Source, Transport},
    name::AbsPath,
    stack::{self, Protocol, Publish},
};

/// The unit that loads it, in the guest.
pub const UNIT: &str = "matrix-ports.service";
/// Its rules.
const RULES: &str = "/etc/matrix-podman/ports.json";
const HEADER: &str = "Written by matrix-podman; changes here are overwritten.";

/// Where its files are.
pub fn paths() -> [AbsPath; 2] {
    [AbsPath::known(RULES), AbsPath::known(format!("/etc/systemd/system/{UNIT}"))]
}

/// The ports that the config's reverse proxies reach.
pub fn published(config: &Config) -> Vec<u16> {
    let for_proxies = stack::published(config).into_iter().filter(|ports| ports.reach == Reach::Proxies);
    for_proxies.map(|ports| ports.host.get()).collect()
}

/// The ports that the config opens to everybody.
pub fn open(config: &Config) -> Vec<OpenPorts> {
    let open = stack::published(config).into_iter().filter(|ports| ports.reach == Reach::Anybody);
    let named = |ports: Publish| OpenPorts {
        protocol: match ports.protocol {
            Protocol::Tcp => Transport::Tcp,
            Protocol::Udp => Transport::Udp,
        },
        first: ports.host.get(),
        last: ports.host.get() + (ports.count - 1),
    };
    open.map(named).collect()
}

/// The rules that let only `callers` in, and the unit that loads them before the
/// guest has a network.
pub fn files(config: &Config, callers: &[Source]) -> [DesiredFile; 2] {
    let rules = firewall::ports_table(&published(config), callers);
    // Strings and numbers in lists and maps: JSON can say them all.
    let rules = serde_json::to_string_pretty(&rules).unwrap_or_default();
    let sections = [
        Section::new("Unit")
            .raw("Description", "Matrix: who may speak to the published ports")
            .raw("DefaultDependencies", "no")
            .raw("Wants", "network-pre.target")
            .raw("Before", "network-pre.target shutdown.target")
            .raw("Conflicts", "shutdown.target"),
        Section::new("Service")
            .raw("Type", "oneshot")
            .raw("RemainAfterExit", "yes")
            .words("ExecStart", ["/usr/sbin/nft", "--json", "--file", RULES]),
        Section::new("Install").raw("WantedBy", "sysinit.target"),
    ];
    let [rules_file, unit_file] = paths();
    [
        DesiredFile::public(rules_file, format!("{rules}\n"), "Who may speak to the published ports"),
        DesiredFile::public(
            unit_file,
            unit::to_string(HEADER, &sections),
            "Closes the ports to everybody else before the guest has a network",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{changed_config, show};

    #[test]
    fn the_unit() {
        let callers = [Source::alone([10, 86, 0, 1].into())];
        let [rules, unit] = files(&changed_config(), &callers);
        assert!(rules.content.contains("18008") && rules.content.contains("10.86.0.1"), "{}", rules.content);
        insta::assert_snapshot!(show(&[unit]));
    }
}
