//! `notify check`: what ended without a word, and what is overdue. It tells of what
//! nobody else could: a run that was killed, and one that never began.

use std::path::Path;

use matrix_podman_core::{
    backup::News,
    notify::Subject,
    resource::is_outside,
    update::{self, Unattended},
};
use matrix_podman_host::{
    backup,
    unattended::{self, Watch},
    world::World,
};
use serde::Serialize;

use super::tell;
use crate::{
    error::{DONE, Error},
    output::{Printable, Reporter, Wording, one_line},
};

/// Updates are made on the 1st and the 15th: this long after one the next was missed,
/// in seconds.
const UPDATE_MISSED: u64 = 19 * 86_400;

/// What a run of this kind is called.
const RUNS: [(Subject, &str); 3] =
    [(Subject::Backup, "backup"), (Subject::Drill, "drill"), (Subject::Update, "update")];

pub(super) fn check(config: Option<&Path>, out: &Reporter) -> Result<u8, Error> {
    let (world, _) = crate::commands::world(config, out)?;
    let site = world.site().config.site();
    let mut found = Vec::new();
    for (subject, what) in RUNS {
        if let Some(began) = unattended::ended_without_a_word(site, what)? {
            found.push((subject, wordless(what, &began)));
        }
    }
    let mut watch = Watch::of(site);
    found.extend(overdue(&world, &mut watch));
    watch.keep(site)?;
    let report = Missed { event: "overdue", found: found.iter().map(|(_, what)| what.as_str()).collect() };
    out.report(&report)?;
    for (subject, what) in &found {
        tell(&world, *subject, false, what, out);
    }
    Ok(DONE)
}

/// What ended without a word, or did not take place.
#[derive(Serialize)]
struct Missed<'a> {
    event: &'static str,
    found: Vec<&'a str>,
}

impl Printable for Missed<'_> {
    fn words(&self) -> Wording {
        if self.found.is_empty() {
            return Wording::of("Nothing is overdue.");
        }
        let mut words = Wording::default();
        for what in &self.found {
            words.say(one_line(what));
        }
        words
    }
}

/// What is said of a run that could not say itself what came of it.
pub fn wordless(what: &str, began: &str) -> String {
    format!(
        "the {what} that began at {began} ended without a word: it was killed, ran out of memory or time, or the power \
         failed; `journalctl` may show more"
    )
}

fn overdue(world: &World, watch: &mut Watch) -> Vec<(Subject, String)> {
    let site = world.site();
    let config = &site.config;
    let mut found = Vec::new();
    if is_outside(site) {
        for at in &config.backup.repositories {
            let (last, drilled) =
                (backup::last(config.site(), &at.name), backup::drilled(config.site(), &at.name));
            let news = News::of(&at.name, last.as_ref(), drilled.as_ref());
            for (subject, what, done, schedule) in [
                (Subject::Backup, "backup", &news.made, &at.terms.schedule),
                (Subject::Drill, "drill", &news.drilled, &at.terms.drill),
            ] {
                let Some(seconds) = schedule.missed_after() else { continue };
                let key = format!("{what} {}", at.name);
                if watch.is_news(&key, done.as_deref(), seconds) {
                    let when = done
                        .as_deref()
                        .map_or("there was none yet".to_owned(), |done| format!("the last was at {done}"));
                    found.push((subject, format!("{}: the {what} is overdue; {when}", at.name)));
                }
            }
        }
    }
    if site.backend.is_this_machine() && config.update.auto {
        let last = std::fs::read_to_string(update::unattended_file().as_str())
            .ok()
            .and_then(|text| Unattended::parse(&text));
        if watch.is_news("update", last.as_ref().map(|last| last.at.as_str()), UPDATE_MISSED) {
            let when =
                last.map_or("there was none yet".to_owned(), |last| format!("the last was at {}", last.at));
            found.push((Subject::Update, format!("the update is overdue; {when}")));
        }
    }
    found
}
