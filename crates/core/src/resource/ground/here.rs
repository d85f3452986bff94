//! This machine itself is the guest: there is nothing to make, and no door between.

use std::net::Ipv4Addr;

use super::{Backend, BackendId, NoSnapshots, Resource, ResourceId, Site};
use crate::{
    config::BackendChoice,
    fact::{GuestState, Side},
    observed::{Observed, Seen},
};

/// This machine, which is the guest.
#[derive(Debug)]
pub(super) struct ThisMachineBackend;

impl Backend for ThisMachineBackend {
    fn id(&self) -> BackendId {
        BackendId::ThisMachine
    }

    fn is_this_machine(&self) -> bool {
        true
    }

    fn resources(&self, _: &Site) -> Vec<Box<dyn Resource>> {
        Vec::new()
    }

    fn entrance(&self) -> Vec<ResourceId> {
        Vec::new()
    }

    fn guest_state(&self, site: &Site, seen: &Observed) -> Seen<GuestState> {
        Ok(GuestState::Running {
            site: Some(site.config.site().to_owned()),
            address: seen.system(Side::Machine)?.address,
        })
    }

    fn guest_address(&self, _: &Site, seen: &Observed) -> Seen<Option<Ipv4Addr>> {
        Ok(seen.system(Side::Machine)?.address)
    }

    fn no_snapshots(&self, site: &Site) -> Option<NoSnapshots> {
        Some(match site.config.guest.backend {
            BackendChoice::ThisMachine => NoSnapshots {
                before_update: "the machine is its own guest",
                refusal: "snapshots are Proxmox's, and this machine is its own guest",
                instead: None,
            },
            // The command was typed inside a guest of another backend.
            BackendChoice::Auto | BackendChoice::Lxc | BackendChoice::Proxmox => NoSnapshots {
                before_update: "from inside it none can be made; `matrix-podman update` typed on a Proxmox node \
                                makes one",
                refusal: "snapshots are made from outside the guest",
                instead: Some("type it on the Proxmox node"),
            },
        })
    }

    fn typed_in_guest(&self, _: &Site, _: &Observed, command: &str) -> String {
        command.to_owned()
    }

    fn restart_guest(&self, _: &Site, _: &Observed) -> String {
        "systemctl reboot".to_owned()
    }

    fn restart_network(&self, _: &Site, _: &Observed) -> String {
        "systemctl restart networking".to_owned()
    }
}
