//! `update`, `rollback`, `history`: what runs, newer or as before.

mod words;

use std::{path::Path, time::Duration};

use matrix_podman_core::{
    check::{Check, Verdict},
    notify::Subject,
    observed::{Gap, Observed},
    service::Service,
    stack,
    update::{self as rules, Ended, Outcome, Request, Target, Wanted},
};
use matrix_podman_host::{
    decide::{
        newest,
        targets::{Targets, Unfit, targets},
        update::{Attempt, UpdateAsked, pending, way_back, with_packages},
    },
    failure::Failure,
    unattended,
    work::update::{self, Proposal, Report, Update},
    world::World,
};

use self::words::{NothingNewer, RollbackLoss, UpdateEnded, UpdateProposed};
use super::{
    notify,
    outlook::{self, Outlook},
    plan, rehearse,
    runtime::{self, PackagesUpgraded},
    up,
};
use crate::{
    args,
    error::{CHANGES, DONE, Error, FAILED},
    handed,
    output::{AtStake, Confirmation, GREEN, Otherwise, Reporter, one_line, styled},
    site::FoundSite,
};

/// How long a way back may take until the older version answers.
const BACK: Duration = Duration::from_secs(1800);

pub fn update(config: Option<&Path>, args: &args::Update, out: &Reporter) -> Result<u8, Error> {
    let (world, found) = super::world(config, out)?;
    let on = stack::services(&world.site().config);
    let Targets { requests, debian, held } =
        targets(&on, &args.targets, &args.hold, &world.site().config.update.hold).map_err(
            |unfit| match unfit {
                Unfit::Both(service) => Error::usage(
                    format!("{service} is both to be updated and to be held back"),
                    "name it once",
                ),
                Unfit::Off(service) => super::services::switched_off(service),
            },
        )?;
    let asked = UpdateAsked { check: args.check, rehearse: args.rehearse, unattended: args.unattended };
    if asked.check && requests.is_empty() {
        out.report(&Outlook::of(&world, None, held)?)?;
        return Ok(DONE);
    }
    if !asked.check && !held.is_empty() {
        out.narrate(&outlook::held_words(&held));
    }
    // What is killed tells nobody; the next look does.
    let run = match asked.unattended {
        true => unattended::begin(world.site().config.site(), "update")?,
        false => None,
    };
    if let Some(began) = run.as_ref().and_then(|run| run.wordless.as_deref()) {
        notify::tell(&world, Subject::Update, false, &notify::wordless("update", began), out);
    }
    let done = match requests.is_empty() {
        true => Ok(Attempt::NothingNewer),
        false => attempt(&world, &found, args, asked, &requests, &held, out),
    };
    let well = done.as_ref().is_ok_and(Attempt::went_well);
    let debian =
        (debian && well && !asked.check).then(|| runtime::upgrade(&world, &found, by_of(asked), out));
    if asked.unattended {
        let record = match &done {
            Ok(attempt) => attempt.record(),
            Err(error) => (Ended::Failed, error.to_string()),
        };
        let packages = match &debian {
            Some(Ok(installed)) => Ok(installed.as_deref()),
            Some(Err(error)) => Err(error.to_string()),
            None => Ok(None),
        };
        let (outcome, what) = with_packages(record, packages);
        update::record(&world, outcome, what.clone())?;
        notify::tell(&world, Subject::Update, outcome.is_well(), &what, out);
        if let Some(run) = run {
            run.told();
        }
        notify::tell_of_room(&world, out);
    }
    let code = tell(&done?, asked, requests.is_empty(), out)?;
    match debian {
        Some(Ok(installed)) => out.report(&PackagesUpgraded::of(installed))?,
        // Who named it wants to know it by the exit code; else the images were the errand,
        // and a guest from which no package source is reached is no failed update.
        Some(Err(error)) if args.targets.contains(&Target::Debian) => return Err(error),
        Some(Err(error)) => out.say(&format!(
            "note: newer packages that containers run by were left out: {}",
            one_line(&error.to_string())
        )),
        None => {}
    }
    Ok(code)
}

/// Says what came of it; the exit code.
fn tell(attempt: &Attempt, asked: UpdateAsked, only_packages: bool, out: &Reporter) -> Result<u8, Error> {
    Ok(match attempt {
        Attempt::NothingNewer if only_packages => DONE,
        Attempt::NothingNewer => {
            out.report(&NothingNewer::new())?;
            DONE
        }
        Attempt::Proposed(_) if asked.unattended => {
            out.say("It is not applied unattended: if it failed, what people wrote meanwhile would be lost.");
            out.say("next: `matrix-podman update`, at a quiet hour");
            DONE
        }
        Attempt::Proposed(_) => {
            let typed: Vec<String> = std::env::args().skip(1).collect();
            out.narrate(&format!("next: `matrix-podman {}` does it", the_same_done(&typed)));
            CHANGES
        }
        Attempt::Tried(done, proposal) => ended(done, proposal, out)?,
    })
}

/// What was typed, without what kept it from being done.
fn the_same_done(typed: &[String]) -> String {
    let only_looks = ["--check", "--rehearse", "--json"];
    let mut words: Vec<String> =
        typed.iter().filter(|word| !only_looks.contains(&word.as_str())).cloned().collect();
    // One that another machine handed over is not there.
    if let Some(at) = words.iter().position(|word| word == "--config")
        && words.get(at + 1).is_some_and(|file| handed::is_handed(Path::new(file)))
    {
        words.drain(at..=at + 1);
    }
    super::pasted(&words)
}

fn ended(done: &Report, proposal: &Proposal, out: &Reporter) -> Result<u8, Error> {
    out.report(&UpdateEnded::of(done, proposal))?;
    Ok(if done.generation.outcome == Outcome::Kept { DONE } else { FAILED })
}

fn attempt(
    world: &World,
    found: &FoundSite,
    args: &args::Update,
    asked: UpdateAsked,
    requests: &[Request],
    held: &[Service],
    out: &Reporter,
) -> Result<Attempt, Error> {
    settle(world, found, out)?;
    let wanted = wanted(world, requests)?;
    preflight(world, !asked.unattended && out.is_for_person(), out)?;
    up::at_work(world, found, "update", out, |journal, listener| {
        let update = Update { world, journal, listener, by: by_of(asked) };
        let proposal = update.propose(&wanted)?;
        if let Some(proposal) = &proposal {
            out.report(&UpdateProposed::of(proposal))?;
        }
        if let Some(proposal) = proposal.as_ref().filter(|_| !asked.check) {
            out.narrate(&outlook::takes(world, proposal)?);
        }
        if asked.check {
            out.report(&Outlook::of(world, proposal.as_ref(), held.to_vec())?)?;
        }
        let Some(proposal) = proposal else {
            journal.end(true)?;
            return Ok(Attempt::NothingNewer);
        };
        if asked.ends_with_proposal(proposal.undo) {
            journal.end(true)?;
            return Ok(Attempt::Proposed(proposal));
        }
        let within = Duration::from_secs(args.within.0);
        if asked.rehearse
            || world.site().config.update.rehearse
            || (asked.rehearses_by_itself(&proposal) && has_room(&update, out)?)
        {
            let undo = rehearse::hold(&update, &proposal, within, out)?;
            if asked.ends_with_rehearsal(undo) {
                journal.end(true)?;
                return Ok(Attempt::Proposed(proposal));
            }
        }
        confirm(words::question(&proposal), args.yes || asked.unattended, out)?;
        // While somebody thought, something may have changed.
        preflight(world, false, out)?;
        let report = update.carry_out(&proposal, within)?;
        journal.end(report.generation.outcome == Outcome::Kept)?;
        Ok(Attempt::Tried(Box::new(report), proposal))
    })
}

/// Whether there is room for the copy that a rehearsal needs.
fn has_room(update: &Update, out: &Reporter) -> Result<bool, Failure> {
    let no_room = update.no_room_to_rehearse()?;
    if let Some(why) = &no_room {
        out.say(&format!("note: the update is not rehearsed: {why}"));
    }
    Ok(no_room.is_none())
}

pub fn rollback(config: Option<&Path>, args: &args::Rollback, out: &Reporter) -> Result<u8, Error> {
    let (world, found) = super::world(config, out)?;
    settle(&world, &found, out)?;
    let lock = update::lock(&world)?;
    let history = update::history(&world)?;
    let (Some(current), Some(before)) = (history.current(&lock), history.before(&lock)) else {
        return Err(Error::usage(
            "nothing ran here before what runs now, as far as the history knows",
            "`matrix-podman history` shows it; `matrix-podman update synapse=VERSION` goes to another version",
        ));
    };
    preflight(&world, out.is_for_person(), out)?;
    up::at_work(&world, &found, "rollback", out, |journal, listener| {
        let update = Update { world: &world, journal, listener, by: by("rollback") };
        let proposal = update.way_back(before, current.dump.clone())?;
        out.report(&UpdateProposed::of(&proposal))?;
        let (undo, since) = way_back(&proposal, current);
        out.report(&RollbackLoss::of(rules::lost(undo, since)))?;
        out.narrate(&outlook::takes(&world, &proposal)?);
        confirm("Go back?", args.yes, out)?;
        let report = update.carry_out(&proposal, BACK)?;
        journal.end(report.generation.outcome == Outcome::Kept)?;
        ended(&report, &proposal, out)
    })
}

/// Settles an update that was cut off, before anything else is looked at;
/// whether there was one.
pub fn settle(world: &World, found: &FoundSite, out: &Reporter) -> Result<bool, Error> {
    // A guest that cannot be asked has nothing to settle yet.
    if !update::history(world).is_ok_and(|history| history.under_way().is_some()) {
        return Ok(false);
    }
    up::at_work(world, found, "update", out, |journal, listener| {
        let report = Update { world, journal, listener, by: by("update") }.recover()?;
        journal.end(true)?;
        if let Some(report) = report {
            out.narrate(&format!(
                "{} Generation {} is {}.",
                styled(GREEN, "✓"),
                report.generation.number,
                report.generation.outcome.name()
            ));
            if report.generation.outcome != Outcome::Kept
                && let Some(text) = words::snapshot_is_there(&report.generation)
            {
                out.narrate(&text);
            }
        }
        Ok(true)
    })
}

/// From where each image comes; in a registry, a newer tag of the same kind.
fn wanted(world: &World, requests: &[Request]) -> Result<Vec<Wanted>, Error> {
    let site = world.site();
    let found = world.look(&mut Observed::default(), |seen| newest::wanted(site, requests, seen))?;
    let found = found.map_err(|gap| {
        let why = match gap {
            Gap::NotAsked => "not everything was asked; this is a mistake in matrix-podman".to_owned(),
            Gap::Unknown(why) => why,
        };
        Failure::new("find out where images come from", why)
    })?;
    found.into_iter().map(|each| each.map_err(|(why, hint)| Error::usage(why, hint))).collect()
}

/// Refuses what should not be begun now; `shows` what the checks say besides.
fn preflight(world: &World, shows: bool, out: &Reporter) -> Result<(), Error> {
    let look = super::look(world)?;
    let pending = pending(&look.plan);
    if !pending.is_empty() {
        return Err(Error::Told {
            summary: format!("nothing was changed: matrix.toml is not applied yet ({})", pending.join(", ")),
            hint: "`matrix-podman up` first; then an update changes nothing else".to_owned(),
        });
    }
    let checks = world.look(&mut Observed::default(), |seen| rules::checks(&world.site().config, seen))?;
    if shows {
        for line in plan::check_lines(&checks) {
            out.say(&line);
        }
    }
    if checks.iter().all(Check::holds) {
        return Ok(());
    }
    let whys: Vec<&str> = checks
        .iter()
        .filter_map(|check| match &check.verdict {
            Verdict::Fail { why, .. } | Verdict::Unknown { why } => Some(why.as_str()),
            _ => None,
        })
        .collect();
    Err(Error::Told {
        summary: if shows {
            "nothing was changed".to_owned()
        } else {
            format!("nothing was changed: {}", whys.join("; "))
        },
        hint: "mend what is named above, then run the same again".to_owned(),
    })
}

fn confirm(question: &str, yes: bool, out: &Reporter) -> Result<(), Error> {
    out.confirm(&Confirmation {
        question,
        at_stake: AtStake::Something,
        yes,
        otherwise: Otherwise::unchanged("the new images stay in the guest until the next update"),
    })
}

fn by_of(asked: UpdateAsked) -> String {
    by(if asked.unattended { "timer" } else { "update" })
}

fn by(command: &str) -> String {
    let host = matrix_podman_host::lock::LockHolder::this(command).host;
    format!("{command} on {host}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_look_names_the_command_that_does_just_that() {
        let same = |line: &str| super::the_same_done(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert_eq!(same("update synapse=v1.163.2 --check"), "update synapse=v1.163.2");
        assert_eq!(
            same("-c /root/a.toml upgrade --check --hold redis"),
            "-c /root/a.toml upgrade --hold redis"
        );
        assert_eq!(same("update --rehearse"), "update");
    }
}
