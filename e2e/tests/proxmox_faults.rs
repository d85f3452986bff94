//! Proxmox's commands go wrong, one after the other and in each of their ways,
//! while a server is made: what went wrong is named, nothing of anybody is
//! lost, and the next `up` goes on.

use std::{fs, process::ExitCode, time::Duration};

use matrix_podman_e2e::{How, Lab, Node, Ran, Scenario, wait_until};

struct Site {
    lab: Lab,
    node: Node,
}

/// What goes wrong in one run, and what the program then says. Where it sees
/// that all is well, it goes on, and is stopped at something later.
type Run = (&'static [(&'static str, How)], &'static str);

/// Every act of a first `up`, in the order in which it comes to them, with all
/// that can befall it.
const WALK: [Run; 34] = [
    (&[("pveam download", How::DoesNothing)], "did not arrive on local: the worker failed: Bad Gateway"),
    (&[("pveam download", How::Dies)], "Input/output error"),
    (&[("pveam download", How::Babbles)], "did not arrive on local"),
    (&[("pveam download", How::DiesAfterwards)], "could not download a template"),
    (&[("pct create", How::Dies)], "create the container 100"),
    (&[("pct create", How::DoesNothing)], "there is no container"),
    (&[("pct create", How::Babbles)], "there is no container"),
    (&[("pct create", How::Locked)], "is locked"),
    (&[("pct create", How::TimesOut)], "run the same again"),
    (&[("pct create", How::DiesAfterwards), ("pct start", How::Dies)], "start the container 100"),
    (&[("pct start", How::Locked)], "is locked"),
    (&[("pct start", How::TimesOut)], "run the same again"),
    (&[("pct start", How::DoesNothing)], "it does not run"),
    (&[("pct start", How::Babbles)], "it does not run"),
    (&[("pct start", How::Killed)], "start the container 100"),
    (&[("pct start", How::DiesAfterwards), ("pct push", How::Dies)], PUT),
    (&[("pct push", How::DoesNothing)], "did not arrive whole: the worker failed: Bad Gateway"),
    (&[("pct push", How::Babbles)], "did not arrive whole"),
    (&[("pct push", How::Locked)], "is locked"),
    (&[("pct push", How::Killed)], PUT),
    (&[("pct set 100 --description", How::DoesNothing)], "description"),
    (&[("pct set 100 --description", How::Babbles)], "description"),
    (&[("pct set 100 --description", How::Dies)], "Input/output error"),
    (&[("pct set 100 --description", How::Locked)], "is locked"),
    (&[("pct set 100 --description", How::TimesOut)], "run the same again"),
    (&[("pct set 100 --description", How::DiesAfterwards), ("pct reboot", How::Dies)], RESTART),
    (&[("pvesh get /nodes", How::Babbles), ("pct reboot", How::Dies)], RESTART),
    (&[("pct exec", How::Dies), ("pct reboot", How::Dies)], RESTART),
    (&[("pct exec", How::Babbles), ("pct reboot", How::Dies)], RESTART),
    (&[("pct reboot", How::DoesNothing)], "it was not restarted"),
    (&[("pct reboot", How::Babbles)], "it was not restarted"),
    (&[("pct reboot", How::Locked)], "is locked"),
    (&[("pct reboot", How::TimesOut)], "run the same again"),
    (&[("pct reboot", How::Killed)], RESTART),
];
const PUT: &str = "put matrix-podman into the container 100";
const RESTART: &str = "restart the container 100";

/// Questions before anything is made.
const QUESTIONS: [&str; 8] = [
    "pvesh get /cluster/resources",
    "pvesh get /cluster/status",
    "pvesh get /nodes/NODE/storage",
    "pvesh get /nodes/NODE/network",
    "pveversion",
    "pveam list",
    "pveam available",
    "pvesh get /cluster/nextid",
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
    node.write_config(&lab);
    lab.set("[proxmox]", "id", "100");
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
        with("\"tank\"", &["no storage tank", "local-lvm (200 GiB free)"]);
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
        let before = site.lab.config();
        let node = site.node.change(|state| {
            state.templates.clear();
            state.node.clone()
        });
        site.lab.unset("id");
        for question in QUESTIONS.map(|question| question.replace("NODE", &node)) {
            for how in [How::Dies, How::Babbles] {
                // A question that fails once is put again; these all fail.
                (0..9).for_each(|_| site.node.breaks(&question, how));
                site.refuses(&[&format!("`{question}")]);
                site.node.broke();
            }
        }
        site.lab.write("matrix.toml", &before);
    });
}

fn unfinished(s: &mut Scenario, site: &Site) {
    let remove = || site.node.run(&site.lab, &["up", "--yes", "--remove-failed"]);
    // A task that was killed is on Proxmox's list until somebody comes round.
    let is_named = || {
        wait_until("it is seen that nothing is at work on it", Duration::from_secs(400), || {
            let said = site.up().exits(1).stderr;
            if said.contains("cut off") && said.contains("--remove-failed") { Ok(()) } else { Err(said) }
        });
    };
    let mounted = || fs::read_to_string("/proc/self/mounts").unwrap().contains("/var/lib/lxc/100/rootfs ");
    s.test("a creation that was cut off is removed only when somebody says so, with its volume", || {
        // Somebody keeps it, whatever its number.
        let theirs = "local-lvm:vm-100-disk-9".to_owned();
        site.node.change(|state| state.volumes.push(theirs.clone()));
        site.node.breaks("pct create", How::Killed);
        site.up().exits(1).says("create the container 100").says("--remove-failed");
        assert_eq!(site.node.setting(100, "lock").as_deref(), Some("create"));
        assert_eq!(site.node.volumes(100).len(), 2, "its config does not know its volume");
        assert!(mounted());
        is_named();
        assert_eq!(site.node.ids(), [100, 101, 102]);
        site.node.breaks("pct start", How::Dies);
        // Removed, made anew, not started, and, since it was asked for, removed again.
        remove().exits(1).says("is removed");
        assert_eq!(site.node.ids(), [101, 102]);
        assert_eq!(site.node.volumes(100), [theirs]);
        assert!(!mounted());
        site.node.change(|state| state.volumes.clear());
    });
    s.test("a creation that died behind its config is not believed", || {
        site.node.breaks("pct create", How::KilledLate);
        site.up().exits(1).says("create the container 100").says("--remove-failed");
        assert_eq!(site.node.setting(100, "lock"), None);
        assert!(site.node.setting(100, "rootfs").is_some());
        is_named();
        site.node.breaks("pct start", How::Dies);
        remove().exits(1).says("is removed");
        assert_eq!(site.node.ids(), [101, 102]);
        assert!(site.node.volumes(100).is_empty() && !mounted());
    });
    s.test(
        "a run that is killed while Proxmox makes a container ends nothing, and the next goes on with it",
        || {
            let ended = || site.node.change(|state| state.creations.get(&100).cloned());
            site.node.change(|state| state.creations.clear());
            let running = site.node.command(&site.lab, &["up", "--yes"]).start();
            wait_until("Proxmox is at the creation", Duration::from_secs(400), || {
                let tasks = site.node.change(|state| state.tasks.clone());
                let volumes = site.node.volumes(100);
                if tasks.is_empty() || volumes.is_empty() { Err(format!("{tasks:?}")) } else { Ok(()) }
            });
            running.kill();
            assert_eq!(ended(), None, "it goes on");
            wait_until("Proxmox is done with it", Duration::from_secs(300), || match ended().as_deref() {
                Some("OK") => Ok(()),
                other => Err(format!("{other:?}")),
            });
            site.node.run(&site.lab, &["plan"]).ok().says("Take over the container 100");
            site.node.breaks("pct start", How::Dies);
            remove().exits(1).says("start the container 100").says("is removed");
            assert_eq!(site.node.ids(), [101, 102]);
            assert!(site.node.volumes(100).is_empty());
        },
    );
}

fn walked(s: &mut Scenario, site: &Site) {
    s.test("whatever goes wrong while a server is made, the next up goes on", || {
        site.node.change(|state| state.templates.clear());
        let mut odd = Vec::new();
        for (faults, words) in WALK {
            faults.iter().for_each(|(call, how)| site.node.breaks(call, *how));
            println!("  {faults:?}");
            let ran = site.up();
            let said = ran.stdout.contains(words) || ran.stderr.contains(words);
            if !site.node.broke() || ran.code != 1 || !said || !ran.stderr.contains("next: ") {
                odd.push(format!("{faults:?}, but not {words:?}\n{}", ran.evidence()));
            }
        }
        assert!(odd.is_empty(), "{}", odd.join("\n"));
        site.node.breaks("pct reboot", How::DiesAfterwards);
        site.up().ok();
        assert!(site.node.broke());
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
        site.node.run(&site.lab, &["plan"]).ok().says("a backup of it was cut off").says("pct unlock 100");
        let found = site.node.command(&site.lab, &["doctor", "--json"]).quietly().run().exits(1).json();
        assert_eq!(found["findings"][0]["cause"], "guest/locked", "{found}");
        site.node.run(&site.lab, &["status"]).says("a backup of it was cut off").says("pct unlock 100");
        site.lab.set("[guest]", "cores", "3");
        site.up().exits(1).says("a backup of it was cut off").says("pct unlock 100");
        // While it is at work, it is waited for.
        site.node.change(|state| state.tasks.push(("vzdump".to_owned(), 100, std::process::id())));
        site.up().exits(1).says("a backup of it is being made").says("wait until that is over");
        site.node.change(|state| state.tasks.clear());
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
