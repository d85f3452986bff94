//! What the guest's ifupdown2 is told beside `/etc/network/interfaces`, which
//! Proxmox writes anew at each start of the container.

use serde::Serialize;

use crate::{desired::DesiredFile, name::AbsPath};

/// Where ifupdown2 looks for what the operator wants of its modules.
const POLICY: &str = "/etc/network/ifupdown2/policy.d/matrix-podman.json";

/// A policy of ifupdown2, as far as it is set here.
#[derive(Serialize)]
struct Policy {
    address: Module,
}

/// What its module `address` does where the operator says nothing: for each
/// interface alike, since it takes `eth0` for one that only manages the machine, and
/// asks for no more of that.
#[derive(Serialize)]
struct Module {
    defaults: Defaults,
}

#[derive(Serialize)]
struct Defaults {
    // Its own files have numbers as text.
    mtu: String,
}

/// The file of the policy.
pub fn policy_file() -> AbsPath {
    AbsPath::known(POLICY)
}

/// The policy that gives interfaces packets of that size; without it, ifupdown2 sets
/// 1500 at boot, whatever Proxmox gave them.
pub fn policy(mtu: u32) -> DesiredFile {
    let policy = Policy { address: Module { defaults: Defaults { mtu: mtu.to_string() } } };
    // It holds nothing that JSON could not.
    let text = serde_json::to_string_pretty(&policy).unwrap_or_default();
    DesiredFile::public(policy_file(), text + "\n", "Keeps the interface's packet size")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_policy_is_what_ifupdown2_reads() {
        let read: serde_json::Value = serde_json::from_str(&policy(1400).content).unwrap();
        assert_eq!(read["address"]["defaults"]["mtu"], "1400");
    }
}
