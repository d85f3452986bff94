//! The timer that has the server update itself.

use super::{
    DesiredFile,
    unit::{self, Section},
};
use crate::{layout, name::AbsPath};

const HEADER: &str = "Written by matrix-podman; changes here are overwritten.";

/// How long an update may take: long enough for another major version of
/// PostgreSQL under a large database. A service of this kind has no other limit.
const UPDATE_LIMIT: &str = "26h";
/// How long looking for what is overdue may take.
const WATCH_LIMIT: &str = "15min";

/// The services and their timers.
pub fn files() -> [DesiredFile; 4] {
    let service = [
        Section::new("Unit")
            .raw("Description", "Matrix: update the server")
            .raw("Wants", "network-online.target")
            .raw("After", format!("network-online.target {}", layout::STACK_UNIT))
            .raw("OnFailure", layout::WATCH_UNIT),
        Section::new("Service").raw("Type", "oneshot").raw("TimeoutStartSec", UPDATE_LIMIT).words(
            "ExecStart",
            [layout::BINARY, "--config", layout::applied_config().as_str(), "update", "--unattended"],
        ),
    ];
    let timer = [
        Section::new("Unit").raw("Description", "Matrix: when the server updates itself"),
        Section::new("Timer")
            .raw("OnCalendar", "*-*-01,15 05:30:00")
            .raw("RandomizedDelaySec", "45min")
            // A guest that was off at that time makes up for it.
            .raw("Persistent", "true"),
        Section::new("Install").raw("WantedBy", "timers.target"),
    ];
    let watch = [
        Section::new("Unit")
            .raw("Description", "Matrix: notice updates that ended without a word, and overdue ones"),
        Section::new("Service").raw("Type", "oneshot").raw("TimeoutStartSec", WATCH_LIMIT).words(
            "ExecStart",
            [layout::BINARY, "--config", layout::applied_config().as_str(), "notify", "check"],
        ),
    ];
    let watch_timer = [
        Section::new("Unit").raw("Description", "Matrix: when that is looked for"),
        Section::new("Timer")
            .raw("OnCalendar", "*-*-* 03/6:41:00")
            .raw("RandomizedDelaySec", "10min")
            .raw("Persistent", "true"),
        Section::new("Install").raw("WantedBy", "timers.target"),
    ];
    let file = |name: &str, sections: &[Section], why| {
        let path = AbsPath::known(format!("/etc/systemd/system/{name}"));
        DesiredFile::public(path, unit::to_string(HEADER, sections), why)
    };
    [
        file(layout::UPDATE_UNIT, &service, "Updates the server, and takes back what does not do"),
        file(layout::UPDATE_TIMER, &timer, "Says when the server updates itself"),
        file(layout::WATCH_UNIT, &watch, "Tells of updates that ended without a word, and of overdue ones"),
        file(layout::WATCH_TIMER, &watch_timer, "Says when that is looked for"),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::testing::show;

    #[test]
    fn twice_a_month() {
        insta::assert_snapshot!(show(&files()));
    }
}
