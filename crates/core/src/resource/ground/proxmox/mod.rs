//! The guest as a container of Proxmox VE.

mod description;
mod inside;
mod lock;
mod made;
mod place;
mod running;
mod template;

use std::net::Ipv4Addr;

use super::{
    Backend, BackendId, NoSnapshots, Preflight, Resource, ResourceId, Site,
    guest::{self, GuestKeeper, GuestPower, PUT_PROGRAM},
};
use crate::{
    fact::GuestState,
    ids,
    observed::{Observed, Seen},
    resource::Diff,
};

pub use inside::file_system_size;
pub use lock::{Locked, container_lock};
pub use place::{Claim, Place, find_container, node, was_finished};

/// Proxmox VE, asked and told on one of its nodes.
#[derive(Debug)]
pub(super) struct ProxmoxBackend;

/// What to type so that a Proxmox command is about the container.
fn on_container(site: &Site, seen: &Observed, command: &str) -> String {
    match find_container(site, seen) {
        Ok(Place::Here { container, .. }) => format!("{command} {}", container.id),
        _ => format!("{command} ID"),
    }
}

impl Backend for ProxmoxBackend {
    fn id(&self) -> BackendId {
        BackendId::Proxmox
    }

    fn resources(&self, site: &Site) -> Vec<Box<dyn Resource>> {
        let mut all: Vec<Box<dyn Resource>> = vec![Box::new(template::Template { site: site.clone() })];
        all.extend(guest::all(site, &ProxmoxBackend));
        all.push(Box::new(inside::Address { site: site.clone() }));
        all.push(Box::new(inside::Interface { site: site.clone() }));
        all.push(Box::new(inside::FileSystems { site: site.clone() }));
        all.push(Box::new(description::Description { site: site.clone() }));
        all
    }

    /// The restart at the end of the first run.
    fn last(&self, site: &Site, others: &[Box<dyn Resource>]) -> Option<Box<dyn Resource>> {
        let needs = others.iter().map(|other| other.id()).collect();
        Some(Box::new(running::Rebooted { site: site.clone(), needs }))
    }

    fn entrance(&self) -> Vec<ResourceId> {
        vec![ids::GUEST_ADDRESS]
    }

    fn preflight(&self) -> Preflight {
        Preflight::Node
    }

    fn guest_state(&self, site: &Site, seen: &Observed) -> Seen<GuestState> {
        place::guest_state(site, seen)
    }

    fn guest_address(&self, site: &Site, seen: &Observed) -> Seen<Option<Ipv4Addr>> {
        place::guest_address(site, seen)
    }

    /// Only the guest knows what a DHCP server gave it.
    fn address_from_inside(&self, site: &Site, seen: &Observed) -> Option<Ipv4Addr> {
        place::guest_address(site, seen).ok().flatten()
    }

    fn name_in_lxc(&self, site: &Site, seen: &Observed) -> Seen<String> {
        Ok(match find_container(site, seen)? {
            Place::Here { container, .. } => container.id.to_string(),
            _ => site.config.guest.name.to_string(),
        })
    }

    fn guest_lock(&self, site: &Site, seen: &Observed) -> Seen<Option<Locked>> {
        lock::container_lock(site, seen)
    }

    fn no_snapshots(&self, _: &Site) -> Option<NoSnapshots> {
        None
    }

    fn lets_ssh_in(&self, site: &Site) -> bool {
        site.config.proxmox.ssh_keys.is_some()
    }

    fn typed_in_guest(&self, site: &Site, seen: &Observed, command: &str) -> String {
        format!("{} -- {command}", on_container(site, seen, "pct exec"))
    }

    fn restart_guest(&self, site: &Site, seen: &Observed) -> String {
        on_container(site, seen, "pct reboot")
    }

    fn kept(&self) -> &'static str {
        "Kept: matrix.toml, the journal, the template, and backups that Proxmox made."
    }
}

impl GuestKeeper for ProxmoxBackend {
    fn before_container(&self) -> Vec<ResourceId> {
        vec![ids::GUEST_TEMPLATE]
    }

    fn container(&self, site: &Site, seen: &Observed) -> Seen<Diff> {
        made::Made { site }.diff(seen)
    }

    fn before_start(&self, _: &Site) -> Vec<ResourceId> {
        Vec::new()
    }

    fn power(&self, site: &Site, seen: &Observed) -> Seen<GuestPower> {
        running::power(site, seen)
    }

    fn before_program(&self) -> Vec<ResourceId> {
        vec![ids::MACHINE_PROGRAM]
    }

    /// The container has no number before it is there.
    fn program_before_container(&self, _: &Site) -> Diff {
        Diff::later(PUT_PROGRAM, "the guest does not run yet")
    }
}
