//! `doctor`: what is wrong, and what mends it.

use std::path::Path;

use matrix_podman_core::{
    doctor::{Diagnosis, Finding, Mend, examine},
    federation::Net,
    observed::Observed,
    plan::Plan,
    resource,
    status::{Found as LastLook, Looked},
};
use matrix_podman_host::{decide::fix::Fixing, failure::Failure, world::World};
use serde::Serialize;

use super::{services, status, up, verify};
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
    let mut diagnosis = look(config, &net, out)?;
    if args.fix {
        diagnosis = fix(config, args, &net, diagnosis, out)?;
    } else {
        out.report(&Diagnosed(&diagnosis))?;
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
fn look(config: Option<&Path>, net: &Net, out: &Reporter) -> Result<Diagnosis, Error> {
    let (world, _) = super::world(config, out)?;
    let diagnosis = diagnose(&world, net)?;
    status::remember(&world, Looked::Doctor, &LastLook::by_doctor(&diagnosis, status::now()), out);
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
#[serde(transparent)]
struct Diagnosed<'a>(&'a Diagnosis);

impl Printable for Diagnosed<'_> {
    fn words(&self) -> Wording {
        let Self(diagnosis) = self;
        let count = match diagnosis.findings.len() {
            0 if diagnosis.unseen.is_empty() => {
                let all = diagnosis.looked_for;
                return Wording::of(format!(
                    "{} Nothing is wrong: none of {all} known causes was found.",
                    styled(GREEN, "✓")
                ));
            }
            0 => "Nothing wrong was found, but not everything could be seen.".to_owned(),
            1 => "One thing is wrong.".to_owned(),
            more => format!("{more} things are wrong. What stands first may be why the others are so."),
        };
        let mut words = Wording::of(count);
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
    let mut fixing = Fixing::default();
    while let Some(finding) = fixing.next(&diagnosis) {
        out.report(&Diagnosed(&diagnosis))?;
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
        diagnosis = look(config, net, out)?;
    }
    out.report(&Diagnosed(&diagnosis))?;
    Ok(diagnosis)
}
