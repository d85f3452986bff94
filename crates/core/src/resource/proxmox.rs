//! The guest as a container of Proxmox VE.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::{Diff, FileChange, Resource, ResourceId, Risk, Site, Step};
use crate::{
    config::{Address, Network},
    effect::{Container, Effect, NewContainer},
    fact::{Fact, GuestState, Side},
    layout,
    name::{AbsPath, ContainerId, Mode, Owner, SnapshotName, Tag},
    observed::{Gap, Observed, Seen},
    proxmox::{
        Answer, Change, ClusterGuest, Growth, GuestKind, Question, Settings, Status, Wrong, changes,
        create_options, description, growth, lock_reason, newest_template, site_in, waiting,
    },
};

/// Left in the guest once it came back by itself after a restart.
const REBOOTED: &str = "/var/lib/matrix-podman/rebooted";

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![
        Box::new(Template { site: site.clone() }),
        Box::new(Made { site: site.clone() }),
        Box::new(Running { site: site.clone() }),
        Box::new(Program { site: site.clone() }),
        Box::new(Description { site: site.clone() }),
    ]
}

/// The restart at the end of the first run, behind everything else.
pub(super) fn rebooted(site: &Site, others: &[Box<dyn Resource>]) -> Box<dyn Resource> {
    Box::new(Rebooted { site: site.clone(), needs: others.iter().map(|other| other.id()).collect() })
}

/// What is written down before a container is made, so that one whose making
/// was cut off can be told from other people's. It goes as soon as there are
/// data in the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claim {
    /// Which container.
    #[serde(flatten)]
    pub container: Container,
}

impl Claim {
    /// Reads the file of it.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).ok()
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

fn guests(seen: &Observed) -> Seen<&[ClusterGuest]> {
    match seen.proxmox(Question::Guests)? {
        Answer::Guests(guests) => Ok(guests),
        other => Err(odd(other)),
    }
}

fn settings<'a>(seen: &'a Observed, node: &str, id: ContainerId) -> Seen<&'a Settings> {
    match seen.proxmox(Question::Settings { node: node.to_owned(), id })? {
        Answer::Settings(settings) => Ok(settings),
        other => Err(odd(other)),
    }
}

fn status(seen: &Observed, container: &Container) -> Seen<Status> {
    match seen.proxmox(Question::Status { node: container.node.clone(), id: container.id })? {
        Answer::Status(status) => Ok(status.clone()),
        other => Err(odd(other)),
    }
}

fn odd(answer: &Answer) -> Gap {
    Gap::Unknown(format!("Proxmox gave an unexpected answer: {answer:?}"))
}

/// Finds the site's container: among those with its tag, its name or its
/// number, the one with its mark.
pub fn find_container<'a>(site: &Site, seen: &'a Observed) -> Seen<Place<'a>> {
    let (here, all) = (node(seen)?, guests(seen)?);
    let (name, pinned) = (site.config.guest.name.as_str(), site.config.proxmox.id);
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

fn claim(site: &Site, seen: &Observed) -> Seen<Option<Claim>> {
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
                None => GuestState::Running { site: site_name, address: fixed_address(site) },
            })
        }
        Place::Unfinished { container } => {
            Err(Gap::Unknown(format!("the creation of the container {} was cut off", container.id)))
        }
        Place::Refused { why, .. } => Err(Gap::Unknown(why)),
    }
}

fn fixed_address(site: &Site) -> Option<Ipv4Addr> {
    let (Network::Own { address, .. } | Network::Existing { address, .. }) = &site.config.guest.network;
    match address {
        Address::Static { address, .. } => Some(address.address()),
        Address::Auto | Address::Dhcp => None,
    }
}

/// The address at which the guest can be reached: the one that was written,
/// else the one that the guest says it has.
pub(super) fn guest_address(site: &Site, seen: &Observed) -> Seen<Option<Ipv4Addr>> {
    match fixed_address(site) {
        Some(address) => Ok(Some(address)),
        None => Ok(seen.system(Side::Guest)?.address),
    }
}

/// The template that the container is made from.
struct Template {
    site: Site,
}

fn chosen_template(site: &Site, seen: &Observed) -> Seen<Option<String>> {
    let proxmox = &site.config.proxmox;
    let storage = proxmox.template_storage.clone();
    let Answer::Names(volumes) = seen.proxmox(Question::Templates { storage: storage.clone() })? else {
        return Ok(None);
    };
    Ok(match &proxmox.template {
        Some(file) => volumes.iter().find(|volume| **volume == format!("{storage}:vztmpl/{file}")).cloned(),
        None => newest_template(volumes, &seen.system(Side::Machine)?.arch).map(str::to_owned),
    })
}

impl Resource for Template {
    fn id(&self) -> ResourceId {
        ResourceId::new("guest/template")
    }

    fn needs(&self) -> Vec<ResourceId> {
        Vec::new()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        if !matches!(find_container(&self.site, seen)?, Place::Absent) {
            return Ok(Diff::settled("the container is made already"));
        }
        if let Some(volume) = chosen_template(&self.site, seen)? {
            return Ok(Diff::settled(format!("{volume} is there")));
        }
        let proxmox = &self.site.config.proxmox;
        let (storage, template) = (proxmox.template_storage.clone(), proxmox.template.clone());
        let which = template.as_ref().map_or("the newest Debian 13 template".to_owned(), ToString::to_string);
        Ok(Diff::quiet(
            format!("Download {which} to the storage {storage}"),
            "the container is made from it",
            vec![Effect::FetchTemplate { storage, template, arch: seen.system(Side::Machine)?.arch.clone() }],
        ))
    }
}

/// The container: there, ours, and with the settings that it should have.
struct Made {
    site: Site,
}

impl Resource for Made {
    fn id(&self) -> ResourceId {
        ResourceId::new("guest/container")
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ResourceId::new("guest/template")]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        match find_container(&self.site, seen)? {
            Place::Absent => self.create(seen),
            Place::Here { container, settings } => self.change(container, settings),
            Place::Unfinished { container } => Ok(Diff::Blocked {
                why: format!("the creation of the container {} was cut off, and a part of it is there", container.id),
                hint: "`matrix-podman up --remove-failed` removes that part, which holds no data, and begins again"
                    .to_owned(),
            }),
            Place::Refused { why, hint } => Ok(Diff::Blocked { why, hint }),
        }
    }
}

impl Made {
    fn create(&self, seen: &Observed) -> Seen<Diff> {
        let config = &self.site.config;
        let id = match config.proxmox.id {
            Some(id) => id,
            None => match seen.proxmox(Question::NextId)? {
                Answer::Id(id) => *id,
                other => return Err(odd(other)),
            },
        };
        let what = format!("Create the container {id}, called {}", config.guest.name);
        let node = node(seen)?;
        let Some(template) = chosen_template(&self.site, seen)? else {
            return Ok(Diff::later(what, "the template is not there yet"));
        };
        Ok(Diff::quiet(
            what,
            format!("there is none: an unprivileged Debian 13 container on {}", config.proxmox.storage),
            vec![Effect::CreateContainer(NewContainer {
                container: Container { id, node },
                site: config.site().to_owned(),
                template,
                options: create_options(config),
                root_password: config.proxmox.root_password.clone(),
            })],
        ))
    }

    fn change(&self, container: Container, settings: &Settings) -> Seen<Diff> {
        let config = &self.site.config;
        let id = container.id;
        let (changes, grows) = (changes(config, settings), growth(config, settings));
        let grows = match grows {
            Ok(grows) => grows,
            Err(wrong) => return Ok(cannot(id, &wrong)),
        };
        let waiting = waiting(config, settings);
        if changes.is_empty() && grows.is_empty() && waiting.is_empty() {
            return Ok(Diff::settled(format!("the container {id} has the settings that it should have")));
        }
        if let Some(lock) = settings.lock() {
            return Ok(Diff::Blocked {
                why: format!("the container {id} is to be changed, and is locked: {}", lock_reason(lock)),
                hint: format!(
                    "wait until that is over, then run the same again; only if nothing of the kind is under way, \
                     `pct unlock {id}`"
                ),
            });
        }
        let reboots = !waiting.is_empty() || changes.iter().any(|change| !change.live);
        let mut effects = Vec::new();
        if !changes.is_empty() {
            let options = changes.iter().map(|c| (c.key.to_owned(), c.after.clone())).collect();
            effects.push(Effect::SetContainer { container: container.clone(), options });
        }
        for Growth { volume, to, .. } in &grows {
            effects.push(Effect::GrowDisk {
                container: container.clone(),
                volume: (*volume).to_owned(),
                size: *to,
            });
        }
        if reboots {
            effects.push(Effect::RebootContainer { container: container.clone() });
        }
        let mut keys: Vec<&str> =
            changes.iter().map(|c| c.key).chain(grows.iter().map(|g| g.volume)).collect();
        if keys.is_empty() {
            keys = waiting;
        }
        let risk = if reboots {
            Risk::Outage
        } else if changes.iter().any(|c| c.key == "net0") {
            Risk::Interrupts
        } else {
            Risk::None
        };
        Ok(Diff::Change(Step {
            what: format!(
                "Change {} of the container {id}, {}",
                keys.join(", "),
                if reboots { "and restart it" } else { "while it runs" }
            ),
            why: "its settings are not those of matrix.toml".to_owned(),
            risk,
            changes: vec![shown(id, &changes, &grows)],
            effects,
        }))
    }
}

/// The lines of the container's config that change.
fn shown(id: ContainerId, changes: &[Change], grows: &[Growth]) -> FileChange {
    let line = |key: &str, value: Option<&str>| value.map(|v| format!("{key}: {v}\n")).unwrap_or_default();
    let mut before: String = changes.iter().map(|c| line(c.key, c.before.as_deref())).collect();
    let mut after: String = changes.iter().map(|c| line(c.key, Some(&c.after))).collect();
    for grow in grows {
        before.push_str(&line(grow.volume, Some(&format!("size={}", grow.from))));
        after.push_str(&line(grow.volume, Some(&format!("size={}", grow.to))));
    }
    FileChange {
        side: Side::Machine,
        path: AbsPath::known(format!("/etc/pve/lxc/{id}.conf")),
        before: Some(before),
        after,
    }
}

fn cannot(id: ContainerId, wrong: &Wrong) -> Diff {
    match wrong {
        Wrong::Shrinks { key, has, wanted } => Diff::Blocked {
            why: format!(
                "{key} is {wanted}, and that disk of the container {id} has {has}: disks can only grow"
            ),
            hint: format!("write {key} = \"{has}\", or more"),
        },
        Wrong::NoVolume => Diff::Blocked {
            why: format!(
                "the container {id} was made without a data volume, and its data are on its own disk"
            ),
            hint: "take proxmox.data_volume out again; a new server can have one".to_owned(),
        },
    }
}

/// What is left of snapshots of ours that were cut off, while nothing is at work on
/// the container.
fn remains(seen: &Observed, container: &Container) -> Seen<Vec<SnapshotName>> {
    let (node, id) = (container.node.clone(), container.id);
    // Both are asked before the first answer is looked at.
    let tasks = seen.proxmox(Question::Tasks { node: node.clone(), id });
    let there = seen.proxmox(Question::Snapshots { node, id });
    match (tasks?, there?) {
        (Answer::Names(tasks), Answer::Snapshots(there)) if tasks.is_empty() => {
            let ours = there.iter().filter(|snapshot| snapshot.is_our_remains());
            Ok(ours.map(|snapshot| snapshot.name.clone()).collect())
        }
        (Answer::Names(_), Answer::Snapshots(_)) => Ok(Vec::new()),
        (other, _) => Err(odd(other)),
    }
}

/// The container runs.
struct Running {
    site: Site,
}

impl Resource for Running {
    fn id(&self) -> ResourceId {
        ResourceId::new("guest/running")
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ResourceId::new("guest/container")]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let start = |container: Option<Container>| {
            Diff::quiet(
                "Start the container",
                "it does not run",
                container.map(|container| Effect::StartContainer { container }).into_iter().collect(),
            )
        };
        Ok(match find_container(&self.site, seen)? {
            Place::Here { container, settings } => {
                let status = status(seen, &container)?;
                if status.running {
                    let id = container.id.to_string();
                    return Ok(match seen.lxc(&id)?.suspension() {
                        Some(by) => super::guest::held(by, self.site.config.guest.name.as_str(), &id),
                        None => Diff::settled(format!("the container {id} runs")),
                    });
                }
                match settings.lock() {
                    Some(lock) if lock.starts_with("snapshot") && !remains(seen, &container)?.is_empty() => {
                        let mut effects: Vec<Effect> = remains(seen, &container)?
                            .into_iter()
                            .map(|name| Effect::RemoveSnapshot { container: container.clone(), name })
                            .collect();
                        effects.push(Effect::StartContainer { container });
                        Diff::quiet(
                            "Remove what is left of a snapshot, and start the container",
                            "the making of a snapshot was cut off, and the container does not run",
                            effects,
                        )
                    }
                    Some(lock) => Diff::Blocked {
                        why: format!(
                            "the container {} does not run, and is locked: {}",
                            container.id,
                            lock_reason(lock)
                        ),
                        hint: "wait until that is over, then run the same again".to_owned(),
                    },
                    None => start(Some(container)),
                }
            }
            Place::Absent | Place::Unfinished { .. } | Place::Refused { .. } => {
                Diff::later("Start the container", "it is not there yet")
            }
        })
    }
}

/// The program is in the container, and is this one.
struct Program {
    site: Site,
}

impl Resource for Program {
    fn id(&self) -> ResourceId {
        ResourceId::new("guest/program")
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ResourceId::new("guest/running"), ResourceId::new("machine/program")]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        const WHAT: &str = "Put matrix-podman into the guest";
        Ok(match guest_state(&self.site, seen)? {
            GuestState::Absent | GuestState::Stopped { .. } => {
                Diff::later(WHAT, "the guest does not run yet")
            }
            GuestState::Suspended { by, .. } => {
                Diff::later(WHAT, by.why(self.site.config.guest.name.as_str()))
            }
            GuestState::Running { .. } => match seen.yes(Side::Machine, Fact::GuestProgram)? {
                true => Diff::settled("the guest has this very program"),
                false => Diff::quiet(
                    WHAT,
                    "the same program works on both sides, over one connection",
                    vec![Effect::PushProgram { name: self.site.config.guest.name.to_string() }],
                ),
            },
        })
    }
}

/// What people see of the container in Proxmox's web pages.
struct Description {
    site: Site,
}

impl Resource for Description {
    fn id(&self) -> ResourceId {
        ResourceId::new("guest/description")
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ResourceId::new("server-name")]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        const WHAT: &str = "Write addresses into the container's description";
        let Place::Here { container, settings } = find_container(&self.site, seen)? else {
            return Ok(Diff::later(WHAT, "it is not there yet"));
        };
        let wanted = description(&self.site.config, guest_address(&self.site, seen)?);
        let now = settings.get("description").unwrap_or_default();
        let next = with_notes(now, &wanted);
        if now.trim() == next.trim() {
            return Ok(Diff::settled("it names the server and its addresses"));
        }
        Ok(Diff::quiet(
            WHAT,
            "so that whoever sees it in Proxmox knows what it is",
            vec![Effect::SetContainer { container, options: vec![("description".to_owned(), next)] }],
        ))
    }
}

/// The description with what the operator wrote before and after our part of
/// it, which begins at its title and ends with the mark.
fn with_notes(now: &str, own: &str) -> String {
    let lines: Vec<&str> = now.lines().collect();
    let end = lines.iter().rposition(|line| site_in(line).is_some());
    let start = end
        .map(|end| lines[..end].iter().rposition(|line| line.starts_with("# Matrix server ")).unwrap_or(end));
    let (Some(start), Some(end)) = (start, end) else { return own.to_owned() };
    let notes = |lines: &[&str]| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
    format!("{}{own}{}", notes(&lines[..start]), notes(&lines[end + 1..]))
}

/// The guest was restarted once, and came back by itself.
struct Rebooted {
    site: Site,
    needs: Vec<ResourceId>,
}

impl Resource for Rebooted {
    fn id(&self) -> ResourceId {
        ResourceId::new("guest/rebooted")
    }

    fn needs(&self) -> Vec<ResourceId> {
        self.needs.clone()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        const WHAT: &str = "Restart the guest once, and see that everything comes back";
        let stamp = AbsPath::known(REBOOTED);
        if seen.meta(Side::Guest, &stamp)?.is_some() {
            return Ok(Diff::settled("the guest came back by itself after a restart"));
        }
        let Place::Here { container, .. } = find_container(&self.site, seen)? else {
            return Ok(Diff::later(WHAT, "it is not there yet"));
        };
        Ok(Diff::quiet(
            WHAT,
            "a power cut should not be the first time",
            vec![
                Effect::RebootContainer { container },
                Effect::AwaitStack,
                Effect::WriteFile {
                    side: Side::Guest,
                    path: stamp,
                    content: String::new(),
                    mode: Mode(0o644),
                    owner: Owner::ROOT,
                },
            ],
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_of_the_operator_stay_in_a_description() {
        let own = "# Matrix server a\n\nmatrix-podman site: a\n";
        assert_eq!(with_notes("", own), own);
        assert_eq!(with_notes("something else", own), own);
        let kept =
            with_notes("Bought in May\n# Matrix server old\n\nx\nmatrix-podman site: a\nCall Bob\n", own);
        assert_eq!(kept, format!("Bought in May\n{own}Call Bob\n"));
        assert_eq!(with_notes(&kept, own), kept);
    }
}
