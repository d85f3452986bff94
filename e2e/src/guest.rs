//! An LXC guest, seen from the machine and without the program.

use std::{path::PathBuf, time::Duration};

use serde_json::Value;

use crate::{Invocation, Ran, wait_until};

/// An LXC guest by its name.
#[derive(Debug, Clone)]
pub struct Guest {
    /// Its name.
    pub name: String,
}

impl Guest {
    /// The guest called `name`, whether it is there or not.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into() }
    }

    /// Where its files are, seen from the machine.
    pub fn folder(&self) -> PathBuf {
        PathBuf::from("/var/lib/lxc").join(&self.name)
    }

    /// Whether there is such a guest.
    pub fn exists(&self) -> bool {
        self.folder().join("config").exists()
    }

    /// Whether it runs.
    pub fn runs(&self) -> bool {
        Invocation::new(["lxc-info", "--name", &self.name, "--state", "--no-humanize"]).quietly().run().text()
            == "RUNNING"
    }

    /// A command in the guest, as its root, yet to be run.
    pub fn command<S: AsRef<str>>(&self, argv: impl IntoIterator<Item = S>) -> Invocation {
        let mut words: Vec<String> = [
            "lxc-attach",
            "--name",
            &self.name,
            "--clear-env",
            "--set-var=HOME=/root",
            "--set-var=LANG=C.UTF-8",
            "--set-var=DEBIAN_FRONTEND=noninteractive",
            "--set-var=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "--",
        ]
        .map(str::to_owned)
        .to_vec();
        words.extend(argv.into_iter().map(|word| word.as_ref().to_owned()));
        Invocation::new(words).quietly()
    }

    /// Runs a command in the guest.
    #[track_caller]
    pub fn exec<S: AsRef<str>>(&self, argv: impl IntoIterator<Item = S>) -> Ran {
        self.command(argv).run()
    }

    /// Runs lines of shell in the guest; they end at the first that fails.
    #[track_caller]
    pub fn sh(&self, script: &str) -> Ran {
        self.exec(["sh", "-euc", script])
    }

    /// The content of a file in the guest.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        self.exec(["cat", path]).ok().stdout
    }

    /// Writes a file in the guest, and the folders above it.
    #[track_caller]
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        self.command(["sh", "-euc", "mkdir -p \"$(dirname \"$1\")\"; cat >\"$1\"", "sh", path])
            .input(content)
            .run()
            .ok();
    }

    /// What Podman knows of a container in the guest.
    #[track_caller]
    pub fn inspect(&self, container: &str) -> Value {
        self.exec(["podman", "container", "inspect", container]).ok().json()[0].clone()
    }

    /// Id and time of start of a container: they change when it is restarted.
    #[track_caller]
    pub fn incarnation(&self, container: &str) -> (String, String) {
        let container = self.inspect(container);
        (container["Id"].to_string(), container["State"]["StartedAt"].to_string())
    }

    /// Starts it, and nothing else.
    #[track_caller]
    pub fn start(&self) {
        Invocation::new(["lxc-start", "--name", &self.name, "--daemon"]).run().ok();
    }

    /// Shuts it down in order.
    #[track_caller]
    pub fn shut_down(&self) {
        Invocation::new(["lxc-stop", "--name", &self.name, "--timeout=120", "--nokill"]).run().ok();
    }

    /// Cuts its power: all of its processes are gone at once.
    #[track_caller]
    pub fn cut_power(&self) {
        Invocation::new(["lxc-stop", "--name", &self.name, "--kill"]).run().ok();
    }

    /// The same, where it runs.
    pub fn cut_power_if_it_runs(&self) {
        Invocation::new(["lxc-stop", "--name", &self.name, "--kill"]).quietly().run();
    }

    /// Waits until its systemd has done all that it does at boot.
    #[track_caller]
    pub fn booted(&self) {
        wait_until(&format!("{} has booted", self.name), Duration::from_secs(120), || {
            let ran = self.exec(["systemctl", "is-system-running"]);
            match ran.text() {
                "running" | "degraded" => Ok(()),
                other => Err(format!("systemd says {other:?} {}", ran.stderr)),
            }
        });
    }
}
