//! What is wrong, and what mends it: from facts to causes.
//!
//! A cause is a function that looks at what is known and says what it found, or
//! nothing. [`causes`] has them in the order in which one explains another:
//! whatever stands above may be why what stands below is so. A cause that
//! [`Cause::hides`] the rest leaves nothing to be seen behind it. When the server
//! itself is well, what leads to it from outside is looked at with the checks of
//! `verify`.

mod backup;
mod drift;
mod ground;
mod images;
mod machine;
mod outside;
mod service;

use serde::Serialize;

pub use crate::frame::Mend;
use crate::{
    config::Config,
    fact::{Fact, Health, Side},
    federation::Net,
    frame::{self, Found, GuestFile, HeldRequests, RelayTried, RoomCase},
    ids::ResourceId,
    name::AbsPath,
    observed::{Gap, Observed, Seen},
    plan::Plan,
    resource::{Site, read_lock},
    service::ServiceId,
    stack::{self, Data},
    stopped,
};

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Stable name of the cause.
    pub cause: &'static str,
    /// What is wrong, in one sentence.
    pub what: String,
    /// What shows it.
    pub evidence: Vec<String>,
    /// What mends it.
    #[serde(flatten)]
    pub mend: Mend,
}

/// Something that could not be found out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Unseen {
    /// Stable name of the cause that was looked for.
    pub cause: &'static str,
    /// Why it is not known.
    pub why: String,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Diagnosis {
    /// What is wrong, most fundamental first.
    pub findings: Vec<Finding>,
    /// What could not be found out.
    pub unseen: Vec<Unseen>,
    /// How many causes were looked for.
    pub looked_for: usize,
}

impl Diagnosis {
    /// Whether all is well, and known to be.
    pub fn is_well(&self) -> bool {
        self.findings.is_empty() && self.unseen.is_empty()
    }
}

/// What a cause looks at.
pub struct Case<'a> {
    /// The site.
    pub site: &'a Site,
    /// What is known.
    pub seen: &'a Observed,
    /// How what is differs from what should be.
    pub plan: &'a Plan,
    /// What was found already.
    found: &'a [Finding],
    /// What the operator stopped, and how long ago that was, in seconds.
    stopped: &'a [(ServiceId, u64)],
}

/// A reason why a server does not work.
#[derive(Clone, Copy)]
struct Cause {
    id: &'static str,
    /// Whether nothing can be seen behind it.
    hides: bool,
    /// The service that it is about, where it is about one.
    of: Option<ServiceId>,
    look: Diagnose,
}

/// How a cause is looked for.
#[derive(Clone, Copy)]
enum Diagnose {
    /// By one that may look at everything.
    Anywhere(fn(&Case<'_>) -> Found),
    /// By one of a room.
    InRoom(fn(&dyn RoomCase) -> Found),
}

const fn cause(id: &'static str, look: fn(&Case<'_>) -> Found) -> Cause {
    Cause { id, hides: false, of: None, look: Diagnose::Anywhere(look) }
}

const fn hiding(id: &'static str, look: fn(&Case<'_>) -> Found) -> Cause {
    Cause { id, hides: true, of: None, look: Diagnose::Anywhere(look) }
}

/// What is not about one service and explains what is. An id is `family/aspect` and part of the
/// program's interface.
const FUNDAMENTAL: &[Cause] = &[
    hiding("guest/absent", machine::absent),
    hiding("guest/foreign", machine::foreign),
    hiding("guest/damaged", machine::damaged),
    cause("guest/locked", machine::locked),
    hiding("guest/stopped", machine::stopped),
    hiding("guest/suspended", machine::suspended),
    hiding("guest/program", machine::program),
    cause("disk/full", ground::disk_full),
    cause("clock", ground::clock),
    cause("guest/address", machine::address),
    cause("guest/names", ground::names),
    cause("memory/kills", ground::memory),
    cause("runtime/broken", ground::runtime),
    cause("images/damaged", images::damaged),
    cause("service/stopped", service::stopped),
    cause("ports/taken", service::ports),
];

/// What explains why services do not find the database, and needs it to run.
const NAMES: Cause = cause("runtime/names", ground::container_names);

/// What may be left when nothing of one service explains it.
const REST: &[Cause] = &[
    cause("service/fails", service::fails),
    cause("site/blocked", drift::blocked),
    cause("site/drift", drift::drift),
    cause("disk/low", ground::disk_low),
    cause("backup/unreachable", backup::unreachable),
    cause("backup/failed", backup::failed),
    cause("backup/old", backup::old),
    cause("backup/undrilled", backup::undrilled),
    cause("backup/timer", backup::timer),
];

/// All causes, most fundamental first: whatever the services stand on, each service in the order in which
/// they start, and the rest.
fn causes() -> Vec<Cause> {
    let of = |room: &&dyn stack::Service| -> Vec<Cause> {
        let causes = room.causes().iter();
        let cause = |cause: &frame::RoomCause| Cause {
            id: cause.id,
            hides: false,
            of: Some(room.id()),
            look: Diagnose::InRoom(cause.look),
        };
        causes.map(cause).collect()
    };
    let keeps = |room: &&dyn stack::Service| room.data() == Data::Cluster;
    FUNDAMENTAL
        .iter()
        .copied()
        .chain(stack::ALL.iter().filter(|room| keeps(room)).flat_map(of))
        .chain([NAMES])
        .chain(stack::ALL.iter().filter(|room| !keeps(room)).flat_map(of))
        .chain(REST.iter().copied())
        .collect()
}

/// Looks for all causes; outside, in the network that `net` tells of. What `seen` does not know yet is noted there; the
/// diagnosis is complete when nothing was noted.
pub fn examine(site: &Site, plan: &Plan, net: &Net, seen: &Observed) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    let stopped = stopped_by_operator(site, seen);
    for cause in causes() {
        let case = Case { site, seen, plan, found: &diagnosis.findings, stopped: &stopped };
        diagnosis.looked_for += 1;
        if stopped.iter().any(|(id, _)| cause.of == Some(*id)) {
            continue;
        }
        let found = match cause.look {
            Diagnose::Anywhere(look) => look(&case),
            Diagnose::InRoom(look) => look(&case),
        };
        match found {
            Ok(None) => {}
            Ok(Some((what, evidence, mend))) => {
                diagnosis.findings.push(Finding { cause: cause.id, what, evidence, mend });
                if cause.hides {
                    return diagnosis;
                }
            }
            // Everything behind a thing that is not known yet waits for it.
            Err(Gap::NotAsked) if cause.hides => return diagnosis,
            Err(Gap::NotAsked) => {}
            Err(Gap::Unknown(why)) => diagnosis.unseen.push(Unseen { cause: cause.id, why }),
        }
    }
    let case = Case { site, seen, plan, found: &[], stopped: &[] };
    let fronts = stack::rooms(&site.config).filter(|room| room.front().is_some()).map(|room| room.id());
    let mut services = stack::endpoints(&site.config).into_iter().map(|e| e.service).chain(fronts);
    let served = services.all(|service| case.is_well(service) == Ok(true));
    if served && outside::reached(site, net, seen, &mut diagnosis) {
        outside::look(site, net, seen, &mut diagnosis);
    }
    diagnosis
}

fn stopped_by_operator(site: &Site, seen: &Observed) -> Vec<(ServiceId, u64)> {
    let since = |service| stopped::since(service, seen).ok().flatten();
    // All are asked about in one round.
    let all: Vec<_> = stack::services(&site.config).into_iter().map(|id| (id, since(id))).collect();
    all.into_iter().filter_map(|(id, since)| Some((id, since?))).collect()
}

impl Case<'_> {
    /// Whether something of that family was found already. That the operator stopped a
    /// service explains whatever else could be said of it.
    fn has(&self, family: &str) -> bool {
        self.found.iter().any(|finding| finding.cause.starts_with(family))
            || self.stopped.iter().any(|(id, _)| stack::room(*id).family() == family)
    }

    /// Whether `service` runs and answers.
    fn is_well(&self, service: ServiceId) -> Seen<bool> {
        let container = self.seen.container(service.name())?;
        Ok(container.is_some_and(|c| c.state == "running" && c.health == Health::Healthy))
    }

    /// Whether the container of `service` runs.
    fn runs(&self, service: ServiceId) -> Seen<bool> {
        Ok(self.seen.container(service.name())?.is_some_and(|c| c.state == "running"))
    }

    /// What to type so that `command` runs in the guest.
    fn in_guest(&self, command: &str) -> String {
        self.site.backend.typed_in_guest(self.site, self.seen, command)
    }

    /// Whether the plan would change what the resource `id` sees to.
    fn drifts(&self, id: &ResourceId) -> bool {
        self.plan
            .entries
            .iter()
            .any(|entry| entry.id == *id && matches!(entry.diff, crate::resource::Diff::Change(_)))
    }
}

impl RoomCase for Case<'_> {
    fn config(&self) -> &Config {
        &self.site.config
    }

    fn has(&self, family: &str) -> bool {
        self.has(family)
    }

    fn is_well(&self, service: ServiceId) -> Seen<bool> {
        self.is_well(service)
    }

    fn runs(&self, service: ServiceId) -> Seen<bool> {
        self.runs(service)
    }

    fn journal(&self, service: ServiceId) -> Seen<&[String]> {
        service::journal(self, service)
    }

    fn file(&self, path: &AbsPath) -> Seen<Option<GuestFile<'_>>> {
        let file = self.seen.file(Side::Guest, path)?;
        Ok(file.map(|file| GuestFile {
            mode: file.mode,
            owner: file.owner,
            content: file.content.as_deref(),
        }))
    }

    fn is_there(&self, path: &AbsPath) -> Seen<bool> {
        Ok(self.seen.meta(Side::Guest, path)?.is_some())
    }

    fn is_mounted(&self, service: ServiceId, target: &str) -> Seen<Option<bool>> {
        let inside = self.seen.mounts(service.name())?;
        Ok(inside.as_ref().map(|inside| inside.mounts.contains_key(target)))
    }

    fn has_lock(&self) -> Seen<bool> {
        Ok(read_lock(self.seen)?.is_some())
    }

    fn cache_answer(&self) -> Seen<&str> {
        self.seen.text(Fact::RedisPing)
    }

    fn relayed(&self) -> Seen<&RelayTried> {
        self.seen.relayed()
    }

    fn held_requests(&self) -> Seen<&[HeldRequests]> {
        self.seen.held_requests()
    }

    fn signing_keys_in_use(&self) -> Seen<&[String]> {
        self.seen.lines(Fact::SigningKeysInUse(self.site.config.server_name.clone()))
    }

    fn signing_key_on_disk(&self) -> Seen<&str> {
        self.seen.text(Fact::SigningKeyOnDisk)
    }

    fn in_guest(&self, command: &str) -> String {
        self.in_guest(command)
    }

    fn drifts(&self, id: &ResourceId) -> bool {
        self.drifts(id)
    }

    fn blocked(&self, id: &ResourceId) -> Option<(&str, &str)> {
        self.plan.blocked().find(|(blocked, _, _)| *blocked == id).map(|(_, why, hint)| (why, hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_cause_has_a_name_of_its_own_and_stands_in_the_guide() {
        let guide = include_str!("../../../../docs/guides/doctor.md");
        let ids: BTreeSet<&str> = causes().iter().map(|cause| cause.id).collect();
        assert_eq!(ids.len(), causes().len());
        for id in ids.iter().chain(&outside::FUNDAMENTAL) {
            assert!(guide.contains(&format!("`{id}`")), "{id} is not in docs/guides/doctor.md");
        }
    }

    #[test]
    fn what_only_a_person_may_do_is_not_safe() {
        assert!(Mend::Up.is_safe() && Mend::Restart(stack::redis::ID).is_safe());
        assert!(!Mend::Type("rm -r /".to_owned()).is_safe());
        let json = serde_json::to_value(Finding {
            cause: "x/y",
            what: "It is so.".to_owned(),
            evidence: vec!["a line".to_owned()],
            mend: Mend::Restart(stack::element::ID),
        })
        .unwrap();
        assert_eq!(json["command"], "matrix-podman restart element-web");
        assert_eq!(json["safe"], true);
    }
}
