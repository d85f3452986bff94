//! What timers do: what the schedules say is due, with nobody who could be asked.

use std::{
    thread,
    time::{Duration, Instant},
};

use matrix_podman_core::{notify::Subject, size::Seconds};
use matrix_podman_host::{
    backup::{self, Due, Place, Repository},
    failure::Failure,
    unattended,
};

use super::{At, Desk, print_made};
use crate::{
    args,
    commands::notify,
    error::{DONE, Error},
    output,
};

/// Pauses before a repository that is away is tried again; the last one goes on.
const PAUSES: [Duration; 4] =
    [Duration::from_secs(5), Duration::from_secs(30), Duration::from_secs(120), Duration::from_secs(300)];

/// Backs up into every repository whose time has come, and removes what need
/// not be kept there any longer.
pub(super) fn now(desk: &Desk, args: &args::BackupNow) -> Result<u8, Error> {
    let site = desk.site();
    let due = |at: &At| {
        let last = backup::last(site, &at.name);
        let failures = last.as_ref().map_or(0, |last| last.failures);
        backup::due(&at.terms.schedule, last.as_ref().map(|last| last.at.as_str()), failures)
    };
    let json = args.output.json;
    each(desk, &args.which, Subject::Backup, due, |at, due| {
        let (mut made, mut unreachable) = (None, false);
        let result = reached(at, args.by_itself.patience)
            .inspect_err(|_| unreachable = true)
            .map_err(Error::from)
            .and_then(|place| {
                let (fresh, repository) = desk.make(place, at, json)?;
                print_made(at, made.insert(fresh), json)?;
                desk.pruned(at, &repository, json)
            });
        let failed = result.as_ref().err().map(|error| {
            let beside = if made.is_some() { "a backup was made, but what is old stayed: " } else { "" };
            (format!("{beside}{error}"), unreachable)
        });
        backup::keep(site, &at.name, made.as_ref().map(|made| &made.snapshot), failed, due == Due::Again)?;
        result.map(|_| DONE)
    })
}

/// Tries out the newest snapshot of every repository whose time has come.
pub(super) fn drill(desk: &Desk, args: &args::BackupDrill) -> Result<u8, Error> {
    let site = desk.site();
    let due = |at: &At| {
        let last = backup::drilled(site, &at.name);
        backup::due(&at.terms.drill, last.as_ref().map(|last| last.at.as_str()), 0)
    };
    each(desk, &args.which, Subject::Drill, due, |at, _| {
        let place = reached(at, args.by_itself.patience)?;
        let repository = Repository::at(place, &desk.password(at)?)?;
        desk.drill(&repository, &args.snapshot, args.output.json)
    })
}

fn each(
    desk: &Desk,
    which: &args::Which,
    subject: Subject,
    due: impl Fn(&At) -> Option<Due>,
    act: impl Fn(&At, Due) -> Result<u8, Error>,
) -> Result<u8, Error> {
    let what = if subject == Subject::Drill { "drill" } else { "backup" };
    // cron begins another one while the last one is at it. What is no news goes where cron's line throws it away.
    let Some(run) = unattended::begin(desk.site(), what)? else {
        output::data(&format!("Another run is at the {what} that is due."));
        return super::super::OK;
    };
    if let Some(began) = &run.wordless {
        notify::tell(&desk.world, subject, false, &notify::wordless(what, began));
    }
    let due: Vec<(At, Due)> =
        desk.chosen(which)?.into_iter().filter_map(|at| due(&at).map(|due| (at, due))).collect();
    if due.is_empty() {
        output::data(&format!("No {what} is due."));
        run.told();
        return super::super::OK;
    }
    let (mut worst, mut failed) = (DONE, Vec::new());
    for (at, due) in &due {
        let again = if *due == Due::Again { " again, since it failed" } else { "" };
        output::say(&format!("A {what} is due{again}: {} ({})", at.name, at.location));
        match act(at, *due) {
            Ok(DONE) => notify::tell(&desk.world, subject, true, &format!("{}: it went well", at.name)),
            Ok(code) => {
                worst = worst.max(code);
                let what = "a snapshot did not come back whole; `matrix-podman status` says more";
                notify::tell(&desk.world, subject, false, &format!("{}: {what}", at.name));
            }
            Err(error) => {
                output::error(&error, false);
                // Whoever was told once that it fails need not be told each hour.
                if *due == Due::InTime {
                    notify::tell(&desk.world, subject, false, &format!("{}: {error}", at.name));
                }
                failed.push(format!("{}: {error}", at.name));
            }
        }
    }
    run.told();
    desk.tell_guest();
    notify::tell_of_room(&desk.world);
    if failed.is_empty() {
        return Ok(worst);
    }
    Err(Error::Told {
        summary: format!("a {what} that was due failed: {}", failed.join("; ")),
        hint: format!(
            "`matrix-podman backup {}` tries again, and says what is wrong",
            if what == "drill" { "drill" } else { "now" }
        ),
    })
}

/// The way to a repository that is there; one that is away is waited for.
fn reached(at: &At, patience: Seconds) -> Result<Place, Failure> {
    let until = Instant::now() + Duration::from_secs(patience.0);
    let mut pauses = PAUSES.into_iter();
    let mut pause = PAUSES[0];
    loop {
        let failure = match Place::of(at, output::say).and_then(|place| place.is_there().map(|()| place)) {
            Ok(place) => return Ok(place),
            Err(failure) => failure,
        };
        pause = pauses.next().unwrap_or(pause);
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(failure);
        }
        output::say(&format!(
            "{}; trying again in {} s",
            output::one_line(&failure.to_string()),
            pause.min(left).as_secs()
        ));
        thread::sleep(pause.min(left));
    }
}
