//! What timers do: what the schedules say is due, with nobody who could be asked.

use std::{
    thread,
    time::{Duration, Instant},
};

use matrix_podman_core::{notify::Subject, size::Seconds};
use matrix_podman_host::{
    backup::{self, Due, Place, Repository},
    decide::retry::Patience,
    failure::Failure,
    unattended,
};
use serde::Serialize;

use super::{At, SiteBackups, words};
use crate::{
    args,
    commands::notify,
    error::{DONE, Error},
    output::{self, Printable, Reporter, Wording, one_line},
};

/// Backs up into every repository whose time has come, and removes what need
/// not be kept there any longer.
pub(super) fn now(here: &SiteBackups, args: &args::BackupNow) -> Result<u8, Error> {
    let site = here.site();
    let due = |at: &At| {
        let last = backup::last(site, &at.name);
        let failures = last.as_ref().map_or(0, |last| last.failures);
        backup::due(&at.terms.schedule, last.as_ref().map(|last| last.at.as_str()), failures)
    };
    each(here, &args.which, Subject::Backup, due, |at, due| {
        let (mut made, mut unreachable) = (None, false);
        let result = reached(at, args.by_itself.patience, &here.out)
            .inspect_err(|_| unreachable = true)
            .map_err(Error::from)
            .and_then(|place| {
                let (fresh, repository) = here.make(place, at)?;
                here.out.report(&words::BackedUp::of(at, made.insert(fresh)))?;
                here.pruned(at, &repository)
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
pub(super) fn drill(here: &SiteBackups, args: &args::BackupDrill) -> Result<u8, Error> {
    let site = here.site();
    let due = |at: &At| {
        let last = backup::drilled(site, &at.name);
        backup::due(&at.terms.drill, last.as_ref().map(|last| last.at.as_str()), 0)
    };
    each(here, &args.which, Subject::Drill, due, |at, _| {
        let place = reached(at, args.by_itself.patience, &here.out)?;
        let repository = Repository::at(place, &here.password(at)?)?;
        here.drill(&repository, &args.snapshot)
    })
}

/// Nothing was done.
#[derive(Serialize)]
struct Idle {
    event: &'static str,
    why: String,
}

impl Printable for Idle {
    fn words(&self) -> Wording {
        Wording::of(self.why.clone())
    }
}

fn each(
    here: &SiteBackups,
    which: &args::Which,
    subject: Subject,
    due: impl Fn(&At) -> Option<Due>,
    act: impl Fn(&At, Due) -> Result<u8, Error>,
) -> Result<u8, Error> {
    let what = if subject == Subject::Drill { "drill" } else { "backup" };
    // cron begins another one while the last one is at it. What is no news goes where cron's line throws it away.
    let Some(run) = unattended::begin(here.site(), what)? else {
        here.out
            .report(&Idle { event: "idle", why: format!("Another run is at the {what} that is due.") })?;
        return super::super::OK;
    };
    if let Some(began) = &run.wordless {
        notify::tell(&here.world, subject, false, &notify::wordless(what, began), &here.out);
    }
    let due: Vec<(At, Due)> =
        here.chosen(which)?.into_iter().filter_map(|at| due(&at).map(|due| (at, due))).collect();
    if due.is_empty() {
        here.out.report(&Idle { event: "idle", why: format!("No {what} is due.") })?;
        run.told();
        return super::super::OK;
    }
    let tell = |well, what: &str| notify::tell(&here.world, subject, well, what, &here.out);
    let (mut worst, mut failed) = (DONE, Vec::new());
    for (at, due) in &due {
        let again = if *due == Due::Again { " again, since it failed" } else { "" };
        here.out.say(&format!("A {what} is due{again}: {} ({})", at.name, at.location));
        match act(at, *due) {
            Ok(DONE) => tell(true, &format!("{}: it went well", at.name)),
            Ok(code) => {
                worst = worst.max(code);
                let what = "a snapshot did not come back whole; `matrix-podman status` says more";
                tell(false, &format!("{}: {what}", at.name));
            }
            Err(error) => {
                here.out.error(&error);
                // Whoever was told once that it fails need not be told each hour.
                if *due == Due::InTime {
                    tell(false, &format!("{}: {error}", at.name));
                }
                failed.push(format!("{}: {error}", at.name));
            }
        }
    }
    run.told();
    here.tell_guest();
    notify::tell_of_room(&here.world, &here.out);
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
fn reached(at: &At, patience: Seconds, out: &Reporter) -> Result<Place, Failure> {
    let began = Instant::now();
    let mut patience = Patience::of(Duration::from_secs(patience.0));
    loop {
        let failure = match Place::of(at, output::say).and_then(|place| place.is_there().map(|()| place)) {
            Ok(place) => return Ok(place),
            Err(failure) => failure,
        };
        let Some(pause) = patience.next(began.elapsed()) else { return Err(failure) };
        out.say(&format!("{}; trying again in {} s", one_line(&failure.to_string()), pause.as_secs()));
        thread::sleep(pause);
    }
}
