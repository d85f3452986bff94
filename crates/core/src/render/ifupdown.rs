//! What the guest's ifupdown2 is told beside `/etc/network/interfaces`, which
//! Proxmox writes anew at each start of the container.

use std::collections::BTreeMap;

use serde::Serialize;

use super::DesiredFile;
use crate::name::AbsPath;

/// Where ifupdown2 looks for what the operator wants of its modules.
const POLICY: &str = "/etc/network/ifupdown2/policy.d/matrix-podman.json";

/// A policy of ifupdown2, as far as it is set here.
#[derive(Serialize)]
struct Policy<'a> {
    address: Module<'a>,
}

#[derive(Serialize)]
struct Module<'a> {
    iface_defaults: BTreeMap<&'a str, Interface>,
}

#[derive(Serialize)]
struct Interface {
    // Its own files have numbers as text.
    mtu: String,
}

/// The file of the policy.
pub fn policy_file() -> AbsPath {
    AbsPath::known(POLICY)
}

/// The policy that gives `interface` packets of that size; without it, ifupdown2 sets
/// 1500 at boot, whatever Proxmox gave it.
pub fn policy(interface: &str, mtu: u32) -> DesiredFile {
    let interfaces = [(interface, Interface { mtu: mtu.to_string() })].into();
    let policy = Policy { address: Module { iface_defaults: interfaces } };
    // It holds nothing that JSON could not.
    let text = serde_json::to_string_pretty(&policy).unwrap_or_default();
    DesiredFile::public(policy_file(), text + "\n", "Keeps the interface's packet size")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_what_ifupdown2_reads() {
        let read: serde_json::Value = serde_json::from_str(&policy("eth0", 1400).content).unwrap();
        assert_eq!(read["address"]["iface_defaults"]["eth0"]["mtu"], "1400");
    }
}
