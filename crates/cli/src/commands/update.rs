//! `update`, `rollback`, `history`: what runs, newer or as before.

use std::{path::Path, time::Duration};

use matrix_podman_core::{
    check::{Check, Verdict},
    effect::ImageSource,
    fact::Fact,
    notify::Subject,
    observed::{Gap, Observed},
    resource::Diff,
    service::Service,
    stack,
    update::{self as rules, Ended, Generation, Outcome, Request, Target, Undo, Wanted},
};
use matrix_podman_host::{
    failure::Failure,
    unattended,
    update::{self, Proposal, Report, Update},
    world::World,
};
use serde_json::json;

use super::{
    notify,
    outlook::{self, Outlook},
    plan, rehearse, runtime,
    targets::{Targets, targets},
    up,
};
use crate::{
    args,
    error::{CHANGES, DONE, Error, FAILED},
    output::{self, BOLD, DIM, GREEN, RED, duration, styled},
    site::Found,
};

/// How long a way back may take until the older version answers.
const BACK: Duration = Duration::from_secs(1800);

/// What an update touches: these may differ before it, since making them so is
/// what it does. Which copy of the program starts the guest at boot is none of
/// its business.
const OWN: [&str; 7] = ["image/", "database", "unit/", "service/", "lock", "export/", "machine/program"];

pub fn update(config: Option<&Path>, args: &args::Update) -> Result<u8, Error> {
    let (world, found) = super::world(config)?;
    let Targets { requests, debian, held } = targets(args, &world.site().config.update.hold)?;
    if !args.output.json && !args.check && !held.is_empty() {
        output::say(&outlook::held_words(&held));
    }
    // What is killed tells nobody; the next look does.
    let run = match args.unattended {
        true => unattended::begin(world.site().config.site(), "update")?,
        false => None,
    };
    if let Some(began) = run.as_ref().and_then(|run| run.wordless.as_deref()) {
        notify::tell(&world, Subject::Update, false, &notify::wordless("update", began));
    }
    let done = match requests.is_empty() {
        true if args.check => {
            Outlook::of(&world, None, held)?.print(args.output.json)?;
            return Ok(DONE);
        }
        true => Ok(Came::Nothing),
        false => attempt(&world, &found, args, &requests, &held),
    };
    // What containers run by is not touched on a server that has just been in trouble.
    let well = match &done {
        Ok(Came::Nothing) => true,
        Ok(Came::Tried(report, _)) => report.generation.outcome == Outcome::Kept,
        _ => false,
    };
    let by = by(if args.unattended { "timer" } else { "update" });
    let debian = (debian && well && !args.check)
        .then(|| runtime::upgrade(&world, &found, by, args.output.json || args.unattended));
    if args.unattended {
        let (mut outcome, mut what) = match &done {
            Ok(Came::Nothing) => (Ended::Settled, "nothing was newer".to_owned()),
            Ok(Came::Proposed(proposal)) => (
                Ended::LeftAlone,
                format!("{} is there, and waits for `matrix-podman update`", names(proposal)),
            ),
            Ok(Came::Tried(report, proposal)) => match &report.generation.outcome {
                Outcome::Undone { why, .. } => {
                    (Ended::Undone, format!("{} did not do, and was taken back: {why}", names(proposal)))
                }
                _ => (Ended::Updated, format!("{} runs", names(proposal))),
            },
            Err(error) => (Ended::Failed, error.to_string()),
        };
        match &debian {
            Some(Ok(Some(installed))) => {
                what = format!("{what}; {installed} installed, after a container ran with it");
                outcome = Ended::Updated;
            }
            Some(Err(error)) => {
                what = format!("{what}; newer packages that containers run by were left out: {error}");
                outcome = Ended::LeftAlone;
            }
            Some(Ok(None)) | None => {}
        }
        update::record(&world, outcome, what.clone())?;
        notify::tell(&world, Subject::Update, outcome.is_well(), &what);
        if let Some(run) = run {
            run.told();
        }
        notify::tell_of_room(&world);
    }
    let code = match done? {
        Came::Nothing if requests.is_empty() => DONE,
        Came::Nothing => nothing(args.output.json),
        Came::Proposed(_) if args.unattended => {
            output::say(
                "It is not done unattended: if it did not do, what people wrote meanwhile would be lost.",
            );
            output::say("next: `matrix-podman update`, at a quiet hour");
            DONE
        }
        Came::Proposed(_) => {
            if !args.output.json {
                output::say("next: `matrix-podman update` does it");
            }
            CHANGES
        }
        Came::Tried(report, proposal) => tell(&report, &proposal, args.output.json),
    };
    match debian {
        Some(Ok(installed)) => runtime::tell(installed.as_deref(), args.output.json),
        // Who named it wants to know it by the exit code; else the images were the errand,
        // and a guest from which no package source is reached is no failed update.
        Some(Err(error)) if args.targets.contains(&Target::Debian) => return Err(error),
        Some(Err(error)) => {
            output::say(&format!(
                "note: newer packages that containers run by were left out: {}",
                output::one_line(&error.to_string())
            ));
        }
        None => {}
    }
    Ok(code)
}

/// What came of an update.
enum Came {
    /// Nothing is newer.
    Nothing,
    /// It was said, and not done.
    Proposed(Proposal),
    /// It was done; whether it was kept, the report says.
    Tried(Box<Report>, Proposal),
}

fn attempt(
    world: &World,
    found: &Found,
    args: &args::Update,
    requests: &[Request],
    held: &[Service],
) -> Result<Came, Error> {
    let quiet = args.output.json || args.unattended;
    settle(world, found, args.output.json)?;
    let wanted = wanted(world, requests)?;
    preflight(world, quiet)?;
    up::at_work(world, found, "update", args.output.json, |journal, listener| {
        let by = by(if args.unattended { "timer" } else { "update" });
        let update = Update { world, journal, listener, by };
        let proposal = update.propose(&wanted)?;
        if let Some(proposal) = &proposal {
            show(proposal, args.output.json);
        }
        if args.check {
            Outlook::of(world, proposal.as_ref(), held.to_vec())?.print(args.output.json)?;
        }
        let Some(proposal) = proposal else {
            journal.end(true)?;
            return Ok(Came::Nothing);
        };
        if args.check || (args.unattended && proposal.undo == Undo::Dump) {
            journal.end(true)?;
            return Ok(Came::Proposed(proposal));
        }
        let within = Duration::from_secs(args.within.0);
        if args.rehearse || world.site().config.update.rehearse || rehearses_itself(&update, args, &proposal)?
        {
            let undo = rehearse::hold(&update, &proposal, within, args.output.json)?;
            // What the copy shows counts for more than what the image says.
            if args.rehearse || (args.unattended && undo == Undo::Dump) {
                journal.end(true)?;
                return Ok(Came::Proposed(proposal));
            }
        }
        confirm(args.yes || args.unattended, args.output.json, "Do this?")?;
        // While somebody thought, something may have changed.
        preflight(world, true)?;
        let report = update.carry_out(&proposal, within)?;
        journal.end(report.generation.outcome == Outcome::Kept)?;
        Ok(Came::Tried(Box::new(report), proposal))
    })
}

/// Whether an update that nobody watches is rehearsed, though nobody asked for that: where it could
/// do something to the data, and there is room for a copy.
fn rehearses_itself(update: &Update, args: &args::Update, proposal: &Proposal) -> Result<bool, Failure> {
    if !args.unattended || !rehearse::touches_data(proposal) || proposal.majors().is_some() {
        return Ok(false);
    }
    let no_room = update.no_room_to_rehearse()?;
    if let Some(why) = &no_room {
        output::say(&format!("note: the update is not rehearsed: {why}"));
    }
    Ok(no_room.is_none())
}

pub fn rollback(config: Option<&Path>, args: &args::Rollback) -> Result<u8, Error> {
    let (world, found) = super::world(config)?;
    settle(&world, &found, args.output.json)?;
    let lock = update::lock(&world)?;
    let history = update::history(&world)?;
    let (Some(current), Some(before)) = (history.current(&lock), history.before(&lock)) else {
        return Err(Error::usage(
            "nothing ran here before what runs now, as far as the history knows",
            "`matrix-podman history` shows it; `matrix-podman update synapse=VERSION` goes to another version",
        ));
    };
    preflight(&world, args.output.json)?;
    up::at_work(&world, &found, "rollback", args.output.json, |journal, listener| {
        let update = Update { world: &world, journal, listener, by: by("rollback") };
        let proposal = update.way_back(before, current.dump.clone())?;
        show(&proposal, args.output.json);
        let undo = match proposal.undo {
            Undo::Cluster if proposal.majors().is_some_and(|(from, to)| to < from) => Undo::Cluster,
            _ if proposal.restore.is_some() => Undo::Dump,
            _ => Undo::Image,
        };
        let lost = rules::lost(undo, since(undo, current));
        if args.output.json {
            output::data(&json!({"event": "lost", "what": lost}).to_string());
        } else {
            output::say(&lost);
        }
        confirm(args.yes, args.output.json, "Go back?")?;
        let report = update.carry_out(&proposal, BACK)?;
        journal.end(report.generation.outcome == Outcome::Kept)?;
        Ok(tell(&report, &proposal, args.output.json))
    })
}

/// Since when what is written would be lost.
fn since(undo: Undo, current: &Generation) -> Option<&str> {
    (undo == Undo::Cluster || current.dump.is_some()).then_some(current.at.as_str())
}

/// Settles an update that was cut off, before anything else is looked at;
/// whether there was one.
pub fn settle(world: &World, found: &Found, json: bool) -> Result<bool, Error> {
    // A guest that cannot be asked has nothing to settle yet.
    if !update::history(world).is_ok_and(|history| history.under_way().is_some()) {
        return Ok(false);
    }
    up::at_work(world, found, "update", json, |journal, listener| {
        let report = Update { world, journal, listener, by: by("update") }.recover()?;
        journal.end(true)?;
        if let Some(report) = report
            && !json
        {
            output::say(&format!(
                "{} Generation {} is {}.",
                styled(GREEN, "✓"),
                report.generation.number,
                report.generation.outcome.name()
            ));
            if report.generation.outcome != Outcome::Kept {
                snapshot_is_there(&report.generation);
            }
        }
        Ok(true)
    })
}

/// From where each image comes; in a registry, a newer tag of the same kind.
fn wanted(world: &World, requests: &[Request]) -> Result<Vec<Wanted>, Error> {
    let site = world.site();
    let found = world.look(&mut Observed::default(), |seen| {
        // All is asked before the first answer is looked at.
        let all: Vec<_> = requests
            .iter()
            .map(|request| {
                let wanted = Wanted::of(site, request, seen)?;
                Ok(wanted.map(|wanted| newest(wanted, request, seen)))
            })
            .collect();
        all.into_iter().collect::<Result<Vec<_>, Gap>>()
    })?;
    let found = found.map_err(|gap| {
        let why = match gap {
            Gap::NotAsked => "not everything was asked; this is a mistake in matrix-podman".to_owned(),
            Gap::Unknown(why) => why,
        };
        Failure::new("find out where images come from", why)
    })?;
    found.into_iter().map(|each| each.map_err(|(why, hint)| Error::usage(why, hint))).collect()
}

fn newest(mut wanted: Wanted, request: &Request, seen: &Observed) -> Wanted {
    let (ImageSource::Registry(reference), None) = (&wanted.from, &request.version) else { return wanted };
    let Some(tag) = reference.tag() else { return wanted };
    let within_major = stack::room(wanted.service).image().within_major;
    if let Ok(tags) = seen.lines(Fact::RegistryTags(reference.repository()))
        && let Some(newer) = rules::newest_tag(tag, tags.iter().map(String::as_str), within_major)
        && let Ok(newer) = format!("{}:{newer}", reference.repository()).parse()
    {
        wanted.from = ImageSource::Registry(newer);
    }
    wanted
}

/// Refuses what should not be begun now.
fn preflight(world: &World, quiet: bool) -> Result<(), Error> {
    let look = super::look(world)?;
    let pending: Vec<&str> = look
        .plan
        .entries
        .iter()
        .filter(|entry| matches!(entry.diff, Diff::Change(_) | Diff::Blocked { .. }))
        .map(|entry| entry.id.as_str())
        .filter(|id| !OWN.iter().any(|own| id.starts_with(own)))
        .collect();
    if !pending.is_empty() {
        return Err(Error::Told {
            summary: format!("nothing was changed: matrix.toml is not applied yet ({})", pending.join(", ")),
            hint: "`matrix-podman up` first; then an update changes nothing else".to_owned(),
        });
    }
    let checks = world.look(&mut Observed::default(), rules::checks)?;
    if !quiet {
        plan::checks(&checks, &output::say);
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
        summary: if quiet {
            format!("nothing was changed: {}", whys.join("; "))
        } else {
            "nothing was changed".to_owned()
        },
        hint: "mend what is named above, then run the same again".to_owned(),
    })
}

fn confirm(yes: bool, json: bool, question: &str) -> Result<(), Error> {
    if yes {
        return Ok(());
    }
    if json || !output::can_ask() {
        return Err(Error::usage("nobody can be asked whether it should be done", "add --yes"));
    }
    let answer = up::ask(&format!("{question} [Y/n] "))?;
    if answer.is_some_and(|a| matches!(a.trim().to_lowercase().as_str(), "" | "y" | "yes")) {
        return Ok(());
    }
    Err(Error::Told {
        summary: "nothing was changed".to_owned(),
        hint: "the new images stay in the guest until the next update".to_owned(),
    })
}

fn nothing(json: bool) -> u8 {
    if json {
        output::data(&json!({"event": "settled"}).to_string());
    } else {
        output::say(&format!("{} Nothing is newer than what runs.", styled(GREEN, "✓")));
    }
    DONE
}

fn show(proposal: &Proposal, json: bool) {
    if json {
        let changes: Vec<_> = proposal
            .changes
            .iter()
            .map(|c| json!({"service": c.service, "from": c.from.version, "to": c.to.version}))
            .collect();
        let event = json!({"event": "proposal", "changes": changes, "undo": proposal.undo,
                           "snapshot": proposal.precaution});
        output::data(&event.to_string());
        return;
    }
    for change in &proposal.changes {
        let same = change.from.version == change.to.version;
        let note = if same { " (the same version, made of newer packages)" } else { "" };
        output::say(&format!(
            "  {:<12} {} → {}{note}",
            styled(BOLD, change.service.name()),
            change.from.version,
            change.to.version
        ));
    }
    output::say(match (proposal.undo, &proposal.restore) {
        (Undo::Cluster, _) => match proposal.majors() {
            Some((from, to)) if to > from => {
                "This is another major version: Synapse is stopped while the data are moved into a cluster of their \
                 own and compared. The old cluster stays as it is; if anything fails, it serves again."
            }
            _ => "The cluster that was kept serves again.",
        },
        (_, Some(_)) => "The dump taken before the last update is put back for this.",
        (Undo::Image, None) => "If it does not do, the old images are put back; no data are lost by that.",
        (Undo::Dump, None) => {
            "If it does not do, the dump that is taken first is put back: the older program does not open the \
             newer data."
        }
    });
    if let Some(words) = proposal.precaution.words() {
        output::say(&words);
    }
}

fn tell(report: &Report, proposal: &Proposal, json: bool) -> u8 {
    let generation = &report.generation;
    let kept = generation.outcome == Outcome::Kept;
    if json {
        output::data(
            &json!({"event": "update", "generation": generation, "away_millis": report.millis,
                    "still_ill": report.still_ill, "without_snapshot": report.without_snapshot})
            .to_string(),
        );
        return if kept { DONE } else { FAILED };
    }
    let names = names(proposal);
    match &generation.outcome {
        Outcome::Kept => {
            output::data(&format!(
                "{} {names} runs, and all that was well before is ({}).",
                styled(GREEN, "✓"),
                duration(report.millis)
            ));
            output::data("`matrix-podman rollback` goes back.");
            if let Some(snapshot) = &generation.snapshot {
                output::say(&format!(
                    "The snapshot {snapshot} of the whole guest, as it was before, stays until a later update does."
                ));
            }
            without(report);
            DONE
        }
        Outcome::Undone { why, log } => {
            output::say(&format!("{} {names} did not do: {}", styled(RED, "✗"), output::one_line(why)));
            for line in log {
                output::say(&format!("    {}", styled(DIM, line)));
            }
            let with = match generation.undo {
                Some(Undo::Cluster) => "the cluster before serves again, with the same data",
                Some(Undo::Dump) => "the dump taken before was put back, and what ran before runs again",
                _ => "what ran before runs again, with the same data",
            };
            if report.still_ill.is_empty() {
                output::say(&format!("{} Taken back: {with}. Nothing is left to do.", styled(GREEN, "✓")));
            } else {
                output::say(&format!("Taken back: {with}. Not well again: {}", report.still_ill.join("; ")));
                output::say("next: `matrix-podman doctor` says why");
            }
            snapshot_is_there(generation);
            without(report);
            FAILED
        }
        Outcome::UnderWay => FAILED,
    }
}

/// What can be done with the snapshot from before something that did not do.
fn snapshot_is_there(generation: &Generation) {
    if let Some(snapshot) = &generation.snapshot {
        output::say(&format!(
            "The snapshot {snapshot} of the whole guest, as it was before, is there too: `matrix-podman guest rollback \
             {snapshot}` brings all of it back, and what people wrote since is lost by that; `matrix-podman guest \
             remove-snapshot {snapshot}` removes it, and so does the next update."
        ));
    }
}

/// What was to be there and is not.
fn without(report: &Report) {
    if let Some(why) = &report.without_snapshot {
        output::say(&styled(
            RED,
            &format!("There is no snapshot of the guest from before: {}", output::one_line(why)),
        ));
    }
}

/// What is to run, in words.
fn names(proposal: &Proposal) -> String {
    let names: Vec<String> =
        proposal.changes.iter().map(|c| format!("{} {}", c.service.name(), c.to.version)).collect();
    names.join(", ")
}

fn by(command: &str) -> String {
    let host = matrix_podman_host::run::LockHolder::this(command).host;
    format!("{command} on {host}")
}
