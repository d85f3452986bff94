//! A network of its own for one proxy, beside a lab's guest.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
};

use crate::Invocation;

/// A network namespace with an address on a lab's bridge. It goes with
/// whatever runs in it when it is dropped.
pub struct Namespace {
    name: String,
    /// Its address.
    pub address: String,
    running: Option<Child>,
}

impl Namespace {
    /// A namespace called `name` on `bridge`, with `address` of a /24.
    #[track_caller]
    pub fn new(name: &str, bridge: &str, address: &str) -> Self {
        let outside = format!("{name}o");
        Self::wired(name, address, &[&["ip", "link", "set", &outside, "master", bridge, "up"]])
    }

    /// A namespace called `name` with `address` of a /24, in which the machine
    /// itself has `gateway`.
    #[track_caller]
    pub fn beside(name: &str, gateway: &str, address: &str) -> Self {
        let (outside, cidr) = (format!("{name}o"), format!("{gateway}/24"));
        let wires: [&[&str]; 2] =
            [&["ip", "addr", "add", &cidr, "dev", &outside], &["ip", "link", "set", &outside, "up"]];
        Self::wired(name, address, &wires)
    }

    #[track_caller]
    fn wired(name: &str, address: &str, wires: &[&[&str]]) -> Self {
        let this = Self { name: name.to_owned(), address: address.to_owned(), running: None };
        this.remove();
        let (outside, inside) = (format!("{name}o"), format!("{name}i"));
        let cidr = format!("{address}/24");
        let before: [&[&str]; 2] = [
            &["ip", "netns", "add", name],
            &["ip", "link", "add", &outside, "type", "veth", "peer", "name", &inside, "netns", name],
        ];
        let after: [&[&str]; 3] = [
            &["ip", "-n", name, "addr", "add", &cidr, "dev", &inside],
            &["ip", "-n", name, "link", "set", &inside, "up"],
            &["ip", "-n", name, "link", "set", "lo", "up"],
        ];
        for words in before.iter().chain(wires).chain(&after) {
            Invocation::new(words.iter().copied()).quietly().run().ok();
        }
        this
    }

    /// Starts a program in it, in the place of the one before.
    #[track_caller]
    pub fn run(&mut self, argv: &[&str], home: &Path, log: &Path) {
        self.stop();
        let log = File::create(log).unwrap_or_else(|e| panic!("{}: {e}", log.display()));
        let child = Command::new("ip")
            .args(["netns", "exec", &self.name])
            .args(argv)
            .env("HOME", home)
            .env("XDG_DATA_HOME", home)
            .env("XDG_CONFIG_HOME", home)
            .current_dir(home)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap_or_else(|e| panic!("start {argv:?}: {e}"));
        self.running = Some(child);
    }

    /// Ends what runs in it.
    pub fn stop(&mut self) {
        if let Some(mut child) = self.running.take() {
            let _ = Command::new("kill").arg(child.id().to_string()).status();
            let _ = child.wait();
        }
    }

    fn remove(&self) {
        let quiet = |words: &[&str]| {
            let _ = Command::new("ip").args(words).stderr(Stdio::null()).status();
        };
        quiet(&["netns", "delete", &self.name]);
        quiet(&["link", "delete", &format!("{}o", self.name)]);
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        self.stop();
        self.remove();
    }
}
