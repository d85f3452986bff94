//! `status`: how the server is.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use matrix_podman_core::{
    backup::{News, news_file},
    fact::Side,
    layout,
    missing::StillMissing,
    name::{Mode, Owner},
    observed::{Observed, Seen},
    resource::{Site, is_outside},
    status::{Found, Looked, Piece, Row, Status, Tone},
};
use matrix_podman_host::{failure::Failure, file, journal::SiteRuns, notify::Record, world::World};
use serde::Serialize;

use super::{
    backup_status::{Backups, told},
    runs,
};
use crate::{
    error::{DONE, Error, FAILED},
    output::{BOLD, DIM, GREEN, Printable, RED, Reporter, Wording, YELLOW, harmless, styled},
    site,
};

/// What `status --json` prints.
#[derive(Debug, Serialize)]
pub struct FullStatus {
    #[serde(flatten)]
    pub status: Status,
    /// What is at work on it, and how the last `up` failed, if it did.
    runs: SiteRuns,
    /// What it lacks, as its config tells.
    missing: Vec<StillMissing>,
    /// How the backups in each repository are; none in the guest.
    pub backups: Vec<Backups>,
    /// What the guest was told of them; none on the machine.
    pub backup_news: Vec<News>,
    notices: Notices,
}

#[derive(Debug, Default, Serialize)]
struct Notices {
    /// What came of the last ones, where the command is typed and in the guest.
    last: Vec<Record>,
}

pub fn run(config: Option<&Path>, out: &Reporter) -> Result<u8, Error> {
    let (world, _) = super::world(config, out)?;
    let shown = look(&world)?;
    out.report(&shown)?;
    Ok(if shown.status.is_well() { DONE } else { FAILED })
}

/// How the server of `world` is now.
pub fn look(world: &World) -> Result<FullStatus, Failure> {
    let at = now();
    let site = world.site();
    let (told, news, mut status) = world.look(&mut Observed::default(), |seen| {
        (last_notice(site, seen), news(site, seen), Status::of(site, seen, at))
    })?;
    let own = Record::last(site.config.site()).filter(|_| !site.backend.is_this_machine());
    let notices = Notices { last: own.into_iter().chain(told.unwrap_or_default()).collect() };
    let backups = if is_outside(site) { Backups::of(&site.config) } else { Vec::new() };
    let runs = runs::of(world);
    if let Some(change) = runs.changed {
        status.found.overtaken_by(change);
    }
    let missing = runs::missing(world);
    Ok(FullStatus { status, missing, runs, backups, backup_news: news.unwrap_or_default(), notices })
}

/// What the guest was told of its backups, where it is the guest that is asked.
fn news(site: &Site, seen: &Observed) -> Seen<Vec<News>> {
    if is_outside(site) {
        return Ok(Vec::new());
    }
    let file = seen.file(Side::Guest, &news_file())?;
    Ok(file.and_then(|f| News::parse(f.content.as_deref().unwrap_or_default())).unwrap_or_default())
}

/// The last notice that was sent from the guest.
fn last_notice(site: &Site, seen: &Observed) -> Seen<Option<Record>> {
    let file = seen.file(Side::Guest, &layout::notice_record(site.config.site()))?;
    Ok(file.and_then(|f| Record::parse(f.content.as_deref().unwrap_or_default())))
}

/// The time, in seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// Writes down what was found, for the next `status`. That it cannot be written
/// is no reason not to tell what was found.
pub fn remember(world: &World, looked: Looked, found: &Found, out: &Reporter) {
    let path = looked.file(world.site().config.site());
    let of_a_server = site::state_folder(world.site()).exists() || site::is_guest();
    if !of_a_server {
        return;
    }
    let written = found
        .render()
        .map_err(|e| Failure::new(format!("write {path}"), e))
        .and_then(|text| file::write(path.as_str().as_ref(), text.as_bytes(), Mode(0o600), Owner::ROOT));
    if let Err(failure) = written {
        out.say(&format!("note: `status` will not know of this: {failure}"));
    }
}

impl FullStatus {
    /// A status and nothing beside it.
    #[cfg(test)]
    pub fn alone(status: Status) -> Self {
        Self {
            status,
            missing: Vec::new(),
            runs: SiteRuns::default(),
            backups: Vec::new(),
            backup_news: Vec::new(),
            notices: Notices::default(),
        }
    }

    /// What stands above the services.
    pub fn first_rows(&self) -> Vec<Row> {
        let missing = |missing: &StillMissing| {
            let text = format!("{} ({})", missing.words(), missing.command());
            Row::new(missing.label(), Tone::Care, text)
        };
        runs::row(&self.runs).into_iter().chain(self.missing.iter().map(missing)).collect()
    }

    /// Everything below the services.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = self.status.rows();
        let place = rows.iter().position(|row| row.label == "last update" || row.label == "next");
        let place = place.unwrap_or(rows.len().saturating_sub(2));
        let backups = self.backups.iter().flat_map(Backups::rows);
        rows.splice(place..place, backups.chain(self.backup_news.iter().map(told)));
        for notice in &self.notices.last {
            let unsent = notice.unsent.iter();
            rows.extend(unsent.map(|why| Row::new("notices", Tone::Care, format!("{}: {why}", notice.at))));
        }
        rows
    }

    /// What to type next, where something is not as it should be.
    pub fn next(&self) -> Option<String> {
        // What is not as it should be may only not have had its turn yet.
        if self.runs.building().is_some() {
            return None;
        }
        if self.runs.failed.is_some() && self.status.held.is_none() {
            return Some("`matrix-podman up` goes on from what is there".to_owned());
        }
        let backup = || self.backups.iter().find_map(Backups::next).map(str::to_owned);
        self.status.next().or_else(backup)
    }
}

impl Printable for FullStatus {
    fn words(&self) -> Wording {
        let status = &self.status;
        let mut words = Wording::of(styled(BOLD, &status.server_name));
        words.data(format!("  {}", harmless(&status.guest_line())));
        for row in self.first_rows() {
            words.data(row_line(&row));
        }
        for service in &status.services {
            let version = service.version.as_deref().unwrap_or("");
            let mut line = format!(
                "  {:<12} {} {}",
                service.name,
                toned(&service.state_piece()),
                styled(DIM, &format!("{version:<10}")),
            );
            for piece in service.more() {
                line.push_str("  ");
                line.push_str(&toned(&piece));
            }
            words.data(line.trim_end());
        }
        for row in self.rows() {
            words.data(row_line(&row));
        }
        if let Some(problem) = &status.problem {
            words.say(format!("note: {}", harmless(problem)));
        }
        if let Some(next) = self.next() {
            words.say(format!("next: {next}"));
        }
        words
    }
}

fn row_line(row: &Row) -> String {
    let text: String = row.pieces.iter().map(toned).collect();
    format!("  {:<12} {text}", row.label)
}

fn toned(piece: &Piece) -> String {
    let text = harmless(&piece.text);
    match piece.tone {
        Tone::Plain => text,
        Tone::Strong => styled(BOLD, &text),
        Tone::Quiet => styled(DIM, &text),
        Tone::Good => styled(GREEN, &text),
        Tone::Care => styled(YELLOW, &text),
        Tone::Bad => styled(RED, &text),
    }
}
