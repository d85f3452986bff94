//! The life of a server on a node of Proxmox VE, whose commands are stood in
//! for: made, found again, changed, removed.

use std::process::ExitCode;

use matrix_podman_e2e::{Guest, Lab, Node, Ran, Scenario, make_archives};

/// What a first `up` may call `pct`, and a second one with nothing to do: each
/// call is a large Perl program on a real node.
const FIRST: usize = 15;
const SECOND: usize = 3;

struct Site {
    lab: Lab,
    node: Node,
    first_calls: Vec<Vec<String>>,
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("proxmox");
    let site = s.foundation("one command makes a healthy server in a container of the node", made);
    quick(&mut s, &site);
    found(&mut s, &site);
    changed(&mut s, &site);
    greeted(&mut s, &site);
    removed(&mut s, &site);
    s.end()
}

impl Site {
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ran {
        self.node.run(&self.lab, arguments)
    }

    fn guest(&self) -> Guest {
        self.node.guest(100)
    }

    #[track_caller]
    fn setting(&self, key: &str) -> String {
        self.node.setting(100, key).unwrap_or_else(|| panic!("the container has no {key}"))
    }
}

fn pct(calls: &[Vec<String>]) -> Vec<String> {
    calls.iter().filter(|call| call[0] == "pct").map(|call| call.join(" ")).collect()
}

/// `up` with a config that holds only what must be apart on a machine with
/// several sites. That it is a node of Proxmox is seen from the commands.
fn made() -> Site {
    make_archives();
    let lab = Lab::new("proxmox");
    let node = Node::new(&lab);
    lab.write(
        "matrix.toml",
        &format!(
            "domain = \"{}\"\n\n[guest]\nname = \"{}\"\n\n[guest.network]\nbridge = \"{}\"\n",
            lab.domain,
            lab.guest().name,
            lab.bridge()
        ),
    );
    let up = node.run(&lab, &["up", "--yes"]).ok();
    for word in ["is up.", "Web client", "Homeserver"] {
        assert!(up.stdout.contains(word), "the summary has {word:?}\n{}", up.evidence());
    }
    let first_calls = node.calls();
    Site { lab, node, first_calls }
}

fn quick(s: &mut Scenario, site: &Site) {
    s.test("a first up makes few calls, and a second one has nothing to do and makes fewer", || {
        let calls = pct(&site.first_calls);
        assert!(calls.len() <= FIRST, "{} calls of pct: {calls:#?}", calls.len());
        site.node.calls();
        site.run(&["up", "--yes"]).ok().says("Nothing to do");
        let calls = site.node.calls();
        assert!(pct(&calls).len() <= SECOND, "{calls:#?}");
        assert!(calls.len() <= 5, "all of Proxmox's commands together: {calls:#?}");
        site.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
    });
    s.test("the container is what the config says, and protected", || {
        for (key, value) in [
            ("cores", "4"),
            ("memory", "4096"),
            ("rootfs", "local-lvm:vm-100-disk-0,size=16G"),
            ("unprivileged", "1"),
            ("onboot", "1"),
            ("protection", "1"),
            ("features", "keyctl=1,nesting=1"),
        ] {
            assert_eq!(site.setting(key), value, "{key}");
        }
        let tags = site.setting("tags");
        assert_eq!(tags, format!("lxc;matrix;matrix-podman-{};podman", site.lab.domain));
        let description = site.setting("description");
        let address = status(site)["guest"]["address"].as_str().unwrap().to_owned();
        assert!(description.contains(&format!("http://{address}:8080")), "{description}");
        assert!(
            description.ends_with(&format!("matrix-podman site: {}\n", site.lab.domain)),
            "{description}"
        );
    });
    s.test("the guest was restarted once, and everything came back by itself", || {
        let calls = pct(&site.first_calls);
        let reboots: Vec<_> = calls.iter().filter(|call| call.starts_with("pct reboot")).collect();
        assert_eq!(reboots.len(), 1, "{calls:#?}");
        let status = status(site);
        assert_eq!(status["guest"]["backend"], "proxmox");
        assert_eq!(status["guest"]["id"], "100");
        for service in status["services"].as_array().unwrap() {
            assert_eq!(service["health"], "healthy", "{status}");
        }
    });
    s.test("users are made, logs are read and commands typed in the guest work", || {
        site.node
            .command(&site.lab, &["user", "add", "anna", "--password-file", "-"])
            .input("correct horse battery staple")
            .run()
            .ok();
        site.run(&["logs", "synapse", "--lines", "3"]).ok();
        let inside = site.guest().exec(["matrix-podman", "status", "--json"]).ok().json();
        assert_eq!(inside["services"].as_array().map(Vec::len), Some(4));
        site.guest().exec(["matrix-podman", "plan", "--exit-code"]).ok().says("Nothing to do");
    });
}

fn status(site: &Site) -> serde_json::Value {
    site.node.command(&site.lab, &["status", "--json"]).quietly().run().json()
}

fn found(s: &mut Scenario, site: &Site) {
    s.test("a container that was renamed by hand is found by its mark, and named again", || {
        site.node.change(|state| {
            let config = &mut state.guests.get_mut(&100).unwrap().config;
            config.insert("hostname".to_owned(), "renamed".to_owned());
        });
        site.run(&["status"]).ok();
        site.run(&["plan"]).ok().says("hostname: renamed").says("while it runs");
        site.run(&["up", "--yes"]).ok();
        assert_eq!(site.setting("hostname"), site.lab.guest().name);
    });
}

fn changed(s: &mut Scenario, site: &Site) {
    let set = |section: &str, key: &str, value: &str| site.lab.set(section, key, value);
    s.test("cores, memory, tags and start order change while it runs, as the plan shows", || {
        set("[guest]", "cores", "2");
        set("[guest]", "memory", "\"3G\"");
        set("[proxmox]", "tags", "[\"family\"]");
        set("[proxmox]", "start_order", "3");
        let plan = site.run(&["plan"]).ok();
        for word in ["- cores: 4", "+ cores: 2", "+ memory: 3072", "+ startup: order=3", "while it runs"] {
            assert!(plan.stdout.contains(word), "{word}\n{}", plan.evidence());
        }
        site.node.calls();
        site.run(&["up", "--yes"]).ok();
        let calls = pct(&site.node.calls());
        assert!(!calls.iter().any(|call| call.starts_with("pct reboot")), "{calls:#?}");
        assert_eq!((site.setting("cores"), site.setting("memory")), ("2".to_owned(), "3072".to_owned()));
        assert!(site.setting("tags").contains("family"));
        site.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
    });
    s.test("a disk grows, and never shrinks", || {
        set("[guest]", "disk", "\"20G\"");
        site.run(&["plan"]).ok().says("- rootfs: size=16G").says("+ rootfs: size=20G");
        site.run(&["up", "--yes"]).ok();
        assert!(site.setting("rootfs").ends_with("size=20G"));
        set("[guest]", "disk", "\"10G\"");
        site.run(&["up", "--yes"]).exits(1).says("disks can only grow").says("guest.disk = \"20G\"");
        set("[guest]", "disk", "\"20G\"");
    });
    s.test("a feature that was taken away comes back with a restart, which is said beforehand", || {
        site.node.change(|state| {
            let config = &mut state.guests.get_mut(&100).unwrap().config;
            config.insert("features".to_owned(), "fuse=1,nesting=1".to_owned());
        });
        site.run(&["plan"])
            .ok()
            .says("features: fuse=1,keyctl=1,nesting=1")
            .says("and restart it")
            .says("whole server");
        site.run(&["up", "--yes"]).ok();
        assert_eq!(site.setting("features"), "fuse=1,keyctl=1,nesting=1");
        site.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
    });
    s.test("a data volume cannot be had afterwards, and the notes of the operator stay", || {
        set("[proxmox]", "data_volume", "\"30G\"");
        site.run(&["up", "--yes"]).exits(1).says("made without a data volume");
        site.lab.unset("data_volume");
        let notes = format!("Bought in May\n{}", site.setting("description"));
        site.node.change(|state| {
            state.guests.get_mut(&100).unwrap().config.insert("description".to_owned(), notes.clone());
        });
        set("", "chat_url", "\"https://talk.e2e.home.arpa\"");
        site.run(&["up", "--yes"]).ok();
        let description = site.setting("description");
        assert!(
            description.starts_with("Bought in May\n") && description.contains("talk.e2e"),
            "{description}"
        );
    });
}

fn greeted(s: &mut Scenario, site: &Site) {
    s.test("whoever enters the guest is told how the server is, at once", || {
        let shell = site.guest().exec(["bash", "-i", "-c", "source /etc/profile.d/zz-matrix-podman.sh"]).ok();
        for word in [
            site.lab.server_name().as_str(),
            "synapse",
            "runs, healthy",
            "/opt/matrix",
            "matrix-podman status",
        ] {
            assert!(shell.stdout.contains(word), "{word}\n{}", shell.evidence());
        }
        // Between two looks at a clock in the guest, so that the way in does not count.
        let timed =
            "a=$(date +%s%N); matrix-podman motd >/dev/null; b=$(date +%s%N); echo $(( (b - a) / 1000000 ))";
        let mut took: Vec<u32> =
            (0..5).map(|_| site.guest().sh(timed).ok().text().parse().unwrap()).collect();
        took.sort_unstable();
        assert!(took[2] < 100, "the greeting took {took:?} ms");
    });
    s.test("it is there when Podman and systemd hang, too", || {
        let guest = site.guest();
        // Whoever asks Podman or systemd now waits for ever.
        guest.sh("mv /usr/bin/podman /usr/bin/podman.real; printf '#!/bin/sh\nsleep 1000\n' >/usr/bin/podman; chmod 755 /usr/bin/podman").ok();
        let ran = guest.exec(["matrix-podman", "motd"]).ok();
        guest.sh("mv /usr/bin/podman.real /usr/bin/podman").ok();
        assert!(ran.took.as_secs() < 5 && ran.stdout.contains("synapse"), "{}", ran.evidence());
    });
}

fn removed(s: &mut Scenario, site: &Site) {
    s.test("destroy lifts the protection and removes the container, and only it", || {
        site.node.add_guest(101, "qemu", None, &[("name", "somebody-elses")]);
        site.run(&["destroy"]).exits(2).says("container 100").says("--yes");
        site.run(&["destroy", "--yes"]).ok();
        assert_eq!(site.node.ids(), [101]);
        assert!(!site.guest().exists());
        site.run(&["status"]).exits(1).says("absent");
        site.run(&["destroy", "--yes"]).ok().says("nothing was changed");
    });
}
