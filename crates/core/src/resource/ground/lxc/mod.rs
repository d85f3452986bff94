//! The guest as a container of plain LXC.

mod boot;
mod container;
mod disk;
mod machine;

use std::net::Ipv4Addr;

use super::{
    Backend, BackendId, NoSnapshots, Resource, ResourceId, Site,
    guest::{self, GuestKeeper, GuestPower, push_program},
};
use crate::{
    config::Network,
    effect::{Effect, Local},
    fact::{GuestRoot, GuestState},
    ids,
    observed::{Observed, Seen},
    resource::Diff,
};

pub use container::lxc_spec;
pub(crate) use disk::{cannot_have_disk, wanted_disk};
pub use machine::{BRIDGE_PID_FILES, dnsmasq_pid_file};

/// LXC as Debian has it.
#[derive(Debug)]
pub(super) struct LxcBackend;

impl Backend for LxcBackend {
    fn id(&self) -> BackendId {
        BackendId::Lxc
    }

    fn resources(&self, site: &Site) -> Vec<Box<dyn Resource>> {
        let mut all = machine::all(site);
        all.extend(disk::all(site));
        all.push(Box::new(container::Rootfs));
        all.extend(guest::all(site, &LxcBackend));
        all.push(Box::new(boot::Boot { site: site.clone() }));
        all
    }

    fn entrance(&self) -> Vec<ResourceId> {
        vec![ids::GUEST_PROGRAM]
    }

    fn guest_state(&self, site: &Site, seen: &Observed) -> Seen<GuestState> {
        seen.lxc(site.config.guest.name.as_str()).cloned()
    }

    fn guest_address(&self, site: &Site, seen: &Observed) -> Seen<Option<Ipv4Addr>> {
        match seen.lxc(site.config.guest.name.as_str())? {
            GuestState::Running { address: Some(address), .. } => Ok(Some(*address)),
            _ => container::fixed_address(site, seen),
        }
    }

    fn guest_root(&self, site: &Site, seen: &Observed) -> Seen<Option<GuestRoot>> {
        let name = site.config.guest.name.as_str();
        if disk::is_away(seen, name)? { Ok(None) } else { seen.guest_root(name).map(Some) }
    }

    fn oom_kills(&self, site: &Site, seen: &Observed) -> Seen<Option<u64>> {
        seen.oom_kills(site.config.guest.name.as_str())
    }

    fn no_snapshots(&self, _: &Site) -> Option<NoSnapshots> {
        Some(NoSnapshots {
            before_update: "plain LXC makes none",
            refusal: "snapshots need Proxmox, and this is a plain LXC guest",
            instead: None,
        })
    }

    fn typed_in_guest(&self, site: &Site, _: &Observed, command: &str) -> String {
        format!("lxc-attach --name {} -- {command}", site.config.guest.name)
    }

    /// LXC does not start a guest rightly that restarts itself.
    fn restart_guest(&self, site: &Site, _: &Observed) -> String {
        format!("lxc-stop --name {} && matrix-podman up", site.config.guest.name)
    }
}

impl GuestKeeper for LxcBackend {
    fn before_container(&self) -> Vec<ResourceId> {
        vec![ids::GUEST_ROOTFS, ids::MACHINE_IDS, ids::GUEST_DISK]
    }

    fn container(&self, site: &Site, seen: &Observed) -> Seen<Diff> {
        container::diff(site, seen)
    }

    fn before_start(&self, site: &Site) -> Vec<ResourceId> {
        let mut needs = vec![ids::GUEST_DISK];
        if matches!(site.config.guest.network, Network::Own { .. }) {
            needs.push(ids::MACHINE_NETWORK);
        }
        needs
    }

    fn power(&self, site: &Site, seen: &Observed) -> Seen<GuestPower> {
        let name = site.config.guest.name.to_string();
        Ok(match seen.lxc(&name)? {
            GuestState::Running { .. } => GuestPower::On { called: name },
            GuestState::Suspended { by, .. } => GuestPower::Held { by: *by, lxc: name },
            GuestState::Stopped { .. } | GuestState::Absent => GuestPower::Off(Diff::quiet(
                format!("Start the guest {name}"),
                "it does not run",
                vec![Effect::Here(Local::StartGuest { name })],
            )),
        })
    }

    fn before_program(&self) -> Vec<ResourceId> {
        Vec::new()
    }

    /// The guest is known by its name before it is there.
    fn program_before_container(&self, site: &Site) -> Diff {
        push_program(site.config.guest.name.as_str())
    }
}
