//! What a guest stands on: plain LXC, Proxmox VE, or this machine, which then is the
//! guest. One folder says everything about each; whatever differs between them is asked
//! of [`Backend`]. How each reaches, holds and removes a guest is the host's half.

mod guest;
mod here;
mod lxc;
mod proxmox;

use std::{fmt, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::{Resource, ResourceId, Site};
use crate::{
    config::BackendChoice,
    fact::{GuestRoot, GuestState},
    observed::{Observed, Seen},
};

pub use lxc::{BRIDGE_PID_FILES, dnsmasq_pid_file, lxc_spec};
pub(crate) use lxc::{cannot_have_disk, wanted_disk};
pub use proxmox::{
    Claim, Locked, Place, container_lock, file_system_size, find_container, node, was_finished,
};

/// Which kind of machine makes the guest, decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BackendId {
    /// A container of Proxmox VE.
    Proxmox,
    /// A plain LXC container.
    Lxc,
    /// The machine itself is the guest.
    ThisMachine,
}

impl BackendId {
    /// The one that the config chooses on a machine; whether that is a Proxmox VE node
    /// decides where the config leaves it open. Typed inside the guest, everything
    /// concerns the machine typed on.
    pub fn choose(choice: BackendChoice, is_node: bool, in_guest: bool) -> Self {
        match choice {
            _ if in_guest => Self::ThisMachine,
            BackendChoice::Proxmox => Self::Proxmox,
            BackendChoice::Auto if is_node => Self::Proxmox,
            BackendChoice::Lxc | BackendChoice::Auto => Self::Lxc,
            BackendChoice::ThisMachine => Self::ThisMachine,
        }
    }

    /// Its name in the config.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Proxmox => "proxmox",
            Self::Lxc => "lxc",
            Self::ThisMachine => "this-machine",
        }
    }

    /// What differs with it.
    pub fn backend(self) -> &'static dyn Backend {
        match self {
            Self::Proxmox => &proxmox::ProxmoxBackend,
            Self::Lxc => &lxc::LxcBackend,
            Self::ThisMachine => &here::ThisMachineBackend,
        }
    }
}

/// Which checks come before the first change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Preflight {
    /// Those of a machine with Debian.
    Machine,
    /// Those of a Proxmox VE node, all of which must be answered.
    Node,
}

/// Why there are no snapshots of the guest as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoSnapshots {
    /// Before an update that would make one.
    pub before_update: &'static str,
    /// To whoever types a command about them.
    pub refusal: &'static str,
    /// What to do instead, where something else than a backup is better.
    pub instead: Option<&'static str>,
}

/// What the kinds of machines that make a guest differ in.
pub trait Backend: fmt::Debug + Send + Sync {
    /// Which one it is.
    fn id(&self) -> BackendId;

    /// Whether the machine itself is the guest, so that there is nothing between the two.
    fn is_this_machine(&self) -> bool {
        false
    }

    /// The machine and the guest: what comes before the guest can be spoken with, and
    /// what only this backend has to see to.
    fn resources(&self, site: &Site) -> Vec<Box<dyn Resource>>;

    /// What comes behind all `others`.
    fn last(&self, _site: &Site, _others: &[Box<dyn Resource>]) -> Option<Box<dyn Resource>> {
        None
    }

    /// The resources that stand before anything in the guest is looked at.
    fn entrance(&self) -> Vec<ResourceId>;

    /// Which checks come before the first change.
    fn preflight(&self) -> Preflight {
        Preflight::Machine
    }

    /// Whether there is a guest, whose it is, and whether it runs.
    fn guest_state(&self, site: &Site, seen: &Observed) -> Seen<GuestState>;

    /// The address at which the guest can be reached, once it is known.
    fn guest_address(&self, site: &Site, seen: &Observed) -> Seen<Option<Ipv4Addr>>;

    /// The address of a guest that runs, where its state does not tell it and the guest does.
    fn address_from_inside(&self, _site: &Site, _seen: &Observed) -> Option<Ipv4Addr> {
        None
    }

    /// What the guest is called where it is kept.
    fn name_in_lxc(&self, site: &Site, _seen: &Observed) -> Seen<String> {
        Ok(site.config.guest.name.to_string())
    }

    /// Who has the guest locked, if somebody has.
    fn guest_lock(&self, _site: &Site, _seen: &Observed) -> Seen<Option<Locked>> {
        Ok(None)
    }

    /// What of the guest's system is left on the disk, where the machine can see that.
    fn guest_root(&self, _site: &Site, _seen: &Observed) -> Seen<Option<GuestRoot>> {
        Ok(None)
    }

    /// How many processes of the guest the kernel ended for want of memory, where that can be seen.
    fn oom_kills(&self, _site: &Site, _seen: &Observed) -> Seen<Option<u64>> {
        Ok(None)
    }

    /// Why the guest as a whole cannot be kept in snapshots; `None` where it can.
    fn no_snapshots(&self, site: &Site) -> Option<NoSnapshots>;

    /// Whether people come into the guest through ssh.
    fn lets_ssh_in(&self, _site: &Site) -> bool {
        false
    }

    /// What to type so that `command` runs in the guest.
    fn typed_in_guest(&self, site: &Site, seen: &Observed, command: &str) -> String;

    /// What to type so that the guest is restarted.
    fn restart_guest(&self, site: &Site, seen: &Observed) -> String;

    /// What to type so that the guest has its network again.
    fn restart_network(&self, site: &Site, seen: &Observed) -> String {
        self.restart_guest(site, seen)
    }

    /// What stays when the site is removed, as a sentence.
    fn kept(&self) -> &'static str {
        "Kept: matrix.toml, the journal, images and root file systems made for the next guest."
    }
}

/// Why a container of the guest's name is none of this site's business, if it is not:
/// only what carries its mark is.
pub fn foreign(site: &Site, state: &GuestState) -> Option<String> {
    let name = &site.config.guest.name;
    match (state, state.site()) {
        (GuestState::Absent, _) => None,
        (_, Some(own)) if own == site.config.site() => None,
        (_, Some(other)) => Some(format!("the container {name} is the guest of another site, {other}")),
        (_, None) => Some(format!("the container {name} was not made by matrix-podman")),
    }
}

/// Whether there is a guest, whose it is, and whether it runs.
pub fn guest_state(site: &Site, seen: &Observed) -> Seen<GuestState> {
    site.backend.guest_state(site, seen)
}

/// The address at which the guest can be reached, once it is known.
pub fn guest_address(site: &Site, seen: &Observed) -> Seen<Option<Ipv4Addr>> {
    site.backend.guest_address(site, seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_config_chooses_and_the_machine_decides_what_it_leaves_open() {
        use BackendChoice::{Auto, Lxc, Proxmox, ThisMachine};
        for (choice, is_node, is) in [
            (Auto, false, BackendId::Lxc),
            (Auto, true, BackendId::Proxmox),
            (Lxc, true, BackendId::Lxc),
            (Proxmox, false, BackendId::Proxmox),
            (ThisMachine, true, BackendId::ThisMachine),
        ] {
            assert_eq!(BackendId::choose(choice, is_node, false), is);
            assert_eq!(BackendId::choose(choice, is_node, true), BackendId::ThisMachine);
            assert_eq!(is.backend().id(), is);
        }
    }
}
