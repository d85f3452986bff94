//! Where a site's container is, and what of it is whole.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{
    config::{Address, Network},
    effect::Container,
    fact::{GuestState, Side},
    layout,
    name::{Cidr4, ContainerId, StorageName, Tag},
    observed::{Gap, Observed, Seen},
    proxmox::{Answer, ClusterGuest, GuestKind, Question, Settings, Status},
    resource::Site,
};

/// What is written down before a container is made, so that one whose making
/// was cut off can be told from other people's. It goes as soon as there are
/// data in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Which container.
    #[serde(flatten)]
    pub container: Container,
    /// Whether it was made, and whole: Proxmox writes its settings before that.
    #[serde(default = "made_by_an_earlier_version")]
    pub made: bool,
    /// The storages that its disks come to be on.
    #[serde(default)]
    pub storages: Vec<StorageName>,
    /// Volumes of that number that were there before, and are somebody else's.
    #[serde(default)]
    pub volumes: Vec<String>,
}

fn made_by_an_earlier_version() -> bool {
    true
}

impl Claim {
    /// Reads the file of it.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// What is written into the file of it.
    pub fn render(&self) -> String {
        // A claim has nothing that JSON could not hold.
        serde_json::to_string(self).unwrap_or_default()
    }
}

/// Where a site's container is.
#[derive(Debug, Clone, PartialEq)]
pub enum Place<'a> {
    /// There is none.
    Absent,
    /// It is on this node.
    Here {
        /// Which.
        container: Container,
        /// Its settings.
        settings: &'a Settings,
    },
    /// Its making was cut off.
    Unfinished {
        /// Which.
        container: Container,
    },
    /// Something is in the way.
    Refused {
        /// What.
        why: String,
        /// What to do about it.
        hint: String,
    },
}

/// What Proxmox calls this machine.
pub fn node(seen: &Observed) -> Seen<String> {
    let hostname = &seen.system(Side::Machine)?.hostname;
    Ok(hostname.split('.').next().unwrap_or_default().to_owned())
}

pub(super) fn guests(seen: &Observed) -> Seen<&[ClusterGuest]> {
    match seen.proxmox(Question::Guests)? {
        Answer::Guests(guests) => Ok(guests),
        other => Err(unexpected(other)),
    }
}

fn settings<'a>(seen: &'a Observed, node: &str, id: ContainerId) -> Seen<&'a Settings> {
    match seen.proxmox(Question::Settings { node: node.to_owned(), id })? {
        Answer::Settings(settings) => Ok(settings),
        other => Err(unexpected(other)),
    }
}

pub(super) fn status(seen: &Observed, container: &Container) -> Seen<Status> {
    match seen.proxmox(Question::Status { node: container.node.clone(), id: container.id })? {
        Answer::Status(status) => Ok(status.clone()),
        other => Err(unexpected(other)),
    }
}

pub(super) fn unexpected(answer: &Answer) -> Gap {
    Gap::Unknown(format!("Proxmox gave an unexpected answer: {answer:?}"))
}

/// Finds the site's container: among those with its tag, its name or its
/// number, the one with its mark.
pub fn find_container<'a>(site: &Site, seen: &'a Observed) -> Seen<Place<'a>> {
    let (here, all) = (node(seen)?, guests(seen)?);
    let (name, pinned) = (site.config.guest.name.as_str(), site.config.proxmox.container_id());
    let tag = Tag::of_site(site.config.site());
    let claim = claim(site, seen)?;
    let claimed = |guest: &ClusterGuest| {
        claim.as_ref().is_some_and(|c| c.container.id == guest.id && c.container.node == guest.node)
    };
    let candidates: Vec<&ClusterGuest> = all
        .iter()
        .filter(|guest| guest.kind == GuestKind::Container)
        .filter(|guest| {
            guest.tags.iter().any(|t| t.eq_ignore_ascii_case(tag.as_str()))
                || guest.name.as_deref() == Some(name)
                || Some(guest.id) == pinned
                || claimed(guest)
        })
        .collect();
    // All questions first, then the answers.
    let asked: Vec<Seen<&Settings>> = candidates.iter().map(|g| settings(seen, &g.node, g.id)).collect();
    let mut known = Vec::new();
    for (guest, settings) in candidates.into_iter().zip(asked) {
        known.push((guest, settings?));
    }
    let ours: Vec<_> = known.iter().filter(|(_, s)| s.site() == Some(site.config.site())).collect();
    let ours: Vec<_> = match pinned.and_then(|id| ours.iter().find(|(guest, _)| guest.id == id)) {
        Some(chosen) => vec![*chosen],
        None => ours,
    };
    if let [(guest, settings)] = ours[..] {
        // Its settings are there before its password, its keys and its pool are.
        if claimed(guest) && !claim.as_ref().is_some_and(|claim| claim.made) {
            return Ok(Place::Unfinished { container: Container { id: guest.id, node: guest.node.clone() } });
        }
        return Ok(if guest.node == here {
            Place::Here { container: Container { id: guest.id, node: here }, settings }
        } else {
            Place::Refused {
                why: format!(
                    "this site's container {} is on the node {}, not on {here}",
                    guest.id, guest.node
                ),
                hint: format!("run this on {}, or move the container here (`pct migrate`)", guest.node),
            }
        });
    }
    if !ours.is_empty() {
        let ids: Vec<String> = ours.iter().map(|(guest, _)| guest.id.to_string()).collect();
        return Ok(Place::Refused {
            why: format!("several containers carry the mark of this site: {}", ids.join(", ")),
            hint: "one is a copy: write the number of the server's as proxmox.id, and take the line \
                   \"matrix-podman site:\" out of the description of the other"
                .to_owned(),
        });
    }
    if let Some((guest, _)) =
        known.iter().find(|(guest, s)| claimed(guest) && s.site().is_none() && unmade(s))
    {
        return Ok(Place::Unfinished { container: Container { id: guest.id, node: guest.node.clone() } });
    }
    if let Some((guest, settings)) = known.iter().find(|(guest, s)| is_called(guest, s, name)) {
        return Ok(Place::Refused {
            why: match settings.site() {
                Some(other) => {
                    format!("there is a container {name} already ({}), of the site {other}", guest.id)
                }
                None => format!(
                    "there is a container {name} already ({} on {}) that matrix-podman did not make",
                    guest.id, guest.node
                ),
            },
            hint: "it is left alone; give this site's guest another name: guest.name = \"…\"".to_owned(),
        });
    }
    Ok(match pinned.and_then(|id| all.iter().find(|guest| guest.id == id)) {
        None => Place::Absent,
        Some(other) => {
            let kind = match other.kind {
                GuestKind::Container => "container",
                GuestKind::Machine => "virtual machine",
            };
            let name = other.name.as_deref().unwrap_or("without a name");
            Place::Refused {
                why: format!("the id {} is taken: the {kind} {name} on {} has it", other.id, other.node),
                hint: "leave proxmox.id out for a free one, or write one that no guest of the cluster has"
                    .to_owned(),
            }
        }
    })
}

/// Names in the list of the cluster lag behind; the settings do not.
fn is_called(guest: &ClusterGuest, settings: &Settings, name: &str) -> bool {
    settings.get("hostname").or(guest.name.as_deref()) == Some(name)
}

/// Whether a creation was cut off: Proxmox writes the settings at its end.
fn unmade(settings: &Settings) -> bool {
    settings.lock() == Some("create") || settings.get("rootfs").is_none()
}

pub(super) fn claim(site: &Site, seen: &Observed) -> Seen<Option<Claim>> {
    let file = seen.file(Side::Machine, &layout::container_claim(site.config.site()))?;
    Ok(file.and_then(|file| Claim::parse(file.content.as_deref().unwrap_or_default())))
}

/// Whether there is a guest that can be spoken to.
pub(super) fn guest_state(site: &Site, seen: &Observed) -> Seen<GuestState> {
    match find_container(site, seen)? {
        Place::Absent => Ok(GuestState::Absent),
        Place::Here { container, .. } => {
            let site_name = Some(site.config.site().to_owned());
            if !status(seen, &container)?.running {
                return Ok(GuestState::Stopped { site: site_name });
            }
            // For Proxmox a frozen container runs; LXC knows it by its number.
            Ok(match seen.lxc(&container.id.to_string())?.suspension() {
                Some(by) => GuestState::Suspended { site: site_name, by },
                None => {
                    GuestState::Running { site: site_name, address: fixed_address(site).map(Cidr4::address) }
                }
            })
        }
        Place::Unfinished { container } => {
            Err(Gap::Unknown(format!("the creation of the container {} was cut off", container.id)))
        }
        Place::Refused { why, .. } => Err(Gap::Unknown(why)),
    }
}

/// The guest's address, when the config says it.
pub(super) fn fixed_address(site: &Site) -> Option<Cidr4> {
    let (Network::Own { address, .. } | Network::Existing { address, .. }) = &site.config.guest.network;
    match address {
        Address::Static { address, .. } => Some(*address),
        Address::Auto | Address::Dhcp => None,
    }
}

/// The address at which the guest can be reached: the one that was written,
/// else the one that the guest says it has.
pub(super) fn guest_address(site: &Site, seen: &Observed) -> Seen<Option<Ipv4Addr>> {
    match fixed_address(site) {
        Some(address) => Ok(Some(address.address())),
        None => Ok(seen.system(Side::Guest)?.address),
    }
}

/// Whether Proxmox finished the creation of a container while nobody waited for it:
/// its task says so, and what comes last, the pool, is there.
pub fn was_finished(site: &Site, seen: &Observed, container: &Container) -> Seen<bool> {
    let (node, id) = (container.node.clone(), container.id);
    // All are asked before the first answer is looked at.
    let ended = seen.proxmox(Question::Creation { node: node.clone(), id });
    let (settings, guests) = (settings(seen, &node, id)?, guests(seen)?);
    let well = match ended? {
        Answer::Ended(how) => how.as_deref().is_some_and(|how| how == "OK" || how.starts_with("WARNINGS")),
        other => return Err(unexpected(other)),
    };
    let pool = site.config.proxmox.pool.as_ref().map(|pool| pool.as_str());
    let pooled =
        guests.iter().any(|guest| guest.id == id && (pool.is_none() || guest.pool.as_deref() == pool));
    Ok(well && pooled && !unmade(settings) && settings.site() == Some(site.config.site()))
}
