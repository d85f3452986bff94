//! What `status` says of backups: a failed or an old one is as loud as a
//! service that does not run.

use std::path::Path;

use matrix_podman_core::{
    backup::{News, Record, RepositoryName},
    config::Config,
    render::backups::{Chore, cron_file},
    status::{Piece, Row, Tone},
};
use matrix_podman_host::{
    backup::{self, Proof, Standing},
    decide::backups::{self, BackupHealth},
};
use serde::Serialize;

use crate::output::ago;

/// How the backups in one repository are.
#[derive(Debug, Serialize)]
pub struct Backups {
    name: RepositoryName,
    repository: String,
    /// When one is made automatically.
    schedule: String,
    /// Whether anything makes them automatically.
    by_itself: bool,
    /// The last one that was tried from this machine.
    last: Option<Record>,
    /// Hours since the last snapshot was made.
    age_hours: Option<i64>,
    /// From this age on one was missed.
    old_hours: i64,
    drill: Option<Proof>,
    /// Whether a drill was missed since.
    drill_old: bool,
    /// What the signature of the drill's proof is worth.
    drill_proof: Option<Standing>,
    /// What is to be done about them.
    problem: Option<&'static str>,
}

impl Backups {
    /// Those of a site whose config names repositories; they are known where they
    /// are made. The guest knows only what it was told, see [`News`].
    pub fn of(config: &Config) -> Vec<Self> {
        config
            .backup
            .repositories
            .iter()
            .map(|at| {
                let last = backup::last(config.site(), &at.name);
                let drill = Proof::last(config.site(), &at.name);
                let drill_proof = drill.as_ref().map(Proof::standing);
                let age_hours = last
                    .as_ref()
                    .and_then(|last| last.snapshot.as_ref()?.time.parse::<jiff::Timestamp>().ok())
                    .map(|at| jiff::Timestamp::now().duration_since(at).as_hours());
                let now = jiff::Timestamp::now();
                let drill_old =
                    drill.as_ref().is_some_and(|drill| backups::missed(&at.terms.drill, &drill.at, now));
                let old_hours = backups::old_hours(&at.terms.schedule);
                let health = BackupHealth {
                    failed: last.as_ref().map(|last| last.why.is_some()),
                    old: age_hours.map(|hours| hours >= old_hours),
                    proven: drill
                        .as_ref()
                        .map(|proof| proof.is_good() && drill_proof == Some(Standing::Holds)),
                    drill_old,
                };
                Self {
                    name: at.name.clone(),
                    repository: at.location.to_string(),
                    schedule: at.terms.schedule.to_string(),
                    by_itself: !at.terms.schedule.is_never() && has_timers(config),
                    last,
                    age_hours,
                    old_hours,
                    drill,
                    drill_old,
                    drill_proof,
                    problem: health.problem(),
                }
            })
            .collect()
    }

    /// Lines of `status`.
    pub fn rows(&self) -> [Row; 2] {
        let (tone, made) = match (&self.last, self.age_hours) {
            (_, Some(hours)) if hours >= self.old_hours => {
                (Tone::Bad, format!("the last one was made {}", since(hours)))
            }
            (_, Some(hours)) => (Tone::Good, format!("made {}", since(hours))),
            _ => (Tone::Bad, "none was made yet".to_owned()),
        };
        let named = if self.name.is_main() { String::new() } else { format!(" ({})", self.name) };
        let mut backup = Row::new("backup", tone, made);
        if let Some(Record { why: Some(why), at, .. }) = &self.last {
            backup.pieces.push(Piece::new(Tone::Bad, format!("; the last try failed at {at}: {why}")));
        }
        backup.pieces.push(Piece::new(Tone::Plain, format!("   in {}{named}", self.repository)));
        if !self.by_itself {
            backup.pieces.push(Piece::new(Tone::Care, "   manual only"));
        }
        let (tone, drilled) = match &self.drill {
            // What anybody could have written proves nothing.
            Some(proof) if self.drill_proof != Some(Standing::Holds) => {
                let said = self.drill_proof.map_or("not signed", Standing::said);
                (Tone::Bad, format!("the proof of {} is {said}", proof.at))
            }
            Some(proof) if proof.is_good() && self.drill_old => (
                Tone::Bad,
                format!(
                    "{} came back whole at {}, and none was tried out since",
                    proof.snapshot.id, proof.at
                ),
            ),
            Some(proof) if proof.is_good() => {
                (Tone::Good, format!("{} came back whole at {}, signed", proof.snapshot.id, proof.at))
            }
            Some(proof) => {
                (Tone::Bad, format!("{} did not come back whole at {}", proof.snapshot.id, proof.at))
            }
            None => (Tone::Care, "never tried out".to_owned()),
        };
        [backup, Row::new("drill", tone, drilled)]
    }

    /// What is to be done about them.
    pub fn next(&self) -> Option<&'static str> {
        self.problem
    }
}

/// Whether this machine has timers for backups, or lines for cron.
fn has_timers(config: &Config) -> bool {
    let [_, timer] = Chore::Backup.units(config);
    [timer, cron_file(config)].iter().any(|file| Path::new(file.path.as_str()).exists())
}

/// What a guest was told of its backups, in a line of `status`.
pub fn told(news: &News) -> Row {
    let now = backup::now();
    let tone = if news.is_well(&now) { Tone::Good } else { Tone::Bad };
    Row::new("backup", tone, news.line(&now))
}

/// So many hours, as people say how long ago something was.
fn since(hours: i64) -> String {
    ago(u64::try_from(hours).unwrap_or_default().saturating_mul(3600))
}
