//! Proxmox's commands go wrong, one after the other and in each of their ways,
//! while a server is made: what went wrong is named, nothing of anybody is
//! lost, and the next `up` goes on.

use std::process::ExitCode;

use matrix_podman_e2e::{How, Lab, Node, Ran, Scenario};

struct Site {
    lab: Lab,
    node: Node,
}

/// What goes wrong, in the order in which a first `up` comes to it, and what
/// the program then says. `None` where it sees that all is well and goes on; it
/// is then stopped at the restart that comes last.
const WALK: [(&str, How, Option<&str>); 19] = [
    ("pveam download", How::DoesNothing, Some("did not arrive on local")),
    ("pveam download", How::Dies, Some("Input/output error")),
    ("pct create", How::Dies, Some("create the container 100")),
    ("pct create", How::DoesNothing, Some("there is no container")),
    ("pct start", How::Dies, Some("start the container 100")),
    ("pct start", How::Locked, Some("is locked")),
    ("pct start", How::TimesOut, Some("run the same again")),
    ("pct start", How::DoesNothing, Some("it does not run")),
    ("pct push", How::Dies, Some("put matrix-podman into the container 100")),
    ("pct push", How::DoesNothing, Some("did not arrive whole")),
    ("pct push", How::Killed, Some("put matrix-podman into the container 100")),
    ("pct set 100 --description", How::DoesNothing, Some("description")),
    ("pct set 100 --description", How::Locked, Some("is locked")),
    ("pct set 100 --description", How::DiesAfterwards, None),
    ("pvesh get /nodes", How::Babbles, None),
    ("pct exec", How::Dies, None),
    ("pct reboot", How::DoesNothing, Some("it was not restarted")),
    ("pct reboot", How::Killed, Some("restart the container 100")),
    ("pct reboot", How::DiesAfterwards, None),
];

fn main() -> ExitCode {
    let mut s = Scenario::begin("proxmox-faults");
    let site = s.foundation("there is a node with somebody else's guests", node);
    refused(&mut s, &site);
    unfinished(&mut s, &site);
    walked(&mut s, &site);
    s.test("every call that was made is on the page that lists them", || {
        // What only follows a creation that was cut off is among them.
        let never = site.node.calls_are_listed();
        assert!(
            !never.iter().any(|call| call.contains("/tasks ") || call.starts_with("pct unlock")),
            "{never:?}"
        );
    });
    s.end()
}

fn node() -> Site {
    let lab = Lab::new("pve-faults");
    let node = Node::new(&lab);
    lab.write(
        "matrix.toml",
        &format!(
            "domain = \"{}\"\n\n[guest]\nname = \"{}\"\n\n[guest.network]\nbridge = \"{}\"\n\n[proxmox]\nid = 100\n",
            lab.domain,
            lab.guest().name,
            lab.bridge()
        ),
    );
    lab.use_archives();
    node.add_guest(101, "qemu", None, &[("name", "windows")]);
    node.add_guest(
        102,
        "lxc",
        None,
        &[("hostname", "somebody"), ("rootfs", "local-lvm:vm-102-disk-0,size=8G")],
    );
    Site { lab, node }
}

impl Site {
    #[track_caller]
    fn up(&self) -> Ran {
        self.node.run(&self.lab, &["up", "--yes"])
    }

    /// Changes the config for as long as `test` runs.
    fn with(&self, section: &str, key: &str, value: &str, test: impl FnOnce()) {
        let before = self.lab.config();
        self.lab.set(section, key, value);
        test();
        self.lab.write("matrix.toml", &before);
    }

    /// `up` refuses, and nothing was changed.
    #[track_caller]
    fn refuses(&self, words: &[&str]) {
        let before = self.node.change(|state| serde_json::to_string(state).unwrap());
        let mut ran = self.up();
        assert!(ran.code == 1 || ran.code == 2, "it has to refuse\n{}", ran.evidence());
        for word in words {
            ran = ran.says(word);
        }
        let after = self.node.change(|state| serde_json::to_string(state).unwrap());
        assert_eq!(before, after, "nothing may be changed\n{}", ran.evidence());
        assert!(self.node.calls().iter().all(|call| call[0] != "pct"), "pct was called\n{}", ran.evidence());
    }
}

fn refused(s: &mut Scenario, site: &Site) {
    s.test("an id in use is refused, with whose it is", || {
        site.with("[proxmox]", "id", "101", || site.refuses(&["101", "virtual machine windows"]));
        site.with("[proxmox]", "id", "102", || site.refuses(&["102", "container somebody"]));
    });
    s.test("a storage that is missing, of another kind or full is refused, with those that would do", || {
        let with =
            |value: &str, words: &[&str]| site.with("[proxmox]", "storage", value, || site.refuses(words));
        with("\"tank\"", &["no storage tank", "local-lvm (200.0 GiB free)"]);
        with("\"local\"", &["may not hold containers' disks", "vztmpl"]);
        let room = |gib: u64| site.node.change(|state| state.storages[1].free = gib);
        room(2);
        site.refuses(&["local-lvm", "2.0 GiB left", "6G are needed"]);
        room(200);
        site.node.change(|state| state.storages[1].active = false);
        site.refuses(&["local-lvm", "disabled or cannot be reached"]);
        site.node.change(|state| state.storages[1].active = true);
    });
    s.test("a bridge that is missing is refused, with those that are there", || {
        let bridge = site.lab.bridge();
        site.with("[guest.network]", "bridge", "\"vmbr9\"", || site.refuses(&["no bridge vmbr9", &bridge]));
    });
    s.test("a template that nobody has is refused, with those that can be had", || {
        let name = "\"debian-13-standard_13.99-1_amd64.tar.zst\"";
        site.with("[proxmox]", "template", name, || {
            site.refuses(&["13.99-1", "cannot be downloaded", "debian-13-standard_13.1-2_amd64"]);
        });
    });
    s.test("a node without quorum, or too old for Debian 13, is refused", || {
        site.node.change(|state| state.quorate = Some(false));
        site.refuses(&["no quorum", "pvecm status"]);
        site.node.change(|state| state.quorate = None);
        let version = |version: &str| {
            site.node.change(|state| state.versions.insert("pve-container".to_owned(), version.to_owned()));
        };
        version("6.0.9");
        site.refuses(&["pve-container 6.0.9", "6.0.10", "full-upgrade"]);
        version("6.0.13");
    });
    s.test("a container of that name that is not ours is refused, and left alone", || {
        let name = site.lab.guest().name;
        site.node.add_guest(103, "lxc", Some("other"), &[("hostname", &name), ("rootfs", "x:y,size=1G")]);
        site.refuses(&["matrix-podman did not make", "103 on other", "guest.name"]);
        let mark = "matrix-podman site: elsewhere.home.arpa";
        site.node.add_guest(
            103,
            "lxc",
            None,
            &[("hostname", &name), ("rootfs", "x:y,size=1G"), ("description", mark)],
        );
        site.refuses(&["of the site elsewhere.home.arpa"]);
        let mark = format!("matrix-podman site: {}", site.lab.domain);
        let ours = [("hostname", name.as_str()), ("rootfs", "x:y,size=1G"), ("description", mark.as_str())];
        site.node.add_guest(103, "lxc", Some("other"), &ours);
        site.refuses(&["is on the node other", "pct migrate"]);
        site.node.change(|state| state.guests.remove(&103));
    });
    s.test("addresses that cannot be are refused with their line", || {
        site.with("[guest.network]", "address", "\"10.0.0.300/24\"", || {
            site.refuses(&["matrix.toml:", "address"])
        });
        site.with("[proxmox]", "vlan", "5000", || site.refuses(&["matrix.toml:", "4094"]));
        site.with("[proxmox]", "mac", "\"01:00:00:00:00:01\"", || site.refuses(&["matrix.toml:", "mac"]));
    });
    s.test("what Proxmox cannot answer is not taken for an answer", || {
        for how in [How::Dies, How::Babbles] {
            // A question that fails once is put again; these all fail.
            (0..9).for_each(|_| site.node.breaks("pvesh get /cluster/resources", how));
            site.refuses(&["`pvesh get /cluster/resources"]);
            site.node.broke();
        }
    });
}

fn unfinished(s: &mut Scenario, site: &Site) {
    s.test("a creation that was cut off is removed only when somebody says so", || {
        site.node.breaks("pct create", How::Killed);
        site.up().exits(1).says("create the container 100").says("--remove-failed");
        assert_eq!(site.node.setting(100, "lock").as_deref(), Some("create"));
        site.up().exits(1).says("cut off").says("--remove-failed");
        assert_eq!(site.node.ids(), [100, 101, 102]);
        site.node.breaks("pct start", How::Dies);
        // Removed, made anew, not started, and, since it was asked for, removed again.
        site.node.run(&site.lab, &["up", "--yes", "--remove-failed"]).exits(1).says("is removed");
        assert_eq!(site.node.ids(), [101, 102]);
    });
}

fn walked(s: &mut Scenario, site: &Site) {
    s.test("whatever goes wrong while a server is made, the next up goes on", || {
        site.node.change(|state| state.templates.clear());
        for (call, how, words) in WALK {
            site.node.breaks(call, how);
            let last = call == "pct reboot";
            if words.is_none() && !last {
                site.node.breaks("pct reboot", How::Dies);
            }
            let ran = site.up();
            assert!(site.node.broke(), "nobody called {call}\n{}", ran.evidence());
            println!("  {call} {how:?}: exit code {}", ran.code);
            match words {
                Some(words) => drop(ran.exits(1).says(words)),
                None if last => drop(ran.ok()),
                None => drop(ran.exits(1).says("restart the container 100")),
            }
        }
        site.up().ok();
        site.node.run(&site.lab, &["plan", "--exit-code"]).ok().says("Nothing to do");
        assert_eq!(site.node.ids(), [100, 101, 102]);
        assert_eq!(site.node.setting(102, "hostname").as_deref(), Some("somebody"));
    });
    s.test("a container with data is never removed by a failure", || {
        site.lab.set("[guest]", "cores", "2");
        site.node.breaks("pct set", How::Dies);
        site.node.run(&site.lab, &["up", "--yes", "--remove-failed"]).exits(1).never_says("is removed");
        assert_eq!(site.node.ids(), [100, 101, 102]);
        site.up().ok();
        assert_eq!(site.node.setting(100, "cores").as_deref(), Some("2"));
    });
    s.test("a locked container and one that HA has are handled", || {
        site.node.change(|state| {
            state.guests.get_mut(&100).unwrap().config.insert("lock".to_owned(), "backup".to_owned());
        });
        // Nothing is to be done to it, so nobody needs to wait.
        site.up().ok().says("Nothing to do");
        site.lab.set("[guest]", "cores", "3");
        site.up().exits(1).says("a backup of it is being made").says("pct unlock 100");
        site.node.change(|state| {
            let guest = state.guests.get_mut(&100).unwrap();
            guest.config.remove("lock");
            guest.ha = true;
        });
        site.node.guest(100).cut_power();
        site.up().ok();
        assert_eq!(site.node.setting(100, "cores").as_deref(), Some("3"));
        site.node.run(&site.lab, &["status"]).ok().says("healthy");
        site.node.run(&site.lab, &["destroy", "--yes"]).ok();
        assert_eq!(site.node.ids(), [101, 102]);
    });
}
