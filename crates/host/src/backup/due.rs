//! Whether something is due, by the machine's own clock.

use matrix_podman_core::backup::{Schedule, Weekday};
use rustic_core::jiff::{Timestamp, ToSpan as _, Zoned, civil};

/// Whether `schedule` has come round since `last` (RFC 3339); what was never
/// done is due as soon as there is a schedule.
pub fn is_due(schedule: &Schedule, last: Option<&str>) -> bool {
    due_at(schedule, last, &Zoned::now())
}

fn due_at(schedule: &Schedule, last: Option<&str>, now: &Zoned) -> bool {
    let Some(came_round) = last_time(schedule, now) else { return false };
    match last.and_then(|last| last.parse::<Timestamp>().ok()) {
        Some(last) => last < came_round.timestamp(),
        None => true,
    }
}

/// When it last came round.
fn last_time(schedule: &Schedule, now: &Zoned) -> Option<Zoned> {
    let (hour, minute) = schedule.time()?;
    let (hour, minute) = (i8::try_from(hour).ok()?, i8::try_from(minute).ok()?);
    let mut date = now.date();
    // A day that every month has comes within as many days as the longest month has.
    for _ in 0..=31 {
        let weekday = match date.weekday() {
            civil::Weekday::Monday => Weekday::Mon,
            civil::Weekday::Tuesday => Weekday::Tue,
            civil::Weekday::Wednesday => Weekday::Wed,
            civil::Weekday::Thursday => Weekday::Thu,
            civil::Weekday::Friday => Weekday::Fri,
            civil::Weekday::Saturday => Weekday::Sat,
            civil::Weekday::Sunday => Weekday::Sun,
        };
        if schedule.falls_on(weekday, u8::try_from(date.day()).ok()?) {
            let at = date.at(hour, minute, 0, 0).to_zoned(now.time_zone().clone()).ok()?;
            if at <= *now {
                return Some(at);
            }
        }
        date = date.checked_sub(1.day()).ok()?;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_came_round_since_it_was_last_done_is_due() {
        // A Wednesday.
        let now: Zoned = "2026-11-25T04:00:00+01:00[Europe/Berlin]".parse().unwrap();
        for (schedule, last, due) in [
            ("03:30", None, true),
            ("03:30", Some("2026-11-25T02:29:00Z"), true),
            ("03:30", Some("2026-11-25T02:31:00Z"), false),
            ("04:30", Some("2026-11-24T03:31:00Z"), false),
            ("04:30", Some("2026-11-24T03:29:00Z"), true),
            ("Wed 04:00", Some("2026-11-25T02:59:59Z"), true),
            ("Wed 04:01", Some("2026-11-18T03:30:00Z"), false),
            ("Mon,Thu 01:00", Some("2026-11-23T01:00:00Z"), false),
            ("Mon,Thu 01:00", Some("2026-11-22T01:00:00Z"), true),
            ("1 05:00", Some("2026-11-01T04:00:01Z"), false),
            ("1 05:00", Some("2026-10-31T04:00:00Z"), true),
            ("26 00:00", Some("2026-10-26T00:00:00Z"), false),
            ("never", None, false),
            // What cannot be understood does not keep anything from being done.
            ("03:30", Some("yesterday"), true),
        ] {
            let parsed = Schedule::parse(schedule).unwrap();
            assert_eq!(due_at(&parsed, last, &now), due, "{schedule} {last:?}");
        }
    }
}
