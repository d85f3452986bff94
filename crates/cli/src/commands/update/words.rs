//! What `update` and `rollback` say.

use matrix_podman_core::update::{Generation, Outcome, Precaution, Undo, is_downgrade};
use matrix_podman_host::{
    decide::update::names,
    work::update::{Change, Proposal, Report as Done},
};
use serde::Serialize;

use crate::output::{BOLD, DIM, GREEN, Printable, RED, Wording, duration, one_line, styled};

/// Nothing is newer.
#[derive(Serialize)]
pub struct NothingNewer {
    event: &'static str,
}

impl NothingNewer {
    /// The only one.
    pub fn new() -> Self {
        Self { event: "settled" }
    }
}

impl Printable for NothingNewer {
    fn words(&self) -> Wording {
        Wording::saying(format!("{} Nothing is newer than what runs.", styled(GREEN, "✓")))
    }
}

/// What is about to be done.
#[derive(Serialize)]
pub struct UpdateProposed<'a> {
    event: &'static str,
    changes: Vec<Versions<'a>>,
    undo: Undo,
    snapshot: &'a Precaution,
    #[serde(skip)]
    proposal: &'a Proposal,
}

#[derive(Serialize)]
struct Versions<'a> {
    service: &'a str,
    from: &'a str,
    to: &'a str,
}

impl<'a> Versions<'a> {
    fn of(change: &'a Change) -> Self {
        Self { service: change.service.name(), from: &change.from.version, to: &change.to.version }
    }
}

impl<'a> UpdateProposed<'a> {
    /// What `proposal` says.
    pub fn of(proposal: &'a Proposal) -> Self {
        Self {
            event: "proposal",
            changes: proposal.changes.iter().map(Versions::of).collect(),
            undo: proposal.undo,
            snapshot: &proposal.precaution,
            proposal,
        }
    }
}

impl Printable for UpdateProposed<'_> {
    fn words(&self) -> Wording {
        let mut words = Wording::default();
        for Versions { service, from, to } in &self.changes {
            let note = match () {
                () if from == to => " (the same version, made of newer packages)",
                () if is_downgrade(from, to) => " (a downgrade: older than what runs)",
                () => "",
            };
            words.say(format!("  {:<12} {from} → {to}{note}", styled(BOLD, service)));
        }
        words.say(match (self.undo, &self.proposal.restore) {
            (Undo::Cluster, _) => match self.proposal.majors() {
                Some((from, to)) if to > from => {
                    "This is another major version: Synapse is stopped while the data is moved into a cluster of \
                     their own and compared. The old cluster stays as it is; if anything fails, it serves again."
                }
                _ => "The cluster that was kept serves again.",
            },
            (_, Some(_)) => "The dump taken before the last update is put back for this.",
            (Undo::Image, None) => {
                "If the update fails, the old version is restored; no data is lost."
            }
            (Undo::Dump, None) => {
                "If the update fails, the dump taken first is restored: the older program does not open the \
                 newer data."
            }
        });
        if let Some(text) = self.snapshot.words() {
            words.say(text);
        }
        words
    }
}

/// What is asked before it is done.
pub fn question(proposal: &Proposal) -> &'static str {
    let older = |change: &Change| is_downgrade(&change.from.version, &change.to.version);
    if proposal.changes.iter().any(older) { "Go back to an older version?" } else { "Do this?" }
}

/// What a rollback loses.
#[derive(Serialize)]
pub struct RollbackLoss {
    event: &'static str,
    what: String,
}

impl RollbackLoss {
    /// In a sentence.
    pub fn of(what: String) -> Self {
        Self { event: "lost", what }
    }
}

impl Printable for RollbackLoss {
    fn words(&self) -> Wording {
        Wording::saying(self.what.clone())
    }
}

/// What came of an update or a rollback.
#[derive(Serialize)]
pub struct UpdateEnded<'a> {
    event: &'static str,
    generation: &'a Generation,
    away_millis: u64,
    still_ill: &'a [String],
    without_snapshot: Option<&'a str>,
    #[serde(skip)]
    names: String,
}

impl<'a> UpdateEnded<'a> {
    /// What came of `proposal`.
    pub fn of(done: &'a Done, proposal: &Proposal) -> Self {
        Self {
            event: "update",
            generation: &done.generation,
            away_millis: done.millis,
            still_ill: &done.still_ill,
            without_snapshot: done.without_snapshot.as_deref(),
            names: names(proposal),
        }
    }

    fn kept(&self) -> Wording {
        let mut words = Wording::of(format!(
            "{} {} runs, and all that was well before is ({}).",
            styled(GREEN, "✓"),
            self.names,
            duration(self.away_millis)
        ));
        words.data("`matrix-podman rollback` goes back.");
        if let Some(snapshot) = &self.generation.snapshot {
            words.say(format!(
                "The snapshot {snapshot} of the whole guest, as it was before, stays until a later update does."
            ));
        }
        words
    }

    fn undone(&self, why: &str, log: &[String]) -> Wording {
        let mut words =
            Wording::saying(format!("{} {} failed: {}", styled(RED, "✗"), self.names, one_line(why)));
        for line in log {
            words.say(format!("    {}", styled(DIM, line)));
        }
        let with = match self.generation.undo {
            Some(Undo::Cluster) => "the cluster before serves again, with the same data",
            Some(Undo::Dump) => "the dump taken before was put back, and what ran before runs again",
            _ => "what ran before runs again, with the same data",
        };
        if self.still_ill.is_empty() {
            words.say(format!("{} Rolled back: {with}. Nothing is left to do.", styled(GREEN, "✓")));
        } else {
            words.say(format!("Rolled back: {with}. Not well again: {}", self.still_ill.join("; ")));
            words.say("next: `matrix-podman doctor` says why");
        }
        if let Some(text) = snapshot_is_there(self.generation) {
            words.say(text);
        }
        words
    }
}

impl Printable for UpdateEnded<'_> {
    fn words(&self) -> Wording {
        let mut words = match &self.generation.outcome {
            Outcome::Kept => self.kept(),
            Outcome::Undone { why, log } => self.undone(why, log),
            Outcome::UnderWay => return Wording::default(),
        };
        // What was to be there and is not.
        if let Some(why) = self.without_snapshot {
            words.say(styled(
                RED,
                &format!("There is no snapshot of the guest from before: {}", one_line(why)),
            ));
        }
        words
    }
}

/// What can be done with the snapshot from before something that failed.
pub fn snapshot_is_there(generation: &Generation) -> Option<String> {
    let snapshot = generation.snapshot.as_ref()?;
    Some(format!(
        "The snapshot {snapshot} of the whole guest, as it was before, is there too: `matrix-podman guest rollback \
         {snapshot}` brings all of it back, and what people wrote since is lost by that; `matrix-podman guest \
         remove-snapshot {snapshot}` removes it, and so does the next update."
    ))
}

#[cfg(test)]
mod tests {
    use matrix_podman_core::{
        lock::{LockedImage, LockedImages},
        name::Digest,
        stack,
    };
    use serde_json::{Value, json};

    use super::*;
    use crate::output::{
        OutputForm,
        testing::{Heard, Recorded},
    };

    fn image(version: &str) -> LockedImage {
        let digest = Digest::of_sha256(&[7; 32]);
        let (wanted, run) = (String::new(), String::new());
        LockedImage { wanted, run, digest: digest.clone(), id: digest, version: version.to_owned() }
    }

    fn proposal(from: &str, to: &str, undo: Undo) -> Proposal {
        Proposal {
            changes: vec![Change { service: stack::synapse::ID, from: image(from), to: image(to) }],
            undo,
            restore: None,
            number: 2,
            precaution: Precaution::Needless,
        }
    }

    fn done(outcome: Outcome, still_ill: &[&str]) -> Done {
        let generation = Generation {
            number: 2,
            at: "2026-05-01T12:00:00Z".to_owned(),
            by: "update on here".to_owned(),
            images: LockedImages::default(),
            dump: None,
            snapshot: None,
            restores: None,
            undo: Some(Undo::Image),
            outcome,
        };
        let still_ill = still_ill.iter().map(|check| (*check).to_owned()).collect();
        Done { generation, still_ill, without_snapshot: None, millis: 4200 }
    }

    fn heard(report: &impl Printable) -> Vec<Heard> {
        let console = Recorded::without_terminal();
        console.reporter(OutputForm::Words).report(report).unwrap();
        console.said()
    }

    fn json(report: &impl Printable) -> Value {
        serde_json::to_value(report).unwrap()
    }

    #[test]
    fn a_proposal_names_each_service_once() {
        let proposal = proposal("1.1", "1.2", Undo::Image);
        let shown = UpdateProposed::of(&proposal);
        assert_eq!(json(&shown)["changes"], json!([{"service": "synapse", "from": "1.1", "to": "1.2"}]));
        assert_eq!(json(&shown)["event"], "proposal");
        let words = heard(&shown);
        assert!(
            matches!(&words[0], Heard::Beside(line) if line.contains("synapse") && line.ends_with("1.1 → 1.2"))
        );
        let same = self::proposal("1.1", "1.1", Undo::Image);
        let words = heard(&UpdateProposed::of(&same));
        assert!(
            matches!(&words[0], Heard::Beside(line) if line.ends_with("(the same version, made of newer packages)"))
        );
    }

    #[test]
    fn a_downgrade_is_called_one() {
        let older = proposal("1.163.2", "1.99.0", Undo::Image);
        let words = heard(&UpdateProposed::of(&older));
        assert!(
            matches!(&words[0], Heard::Beside(line) if line.ends_with("(a downgrade: older than what runs)"))
        );
        assert_eq!(question(&older), "Go back to an older version?");
        assert_eq!(question(&proposal("1.1", "1.2", Undo::Image)), "Do this?");
    }

    #[test]
    fn an_update_that_was_kept_is_data_and_one_that_was_not_is_told() {
        let proposal = proposal("1.1", "1.2", Undo::Image);
        let kept = done(Outcome::Kept, &[]);
        let words = heard(&UpdateEnded::of(&kept, &proposal));
        let first = "✓ synapse 1.2 runs, and all that was well before is (4.2 s).";
        assert_eq!(words[0], Heard::Data(first.to_owned()));
        let shown = json(&UpdateEnded::of(&kept, &proposal));
        assert_eq!((&shown["event"], &shown["away_millis"]), (&json!("update"), &json!(4200)));
        assert_eq!(shown["generation"]["outcome"], "kept");

        let outcome = || Outcome::Undone { why: "no answer".to_owned(), log: vec!["said".to_owned()] };
        let words = heard(&UpdateEnded::of(&done(outcome(), &[]), &proposal));
        assert_eq!(words[0], Heard::Beside("✗ synapse 1.2 failed: no answer".to_owned()));
        assert!(words.iter().all(|line| matches!(line, Heard::Beside(_))));
        let words = heard(&UpdateEnded::of(&done(outcome(), &["data/database"]), &proposal));
        assert_eq!(words.last(), Some(&Heard::Beside("next: `matrix-podman doctor` says why".to_owned())));
    }
}
