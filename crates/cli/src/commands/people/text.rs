//! How moments are shown.

use jiff::{Timestamp, tz::TimeZone};
use matrix_podman_core::people::Millis;

use crate::output;

/// Now, as Synapse counts time.
pub fn now() -> Millis {
    Millis(u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default())
}

fn timestamp(moment: Millis) -> Option<Timestamp> {
    i64::try_from(moment.0).ok().and_then(|millis| Timestamp::from_millisecond(millis).ok())
}

/// For programs: RFC 3339, to the second.
pub fn rfc3339(moment: Millis) -> Option<String> {
    timestamp(moment).map(|t| t.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}

/// For people: `2026-12-31 18:00`, where they are.
pub fn local(moment: Millis) -> String {
    match timestamp(moment) {
        Some(t) => t.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M").to_string(),
        None => "never".to_owned(),
    }
}

/// For people: the day.
pub fn day(moment: Option<Millis>) -> String {
    match moment.and_then(timestamp) {
        Some(t) => t.to_zoned(TimeZone::system()).strftime("%Y-%m-%d").to_string(),
        None => "-".to_owned(),
    }
}

/// For people: how long ago.
pub fn ago(now: Millis, moment: Option<Millis>) -> String {
    let Some(moment) = moment else { return "never".to_owned() };
    let seconds = now.0.saturating_sub(moment.0) / 1000;
    match seconds {
        // Synapse notes it every few minutes only.
        0..300 => "now".to_owned(),
        300..5_184_000 => output::ago(seconds),
        _ => day(Some(moment)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_well() {
        let now = Millis(1_800_000_000_000);
        let before = |minutes: u64| Some(Millis(now.0 - minutes * 60_000));
        assert_eq!(ago(now, None), "never");
        assert_eq!(ago(now, before(2)), "now");
        assert_eq!(ago(now, before(90)), "90 min ago");
        assert_eq!(ago(now, before(300)), "5 hours ago");
        assert_eq!(ago(now, before(5000)), "3 days ago");
        // A clock that was set back meanwhile.
        assert_eq!(ago(now, Some(Millis(now.0 + 1))), "now");
        assert_eq!(rfc3339(Millis(0)).unwrap(), "1970-01-01T00:00:00Z");
        assert_eq!(rfc3339(Millis(u64::MAX)), None);
    }
}
