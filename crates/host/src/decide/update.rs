//! What an update does with what it finds, and what a rollback loses.

use matrix_podman_core::{
    ids::{self, ResourceId},
    plan::Plan,
    resource::Diff,
    service::ServiceId,
    update::{self, Ended, Generation, Outcome, Undo},
};

use crate::work::update::{Proposal, Report};

/// What an update touches, besides services with their images and units: these may
/// differ before it, since making them so is what it does. Which copy of the program
/// starts the guest at boot is none of its business.
const OWN: [ResourceId; 8] = [
    ids::DATABASE,
    ids::DATABASE_ONE_TIME_KEYS,
    ids::DATABASE_ROLES,
    ids::UNIT_STACK,
    ids::LOCK,
    ids::EXPORT_COMPOSE,
    ids::EXPORT_CONFIG,
    ids::MACHINE_PROGRAM,
];

fn is_own(id: &ResourceId) -> bool {
    let of = |service| [ids::image(service), ids::unit(service), ids::service(service)].contains(id);
    OWN.contains(id) || ServiceId::ALL.into_iter().any(of)
}

/// What of `plan` has to be done before an update.
pub fn pending(plan: &Plan) -> Vec<&str> {
    plan.entries
        .iter()
        .filter(|entry| matches!(entry.diff, Diff::Change(_) | Diff::Blocked { .. }))
        .filter(|entry| !is_own(&entry.id))
        .map(|entry| entry.id.as_str())
        .collect()
}

/// How an update was asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UpdateAsked {
    /// Only to say what there is.
    pub check: bool,
    /// Only to try it on a copy.
    pub rehearse: bool,
    /// By a timer: nobody can be asked, and nothing may be lost.
    pub unattended: bool,
}

impl UpdateAsked {
    /// Whether it ends with the proposal, which could be taken back by `undo`.
    pub fn ends_with_proposal(self, undo: Undo) -> bool {
        self.check || self.leaves_alone(undo)
    }

    /// Whether it ends with the rehearsal, which showed that it could be taken back by
    /// `undo`: what the copy shows counts for more than what the image says.
    pub fn ends_with_rehearsal(self, undo: Undo) -> bool {
        self.rehearse || self.leaves_alone(undo)
    }

    /// If it failed, what people wrote meanwhile would be lost: a person has to want that.
    fn leaves_alone(self, undo: Undo) -> bool {
        self.unattended && undo == Undo::Dump
    }

    /// Whether it is rehearsed though nobody asked for that, where there is room for it.
    pub fn rehearses_by_itself(self, proposal: &Proposal) -> bool {
        self.unattended && touches_data(proposal) && proposal.majors().is_none()
    }
}

/// Whether there are data that it could do something to.
pub fn touches_data(proposal: &Proposal) -> bool {
    update::touches_data(proposal.changes.iter().map(|change| change.service))
}

/// What came of an update.
#[derive(Debug)]
pub enum Attempt {
    /// Nothing is newer.
    NothingNewer,
    /// It was said, and not done.
    Proposed(Proposal),
    /// It was done; whether it was kept, the report says.
    Tried(Box<Report>, Proposal),
}

impl Attempt {
    /// Whether the server is as well as before: what containers run by is not touched on
    /// one that has just been in trouble.
    pub fn went_well(&self) -> bool {
        match self {
            Attempt::NothingNewer => true,
            Attempt::Proposed(_) => false,
            Attempt::Tried(report, _) => report.generation.outcome == Outcome::Kept,
        }
    }

    /// What is written down of one that nobody watched.
    pub fn record(&self) -> (Ended, String) {
        match self {
            Attempt::NothingNewer => (Ended::Settled, "nothing was newer".to_owned()),
            Attempt::Proposed(proposal) => (
                Ended::LeftAlone,
                format!("{} is there, and waits for `matrix-podman update`", names(proposal)),
            ),
            Attempt::Tried(report, proposal) => match &report.generation.outcome {
                Outcome::Undone { why, .. } => {
                    (Ended::Undone, format!("{} failed, and was rolled back: {why}", names(proposal)))
                }
                Outcome::Kept | Outcome::UnderWay => (Ended::Updated, format!("{} runs", names(proposal))),
            },
        }
    }
}

/// The same with what became of the packages that containers run by: those installed, or why
/// they were left out.
pub fn with_packages(record: (Ended, String), packages: Result<Option<&str>, String>) -> (Ended, String) {
    let (ended, what) = record;
    match packages {
        Ok(None) => (ended, what),
        Ok(Some(installed)) => {
            (Ended::Updated, format!("{what}; {installed} installed, after a container ran with it"))
        }
        Err(why) => {
            (Ended::LeftAlone, format!("{what}; newer packages that containers run by were left out: {why}"))
        }
    }
}

/// What is to run, in words.
pub fn names(proposal: &Proposal) -> String {
    let names: Vec<String> =
        proposal.changes.iter().map(|c| format!("{} {}", c.service.name(), c.to.version)).collect();
    names.join(", ")
}

/// How a rollback goes back, and since when what people wrote is lost by it.
pub fn way_back<'a>(proposal: &Proposal, current: &'a Generation) -> (Undo, Option<&'a str>) {
    let undo = match proposal.undo {
        Undo::Cluster if proposal.majors().is_some_and(|(from, to)| to < from) => Undo::Cluster,
        _ if proposal.restore.is_some() => Undo::Dump,
        _ => Undo::Image,
    };
    let loses = undo == Undo::Cluster || current.dump.is_some();
    (undo, loses.then_some(current.at.as_str()))
}

#[cfg(test)]
mod tests {
    use matrix_podman_core::{
        lock::{LockedImage, LockedImages},
        name::{AbsPath, Digest},
        plan::Entry,
        resource::Risk,
        service::Service,
        stack,
        update::Precaution,
    };

    use super::*;
    use crate::work::update::Change;

    fn image(version: &str) -> LockedImage {
        let digest = Digest::of_sha256(&[7; 32]);
        LockedImage {
            wanted: String::new(),
            run: String::new(),
            digest: digest.clone(),
            id: digest,
            version: version.to_owned(),
        }
    }

    fn proposal(service: Service, from: &str, to: &str, undo: Undo, restore: Option<&str>) -> Proposal {
        Proposal {
            changes: vec![Change { service, from: image(from), to: image(to) }],
            undo,
            restore: restore.map(|path| AbsPath::parse(path).unwrap()),
            number: 2,
            precaution: Precaution::Needless,
        }
    }

    fn generation(outcome: Outcome, dump: bool) -> Generation {
        Generation {
            number: 2,
            at: "2026-05-01T12:00:00Z".to_owned(),
            by: "update".to_owned(),
            images: LockedImages::default(),
            dump: dump.then(|| AbsPath::parse("/dump").unwrap()),
            snapshot: None,
            restores: None,
            undo: None,
            outcome,
        }
    }

    fn tried(outcome: Outcome) -> Attempt {
        let generation = generation(outcome, false);
        let report = Report { generation, still_ill: Vec::new(), without_snapshot: None, millis: 0 };
        Attempt::Tried(Box::new(report), proposal(stack::synapse::ID, "1", "2", Undo::Image, None))
    }

    #[test]
    fn what_an_update_makes_itself_may_differ_before_it() {
        let blocked = || Diff::Blocked { why: String::new(), hint: String::new() };
        let entry = |id, diff| Entry { id, diff, can_lead_to: Risk::None };
        let plan = Plan {
            entries: vec![
                entry(ids::image(stack::synapse::ID), blocked()),
                entry(ids::GUEST_MOTD, blocked()),
                entry(ids::GUEST_SETTINGS, Diff::settled("as it is")),
                entry(ids::LOCK, blocked()),
            ],
        };
        assert_eq!(pending(&plan), [ids::GUEST_MOTD.as_str()]);
    }

    #[test]
    fn a_timer_does_nothing_that_could_lose_what_people_wrote() {
        let timer = UpdateAsked { unattended: true, ..UpdateAsked::default() };
        for undo in [Undo::Image, Undo::Dump, Undo::Cluster] {
            assert_eq!(timer.ends_with_proposal(undo), undo == Undo::Dump);
            assert_eq!(timer.ends_with_rehearsal(undo), undo == Undo::Dump);
            assert!(UpdateAsked { check: true, ..UpdateAsked::default() }.ends_with_proposal(undo));
            assert!(UpdateAsked { rehearse: true, ..UpdateAsked::default() }.ends_with_rehearsal(undo));
            assert!(
                !UpdateAsked::default().ends_with_proposal(undo)
                    && !UpdateAsked::default().ends_with_rehearsal(undo)
            );
        }
    }

    #[test]
    fn a_timer_rehearses_what_touches_data_and_moves_none() {
        let timer = UpdateAsked { unattended: true, ..UpdateAsked::default() };
        for (service, from, to, rehearses) in [
            (stack::synapse::ID, "1.1", "1.2", true),
            (stack::postgres::ID, "17.1", "17.2", true),
            (stack::postgres::ID, "17.1", "18.0", false),
            (stack::redis::ID, "7", "8", false),
        ] {
            let proposal = proposal(service, from, to, Undo::Image, None);
            assert_eq!(timer.rehearses_by_itself(&proposal), rehearses, "{service} {to}");
            assert!(!UpdateAsked::default().rehearses_by_itself(&proposal));
        }
    }

    #[test]
    fn what_nobody_watched_is_written_down_as_it_was() {
        let undone = || Outcome::Undone { why: "it did not answer".to_owned(), log: Vec::new() };
        for (attempt, ended, well) in [
            (Attempt::NothingNewer, Ended::Settled, true),
            (
                Attempt::Proposed(proposal(stack::synapse::ID, "1", "2", Undo::Dump, None)),
                Ended::LeftAlone,
                false,
            ),
            (tried(Outcome::Kept), Ended::Updated, true),
            (tried(undone()), Ended::Undone, false),
        ] {
            assert_eq!((attempt.record().0, attempt.went_well()), (ended, well), "{attempt:?}");
        }
        assert!(tried(undone()).record().1.contains("synapse 2 failed"));
        let record = || (Ended::Settled, "nothing was newer".to_owned());
        assert_eq!(with_packages(record(), Ok(None)), record());
        assert_eq!(with_packages(record(), Ok(Some("crun 1.2"))).0, Ended::Updated);
        assert_eq!(with_packages(record(), Err("no source".to_owned())).0, Ended::LeftAlone);
    }

    #[test]
    fn a_rollback_says_what_it_loses() {
        let by_image = proposal(stack::synapse::ID, "2", "1", Undo::Image, None);
        let kept = |dump| generation(Outcome::Kept, dump);
        assert_eq!(way_back(&by_image, &kept(false)), (Undo::Image, None));
        let by_dump = proposal(stack::synapse::ID, "2", "1", Undo::Dump, Some("/dump"));
        assert_eq!(way_back(&by_dump, &kept(true)), (Undo::Dump, Some("2026-05-01T12:00:00Z")));
        let older = proposal(stack::postgres::ID, "18.1", "17.2", Undo::Cluster, None);
        assert_eq!(way_back(&older, &kept(false)), (Undo::Cluster, Some("2026-05-01T12:00:00Z")));
    }
}
