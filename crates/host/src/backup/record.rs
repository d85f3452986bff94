//! What is remembered of backups on this machine, so that a failed one shows.

use std::{fs, path::Path};

use matrix_podman_core::{
    backup::{Drilled, News, Repository, RepositoryName, Schedule, Snapshot, news_file},
    effect::{Effect, Local},
    fact::Side,
    layout,
    name::{AbsPath, Mode, Owner},
};
use rustic_core::jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;

use super::Record;
use crate::{
    failure::{Doing, Failure},
    file,
    world::World,
};

/// How times are written: in UTC, so that they compare as text.
const FORM: &str = "%Y-%m-%dT%H:%M:%SZ";

/// How the last backup into a repository went, if there was one.
pub fn last(site: &str, repository: &RepositoryName) -> Option<Record> {
    read(&layout::backup_record(site, repository))
}

/// How the last drill with a repository went, if there was one.
pub fn drilled(site: &str, repository: &RepositoryName) -> Option<Drilled> {
    read(&layout::backup_drill(site, repository))
}

fn read<T: DeserializeOwned>(path: &AbsPath) -> Option<T> {
    serde_json::from_slice(&fs::read(path.as_str()).ok()?).ok()
}

/// Remembers how a backup went: the snapshot that was made, if one was, and
/// what failed, with whether the repository could not be reached. `again` says
/// that it was another try of one that failed.
pub fn keep(
    site: &str,
    repository: &RepositoryName,
    made: Option<&Snapshot>,
    failed: Option<(String, bool)>,
    again: bool,
) -> Result<(), Failure> {
    let path = layout::backup_record(site, repository);
    let before = last(site, repository);
    let failures = match (&failed, &before) {
        (None, _) => 0,
        (Some(_), Some(before)) if again => before.failures.saturating_add(1),
        (Some(_), _) => 1,
    };
    let snapshot = made.cloned().or_else(|| before.and_then(|last| last.snapshot));
    let at = now();
    let (why, unreachable) = failed.map_or((None, false), |(why, unreachable)| (Some(why), unreachable));
    let record = Record { at, why, unreachable, failures, snapshot };
    let text = serde_json::to_vec_pretty(&record).doing(|| format!("write {path}"))?;
    file::write(Path::new(path.as_str()), &text, Mode(0o600), Owner::ROOT)
}

/// From when on it shows that the next one after `last` was missed.
fn missed_from(schedule: &Schedule, last: Option<&str>) -> Option<String> {
    let last: Timestamp = last?.parse().ok()?;
    let after = SignedDuration::from_secs(i64::try_from(schedule.missed_after()?).ok()?);
    Some(last.checked_add(after).ok()?.strftime(FORM).to_string())
}

/// The time now.
pub fn now() -> String {
    Timestamp::now().strftime(FORM).to_string()
}

/// Tells the guest how its backups are. It learns neither where they are nor
/// why something failed.
pub fn tell_guest(world: &World) -> Result<(), Failure> {
    let config = &world.site().config;
    let news: Vec<News> = config
        .backup
        .repositories
        .iter()
        .map(|Repository { name, terms, .. }| {
            let (last, drilled) = (last(config.site(), name), drilled(config.site(), name));
            let mut news = News::of(name, last.as_ref(), drilled.as_ref());
            news.missed_from = missed_from(&terms.schedule, news.made.as_deref());
            news.drill_missed_from = missed_from(&terms.drill, news.drilled.as_deref());
            news
        })
        .collect();
    let doing = "tell the guest how its backups are";
    let effect = Effect::Here(Local::WriteFile {
        side: Side::Guest,
        path: news_file(),
        content: serde_json::to_string(&news).doing(|| doing)?,
        mode: Mode(0o644),
        owner: Owner::ROOT,
    });
    world.apply(&effect, &|_| {}).map_err(|failure| Failure { doing: doing.to_owned(), ..failure })
}
