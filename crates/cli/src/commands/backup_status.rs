//! What `status` says of backups: a failed or an old one is as loud as a
//! service that does not run.

use std::path::Path;

use matrix_podman_core::{
    backup::{News, Record, RepositoryName, Schedule},
    config::Config,
    render::backups::{Chore, cron_file},
    status::{Piece, Row, Tone},
};
use matrix_podman_host::backup::{self, Proof, Standing};
use serde::Serialize;

use crate::output::ago;

/// How the backups in one repository are.
#[derive(Debug, Serialize)]
pub struct Backups {
    name: RepositoryName,
    repository: String,
    /// When one is made by itself.
    schedule: String,
    /// Whether there is anything that makes them by itself.
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
                let drill_old = drill.as_ref().is_some_and(|drill| missed(&at.terms.drill, &drill.at));
                let old_hours = old_hours(&at.terms.schedule);
                let problem = problem(
                    last.as_ref().map(|last| last.why.is_some()),
                    age_hours.map(|hours| hours >= old_hours),
                    drill.as_ref().map(|proof| proof.is_good() && drill_proof == Some(Standing::Holds)),
                    drill_old,
                );
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
                    problem,
                }
            })
            .collect()
    }

    /// Lines of `status`.
    pub fn rows(&self) -> [Row; 2] {
        let (tone, made) = match (&self.last, self.age_hours) {
            (Some(Record { why: Some(why), at, .. }), _) => (Tone::Bad, format!("failed at {at}: {why}")),
            (_, Some(hours)) if hours >= self.old_hours => {
                (Tone::Bad, format!("the last one was made {}", since(hours)))
            }
            (_, Some(hours)) => (Tone::Good, format!("made {}", since(hours))),
            _ => (Tone::Bad, "none was made yet".to_owned()),
        };
        let named = if self.name.is_main() { String::new() } else { format!(" ({})", self.name) };
        let mut backup = Row::new("backup", tone, made);
        backup.pieces.push(Piece::new(Tone::Plain, format!("   in {}{named}", self.repository)));
        if !self.by_itself {
            backup.pieces.push(Piece::new(Tone::Care, "   only when somebody types it"));
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

/// From how many hours on a backup is old: one was missed, and a few hours are let pass.
fn old_hours(schedule: &Schedule) -> i64 {
    // Where nothing makes them but people, two days without one are told of.
    schedule.missed_after().and_then(|seconds| i64::try_from(seconds / 3600).ok()).unwrap_or(50)
}

/// Whether one was missed since the time `last`.
fn missed(schedule: &Schedule, last: &str) -> bool {
    let since = last.parse::<jiff::Timestamp>().map(|at| jiff::Timestamp::now().duration_since(at).as_secs());
    match (since.map(u64::try_from), schedule.missed_after()) {
        (Ok(Ok(seconds)), Some(after)) => seconds >= after,
        _ => false,
    }
}

/// What is to be done, most urgent first.
fn problem(
    failed: Option<bool>,
    old: Option<bool>,
    drill: Option<bool>,
    drill_old: bool,
) -> Option<&'static str> {
    match (failed, old, drill) {
        (Some(true), ..) => Some("`matrix-podman backup now` tries again, and says what is wrong"),
        (None, ..) | (_, None, _) => Some("`matrix-podman backup init`, then `matrix-podman backup now`"),
        (_, Some(true), _) => Some("`matrix-podman backup now`; then see why nothing makes backups any more"),
        (.., Some(false)) => Some("`matrix-podman backup now`, then `matrix-podman backup drill`"),
        (.., None) => Some("`matrix-podman backup drill` tries out whether it would help"),
        _ if drill_old => Some("`matrix-podman backup drill`; then see why nothing tries them out any more"),
        _ => None,
    }
}

/// So many hours, as people say how long ago something was.
fn since(hours: i64) -> String {
    ago(u64::try_from(hours).unwrap_or_default().saturating_mul(3600))
}

#[cfg(test)]
mod tests {
    use matrix_podman_core::backup::Schedule;

    use super::{missed, old_hours, problem};

    #[test]
    fn what_is_wrong_with_backups_is_said_once_and_most_urgent_first() {
        let next = |failed, old, drill| problem(failed, old, drill, false).unwrap_or("nothing");
        assert!(next(None, None, None).contains("backup init"));
        assert!(next(Some(true), Some(false), Some(true)).contains("tries again"));
        assert!(next(Some(false), Some(true), Some(true)).contains("any more"));
        assert!(next(Some(false), Some(false), Some(false)).contains("backup now`, then"));
        assert!(next(Some(false), Some(false), None).contains("drill"));
        assert_eq!(next(Some(false), Some(false), Some(true)), "nothing");
        assert!(problem(Some(false), Some(false), Some(true), true).unwrap().contains("tries them out"));
    }

    #[test]
    fn a_drill_that_was_missed_shows() {
        let monthly = Schedule::parse("1 05:00").unwrap();
        let ago =
            |days: i64| (jiff::Timestamp::now() - jiff::SignedDuration::from_hours(days * 24)).to_string();
        assert!(!missed(&monthly, &ago(32)));
        assert!(missed(&monthly, &ago(33)));
        assert!(!missed(&Schedule::NEVER, &ago(400)));
    }

    #[test]
    fn a_backup_is_old_when_one_was_missed() {
        for (schedule, hours) in [
            ("03:30", 50),
            ("Sun 04:00", 7 * 24 + 26),
            ("Mon,Thu 04:00", 4 * 24 + 26),
            ("1 04:00", 31 * 24 + 26),
        ] {
            assert_eq!(old_hours(&Schedule::parse(schedule).unwrap()), hours);
        }
        assert_eq!(old_hours(&Schedule::NEVER), 50);
    }
}
