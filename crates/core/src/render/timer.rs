//! The timer that has the server update itself.

use super::{
    DesiredFile,
    unit::{self, Section},
};
use crate::{layout, name::AbsPath};

const HEADER: &str = "Written by matrix-podman; changes here are overwritten.";

/// The service and its timer.
pub fn files() -> [DesiredFile; 2] {
    let service = [
        Section::new("Unit")
            .raw("Description", "Matrix: update the server")
            .raw("Wants", "network-online.target")
            .raw("After", format!("network-online.target {}", layout::STACK_UNIT)),
        Section::new("Service").raw("Type", "oneshot").words(
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
    let file = |name: &str, sections: &[Section], why| {
        let path = AbsPath::known(format!("/etc/systemd/system/{name}"));
        DesiredFile::public(path, unit::to_string(HEADER, sections), why)
    };
    [
        file(layout::UPDATE_UNIT, &service, "Updates the server, and takes back what does not do"),
        file(layout::UPDATE_TIMER, &timer, "Says when the server updates itself"),
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
