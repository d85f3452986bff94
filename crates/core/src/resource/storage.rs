//! What Podman keeps: whole, and on the disk. A power cut while an image was
//! loaded takes contents and leaves names.

use super::{Diff, Resource, ResourceId, Risk, Site, Step};
use crate::{
    effect::{Effect, Local},
    fact::{Health, Side},
    ids,
    name::AbsPath,
    observed::{Observed, Seen},
    service::ServiceId,
    stack,
    storage::{self, Storage},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(PodmanStorage { on: stack::services(&site.config) })]
}

/// Its id.
pub(super) fn id() -> ResourceId {
    ids::GUEST_STORAGE
}

struct PodmanStorage {
    /// The services that run from it.
    on: Vec<ServiceId>,
}

impl Resource for PodmanStorage {
    fn id(&self) -> ResourceId {
        id()
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ids::GUEST_PACKAGES, ids::GUEST_PODMAN]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        // All questions are put before the first answer is looked at, so that they
        // travel together.
        let note = seen.file(Side::Guest, &storage::file());
        let boot = seen.file(Side::Guest, &AbsPath::known(storage::BOOT_ID));
        let note = note?.and_then(|file| file.content.as_deref()).and_then(Storage::parse);
        let boot = boot?.and_then(|file| file.content.as_deref()).unwrap_or_default();
        match note {
            Some(note) if note.is_doubtful(boot) => {
                return Ok(check("the machine lost its power, or was restarted, while images were written"));
            }
            Some(_) => return Ok(Diff::settled("what Podman keeps is on the disk")),
            None => {}
        }
        // An older version of the program left no note.
        if seen.stored_images()?.is_empty() {
            return Ok(Diff::settled("Podman keeps nothing yet"));
        }
        for service in &self.on {
            let well = seen.container(service.name())?.is_some_and(|c| c.health == Health::Healthy);
            if !well {
                return Ok(check("nothing says that its images were written to the disk"));
            }
        }
        Ok(Diff::quiet(
            "See that what Podman keeps is on the disk",
            "a power cut must not empty its images",
            vec![Effect::Here(Local::SettleStorage { check: false })],
        ))
    }
}

/// Reads every layer; what is damaged is removed, and with it what runs from it.
fn check(why: &str) -> Diff {
    Diff::Change(Step {
        what: "Check the images that Podman keeps".to_owned(),
        why: why.to_owned(),
        risk: Risk::Outage,
        changes: Vec::new(),
        effects: vec![Effect::Here(Local::SettleStorage { check: true })],
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fact::{ContainerState, Fact, FileKind, FileState, StoredImage, Value},
        name::{Digest, Mode, Owner},
        observed::Answer,
    };

    fn seen(note: Option<&str>, images: usize, health: Health) -> Observed {
        let mut seen = Observed::default();
        let file = |content: &str| FileState {
            kind: FileKind::File,
            mode: Mode(0o600),
            owner: Owner::ROOT,
            content: Some(content.to_owned()),
            digest: None,
            target: None,
            age: 0,
        };
        let image = StoredImage {
            id: Digest::of_sha256(&[7; 32]),
            names: vec!["localhost/a:1".to_owned()],
            bytes: 1,
            used: true,
        };
        let containers = ServiceId::ALL.map(|service| ContainerState {
            name: service.name().to_owned(),
            state: "running".to_owned(),
            health,
            image: "a".to_owned(),
            image_id: None,
            labels: Default::default(),
        });
        for (fact, value) in [
            (Fact::File(storage::file()), Value::File(note.map(file))),
            (Fact::File(AbsPath::known(storage::BOOT_ID)), Value::File(Some(file("boot-2\n")))),
            (Fact::StoredImages, Value::StoredImages(vec![image; images])),
            (Fact::Containers, Value::Containers(containers.to_vec())),
        ] {
            seen.insert(Side::Guest, fact, Answer::Known(value));
        }
        seen
    }

    fn checks(diff: &Diff) -> Option<bool> {
        match diff {
            Diff::Change(step) => match step.effects.as_slice() {
                [Effect::Here(Local::SettleStorage { check })] => Some(*check),
                other => panic!("{other:?}"),
            },
            Diff::Settled { .. } => None,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn it_is_checked_after_a_power_cut_and_where_nobody_can_say() {
        let (well, ill) = (Health::Healthy, Health::Starting);
        for (note, images, health, wanted) in [
            (Some("flushed\n"), 4, ill, None),
            (Some("written to since boot boot-2\n"), 4, ill, None),
            (Some("written to since boot boot-1\n"), 4, well, Some(true)),
            // What older versions left.
            (None, 0, ill, None),
            (None, 4, well, Some(false)),
            (None, 4, ill, Some(true)),
            (Some(""), 4, ill, Some(true)),
        ] {
            let diff =
                PodmanStorage { on: ServiceId::ALL.to_vec() }.diff(&seen(note, images, health)).unwrap();
            assert_eq!(checks(&diff), wanted, "{note:?} {images} {health:?}: {diff:?}");
        }
    }
}
