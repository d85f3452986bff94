//! `doctor`: what is wrong, and what mends it.

use std::{collections::BTreeSet, path::Path};

use matrix_podman_core::{
    doctor::{Diagnosis, Finding, Mend, examine},
    federation::Net,
    observed::Observed,
    plan::Plan,
    resource,
    status::{Found, Looked},
};
use matrix_podman_host::{failure::Failure, world::World};

use super::{services, status, up, verify};
use crate::{
    args::{self, Json, Settings},
    error::{DONE, Error, FAILED},
    output::{self, BOLD, DIM, GREEN, RED, YELLOW, harmless, styled},
};

/// How many things are mended in one go; each changes what is seen next.
const MENDS: usize = 6;

pub fn run(config: Option<&Path>, args: &args::Doctor) -> Result<u8, Error> {
    let net = verify::net(&args.net)?;
    let mut diagnosis = look(config, &net)?;
    if args.fix {
        diagnosis = fix(config, args, &net, diagnosis)?;
    } else if args.output.json {
        let text = serde_json::to_string(&diagnosis).map_err(|e| Failure::new("print what was found", e))?;
        output::data(&text);
    } else {
        print(&diagnosis);
        if diagnosis.findings.iter().any(|finding| finding.mend.is_safe()) {
            output::say(&format!(
                "{} `matrix-podman doctor --fix` does what is marked with *, one after the other, and asks first",
                styled(BOLD, "next:")
            ));
        }
    }
    Ok(if diagnosis.is_well() { DONE } else { FAILED })
}

/// Looks at the world, and writes down what was found; changes nothing else.
fn look(config: Option<&Path>, net: &Net) -> Result<Diagnosis, Error> {
    let (world, _) = super::world_in_words(config)?;
    let diagnosis = diagnose(&world, net)?;
    status::remember(&world, Looked::Doctor, &Found::by_doctor(&diagnosis, status::now()));
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

fn print(diagnosis: &Diagnosis) {
    let count = match diagnosis.findings.len() {
        0 if diagnosis.unseen.is_empty() => {
            let all = diagnosis.looked_for;
            output::data(&format!(
                "{} Nothing is wrong: none of {all} known causes was found.",
                styled(GREEN, "✓")
            ));
            return;
        }
        0 => "Nothing wrong was found, but not everything could be seen.".to_owned(),
        1 => "One thing is wrong.".to_owned(),
        more => format!("{more} things are wrong. What stands first may be why the others are so."),
    };
    output::data(&count);
    for (number, finding) in diagnosis.findings.iter().enumerate() {
        print_finding(number + 1, finding);
    }
    for unseen in &diagnosis.unseen {
        output::data(&format!(
            "{} {}: {}",
            styled(YELLOW, "not known:"),
            unseen.cause,
            harmless(&unseen.why)
        ));
    }
}

fn print_finding(number: usize, finding: &Finding) {
    let mark = if number == 1 { RED } else { BOLD };
    output::data(&format!(
        "\n{} {}  {}",
        styled(mark, &format!("{number}.")),
        styled(BOLD, &harmless(&finding.what)),
        styled(DIM, &format!("[{}]", finding.cause))
    ));
    for line in &finding.evidence {
        output::data(&styled(DIM, &format!("   | {}", harmless(line))));
    }
    let star = if finding.mend.is_safe() { "*" } else { " " };
    output::data(&format!(" {star} mend: {}", finding.mend.command()));
}

/// Does what is safe, most fundamental first, and looks again after each.
fn fix(config: Option<&Path>, args: &args::Doctor, net: &Net, first: Diagnosis) -> Result<Diagnosis, Error> {
    let mut diagnosis = first;
    let mut tried = BTreeSet::new();
    for _ in 0..MENDS {
        if diagnosis.is_well() {
            break;
        }
        print(&diagnosis);
        let Some(finding) =
            diagnosis.findings.iter().find(|f| f.mend.is_safe() && !tried.contains(&f.mend.command()))
        else {
            break;
        };
        let command = finding.mend.command();
        output::say(&format!("\n{} {command}", styled(BOLD, "mending:")));
        match &finding.mend {
            // It shows its plan and asks by itself.
            Mend::Up => {
                let up = args::Up {
                    settings: Settings::default(),
                    yes: args.yes,
                    remove_failed: false,
                    output: Json { json: false },
                };
                up::run(config, &up)?;
            }
            Mend::Restart(service) => {
                if !args.yes {
                    if !output::can_ask() {
                        return Err(Error::usage(
                            format!("nobody can be asked whether to run `{command}`"),
                            "add --yes",
                        ));
                    }
                    let answer = up::ask(&format!("Restart {}? [y/N] ", service.title()))?;
                    if !answer.is_some_and(|a| matches!(a.trim(), "y" | "Y" | "yes")) {
                        return Err(Error::Told {
                            summary: "nothing was changed".to_owned(),
                            hint: "answer y, or add --yes".to_owned(),
                        });
                    }
                }
                services::act(
                    config,
                    &[*service],
                    services::Verb::Restart,
                    &output::Reporter::new(output::Form::Words),
                )?;
            }
            Mend::Type(_) => break,
        }
        tried.insert(command);
        diagnosis = look(config, net)?;
    }
    print(&diagnosis);
    Ok(diagnosis)
}
