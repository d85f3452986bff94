//! A machine of its own for one lab, made of a network name space: with a way to
//! the world, and two networks at home whose hosts know a way to its guests.
//! Only there can it be told what the machine forwards and what it does not.

use std::{fs, path::Path, time::Duration};

use crate::{
    Invocation, Lab, Ran, binary,
    mounts::{IN_NAMESPACE, share_mounts},
    wait_until,
};

/// What is run in it sees its interfaces below /sys, and its own /run.
const ENTER: &str = "\
run=$1; shift
saved=$(mktemp -d)
mount --rbind /sys/fs/cgroup \"$saved\"
mount -t sysfs sysfs /sys
mount --rbind \"$saved\" /sys/fs/cgroup
mkdir -p /run/matrix-podman
mount --bind \"$run\" /run/matrix-podman
exec \"$@\"";

/// A machine that is a network name space.
pub struct Routed<'a> {
    /// The lab whose guest is on it.
    pub lab: &'a Lab,
    name: String,
}

/// One of the networks at home, and its only host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Home {
    /// The first.
    First,
    /// The second.
    Second,
}

impl<'a> Routed<'a> {
    /// A new one; what a run that was killed left is removed.
    #[track_caller]
    pub fn new(lab: &'a Lab) -> Self {
        let this = Self { lab, name: format!("mp{}", lab.number) };
        this.remove();
        share_mounts();
        fs::create_dir_all(this.state()).unwrap_or_else(|e| panic!("make {}: {e}", this.state().display()));
        let ip = |words: &[&str]| {
            Invocation::new(["ip"].iter().chain(words)).quietly().run().ok();
        };
        let machine = this.space("m");
        for space in [&machine, &this.host(Home::First), &this.host(Home::Second)] {
            ip(&["netns", "add", space]);
            ip(&["-n", space, "link", "set", "lo", "up"]);
        }
        // A new name space has what this machine has; that one forwards nothing.
        this.sh("echo 0 >/proc/sys/net/ipv4/ip_forward").ok();
        // The world: this machine, behind the name space's uplink.
        let (outside, number) = (format!("{}u", this.name), lab.number);
        ip(&["link", "add", &outside, "type", "veth", "peer", "name", "up0", "netns", &machine]);
        ip(&["address", "add", &format!("10.88.{number}.1/24"), "dev", &outside]);
        ip(&["link", "set", &outside, "up"]);
        ip(&["-n", &machine, "address", "add", &format!("10.88.{number}.2/24"), "dev", "up0"]);
        ip(&["-n", &machine, "link", "set", "up0", "up"]);
        ip(&["-n", &machine, "route", "add", "default", "via", &format!("10.88.{number}.1")]);
        fs::write("/proc/sys/net/ipv4/ip_forward", "1\n").unwrap_or_else(|e| panic!("forward: {e}"));
        let rules = format!(
            "table ip {outside} {{\nchain out {{\ntype nat hook postrouting priority 100\n\
             ip saddr 10.88.{number}.0/24 oifname != \"{outside}\" masquerade\n}}\n}}\n"
        );
        Invocation::new(["nft", "--file", "-"]).input(rules).quietly().run().ok();
        for home in [Home::First, Home::Second] {
            let (space, line) = (this.host(home), this.line(home));
            ip(&[
                "-n", &machine, "link", "add", line, "type", "veth", "peer", "name", "eth0", "netns", &space,
            ]);
            ip(&["-n", &machine, "address", "add", &format!("{}/24", this.gateway(home)), "dev", line]);
            ip(&["-n", &machine, "link", "set", line, "up"]);
            ip(&["-n", &space, "address", "add", &format!("{}/24", this.address(home)), "dev", "eth0"]);
            ip(&["-n", &space, "link", "set", "eth0", "up"]);
            // They know the way to the guests, and to each other.
            ip(&["-n", &space, "route", "add", "default", "via", &this.gateway(home)]);
        }
        this
    }

    /// Removes it, with what runs in it.
    fn remove(&self) {
        if !Path::new("/run/netns").join(self.space("m")).exists() {
            return;
        }
        let guest = self.lab.guest();
        self.command(["lxc-stop", "--name", &guest.name, "--kill"]).run();
        for pids in ["m", "a", "b"] {
            let space = self.space(pids);
            let inside = Invocation::new(["ip", "netns", "pids", &space]).quietly().run();
            for pid in inside.stdout.split_whitespace() {
                Invocation::new(["kill", "-9", pid]).quietly().run();
            }
            Invocation::new(["ip", "netns", "delete", &space]).quietly().run();
        }
        Invocation::new(["nft", "delete", "table", "ip", &format!("{}u", self.name)]).quietly().run();
    }

    fn state(&self) -> std::path::PathBuf {
        self.lab.path("run")
    }

    fn space(&self, end: &str) -> String {
        format!("{}{end}", self.name)
    }

    fn host(&self, home: Home) -> String {
        self.space(match home {
            Home::First => "a",
            Home::Second => "b",
        })
    }

    fn line(&self, home: Home) -> &'static str {
        match home {
            Home::First => "lan0",
            Home::Second => "lan1",
        }
    }

    fn gateway(&self, home: Home) -> String {
        format!("{}.1", self.network(home))
    }

    /// The address of a network's host.
    pub fn address(&self, home: Home) -> String {
        format!("{}.2", self.network(home))
    }

    fn network(&self, home: Home) -> String {
        let second = match home {
            Home::First => 20,
            Home::Second => 21,
        };
        format!("172.{second}.{}", 100 + self.lab.number % 100)
    }

    /// A command on the machine, yet to be run.
    pub fn command<S: AsRef<str>>(&self, argv: impl IntoIterator<Item = S>) -> Invocation {
        let network = format!("--net=/run/netns/{}", self.space("m"));
        let state = self.state().display().to_string();
        let inside = ["sh", "-euc", ENTER, "sh", &state];
        let enter = ["nsenter", &network].into_iter().chain(IN_NAMESPACE).chain(inside);
        let words = enter.map(str::to_owned);
        Invocation::new(words.chain(argv.into_iter().map(|word| word.as_ref().to_owned())))
            .folder(&self.lab.folder)
    }

    /// The program on the machine, yet to be run.
    pub fn program(&self, arguments: &[&str]) -> Invocation {
        let program = binary().display().to_string();
        self.command([program.as_str()].iter().chain(arguments))
    }

    /// Runs the program on the machine.
    #[track_caller]
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.program(arguments).run()
    }

    /// Runs lines of shell on the machine.
    #[track_caller]
    pub fn sh(&self, script: &str) -> Ran {
        self.command(["sh", "-euc", script]).quietly().run()
    }

    /// Runs lines of shell in the guest.
    #[track_caller]
    pub fn guest(&self, script: &str) -> Ran {
        let name = self.lab.guest().name;
        let path = "--set-var=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
        self.command(["lxc-attach", "--name", &name, "--clear-env", path, "--", "sh", "-euc", script])
            .quietly()
            .run()
    }

    /// Runs a command on a host of a network at home.
    #[track_caller]
    pub fn at(&self, home: Home, argv: &[&str]) -> Ran {
        Invocation::new(["ip", "netns", "exec", &self.host(home)].iter().chain(argv)).quietly().run()
    }

    /// The status that a host gets for a path of a published port, 0 where nobody
    /// answers.
    #[track_caller]
    pub fn asks(&self, home: Home, url: &str) -> u16 {
        let argv = ["curl", "--silent", "--path-as-is", "--max-time", "4", "--output", "/dev/null"];
        let said = self.at(home, &[argv.as_slice(), &["--write-out", "%{http_code}", url]].concat());
        said.stdout.trim().parse().unwrap_or_else(|_| panic!("{}", said.evidence()))
    }

    /// The same of the machine itself.
    #[track_caller]
    pub fn machine_asks(&self, url: &str) -> u16 {
        let argv = ["curl", "--silent", "--path-as-is", "--max-time", "30", "--output", "/dev/null"];
        let argv = [argv.as_slice(), &["--noproxy", "*", "--write-out", "%{http_code}", url]].concat();
        let said = self.command(argv).quietly().run();
        said.stdout.trim().parse().unwrap_or_else(|_| panic!("{}", said.evidence()))
    }

    /// What a setting of the machine's kernel says.
    #[track_caller]
    pub fn setting(&self, name: &str) -> String {
        self.sh(&format!("cat /proc/sys/net/{name}")).ok().stdout.trim().to_owned()
    }

    /// Sends frames on the guest's line, as whoever took the guest over would.
    #[track_caller]
    pub fn hostile_guest(&self, script: &str) {
        let pid = self.command(["lxc-info", "--name", &self.lab.guest().name, "--pid", "--no-humanize"]);
        let pid = pid.quietly().run().ok().stdout.trim().to_owned();
        let network = format!("--net=/proc/{pid}/ns/net");
        Invocation::new(["nsenter", &network, "/usr/bin/python3", "-c", script]).quietly().run().ok();
    }

    /// Waits until a command on the machine succeeds.
    #[track_caller]
    pub fn comes_to(&self, what: &str, deadline: Duration, script: &str) {
        wait_until(what, deadline, || {
            let ran = self.sh(script);
            if ran.code == 0 { Ok(()) } else { Err(ran.evidence()) }
        });
    }
}

impl Drop for Routed<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}
