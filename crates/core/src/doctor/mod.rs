//! What is wrong, and what mends it: from facts to causes.
//!
//! A cause is a function that looks at what is known and says what it found, or
//! nothing. [`CAUSES`] has them in the order in which one explains another:
//! whatever stands above may be why what stands below is so. A cause that
//! [`Cause::hides`] the rest leaves nothing to be seen behind it. When the server
//! itself is well, what leads to it from outside is looked at with the checks of
//! `verify`.

mod backup;
mod database;
mod drift;
mod ground;
mod images;
mod machine;
mod outside;
mod redis;
mod service;
mod synapse;
mod turn;
mod web;

use serde::Serialize;

use crate::{
    fact::Health,
    federation::Net,
    ids::ResourceId,
    observed::{Gap, Observed, Seen},
    plan::Plan,
    resource::Site,
    service::ServiceId,
    stack,
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

/// What mends something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// `matrix-podman up`, which shows a plan and asks.
    Up,
    /// Restarting a service.
    Restart(ServiceId),
    /// What a person has to type or decide.
    Type(String),
}

impl Mend {
    /// What to type.
    pub fn command(&self) -> String {
        match self {
            Mend::Up => "matrix-podman up".to_owned(),
            Mend::Restart(service) => format!("matrix-podman restart {service}"),
            Mend::Type(command) => command.clone(),
        }
    }

    /// Whether the program may do it when it is told to.
    pub fn is_safe(&self) -> bool {
        !matches!(self, Mend::Type(_))
    }
}

impl Serialize for Mend {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut fields = serializer.serialize_struct("Mend", 2)?;
        fields.serialize_field("command", &self.command())?;
        fields.serialize_field("safe", &self.is_safe())?;
        fields.end()
    }
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
}

/// What a cause finds: what is wrong, what shows it, what mends it.
type Found = Seen<Option<(String, Vec<String>, Mend)>>;

/// A reason why a server does not work.
struct Cause {
    id: &'static str,
    /// Whether nothing can be seen behind it.
    hides: bool,
    look: fn(&Case<'_>) -> Found,
}

const fn cause(id: &'static str, look: fn(&Case<'_>) -> Found) -> Cause {
    Cause { id, hides: false, look }
}

const fn hiding(id: &'static str, look: fn(&Case<'_>) -> Found) -> Cause {
    Cause { id, hides: true, look }
}

/// All causes, most fundamental first. An id is `family/aspect` and part of the
/// program's interface.
const CAUSES: &[Cause] = &[
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
    cause("ports/taken", service::ports),
    cause("database/version", database::version),
    cause("database/broken", database::broken),
    cause("database/stopped", database::stopped),
    cause("runtime/names", ground::container_names),
    cause("redis/stopped", redis::stopped),
    cause("redis/refuses", redis::refuses),
    cause("synapse/held", synapse::held),
    cause("synapse/key-missing", synapse::key_missing),
    cause("synapse/key-broken", synapse::key_broken),
    cause("synapse/config", synapse::config),
    cause("synapse/database-password", synapse::password),
    cause("synapse/database-locale", synapse::locale),
    cause("synapse/database-too-new", synapse::too_new),
    cause("synapse/database-too-old", synapse::too_old),
    cause("synapse/database-away", synapse::away),
    cause("synapse/key-changed", synapse::key_changed),
    cause("web/config", web::config),
    cause("web/mounts", web::mounts),
    cause("web/port", web::port),
    cause("turn/refused", turn::refused),
    cause("turn/silent", turn::silent),
    cause("turn/lost", turn::lost),
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

/// Looks for all causes; outside, in the network that `net` tells of. What `seen` does not know yet is noted there; the
/// diagnosis is complete when nothing was noted.
pub fn examine(site: &Site, plan: &Plan, net: &Net, seen: &Observed) -> Diagnosis {
    let mut diagnosis = Diagnosis::default();
    for cause in CAUSES {
        let case = Case { site, seen, plan, found: &diagnosis.findings };
        diagnosis.looked_for += 1;
        match (cause.look)(&case) {
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
    let case = Case { site, seen, plan, found: &[] };
    let served = stack::endpoints(&site.config).into_iter().all(|e| case.is_well(e.service) == Ok(true));
    if served && outside::reached(site, net, seen, &mut diagnosis) {
        outside::look(site, net, seen, &mut diagnosis);
    }
    diagnosis
}

impl Case<'_> {
    /// Whether something of that family was found already.
    fn has(&self, family: &str) -> bool {
        self.found.iter().any(|finding| finding.cause.starts_with(family))
    }

    /// Whether `service` runs and answers.
    fn is_well(&self, service: ServiceId) -> Seen<bool> {
        let container = self.seen.container(service.name())?;
        Ok(container.is_some_and(|c| c.state == "running" && c.health == Health::Healthy))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_cause_has_a_name_of_its_own_and_stands_in_the_guide() {
        let guide = include_str!("../../../../docs/guides/doctor.md");
        let ids: BTreeSet<&str> = CAUSES.iter().map(|cause| cause.id).collect();
        assert_eq!(ids.len(), CAUSES.len());
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
