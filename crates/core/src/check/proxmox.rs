//! What must be so on a Proxmox VE node before anything is changed.

use std::cmp::Ordering;

use super::{
    Check,
    preflight::{self, ROOM},
};
use crate::{
    config::{Network, RootPassword},
    fact::{FileKind, MachineInfo, Side},
    name::{AbsPath, StorageName},
    observed::{Gap, Observed, Seen},
    proxmox::{self, Answer, COMMANDS, CONTAINER_FIXED, Question, Storage, by_version, newest_template},
    resource::{Place, Preflight, Site, container_lock, find_container, node},
    size::Bytes,
};

/// Room that a template needs.
const TEMPLATE_ROOM: Bytes = Bytes::mib(300);

/// The checks, in the order in which a person would want to read them.
pub(super) const QUESTIONS: [(&str, preflight::Question); 13] = [
    ("root", preflight::root),
    ("commands", commands),
    ("program", preflight::program),
    ("memory", preflight::memory),
    ("versions", versions),
    ("quorum", quorum),
    ("storage", storage),
    ("template", template),
    ("bridge", bridge),
    ("mtu", mtu),
    ("id", id),
    ("files", files),
    ("lock", lock),
];

/// Whether the container is still to be made; most is asked only then.
fn is_new(site: &Site, seen: &Observed) -> Seen<bool> {
    Ok(matches!(find_container(site, seen)?, Place::Absent))
}

fn unexpected(answer: &Answer) -> Gap {
    Gap::Unknown(format!("Proxmox gave an unexpected answer: {answer:?}"))
}

fn commands(_: &Site, seen: &Observed, _: &MachineInfo) -> Seen<Option<Check>> {
    let there = seen.commands(Side::Machine, COMMANDS)?;
    let missing: Vec<&str> = COMMANDS.into_iter().filter(|command| !there.contains_key(*command)).collect();
    Ok(Some(if missing.is_empty() {
        Check::pass("commands", "Proxmox's commands are here")
    } else {
        Check::fail(
            "commands",
            format!("this machine is no Proxmox VE node: it has no {}", missing.join(", no ")),
            "run this on the node, or name the node: host = \"ssh://root@NODE\"; elsewhere, guest.backend = \"lxc\"",
        )
    }))
}

fn versions(site: &Site, seen: &Observed, _: &MachineInfo) -> Seen<Option<Check>> {
    if !is_new(site, seen)? {
        return Ok(None);
    }
    let versions = match seen.proxmox(Question::Versions)? {
        Answer::Versions(versions) => versions,
        other => return Err(unexpected(other)),
    };
    let version = |package: &str| versions.get(package).map(String::as_str).unwrap_or("unknown");
    let (manager, container) = (version("pve-manager"), version("pve-container"));
    let major: u32 = manager.split('.').next().and_then(|n| n.parse().ok()).unwrap_or_default();
    let fixed = CONTAINER_FIXED.iter().find(|(release, _)| *release == major);
    Ok(Some(match fixed {
        None if major < CONTAINER_FIXED[0].0 => Check::fail(
            "versions",
            format!("this node has Proxmox VE {manager}, and 8 or 9 is needed"),
            "upgrade Proxmox VE first",
        ),
        Some((_, fixed)) if by_version(container, fixed) == Ordering::Less => Check::fail(
            "versions",
            format!("pve-container {container} of this node cannot run Debian 13; {fixed} can"),
            "update the node: `apt update && apt full-upgrade`",
        ),
        _ => Check::pass("versions", format!("Proxmox VE {manager} with pve-container {container}")),
    }))
}

fn quorum(site: &Site, seen: &Observed, _: &MachineInfo) -> Seen<Option<Check>> {
    if !is_new(site, seen)? {
        return Ok(None);
    }
    Ok(Some(match seen.proxmox(Question::Cluster)? {
        Answer::Cluster(cluster) if cluster.quorate => Check::pass("quorum", "the node may make changes"),
        Answer::Cluster(_) => Check::fail(
            "quorum",
            "the cluster of this node has no quorum, so Proxmox allows no changes",
            "`pvecm status` shows which nodes are missing; bring them back first",
        ),
        other => return Err(unexpected(other)),
    }))
}

fn storages(seen: &Observed) -> Seen<&[Storage]> {
    match seen.proxmox(Question::Storages { node: node(seen)? })? {
        Answer::Storages(all) => Ok(all),
        other => Err(unexpected(other)),
    }
}

/// The storages that could hold what is asked for, for a message.
fn others(all: &[Storage], fits: fn(&Storage) -> bool) -> String {
    let fitting: Vec<String> =
        all.iter().filter(|s| fits(s)).map(|s| format!("{} ({} free)", s.name, s.free.rounded())).collect();
    if fitting.is_empty() { "there is none on this node".to_owned() } else { fitting.join(", ") }
}

/// One storage: there, in use, for this, with room.
fn fit(all: &[Storage], name: &StorageName, key: &str, disks: bool, least: Bytes, wanted: Bytes) -> Check {
    let (content, what): (&str, &str) =
        if disks { ("rootdir", "containers' disks") } else { ("vztmpl", "templates") };
    let fits: fn(&Storage) -> bool = if disks { Storage::holds_disks } else { Storage::holds_templates };
    let choose = format!("write {key} = \"…\"; those that can hold {what}: {}", others(all, fits));
    let Some(storage) = all.iter().find(|storage| storage.is(name)) else {
        return Check::fail("storage", format!("this node has no storage {name} ({key})"), choose);
    };
    if !storage.usable {
        return Check::fail(
            "storage",
            format!("the storage {name} ({key}) is disabled or cannot be reached"),
            choose,
        );
    }
    if !storage.content.iter().any(|c| c == content) {
        return Check::fail(
            "storage",
            format!("the storage {name} ({key}) may not hold {what}, only {}", storage.content.join(", ")),
            format!("{choose}; or allow it: `pvesm set {name} --content …,{content}`"),
        );
    }
    if storage.free < least {
        return Check::fail(
            "storage",
            format!("the storage {name} ({key}) has {} left and {least} are needed", storage.free.rounded()),
            format!("make room on it, or {choose}"),
        );
    }
    if storage.free < wanted {
        return Check::weaker(
            "storage",
            format!(
                "the storage {name} has {} left, less than the {wanted} of {key}",
                storage.free.rounded()
            ),
            "the disk can be filled only as far as the storage has room",
        );
    }
    Check::pass("storage", format!("{name} has {} left", storage.free.rounded()))
}

fn storage(site: &Site, seen: &Observed, _: &MachineInfo) -> Seen<Option<Check>> {
    if !is_new(site, seen)? {
        return Ok(None);
    }
    let all = storages(seen)?;
    let (guest, proxmox) = (&site.config.guest, &site.config.proxmox);
    let mut checks = vec![fit(all, &proxmox.storage, "proxmox.storage", true, ROOM, guest.expected_disk())];
    if let Some(size) = proxmox.data_volume {
        let name = proxmox.data_storage.as_ref().unwrap_or(&proxmox.storage);
        checks.push(fit(all, name, "proxmox.data_storage", true, Bytes::gib(1), *size));
    }
    let room = if has_template(site, seen)? { Bytes(0) } else { TEMPLATE_ROOM };
    checks.push(fit(all, &proxmox.template_storage, "proxmox.template_storage", false, room, room));
    // The worst is the one to show.
    let first = |fits: fn(&Check) -> bool| checks.iter().position(fits);
    let weak = |check: &Check| matches!(check.verdict, super::Verdict::Weaker { .. });
    let at = first(Check::stops).or_else(|| first(weak)).unwrap_or_default();
    Ok(Some(checks.swap_remove(at)))
}

fn templates(site: &Site, seen: &Observed) -> Seen<Vec<String>> {
    let storage = site.config.proxmox.template_storage.clone();
    // A storage that cannot hold templates is told about as a storage.
    if !storages(seen)?.iter().any(|s| s.is(&storage) && s.holds_templates()) {
        return Ok(Vec::new());
    }
    match seen.proxmox(Question::Templates { storage })? {
        Answer::Names(volumes) => Ok(volumes.clone()),
        other => Err(unexpected(other)),
    }
}

fn has_template(site: &Site, seen: &Observed) -> Seen<bool> {
    let volumes = templates(site, seen)?;
    Ok(match &site.config.proxmox.template {
        Some(file) => volumes.iter().any(|volume| volume.ends_with(&format!("/{file}"))),
        None => newest_template(&volumes, &seen.system(Side::Machine)?.arch).is_some(),
    })
}

fn template(site: &Site, seen: &Observed, machine: &MachineInfo) -> Seen<Option<Check>> {
    if !is_new(site, seen)? {
        return Ok(None);
    }
    if has_template(site, seen)? {
        return Ok(Some(Check::pass("template", "a template of Debian 13 is there")));
    }
    let offered = match seen.proxmox(Question::Offered)? {
        Answer::Names(files) => files,
        other => return Err(unexpected(other)),
    };
    Ok(Some(match &site.config.proxmox.template {
        Some(file) if !offered.iter().any(|offer| offer == file.as_str()) => {
            let debian: Vec<&str> =
                offered.iter().map(String::as_str).filter(|file| file.starts_with("debian-13-")).collect();
            Check::fail(
                "template",
                format!(
                    "the template {file} is not on {}, and cannot be downloaded",
                    site.config.proxmox.template_storage
                ),
                match debian[..] {
                    [] => "leave proxmox.template out; `pveam update` refreshes what is offered".to_owned(),
                    _ => format!(
                        "leave proxmox.template out, or write one that is offered: {}",
                        debian.join(", ")
                    ),
                },
            )
        }
        Some(file) => Check::pass("template", format!("{file} can be downloaded")),
        None => match newest_template(offered, &machine.arch) {
            Some(file) => Check::pass("template", format!("{file} can be downloaded")),
            None => Check::pass("template", "the list of templates is refreshed first"),
        },
    }))
}

fn bridges(seen: &Observed) -> Seen<&[String]> {
    match seen.proxmox(Question::Bridges { node: node(seen)? })? {
        Answer::Names(names) => Ok(names),
        other => Err(unexpected(other)),
    }
}

fn bridge(site: &Site, seen: &Observed, _: &MachineInfo) -> Seen<Option<Check>> {
    if !is_new(site, seen)? {
        return Ok(None);
    }
    let (Network::Own { bridge, .. } | Network::Existing { bridge, .. }) = &site.config.guest.network;
    let all = bridges(seen)?;
    Ok(Some(if all.iter().any(|name| name == bridge.as_str()) {
        Check::pass("bridge", format!("{bridge} is there"))
    } else {
        let there =
            if all.is_empty() { "it has none".to_owned() } else { format!("it has {}", all.join(", ")) };
        Check::fail(
            "bridge",
            format!("this node has no bridge {bridge}; {there}"),
            "write guest.network.bridge = \"…\", or make the bridge in Proxmox's network settings",
        )
    }))
}

/// Proxmox refuses to start a container whose packets are larger than its bridge's.
fn mtu(site: &Site, seen: &Observed, _: &MachineInfo) -> Seen<Option<Check>> {
    let (Network::Own { bridge, .. } | Network::Existing { bridge, .. }) = &site.config.guest.network;
    let Some(wanted) = site.config.proxmox.mtu.map(|mtu| mtu.get()) else { return Ok(None) };
    let path = AbsPath::known(format!("/sys/class/net/{bridge}/mtu"));
    let file = seen.file(Side::Machine, &path)?;
    let Some(has) = file.and_then(|file| file.content.as_deref()?.trim().parse::<u32>().ok()) else {
        // That the bridge is not there is another check's.
        return Ok(None);
    };
    Ok(Some(if wanted > has {
        Check::fail(
            "mtu",
            format!("the bridge {bridge} takes packets of {has} bytes at most, and proxmox.mtu is {wanted}"),
            format!(
                "write proxmox.mtu = {has}, or less; or make the bridge's larger in Proxmox's network settings"
            ),
        )
    } else {
        Check::pass("mtu", format!("{bridge} takes packets of {has} bytes"))
    }))
}

fn id(site: &Site, seen: &Observed, _: &MachineInfo) -> Seen<Option<Check>> {
    if !is_new(site, seen)? || site.config.proxmox.id.is_some() {
        return Ok(None);
    }
    Ok(Some(match seen.proxmox(Question::NextId)? {
        Answer::Id(id) => Check::pass("id", format!("{id} is free for the container")),
        other => return Err(unexpected(other)),
    }))
}

/// The files that the config names for the making of the container.
fn files(site: &Site, seen: &Observed, _: &MachineInfo) -> Seen<Option<Check>> {
    let proxmox = &site.config.proxmox;
    let mut named = Vec::new();
    if let Some(path) = &proxmox.ssh_keys {
        named.push(("proxmox.ssh_keys", path, false));
    }
    if let RootPassword::File(path) = &proxmox.root_password {
        named.push(("proxmox.root_password", path, true));
    }
    if named.is_empty() || !is_new(site, seen)? {
        return Ok(None);
    }
    for (key, path, secret) in named {
        let there = seen.meta(Side::Machine, path)?.filter(|file| file.kind != FileKind::Dir);
        let Some(file) = there else {
            return Ok(Some(Check::fail(
                "files",
                format!("there is no file {path} ({key})"),
                format!("write {key} anew"),
            )));
        };
        if secret && file.mode.0 & 0o077 != 0 {
            return Ok(Some(Check::fail(
                "files",
                format!("{path} ({key}) can be read by others than its owner"),
                format!("`chmod 0600 {path}`"),
            )));
        }
    }
    if let Some(path) = &proxmox.ssh_keys
        && let Some(text) = seen.file(Side::Machine, path)?.and_then(|file| file.content.as_deref())
        && proxmox::ssh_keys_in(text).is_empty()
    {
        return Ok(Some(Check::fail(
            "files",
            format!("there is no ssh key in {path} (proxmox.ssh_keys)"),
            "name a file with public keys, such as /root/.ssh/authorized_keys",
        )));
    }
    Ok(Some(Check::pass("files", "the files that the config names are there")))
}

/// A lock that was left refuses every nightly backup, and nobody sees it.
fn lock(site: &Site, seen: &Observed, _: &MachineInfo) -> Seen<Option<Check>> {
    Ok(container_lock(site, seen)?.filter(|locked| locked.is_left()).map(|locked| {
        Check::weaker(
            "lock",
            format!(
                "the container {} is locked, {}, and nothing is at work on it",
                locked.container.id,
                locked.reason()
            ),
            format!("Proxmox refuses changes, snapshots and its own backups of it: {}", locked.way_out()),
        )
    }))
}

/// Something that the config leaves open and that has several answers here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Choice {
    /// The key of the config.
    pub key: &'static str,
    /// The question.
    pub question: String,
    /// The answers: the value, and words about it.
    pub answers: Vec<(String, String)>,
}

/// What a person has to choose because the node has no such default.
pub fn choices(site: &Site, seen: &Observed) -> Seen<Vec<Choice>> {
    if site.backend.preflight() != Preflight::Node || !is_new(site, seen)? {
        return Ok(Vec::new());
    }
    let default = |key: &str| proxmox::default_of(key);
    let proxmox = &site.config.proxmox;
    let mut choices = Vec::new();
    let all = storages(seen)?;
    let mut storage = |name: &StorageName, key: &'static str, what: &str, fits: fn(&Storage) -> bool| {
        let missing = !all.iter().any(|s| s.is(name) && fits(s));
        if missing && default(key) == Some(name.as_str()) {
            let answers = all
                .iter()
                .filter(|s| fits(s))
                .map(|s| (s.name.clone(), format!("{} free", s.free.rounded())));
            choices.push(Choice {
                key,
                question: format!("This node has no storage {name} for {what}. Which one?"),
                answers: answers.collect(),
            });
        }
    };
    storage(&proxmox.storage, "proxmox.storage", "containers' disks", Storage::holds_disks);
    storage(&proxmox.template_storage, "proxmox.template_storage", "templates", Storage::holds_templates);
    let (Network::Own { bridge, .. } | Network::Existing { bridge, .. }) = &site.config.guest.network;
    let there = bridges(seen)?;
    if default("guest.network.bridge") == Some(bridge.as_str()) && !there.iter().any(|b| b == bridge.as_str())
    {
        choices.push(Choice {
            key: "guest.network.bridge",
            question: format!("This node has no bridge {bridge}. Which one?"),
            answers: there.iter().map(|name| (name.clone(), String::new())).collect(),
        });
    }
    choices.retain(|choice| !choice.answers.is_empty());
    Ok(choices)
}
