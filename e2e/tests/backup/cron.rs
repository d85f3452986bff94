//! Backups by cron: the lines that are installed, run as cron runs them.

use std::{fs, os::unix::fs::PermissionsExt as _, path::Path};

use matrix_podman_e2e::{Invocation, Ran, Scenario};
use serde_json::Value;

use super::Server;

/// Tests that leave the server and its config as they were.
pub fn by_cron(s: &mut Scenario, server: &Server) {
    let lab = &server.lab;
    let config = lab.config();
    let (table, applied) = (
        format!("/etc/cron.d/matrix-backup-{}", lab.domain.replace('.', "-")),
        lab.state_folder().join("backup.toml"),
    );
    let (record, notices) = (lab.state_folder().join("backup-last.json"), lab.path("cron-notices"));
    let held = server.repository.join("locks").join("0".repeat(64));
    // As if it had been so long ago.
    let age = |back: &str| {
        let at =
            Invocation::new(["date", "--utc", "--date", back, "+%Y-%m-%dT%H:%M:%SZ"]).quietly().run().ok();
        let mut last: Value = serde_json::from_slice(&fs::read(&record).unwrap()).unwrap();
        last["at"] = at.text().into();
        fs::write(&record, last.to_string()).unwrap();
    };
    let told = || fs::read_to_string(&notices).unwrap_or_default().lines().count();
    s.test("cron: a backup that fails is tried again before its time, and told of once", || {
        let at = Invocation::new(["date", "--date", "-2 hours", "+%H:%M"]).run().ok();
        lab.set("[backup]", "schedule", &format!("{:?}", at.text()));
        lab.set("[notify]", "file", &format!("{:?}", notices.display().to_string()));
        // A machine with cron, and no systemd.
        let programs = lab.path("programs");
        fs::create_dir(&programs).unwrap();
        fs::write(programs.join("cron"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(programs.join("cron"), fs::Permissions::from_mode(0o755)).unwrap();
        let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
        lab.command(&["up", "--yes"]).env("PATH", &path).run().ok();
        let cron = Cron::read(&table);
        assert_eq!(cron.jobs.len(), 4, "{:?}", cron.jobs);
        let [nightly, hourly, _, watch] = [0, 1, 2, 3].map(|number| &cron.jobs[number]);
        assert!(watch.1.contains("notify check"), "{:?}", cron.jobs);
        assert!(nightly.0.starts_with(char::is_numeric) && hourly.0.ends_with("* * * *"), "{:?}", cron.jobs);
        // Nothing is due, and nothing is printed, which cron would mail.
        let nothing = cron.run(hourly).ok();
        assert_eq!((nothing.stdout.as_str(), nothing.stderr.as_str()), ("", ""));
        let nothing = cron.run(watch).ok();
        assert_eq!((nothing.stdout.as_str(), nothing.stderr.as_str()), ("", ""));
        fs::write(&held, "held").unwrap();
        age("2 days ago");
        cron.run(nightly).exits(1).says("A backup is due: main").says("restic is at work in it");
        assert_eq!((told(), lab.status()["backups"][0]["last"]["failures"].as_u64()), (1, Some(1)));
        assert_eq!(cron.run(hourly).ok().stderr, "", "it is too early");
        age("61 minutes ago");
        cron.run(hourly).exits(1).says("A backup is due again, since it failed: main");
        assert_eq!((told(), lab.status()["backups"][0]["last"]["failures"].as_u64()), (1, Some(2)));
        fs::remove_file(&held).unwrap();
        age("61 minutes ago");
        cron.run(hourly).ok().says("A backup is due again");
        assert_eq!(lab.status()["backups"][0]["last"]["failures"].as_u64(), Some(0));
        lab.run(&["status"]).ok().says_lately("made");
    });
    let _ = fs::remove_file(&held);
    for file in [Path::new(&table), &applied] {
        let _ = fs::remove_file(file);
    }
    lab.write("matrix.toml", &config);
    lab.up();
}

/// A file in /etc/cron.d.
struct Cron {
    environment: Vec<String>,
    /// When, and what.
    jobs: Vec<(String, String)>,
}

impl Cron {
    /// As cron(8) reads it: settings, and lines of five fields for the time, a user
    /// and a command.
    #[track_caller]
    fn read(path: &str) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("read {path}: {e}"));
        let mode = fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode, 0o644, "cron takes no file that others may write");
        let (mut environment, mut jobs) = (Vec::new(), Vec::new());
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let fields: Vec<&str> = line.split_whitespace().collect();
            match fields.as_slice() {
                [setting] if setting.contains('=') => environment.push((*setting).to_owned()),
                [minute, hour, day, month, weekday, "root", command @ ..] => {
                    assert!(!line.contains('%'), "which is the end of a line for cron: {line}");
                    jobs.push(([*minute, hour, day, month, weekday].join(" "), command.join(" ")));
                }
                _ => panic!("cron would not understand {line:?}"),
            }
        }
        Self { environment, jobs }
    }

    /// In the home of root, with nothing in the environment but what cron puts there.
    fn run(&self, job: &(String, String)) -> Ran {
        let own = ["SHELL=/bin/sh", "HOME=/root", "LOGNAME=root"].map(str::to_owned);
        let shell = ["/bin/sh", "-c", &job.1].map(str::to_owned);
        let words = ["env", "--ignore-environment"].map(str::to_owned);
        let words = words.into_iter().chain(own).chain(self.environment.clone()).chain(shell);
        Invocation::new(words).folder("/root").run()
    }
}
