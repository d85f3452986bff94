//! The timers that have a machine make backups and try them out by itself.

use std::collections::BTreeSet;

use super::{
    DesiredFile,
    unit::{self, Section},
};
use crate::{
    backup::{Repository, Schedule},
    config::Config,
    layout,
    name::AbsPath,
};

/// How long after a backup that failed the timer has it tried again, in minutes:
/// a little later than it is due again (`host/backup/due.rs`).
const AGAIN: u32 = 61;
/// When cron looks whether one is due again, in minutes after that of the first.
const LOOK_AFTER: u8 = 31;

const HEADER: &str = "Written by matrix-podman; changes here are overwritten.";

/// What a machine does with backups by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Chore {
    /// It makes them.
    Backup,
    /// It tries them out.
    Drill,
}

impl Chore {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Backup, Self::Drill];

    const fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Drill => "drill",
        }
    }

    const fn command(self) -> [&'static str; 3] {
        match self {
            Self::Backup => ["backup", "now", "--unattended"],
            Self::Drill => ["backup", "drill", "--unattended"],
        }
    }

    fn schedule(self, repository: &Repository) -> &Schedule {
        match self {
            Self::Backup => &repository.terms.schedule,
            Self::Drill => &repository.terms.drill,
        }
    }

    /// The unit that does it. A machine may have several sites.
    pub fn service(self, config: &Config) -> String {
        format!("matrix-{}-{}.service", self.word(), config.site())
    }

    /// The unit that says when.
    pub fn timer(self, config: &Config) -> String {
        format!("matrix-{}-{}.timer", self.word(), config.site())
    }

    /// When it is to be done, each time once: what is due then is found out then.
    fn times(self, config: &Config, write: fn(&Schedule) -> Option<String>) -> BTreeSet<String> {
        config.backup.repositories.iter().filter_map(|at| write(self.schedule(at))).collect()
    }

    /// Whether one that failed is tried again sooner than its time comes round. A
    /// drill reads a whole snapshot, which may cost something each time.
    const fn is_tried_again(self) -> bool {
        matches!(self, Self::Backup)
    }

    /// Whether it is ever done by itself.
    pub fn is_wanted(self, config: &Config) -> bool {
        !self.times(config, Schedule::on_calendar).is_empty()
    }

    /// Service and timer.
    pub fn units(self, config: &Config) -> [DesiredFile; 2] {
        let (what, when) = match self {
            Self::Backup => ("make backups", "when backups are made"),
            Self::Drill => ("try backups out", "when backups are tried out"),
        };
        let applied = applied(config);
        let words = [layout::BINARY, "--config", applied.as_str()].into_iter().chain(self.command());
        let mut oneshot = Section::new("Service").raw("Type", "oneshot");
        if self.is_tried_again() {
            // How often at most is the program's to say: it ends well when nothing is due.
            oneshot = oneshot.raw("Restart", "on-failure").raw("RestartSec", format!("{AGAIN}min"));
        }
        let service = [
            Section::new("Unit")
                .raw("Description", format!("Matrix server {}: {what}", config.site()))
                .raw("Wants", "network-online.target")
                .raw("After", "network-online.target"),
            // With a user, systemd says where its home is; ssh, rclone and others look there.
            oneshot.raw("User", "root").raw("Nice", "10").words("ExecStart", words),
        ];
        let mut timer = Section::new("Timer");
        for time in self.times(config, Schedule::on_calendar) {
            timer = timer.raw("OnCalendar", time);
        }
        let timer = [
            Section::new("Unit").raw("Description", format!("Matrix server {}: {when}", config.site())),
            // Not all machines of the world at once; and one that was off makes up for it.
            timer.raw("RandomizedDelaySec", "20min").raw("Persistent", "true"),
            Section::new("Install").raw("WantedBy", "timers.target"),
        ];
        let file = |name: String, sections: &[Section], why| {
            let path = AbsPath::known(format!("/etc/systemd/system/{name}"));
            DesiredFile::public(path, unit::to_string(HEADER, sections), why)
        };
        let whys = match self {
            Self::Backup => ("Makes the backups that are due", "Says when backups are made"),
            Self::Drill => ("Tries out the backups that are due for it", "Says when backups are tried out"),
        };
        [file(self.service(config), &service, whys.0), file(self.timer(config), &timer, whys.1)]
    }
}

fn applied(config: &Config) -> AbsPath {
    layout::machine_state(config.site()).join("backup.toml")
}

/// The config that the timers work from: the operator's own file may be on a
/// disk that is not there.
pub fn config_file(config: &Config) -> DesiredFile {
    DesiredFile::public(
        applied(config),
        config.to_applied_toml(),
        "The config as applied, for backups by timer",
    )
}

/// The same for cron, where there is no systemd.
pub fn cron_file(config: &Config) -> DesiredFile {
    // cron passes over names with dots in them.
    let path = AbsPath::known(format!("/etc/cron.d/matrix-backup-{}", config.site().replace('.', "-")));
    let mut text = format!("# {HEADER}\nPATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n");
    for line in cron_lines(config) {
        text.push_str(&line);
        text.push('\n');
    }
    DesiredFile::public(path, text, "Has cron make backups and try them out")
}

/// Its lines.
pub fn cron_lines(config: &Config) -> Vec<String> {
    let line = |chore: Chore, time: &str| {
        // Every word of it is known: no site's name has a letter that a shell would care about.
        format!("{time} root {} --config {} {}", layout::BINARY, applied(config), chore.command().join(" "))
    };
    let mut lines = Vec::new();
    for chore in Chore::ALL {
        lines.extend(chore.times(config, Schedule::cron).iter().map(|time| line(chore, time)));
        let mut schedules = config.backup.repositories.iter().filter_map(|at| chore.schedule(at).time());
        if let (Some((_, minute)), true) = (schedules.next(), chore.is_tried_again()) {
            // cron mails what is printed; that nothing is due is no news.
            let each_hour = format!("{} * * * *", (minute + LOOK_AFTER) % 60);
            lines.push(format!("{} >/dev/null", line(chore, &each_hour)));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::testing::{changed_config, show};

    #[test]
    fn timers_and_cron() {
        let text = "domain = \"chat.home.arpa\"\n[backup]\nrepository = \"/mnt/b\"\n[[backup.repositories]]\n\
                    name = \"nas\"\nrepository = \"sftp:nas:/b\"\nschedule = \"Sun 04:00\"\ndrill = \"never\"\n\
                    [[backup.repositories]]\nname = \"two\"\nrepository = \"/mnt/c\"\n";
        let config = Config::parse(text, "matrix.toml").unwrap();
        let mut all: Vec<DesiredFile> = Chore::ALL.iter().flat_map(|chore| chore.units(&config)).collect();
        all.push(cron_file(&config));
        insta::assert_snapshot!(show(&all));
        assert!(!Chore::Drill.is_wanted(&changed_config()));
    }
}
