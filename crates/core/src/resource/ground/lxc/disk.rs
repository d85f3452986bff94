//! The disk of a plain LXC guest: an image in the guest's folder, with a file system on
//! which all of the guest is. It is made together with the guest.

use crate::{
    effect::{Effect, Local},
    fact::{GuestDisk, GuestState, Side},
    ids,
    name::AbsPath,
    observed::{Observed, Seen},
    resource::{Diff, Resource, ResourceId, Risk, Site, Step, ground::guest::held},
    size::{Bytes, Seconds},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(Disk { site: site.clone() })]
}

/// What makes, mounts and mends a disk.
const TOOLS: [&str; 5] = ["mkfs.ext4", "e2fsck", "resize2fs", "mount", "umount"];
/// The kernel makes block devices of files where it has this.
const LOOP: &str = "/dev/loop-control";

/// Why this machine cannot give a guest a disk of its own; `None` where it can.
pub(crate) fn cannot_have_disk(seen: &Observed) -> Seen<Option<String>> {
    let (tools, device) =
        (seen.commands(Side::Machine, TOOLS), seen.meta(Side::Machine, &AbsPath::known(LOOP)));
    let tools = tools?;
    if let Some(missing) = TOOLS.iter().find(|tool| !tools.contains_key(**tool)) {
        return Ok(Some(format!("there is no {missing} on this machine")));
    }
    Ok(device?.is_none().then(|| format!("this machine's kernel has no loop devices ({LOOP})")))
}

/// The size that the guest's disk should have, where that is written: whole gibibytes,
/// of which a file system leaves nothing over.
pub(crate) fn wanted_disk(site: &Site) -> Option<Bytes> {
    site.config.guest.disk.map(|size| Bytes::gib(size.0.div_ceil(Bytes::gib(1).0)))
}

/// The size of the disk that a guest which is made now gets.
pub(super) fn size_of_new(site: &Site, seen: &Observed) -> Seen<Option<Bytes>> {
    match wanted_disk(site) {
        Some(size) if cannot_have_disk(seen)?.is_none() => Ok(Some(size)),
        _ => Ok(None),
    }
}

/// Whether the guest has a disk and nothing of it can be seen yet.
pub(super) fn is_away(seen: &Observed, name: &str) -> Seen<bool> {
    Ok(seen.guest_disk(name)?.is_some_and(|disk| !disk.mounted))
}

/// The guest's disk is mounted, and as large as it should be.
struct Disk {
    site: Site,
}

impl Resource for Disk {
    fn id(&self) -> ResourceId {
        ids::GUEST_DISK
    }

    fn needs(&self) -> Vec<ResourceId> {
        Vec::new()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let name = self.site.config.guest.name.as_str();
        let state = seen.lxc(name)?;
        if *state == GuestState::Absent {
            return Ok(Diff::settled("it is made with the guest"));
        }
        if state.site() != Some(self.site.config.site()) {
            return Ok(Diff::settled("the guest of that name is none of this site's"));
        }
        let Some(disk) = seen.guest_disk(name)? else {
            return Ok(Diff::settled(format!("the guest {name} is a folder on this machine's disk")));
        };
        Ok(match wanted_disk(&self.site) {
            Some(wanted) if wanted < disk.size => Diff::Blocked {
                why: format!(
                    "guest.disk is {wanted}, and the disk of the guest {name} has {}: disks can only grow",
                    disk.size
                ),
                hint: format!("write guest.disk = \"{}\", or more", disk.size),
            },
            Some(wanted) if wanted > disk.size => grow(name, state, disk, wanted),
            _ if disk.mounted => Diff::settled(format!("the disk of the guest {name} is mounted")),
            _ => Diff::quiet(
                format!("Mount the disk of the guest {name}"),
                "the machine started without it",
                vec![Effect::Here(Local::MountDisk { name: name.to_owned() })],
            ),
        })
    }
}

/// A file system grows while nobody is on it.
fn grow(name: &str, state: &GuestState, disk: GuestDisk, wanted: Bytes) -> Diff {
    let grow = Effect::Here(Local::GrowGuestDisk { name: name.to_owned(), size: wanted });
    let why = format!("it has {}, and guest.disk is {wanted}", disk.size);
    match state {
        GuestState::Suspended { by, .. } => held(*by, name, name),
        GuestState::Running { .. } => Diff::Change(Step {
            what: format!("Make the disk of the guest {name} larger, and restart the guest"),
            why,
            risk: Risk::Outage,
            changes: Vec::new(),
            effects: vec![
                Effect::Here(Local::StopGuest { name: name.to_owned(), timeout: Seconds(180) }),
                grow,
            ],
        }),
        GuestState::Stopped { .. } | GuestState::Absent => {
            Diff::quiet(format!("Make the disk of the guest {name} larger"), why, vec![grow])
        }
    }
}
