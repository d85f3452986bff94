//! Whether something is due, by the machine's own clock.

use matrix_podman_core::backup::{Schedule, Weekday};
use rustic_core::jiff::{SignedDuration, Timestamp, ToSpan as _, Zoned, civil};

/// How long after one that failed another one is tried before its time.
const AGAIN_AFTER: SignedDuration = SignedDuration::from_mins(60);
/// How often that is done until its time comes round again.
const AGAIN: u32 = 4;

/// How far in the future something may be dated that is over: a clock that was put
/// back by some hours waits for its time.
const AHEAD: SignedDuration = SignedDuration::from_hours(24);

/// Whether something is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Its time came round.
    InTime,
    /// It failed a while ago, and is worth another try before its time.
    Again,
}

/// Whether `schedule` has come round since `last` (RFC 3339), or what failed then,
/// so many times by now, is to be tried again. What was never done is due as soon
/// as there is a schedule.
pub fn due(schedule: &Schedule, last: Option<&str>, failures: u32) -> Option<Due> {
    due_at(schedule, last, failures, &Zoned::now())
}

fn due_at(schedule: &Schedule, last: Option<&str>, failures: u32, now: &Zoned) -> Option<Due> {
    let came_round = last_time(schedule, now)?;
    let Some(last) = last.and_then(|last| last.parse::<Timestamp>().ok()) else { return Some(Due::InTime) };
    // The clock was set back since: what is dated in the future says nothing of today.
    let ahead = last.duration_since(now.timestamp()) > AHEAD;
    if last < came_round.timestamp() || ahead {
        return Some(Due::InTime);
    }
    let waited = now.timestamp().duration_since(last);
    ((1..=AGAIN).contains(&failures) && waited >= AGAIN_AFTER).then_some(Due::Again)
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
            // Neither does what is dated in the future.
            ("03:30", Some("2027-11-25T02:31:00Z"), true),
            ("03:30", Some("2026-11-25T03:05:00Z"), false),
            // What cannot be understood does not keep anything from being done.
            ("03:30", Some("yesterday"), true),
        ] {
            let parsed = Schedule::parse(schedule).unwrap();
            let found = due_at(&parsed, last, 0, &now);
            assert_eq!(found, due.then_some(Due::InTime), "{schedule} {last:?}");
        }
    }

    #[test]
    fn what_failed_is_tried_again_some_times_before_its_time() {
        let at = |text: &str| -> Zoned { format!("2026-11-25T{text}+00:00[UTC]").parse().unwrap() };
        for (schedule, last, failures, now, due) in [
            ("03:30", "03:31:00", 1, "04:30:59", None),
            ("03:30", "03:31:00", 1, "04:31:00", Some(Due::Again)),
            ("03:30", "04:31:30", 2, "05:00:00", None),
            ("03:30", "04:31:30", 2, "09:00:00", Some(Due::Again)),
            ("03:30", "07:40:00", 4, "08:40:00", Some(Due::Again)),
            ("03:30", "08:41:00", 5, "23:00:00", None),
            // What went well is not.
            ("03:30", "03:31:00", 0, "23:00:00", None),
            // At its time it is done, however often it failed.
            ("08:45", "08:41:00", 5, "08:45:00", Some(Due::InTime)),
            ("never", "03:31:00", 1, "23:00:00", None),
            // A clock that was put back: it waits for its time.
            ("03:30", "22:00:00", 1, "05:00:00", None),
        ] {
            let parsed = Schedule::parse(schedule).unwrap();
            let last = format!("2026-11-25T{last}Z");
            let found = due_at(&parsed, Some(&last), failures, &at(now));
            assert_eq!(found, due, "{schedule} {last} {failures} {now}");
        }
    }
}
