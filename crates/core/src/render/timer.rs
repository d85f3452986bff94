//! The timers that have a server updated by itself: one in the guest where the guest can get all
//! images, else one on the machine, which builds them.

use super::{
    DesiredFile,
    unit::{self, Section},
};
use crate::{config::Config, layout, name::AbsPath};

const HEADER: &str = "Written by matrix-podman; changes here are overwritten.";
/// When, as systemd writes it.
const ON_CALENDAR: &str = "*-*-01,15 05:30:00";
/// The same as cron writes it.
const CRON: &str = "30 5 1,15 * *";

/// The service and its timer, in the guest.
pub fn files() -> [DesiredFile; 2] {
    let after = format!("network-online.target {}", layout::STACK_UNIT);
    units("Matrix", &after, &layout::applied_config(), layout::UPDATE_UNIT, layout::UPDATE_TIMER)
}

/// The same on the machine, which may have several sites.
pub fn machine_files(config: &Config) -> [DesiredFile; 2] {
    let who = format!("Matrix server {}", config.site());
    let service = format!("matrix-update-{}.service", config.site());
    units(&who, "network-online.target", &applied(config), &service, &machine_timer(config))
}

/// The machine's timer.
pub fn machine_timer(config: &Config) -> String {
    format!("matrix-update-{}.timer", config.site())
}

fn units(who: &str, after: &str, config: &AbsPath, service: &str, timer: &str) -> [DesiredFile; 2] {
    let runs = [
        Section::new("Unit")
            .raw("Description", format!("{who}: update the server"))
            .raw("Wants", "network-online.target")
            .raw("After", after),
        Section::new("Service")
            .raw("Type", "oneshot")
            .words("ExecStart", [layout::BINARY, "--config", config.as_str()].into_iter().chain(COMMAND)),
    ];
    let when = [
        Section::new("Unit").raw("Description", format!("{who}: when the server updates itself")),
        Section::new("Timer")
            .raw("OnCalendar", ON_CALENDAR)
            .raw("RandomizedDelaySec", "45min")
            // What was off at that time makes up for it.
            .raw("Persistent", "true"),
        Section::new("Install").raw("WantedBy", "timers.target"),
    ];
    let file = |name: &str, sections: &[Section], why| {
        let path = AbsPath::known(format!("/etc/systemd/system/{name}"));
        DesiredFile::public(path, unit::to_string(HEADER, sections), why)
    };
    [
        file(service, &runs, "Updates the server, and takes back what does not do"),
        file(timer, &when, "Says when the server updates itself"),
    ]
}

/// What is run.
const COMMAND: [&str; 2] = ["update", "--unattended"];

fn applied(config: &Config) -> AbsPath {
    layout::machine_state(config.site()).join("update.toml")
}

/// The config that the machine's timer works from: the operator's own file may be on a disk
/// that is not there.
pub fn config_file(config: &Config) -> DesiredFile {
    DesiredFile::public(
        applied(config),
        config.to_applied_toml(),
        "The config as applied, for updates by timer",
    )
}

/// The same for cron, where a machine has no systemd.
pub fn cron_file(config: &Config) -> DesiredFile {
    // cron passes over names with dots in them.
    let path = AbsPath::known(format!("/etc/cron.d/matrix-update-{}", config.site().replace('.', "-")));
    // Every word of it is known: no site's name has a letter that a shell would care about.
    let text = format!(
        "# {HEADER}\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
         {CRON} root {} --config {} {}\n",
        layout::BINARY,
        applied(config),
        COMMAND.join(" ")
    );
    DesiredFile::public(path, text, "Has cron update the server")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::testing::{default_config, show};

    #[test]
    fn twice_a_month() {
        insta::assert_snapshot!(show(&files()));
        let config = default_config();
        let [service, timer] = machine_files(&config);
        insta::assert_snapshot!("on_a_machine", show(&[service, timer, cron_file(&config)]));
    }
}
