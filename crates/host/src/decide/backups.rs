//! When a backup or a drill was missed, and what to do about it first.

use jiff::Timestamp;
use matrix_podman_core::backup::Schedule;

/// From how many hours on a backup is old: one was missed, and a few hours are let pass.
pub fn old_hours(schedule: &Schedule) -> i64 {
    // Where nothing makes them but people, two days without one are told of.
    schedule.missed_after().and_then(|seconds| i64::try_from(seconds / 3600).ok()).unwrap_or(50)
}

/// Whether one was missed between the time `last` and `now`.
pub fn missed(schedule: &Schedule, last: &str, now: Timestamp) -> bool {
    let since = last.parse::<Timestamp>().map(|at| now.duration_since(at).as_secs());
    match (since.map(u64::try_from), schedule.missed_after()) {
        (Ok(Ok(seconds)), Some(after)) => seconds >= after,
        _ => false,
    }
}

/// How the backups in one repository are; what is not known was never made.
#[derive(Debug, Clone, Copy, Default)]
pub struct BackupHealth {
    /// Whether the last try failed.
    pub failed: Option<bool>,
    /// Whether the last one is old.
    pub old: Option<bool>,
    /// Whether the last drill proves that it comes back whole.
    pub proven: Option<bool>,
    /// Whether a drill was missed since.
    pub drill_old: bool,
}

impl BackupHealth {
    /// What is to be done, most urgent first.
    pub fn problem(self) -> Option<&'static str> {
        match (self.failed, self.old, self.proven) {
            (Some(true), ..) => Some("`matrix-podman backup now` tries again, and says what is wrong"),
            (None, ..) | (_, None, _) => Some("`matrix-podman backup init`, then `matrix-podman backup now`"),
            (_, Some(true), _) => {
                Some("`matrix-podman backup now`; then see why nothing makes backups any more")
            }
            (.., Some(false)) => Some("`matrix-podman backup now`, then `matrix-podman backup drill`"),
            (.., None) => Some("`matrix-podman backup drill` tries out whether it would help"),
            _ if self.drill_old => {
                Some("`matrix-podman backup drill`; then see why nothing tries them out any more")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn what_is_wrong_with_backups_is_said_once_and_most_urgent_first() {
        let next = |failed, old, proven, drill_old| {
            BackupHealth { failed, old, proven, drill_old }.problem().unwrap_or("nothing")
        };
        assert!(BackupHealth::default().problem().unwrap().contains("backup init"));
        assert!(next(Some(true), Some(false), Some(true), false).contains("tries again"));
        assert!(next(Some(false), Some(true), Some(true), false).contains("any more"));
        assert!(next(Some(false), Some(false), Some(false), false).contains("backup now`, then"));
        assert!(next(Some(false), Some(false), None, false).contains("drill"));
        assert_eq!(next(Some(false), Some(false), Some(true), false), "nothing");
        assert!(next(Some(false), Some(false), Some(true), true).contains("tries them out"));
    }

    #[test]
    fn a_drill_that_was_missed_shows() {
        let monthly = Schedule::parse("1 05:00").unwrap();
        let now: Timestamp = "2026-05-01T12:00:00Z".parse().unwrap();
        let ago = |days: i64| (now - SignedDuration::from_hours(days * 24)).to_string();
        assert!(!missed(&monthly, &ago(32), now));
        assert!(missed(&monthly, &ago(33), now));
        assert!(!missed(&Schedule::NEVER, &ago(400), now));
        // A record that nobody can read, and a clock that was set back.
        assert!(!missed(&monthly, "yesterday", now));
        assert!(!missed(&monthly, &ago(-40), now));
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
