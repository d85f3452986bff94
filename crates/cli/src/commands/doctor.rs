//! `doctor`: what is wrong, and what mends it.

use std::path::Path;

use matrix_podman_core::{
    doctor::{Diagnosis, Finding, Mend, examine},
    federation::Net,
    missing::StillMissing,
    observed::Observed,
    plan::Plan,
    resource,
    status::{Found as LastLook, Looked},
};
use matrix_podman_host::{decide::fix::Fixing, failure::Failure, journal::SiteRuns, world::World};
use serde::Serialize;

use super::{runs, services, status, up, verify};
use crate::{
    args::{self, Settings},
    error::{DONE, Error, FAILED},
    output::{
        AtStake, BOLD, Confirmation, DIM, GREEN, Otherwise, Printable, RED, Reporter, Wording, YELLOW,
        harmless, styled,
    },
};

pub fn run(config: Option<&Path>, args: &args::Doctor, out: &Reporter) -> Result<u8, Error> {
    let net = verify::net(&args.net)?;
    let (world, _) = super::world(config, out)?;
    let runs = runs::of(&world);
    if runs.building().is_some() {
        out.report(&Diagnosed {
            diagnosis: &Diagnosis::default(),
            runs: &runs,
            missing: &runs::missing(&world),
        })?;
        return Ok(FAILED);
    }
    let mut diagnosis = look(&world, &net, out)?;
    if args.fix {
        diagnosis = fix(config, args, &net, diagnosis, out)?;
    } else {
        out.report(&Diagnosed { diagnosis: &diagnosis, runs: &runs, missing: &runs::missing(&world) })?;
        if diagnosis.findings.iter().any(|finding| finding.mend.is_safe()) {
            out.narrate(&format!(
                "{} `matrix-podman doctor --fix` does what is marked with *, one after the other, and asks first",
                styled(BOLD, "next:")
            ));
        }
    }
    Ok(if diagnosis.is_well() { DONE } else { FAILED })
}

/// Looks at the world, and writes down what was found; changes nothing else.
fn look(world: &World, net: &Net, out: &Reporter) -> Result<Diagnosis, Error> {
    let diagnosis = diagnose(world, net)?;
    status::remember(world, Looked::Doctor, &LastLook::by_doctor(&diagnosis, status::now()), out);
    Ok(diagnosis)
}

fn diagnose(world: &World, net: &Net) -> Result<Diagnosis, Failure> {
    let resources = resource::all(world.site());
    let mut seen = Observed::default();
    world.look(&mut seen, |seen| {
        let plan = Plan::make(&resources, seen);
        examine(world.site(), &plan, net, seen)
    })
}

/// What was found, and what mends it.
#[derive(Serialize)]
struct Diagnosed<'a> {
    #[serde(flatten)]
    diagnosis: &'a Diagnosis,
    runs: &'a SiteRuns,
    /// What the server lacks; none of it is a fault.
    missing: &'a [StillMissing],
}

impl Printable for Diagnosed<'_> {
    fn words(&self) -> Wording {
        let Self { diagnosis, runs, .. } = self;
        if let Some(run) = runs.building() {
            let mut words = Wording::of(format!("{}.", runs::at_work(run)));
            words.say("What is missing or away may not have had its turn yet: ask again when it has ended.");
            return words;
        }
        let missing =
            self.missing.iter().map(|missing| format!("{} ({})", missing.words(), missing.command()));
        let first: Vec<String> = runs::failed(runs)
            .into_iter()
            .chain(missing)
            .map(|text| format!("{} {text}", styled(YELLOW, "note:")))
            .collect();
        let count = match diagnosis.findings.len() {
            0 if diagnosis.unseen.is_empty() => {
                let all = diagnosis.looked_for;
                let mut words = Wording::default();
                first.into_iter().for_each(|line| words.data(line));
                words.data(format!(
                    "{} Nothing is wrong: none of {all} known causes was found.",
                    styled(GREEN, "✓")
                ));
                return words;
            }
            0 => "Nothing wrong was found, but not everything could be seen.".to_owned(),
            1 => "One thing is wrong.".to_owned(),
            more => format!("{more} things are wrong. What stands first may be why the others are so."),
        };
        let mut words = Wording::default();
        first.into_iter().for_each(|line| words.data(line));
        words.data(count);
        for (number, finding) in diagnosis.findings.iter().enumerate() {
            finding_words(number + 1, finding, &mut words);
        }
        for unseen in &diagnosis.unseen {
            words.data(format!(
                "{} {}: {}",
                styled(YELLOW, "not known:"),
                unseen.cause,
                harmless(&unseen.why)
            ));
        }
        words
    }
}

fn finding_words(number: usize, finding: &Finding, words: &mut Wording) {
    let mark = if number == 1 { RED } else { BOLD };
    words.data(format!(
        "\n{} {}  {}",
        styled(mark, &format!("{number}.")),
        styled(BOLD, &harmless(&finding.what)),
        styled(DIM, &format!("[{}]", finding.cause))
    ));
    for line in &finding.evidence {
        words.data(styled(DIM, &format!("   | {}", harmless(line))));
    }
    let star = if finding.mend.is_safe() { "*" } else { " " };
    words.data(format!(" {star} fix: {}", finding.mend.command()));
}

/// Does what is safe, most fundamental first, and looks again after each.
fn fix(
    config: Option<&Path>,
    args: &args::Doctor,
    net: &Net,
    first: Diagnosis,
    out: &Reporter,
) -> Result<Diagnosis, Error> {
    let mut diagnosis = first;
    let (mut world, _) = super::world(config, out)?;
    let mut fixing = Fixing::default();
    while let Some(finding) = fixing.next(&diagnosis) {
        out.report(&Diagnosed {
            diagnosis: &diagnosis,
            runs: &runs::of(&world),
            missing: &runs::missing(&world),
        })?;
        out.say(&format!("\n{} {}", styled(BOLD, "mending:"), finding.mend.command()));
        match &finding.mend {
            // It shows its plan and asks.
            Mend::Up => {
                let up = args::Up { settings: Settings::default(), yes: args.yes, remove_failed: false };
                up::run(config, &up, out)?;
            }
            Mend::Restart(service) => {
                out.confirm(&Confirmation {
                    question: &format!("Restart {}?", service.title()),
                    at_stake: AtStake::Something,
                    yes: args.yes,
                    otherwise: Otherwise::unchanged("answer y, or add --yes"),
                })?;
                services::act(config, &[*service], services::Verb::Restart, out)?;
            }
            Mend::Type(_) => break,
        }
        world = super::world(config, out)?.0;
        diagnosis = look(&world, net, out)?;
    }
    out.report(&Diagnosed {
        diagnosis: &diagnosis,
        runs: &runs::of(&world),
        missing: &runs::missing(&world),
    })?;
    Ok(diagnosis)
}

#[cfg(test)]
mod tests {
    use matrix_podman_host::journal::{FailedUp, RunAtWork};

    use super::*;
    use crate::output::{OutputForm, testing::Recorded};

    fn told(diagnosis: &Diagnosis, runs: &SiteRuns) -> Vec<String> {
        let console = Recorded::new(&[]);
        console.reporter(OutputForm::Words).report(&Diagnosed { diagnosis, runs, missing: &[] }).unwrap();
        console.said().iter().map(|heard| format!("{heard:?}")).collect()
    }

    #[test]
    fn while_up_works_nothing_is_called_wrong() {
        let finding = Finding {
            cause: "guest/absent",
            what: "There is no guest.".to_owned(),
            evidence: Vec::new(),
            mend: Mend::Up,
        };
        let wrong = Diagnosis { findings: vec![finding], looked_for: 1, ..Diagnosis::default() };
        let since = "2026-11-30T17:38:00Z".to_owned();
        let run = |command: &str, steps| {
            Some(RunAtWork { command: command.to_owned(), since: since.clone(), done: 12, steps })
        };
        let up = SiteRuns { at_work: run("up", Some(33)), ..SiteRuns::default() };
        let lines = told(&wrong, &up);
        assert!(lines[0].contains("`up` is at work, 12 of 33, since"), "{lines:?}");
        assert!(!lines.iter().any(|line| line.contains("There is no guest")), "{lines:?}");
        // A backup takes nothing away, so it explains nothing.
        let backup = SiteRuns { at_work: run("backup now", None), ..SiteRuns::default() };
        assert!(told(&wrong, &backup).iter().any(|line| line.contains("There is no guest")));
        let failed = FailedUp { at: since.clone(), why: "could not write /a: the disk is full".to_owned() };
        let lines = told(&wrong, &SiteRuns { failed: Some(failed), ..SiteRuns::default() });
        assert!(lines[0].contains("the last `up` failed") && lines[0].contains("the disk is full"));
        assert!(lines[1].contains("One thing is wrong"), "{lines:?}");
    }
}
