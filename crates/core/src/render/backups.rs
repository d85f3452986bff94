//! The timers that have a machine make backups and try them out by itself.

use std::collections::BTreeSet;

use crate::{
    backup::{Repository, Schedule},
    config::Config,
    desired::DesiredFile,
    document::unit::{self, Section},
    layout,
    name::AbsPath,
};

/// How long after a backup that failed the timer has it tried again, in minutes:
/// a little later than it is due again (`host/backup/due.rs`).
const AGAIN: u32 = 61;
/// When it is looked for what did not come about.
const WATCHED: &str = "*-*-* 03/6:17:00";
/// The same for cron.
const WATCHED_BY_CRON: &str = "17 3-23/6 * * *";
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
    /// It notices those that ended without a word, and what is overdue.
    Watch,
}

impl Chore {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Backup, Self::Drill, Self::Watch];
    /// What is done with backups themselves.
    pub const WORK: [Self; 2] = [Self::Backup, Self::Drill];

    const fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Drill => "drill",
            Self::Watch => "watch",
        }
    }

    const fn command(self) -> &'static [&'static str] {
        match self {
            Self::Backup => &["backup", "now", "--unattended"],
            Self::Drill => &["backup", "drill", "--unattended"],
            Self::Watch => &["notify", "check"],
        }
    }

    /// How long it may take. A first backup far away takes days; one that hangs is
    /// noticed long before that, by what it has not done.
    const fn limit(self) -> &'static str {
        match self {
            Self::Backup => "72h",
            Self::Drill => "48h",
            Self::Watch => "15min",
        }
    }

    fn schedule(self, repository: &Repository) -> Option<&Schedule> {
        match self {
            Self::Backup => Some(&repository.terms.schedule),
            Self::Drill => Some(&repository.terms.drill),
            // Whatever the schedules say.
            Self::Watch => None,
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
        config.backup.repositories.iter().filter_map(|at| write(self.schedule(at)?)).collect()
    }

    /// The same as systemd writes it.
    fn calendar(self, config: &Config) -> BTreeSet<String> {
        match self {
            Self::Watch if self.is_wanted(config) => BTreeSet::from([WATCHED.to_owned()]),
            _ => self.times(config, Schedule::on_calendar),
        }
    }

    /// The same as cron writes it.
    fn cron(self, config: &Config) -> BTreeSet<String> {
        match self {
            Self::Watch if self.is_wanted(config) => BTreeSet::from([WATCHED_BY_CRON.to_owned()]),
            _ => self.times(config, Schedule::cron),
        }
    }

    /// Whether one that failed is tried again sooner than its time comes round. A
    /// drill reads a whole snapshot, which may cost something each time.
    const fn is_tried_again(self) -> bool {
        matches!(self, Self::Backup)
    }

    /// Whether it is ever done automatically.
    pub fn is_wanted(self, config: &Config) -> bool {
        match self {
            Self::Watch => Self::WORK.iter().any(|chore| chore.is_wanted(config)),
            Self::Backup | Self::Drill => !self.times(config, Schedule::on_calendar).is_empty(),
        }
    }

    /// Service and timer.
    pub fn units(self, config: &Config) -> [DesiredFile; 2] {
        let (what, when) = match self {
            Self::Backup => ("make backups", "when backups are made"),
            Self::Drill => ("try backups out", "when backups are tried out"),
            Self::Watch => ("notice backups that did not come about", "when that is looked for"),
        };
        let applied = applied(config);
        let words = [layout::BINARY, "--config", applied.as_str()].into_iter();
        let words = words.chain(self.command().iter().copied());
        // Services of this kind know no other limit: RuntimeMaxSec does not count for them.
        let mut oneshot = Section::new("Service").raw("Type", "oneshot").raw("TimeoutStartSec", self.limit());
        if self.is_tried_again() {
            // How often at most is the program's to say: it ends well when nothing is due.
            oneshot = oneshot.raw("Restart", "on-failure").raw("RestartSec", format!("{AGAIN}min"));
        }
        let mut about = Section::new("Unit")
            .raw("Description", format!("Matrix server {}: {what}", config.site()))
            .raw("Wants", "network-online.target")
            .raw("After", "network-online.target");
        if self != Self::Watch {
            // What fails says so itself; what is killed cannot.
            about = about.raw("OnFailure", Self::Watch.service(config));
        }
        let service = [
            about,
            // With a user, systemd says where its home is; ssh, rclone and others look there.
            oneshot.raw("User", "root").raw("Nice", "10").words("ExecStart", words),
        ];
        let mut timer = Section::new("Timer");
        for time in self.calendar(config) {
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
            Self::Watch => ("Tells of backups that did not come about", "Says when that is looked for"),
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
        // cron mails what is printed; that nothing is overdue is no news.
        let quiet = if chore == Chore::Watch { " >/dev/null" } else { "" };
        lines.extend(chore.cron(config).iter().map(|time| line(chore, time) + quiet));
        let mut schedules = config.backup.repositories.iter().filter_map(|at| chore.schedule(at)?.time());
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
    use crate::testing::{changed_config, show};

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
        let none = Config::parse("domain = \"chat.home.arpa\"\n", "matrix.toml").unwrap();
        assert!(Chore::ALL.iter().all(|chore| !chore.is_wanted(&none)) && cron_lines(&none).is_empty());
    }
}
