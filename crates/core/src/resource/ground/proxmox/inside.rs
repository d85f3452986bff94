//! What the container's settings came to, as it is seen from inside: the address,
//! the interface, and the room on the disks.

use std::net::IpAddr;

use super::place::{Place, find_container, fixed_address, guest_state};
use crate::{
    config::Address6,
    effect::{Effect, Local, TwoSided},
    fact::{GuestState, Link, Side},
    ids,
    name::{AbsPath, Cidr6},
    observed::{Observed, Seen},
    proxmox::{DISKS, disk_of, file_system_at, least_file_system, properties},
    render::ifupdown,
    resource::{Diff, FileChange, Resource, ResourceId, Risk, Site, Step, guest_ready, write},
    size::Bytes,
};

/// What the guest calls its interface.
const INTERFACE: &str = "eth0";
/// What the guest's ifupdown2 gives an interface of which nobody says more.
const USUAL_MTU: u32 = 1500;

fn runs(site: &Site, seen: &Observed) -> Seen<bool> {
    Ok(matches!(guest_state(site, seen)?, GuestState::Running { .. }))
}

/// The guest has the address that it should have.
pub(super) struct Address {
    pub(super) site: Site,
}

impl Resource for Address {
    fn id(&self) -> ResourceId {
        ids::GUEST_ADDRESS
    }

    fn needs(&self) -> Vec<ResourceId> {
        // A change of net0 that is under way would show an address of before.
        vec![ids::GUEST_PROGRAM, ids::GUEST_CONTAINER]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        if !runs(&self.site, seen)? {
            return Ok(Diff::later("See that the guest has its address", "the guest does not run yet"));
        }
        let wanted = fixed_address(&self.site);
        let link = seen.link(INTERFACE)?;
        let has = link.map_or("there is no such interface".to_owned(), |link| link.shown(false));
        let is_right = |(address, prefix): &(IpAddr, u8)| match wanted {
            Some(wanted) => *address == IpAddr::V4(wanted.address()) && *prefix == wanted.prefix(),
            None => address.is_ipv4(),
        };
        if link.is_some_and(|link| link.addresses.iter().any(is_right)) {
            return Ok(Diff::settled(format!("{INTERFACE} has the address {has}")));
        }
        let Place::Here { container, settings } = find_container(&self.site, seen)? else {
            return Ok(Diff::later("See which address the guest has", "the container is not there yet"));
        };
        let asked_for = wanted.map_or("dhcp".to_owned(), |wanted| wanted.to_string());
        let written = settings.get("net0").map(properties).unwrap_or_default();
        if written.get("ip").is_none_or(|written| *written != asked_for) {
            return Ok(Diff::later(
                "See that the guest has its address",
                "net0 of the container is changed first",
            ));
        }
        let what = wanted.map_or("an address".to_owned(), |wanted| format!("the address {wanted}"));
        Ok(Diff::Change(Step {
            what: format!("Restart the container {}, so that it gets {what}", container.id),
            why: format!("what {INTERFACE} has in it: {has}"),
            risk: Risk::Outage,
            changes: Vec::new(),
            effects: vec![
                Effect::Here(Local::RebootContainer { container }),
                Effect::Here(Local::AwaitAddress { interface: INTERFACE.to_owned(), address: wanted }),
            ],
        }))
    }
}

/// What Proxmox's template does not give the guest's interface at boot, or what it
/// did not have when it booted.
pub(super) struct Interface {
    pub(super) site: Site,
}

impl Interface {
    fn fixed6(&self) -> Option<Cidr6> {
        match self.site.config.proxmox.address6 {
            Some(Address6::Static(address)) => Some(address),
            Some(Address6::Auto) | None => None,
        }
    }

    fn settled(&self, link: &Link) -> String {
        let v6 = match (self.site.config.proxmox.address6, link.shown(true).as_str()) {
            (None, _) => String::new(),
            (Some(_), "none") => {
                "; it has no IPv6 address: no router on its network has advertised one so far".to_owned()
            }
            (Some(_), shown) => format!("; its IPv6 addresses: {shown}"),
        };
        format!("{INTERFACE} sends packets of {} bytes at most{v6}", link.mtu)
    }
}

impl Resource for Interface {
    fn id(&self) -> ResourceId {
        ids::GUEST_INTERFACE
    }

    fn needs(&self) -> Vec<ResourceId> {
        // Without IPv6 in the kernel there is no IPv6 address.
        vec![ids::GUEST_KERNEL]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let proxmox = &self.site.config.proxmox;
        if !runs(&self.site, seen)? {
            return Ok(match (proxmox.mtu, proxmox.address6) {
                (None, None) => Diff::settled("matrix.toml says nothing more of it"),
                _ => Diff::later(
                    "See to the guest's packet size and IPv6 address",
                    "the guest does not run yet",
                ),
            });
        }
        let path = ifupdown::policy_file();
        let (link, file) = (seen.link(INTERFACE), seen.file(Side::Guest, &path));
        let (Some(link), file) = (link?, file?) else {
            return Ok(Diff::later("Look at the guest's interface", "it has none yet"));
        };
        let now = file.map(|file| file.content.clone().unwrap_or_default());
        let mut effects = Vec::new();
        let mut changes = Vec::new();
        let wanted = proxmox.mtu.map(|mtu| ifupdown::policy(mtu.get()));
        match &wanted {
            Some(wanted) if now.as_ref() != Some(&wanted.content) => {
                effects.push(write(Side::Guest, wanted));
                let after = wanted.content.clone();
                changes.push(FileChange {
                    side: Side::Guest,
                    path: path.clone(),
                    before: now.clone(),
                    after,
                });
            }
            None if now.is_some() => {
                effects.push(Effect::Here(Local::RemoveFile { side: Side::Guest, path }));
            }
            Some(_) | None => {}
        }
        let mtu = proxmox
            .mtu
            .map(|mtu| mtu.get())
            .or(now.is_some().then_some(USUAL_MTU))
            .filter(|mtu| *mtu != link.mtu);
        let there = |wanted: &Cidr6| link.addresses.iter().any(|(a, _)| *a == IpAddr::V6(wanted.address()));
        let address6 = self.fixed6().filter(|wanted| !there(wanted));
        if mtu.is_some() || address6.is_some() {
            let gateway6 = proxmox.gateway6.filter(|_| address6.is_some());
            let set = Effect::Here(Local::SetInterface {
                interface: INTERFACE.to_owned(),
                mtu,
                address6,
                gateway6,
            });
            // What is removed goes last: it says that there was something.
            effects.insert(usize::from(wanted.is_some() && !effects.is_empty()), set);
        }
        if effects.is_empty() {
            return Ok(Diff::settled(self.settled(link)));
        }
        Ok(Diff::Change(Step {
            what: "Give the guest's interface what matrix.toml says".to_owned(),
            why: "Proxmox writes it down, and the guest's ifupdown2 does otherwise at its start".to_owned(),
            risk: Risk::None,
            changes,
            effects,
        }))
    }
}

/// The size of the file system on a disk of the container, as the guest sees it: of
/// those that fill a disk of their own. Others, such as ZFS, say how much room there is
/// on all disks of the node.
pub fn file_system_size(seen: &Observed, disk: &str) -> Seen<Option<Bytes>> {
    let Some((_, place)) = DISKS.into_iter().find(|(known, _)| *known == disk) else { return Ok(None) };
    // The root itself is no path that is asked about; what is in it is on the same disk.
    let room = seen.room(Side::Guest, &AbsPath::known(if place == "/" { "/usr" } else { place }));
    let mounts = seen.file(Side::Guest, &AbsPath::known("/proc/mounts"))?;
    let mounts = mounts.and_then(|file| file.content.as_deref()).unwrap_or_default();
    let is_own = file_system_at(mounts, place) == Some("ext4");
    Ok(room?.filter(|_| is_own).map(|room| Bytes(room.total)))
}

/// The file systems are as large as the disks that they are on.
pub(super) struct FileSystems {
    pub(super) site: Site,
}

impl Resource for FileSystems {
    fn id(&self) -> ResourceId {
        ids::GUEST_DISK
    }

    fn needs(&self) -> Vec<ResourceId> {
        guest_ready()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let Place::Here { container, settings } = find_container(&self.site, seen)? else {
            return Ok(Diff::settled("they are made with the container"));
        };
        // All questions before the first answer is looked at.
        let totals = DISKS.map(|(volume, _)| file_system_size(seen, volume));
        let mut small = Vec::new();
        for ((volume, _), total) in DISKS.into_iter().zip(totals) {
            let (total, disk) = (total?, disk_of(settings, volume));
            if let (Some(total), Some((_, size))) = (total, disk)
                && total < least_file_system(size)
            {
                small.push((volume, size, total));
            }
        }
        if small.is_empty() {
            return Ok(Diff::settled("its file systems are as large as its disks"));
        }
        let names: Vec<&str> = small.iter().map(|(volume, ..)| *volume).collect();
        let sizes: Vec<String> = small
            .iter()
            .map(|(volume, size, has)| format!("{volume} has {size}, its file system {} MiB", has.as_mib()))
            .collect();
        Ok(Diff::quiet(
            format!("Make the file system of {} as large as its disk", names.join(" and ")),
            sizes.join("; "),
            small
                .into_iter()
                .map(|(volume, size, _)| {
                    Effect::Both(TwoSided::GrowDisk {
                        container: container.clone(),
                        volume: volume.to_owned(),
                        size,
                    })
                })
                .collect(),
        ))
    }
}
