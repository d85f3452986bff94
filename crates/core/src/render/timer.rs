//! The timers that have a server updated by itself: one in the guest where the guest can get all
//! images, else one on the machine, which builds them.

use crate::{
    config::Config,
    desired::DesiredFile,
    document::unit::{self, Section},
    layout,
    name::AbsPath,
};

const HEADER: &str = "Written by matrix-podman; changes here are overwritten.";
/// When, as systemd writes it.
const ON_CALENDAR: &str = "*-*-01,15 05:30:00";
/// The same as cron writes it.
const CRON: &str = "30 5 1,15 * *";

/// How long an update may take: long enough for another major version of
/// PostgreSQL under a large database. A service of this kind has no other limit.
const UPDATE_LIMIT: &str = "26h";
/// How long looking for what is overdue may take.
const WATCH_LIMIT: &str = "15min";

/// The services and their timers, in the guest.
pub fn files() -> [DesiredFile; 4] {
    let after = format!("network-online.target {}", layout::STACK_UNIT);
    let names =
        Names { service: layout::UPDATE_UNIT, timer: layout::UPDATE_TIMER, watch: layout::WATCH_UNIT };
    let config = layout::applied_config();
    let [service, timer, watch] = units("Matrix", &after, &config, &names);
    let watch_timer = [
        Section::new("Unit").raw("Description", "Matrix: when overdue updates are looked for"),
        Section::new("Timer")
            .raw("OnCalendar", "*-*-* 03/6:41:00")
            .raw("RandomizedDelaySec", "10min")
            .raw("Persistent", "true"),
        Section::new("Install").raw("WantedBy", "timers.target"),
    ];
    [
        service,
        timer,
        watch,
        file(layout::WATCH_TIMER, &watch_timer, "Says when overdue updates are looked for"),
    ]
}

/// The same on the machine, which may have several sites.
pub fn machine_files(config: &Config) -> [DesiredFile; 3] {
    let site = config.site();
    let names = Names {
        service: &format!("matrix-update-{site}.service"),
        timer: &machine_timer(config),
        watch: &format!("matrix-update-watch-{site}.service"),
    };
    units(&format!("Matrix server {site}"), "network-online.target", &applied(config), &names)
}

/// The machine's timer.
pub fn machine_timer(config: &Config) -> String {
    format!("matrix-update-{}.timer", config.site())
}

/// What the units are called.
struct Names<'a> {
    service: &'a str,
    timer: &'a str,
    /// Begun when the service ends without having said why.
    watch: &'a str,
}

/// The service, its timer, and what notices that the service was killed.
fn units(who: &str, after: &str, config: &AbsPath, names: &Names) -> [DesiredFile; 3] {
    let call = |words: [&'static str; 2]| {
        let argv = [layout::BINARY, "--config", config.as_str()];
        argv.into_iter().chain(words).map(str::to_owned).collect::<Vec<_>>()
    };
    let runs = [
        Section::new("Unit")
            .raw("Description", format!("{who}: update the server"))
            .raw("Wants", "network-online.target")
            .raw("After", after)
            .raw("OnFailure", names.watch),
        Section::new("Service")
            .raw("Type", "oneshot")
            .raw("TimeoutStartSec", UPDATE_LIMIT)
            .words("ExecStart", call(COMMAND)),
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
    let watch = [
        Section::new("Unit")
            .raw("Description", format!("{who}: notice updates that ended without a word, and overdue ones")),
        Section::new("Service")
            .raw("Type", "oneshot")
            .raw("TimeoutStartSec", WATCH_LIMIT)
            .words("ExecStart", call(["notify", "check"])),
    ];
    [
        file(names.service, &runs, "Updates the server, and takes back what fails"),
        file(names.timer, &when, "Says when the server updates itself"),
        file(names.watch, &watch, "Tells of updates that ended without a word"),
    ]
}

fn file(name: &str, sections: &[Section], why: &'static str) -> DesiredFile {
    let path = AbsPath::known(format!("/etc/systemd/system/{name}"));
    DesiredFile::public(path, unit::to_string(HEADER, sections), why)
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
    use crate::testing::{default_config, show};

    #[test]
    fn twice_a_month() {
        insta::assert_snapshot!(show(&files()));
        let config = default_config();
        let [service, timer, watch] = machine_files(&config);
        insta::assert_snapshot!("on_a_machine", show(&[service, timer, watch, cron_file(&config)]));
    }
}
