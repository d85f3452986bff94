//! What `status` says of backups: a failed or an old one is as loud as a
//! service that does not run.

use matrix_podman_core::{
    config::Config,
    layout,
    status::{Piece, Row, Tone},
};
use matrix_podman_host::backup::{Proof, Record, Standing};
use serde::Serialize;

/// From this age on, a backup is old: one was missed.
const OLD_HOURS: i64 = 50;

/// How the site's backups are.
#[derive(Debug, Serialize)]
pub struct Backups {
    repository: String,
    /// The last one that was tried from this machine.
    last: Option<Record>,
    /// Hours since the last snapshot was made.
    age_hours: Option<i64>,
    drill: Option<Proof>,
    /// What the signature of the drill's proof is worth.
    drill_proof: Option<Standing>,
    /// What is to be done about them.
    problem: Option<&'static str>,
}

impl Backups {
    /// Those of a site whose config names a repository; they are known where they
    /// are made, and in the guest nothing is known of them.
    pub fn of(config: &Config) -> Option<Self> {
        let repository = config.backup.repository.as_ref()?.to_string();
        if std::path::Path::new(layout::applied_config().as_str()).exists() {
            return None;
        }
        let last = Record::last(config.site());
        let drill = Proof::last(config.site());
        let drill_proof = drill.as_ref().map(Proof::standing);
        let age_hours = last
            .as_ref()
            .and_then(|last| last.snapshot.as_ref()?.time.parse::<jiff::Timestamp>().ok())
            .map(|at| jiff::Timestamp::now().duration_since(at).as_hours());
        let problem = problem(
            last.as_ref().map(|last| last.why.is_some()),
            age_hours,
            drill.as_ref().map(|proof| proof.is_good() && drill_proof == Some(Standing::Holds)),
        );
        Some(Self { repository, last, age_hours, drill, drill_proof, problem })
    }

    /// Lines of `status`.
    pub fn rows(&self) -> [Row; 2] {
        let (tone, made) = match (&self.last, self.age_hours) {
            (Some(Record { why: Some(why), at, .. }), _) => (Tone::Bad, format!("failed at {at}: {why}")),
            (_, Some(hours)) if hours >= OLD_HOURS => {
                (Tone::Bad, format!("the last one is {} old", age(hours)))
            }
            (_, Some(hours)) => (Tone::Good, format!("made {} ago", age(hours))),
            _ => (Tone::Bad, "none was made yet".to_owned()),
        };
        let mut backup = Row::new("backup", tone, made);
        backup.pieces.push(Piece::new(Tone::Plain, format!("   in {}", self.repository)));
        let (tone, drilled) = match &self.drill {
            // What anybody could have written proves nothing.
            Some(proof) if self.drill_proof != Some(Standing::Holds) => {
                let said = self.drill_proof.map_or("not signed", Standing::said);
                (Tone::Bad, format!("the proof of {} is {said}", proof.at))
            }
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

/// What is to be done, most urgent first.
fn problem(failed: Option<bool>, age_hours: Option<i64>, drill: Option<bool>) -> Option<&'static str> {
    match (failed, age_hours, drill) {
        (Some(true), ..) => Some("`matrix-podman backup now` tries again, and says what is wrong"),
        (None, ..) | (_, None, _) => Some("`matrix-podman backup init`, then `matrix-podman backup now`"),
        (_, Some(hours), _) if hours >= OLD_HOURS => {
            Some("`matrix-podman backup now`; then see why nothing makes backups any more")
        }
        (.., Some(false)) => Some("`matrix-podman backup now`, then `matrix-podman backup drill`"),
        (.., None) => Some("`matrix-podman backup drill` tries out whether it would help"),
        _ => None,
    }
}

fn age(hours: i64) -> String {
    match hours {
        ..1 => "less than an hour".to_owned(),
        1 => "an hour".to_owned(),
        2..OLD_HOURS => format!("{hours} hours"),
        _ => format!("{} days", hours / 24),
    }
}

#[cfg(test)]
mod tests {
    use super::problem;

    #[test]
    fn what_is_wrong_with_backups_is_said_once_and_most_urgent_first() {
        let next = |failed, age, drill| problem(failed, age, drill).unwrap_or("nothing");
        assert!(next(None, None, None).contains("backup init"));
        assert!(next(Some(true), Some(1), Some(true)).contains("tries again"));
        assert!(next(Some(false), Some(60), Some(true)).contains("any more"));
        assert!(next(Some(false), Some(1), Some(false)).contains("backup now`, then"));
        assert!(next(Some(false), Some(1), None).contains("drill"));
        assert_eq!(next(Some(false), Some(1), Some(true)), "nothing");
    }
}
