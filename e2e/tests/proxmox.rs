//! The life of a server on a node of Proxmox VE, whose commands are stood in
//! for: made, found again, changed, removed.

use std::{collections::BTreeSet, fs, io::ErrorKind, net::TcpStream, process::ExitCode, time::Duration};

use matrix_podman_e2e::{
    CallsPage, Guest, Invocation, Lab, Node, Ran, Scenario, at_this_pace, make_archives, wait_until,
};

#[path = "proxmox/network.rs"]
mod network;
#[path = "proxmox/snapshots.rs"]
mod snapshots;
#[path = "proxmox/updates.rs"]
mod updates;
#[path = "proxmox/volume.rs"]
mod volume;

/// What a first `up` may call `pct`, and a second one with nothing to do: each
/// call is a large Perl program on a real node.
const FIRST: usize = 15;
const SECOND: usize = 3;
/// Longer than the greeting may take.
const GREETING: Duration = Duration::from_millis(100);

/// Milliseconds of the greeting, between two looks at a clock in the guest, so
/// that the way in does not count.
const TIMED: &str =
    "a=$(date +%s%N); matrix-podman motd >/dev/null; b=$(date +%s%N); echo $(( (b - a) / 1000000 ))";

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
    network::changed(&mut s, &site);
    greeted(&mut s, &site);
    second(&mut s, &site);
    snapshots::made_and_gone_back_to(&mut s, &site);
    snapshots::killed(&mut s, &site);
    updates::preceded_by_a_snapshot(&mut s, &site, snapshots::KEPT);
    removed(&mut s, &site);
    listed(&mut s, &site);
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
    node.has_plain_templates();
    node.write_config(&lab);
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
        let page = CallsPage::read();
        let rows = |calls: &[Vec<String>]| -> BTreeSet<String> {
            calls.iter().map(|call| page.find(call).0.to_owned()).collect()
        };
        let (first, second) = (rows(&site.first_calls), rows(&calls));
        let listed =
            |reasons: &[&str]| -> BTreeSet<String> { page.made_when(reasons).map(str::to_owned).collect() };
        let always = ["always", "a container that may be", "the site's container", "once for each run"];
        let making = ["before a container is made", "when the storage has no", "once", "it does not run"];
        let rest = ["settings that differ", "at the end of the first", "the program in the container"];
        assert_eq!(
            first,
            listed(&[&always[..], &making, &rest].concat()),
            "a first up calls what the page says"
        );
        assert_eq!(second, listed(&always), "and so does a second one");
    });
    s.test("what its template has none of is there, and what it has too much of is gone", || {
        let packages = |names: &[&str]| {
            let asked = ["dpkg-query", "--show", "--showformat=${Package} ${db:Status-Abbrev}\\n"];
            site.guest().exec(asked.iter().chain(names)).text().to_owned()
        };
        for name in ["podman", "crun", "netavark", "aardvark-dns"] {
            assert!(packages(&[name]).starts_with(&format!("{name} ii")), "{name}");
        }
        let unwanted = packages(&["openssh-server", "postfix"]);
        assert!(!unwanted.contains(" ii"), "{unwanted}");
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
        site.run(&["plan", "--diff"]).ok().says("hostname: renamed").says("counts from its next start on");
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
        let plan = site.run(&["plan", "--diff"]).ok();
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
        site.run(&["plan", "--diff"]).ok().says("- rootfs: size=16G").says("+ rootfs: size=20G");
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
        site.run(&["plan", "--diff"])
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
        let mut took: Vec<u32> =
            (0..5).map(|_| site.guest().sh(TIMED).ok().text().parse().unwrap()).collect();
        took.sort_unstable();
        let most = at_this_pace(GREETING).as_millis();
        assert!(u128::from(took[2]) < most, "the greeting took {took:?} ms");
    });
    s.test("it is there as fast when systemd and Podman hang, and nobody waits for it at a login", || {
        let guest = site.guest();
        let init = Invocation::new(["lxc-info", "--name", &guest.name, "--pid", "--no-humanize"]).run().ok();
        let signal = |signal: &str| drop(Invocation::new(["kill", signal, init.text()]).run().ok());
        // Whoever asks Podman or systemd now waits forever.
        guest.sh("mv /usr/bin/podman /usr/bin/podman.real; touch /run/hangs; printf '#!/bin/sh\nwhile test -e /run/hangs; do sleep 0.1; done\n' >/usr/bin/podman; chmod 755 /usr/bin/podman").ok();
        signal("-STOP");
        let asked = guest.command(["timeout", "3", "systemctl", "status"]).run();
        let greeted = guest.command(["matrix-podman", "motd"]).within(Duration::from_secs(20)).run();
        let took = guest.command(["sh", "-euc", TIMED]).within(Duration::from_secs(20)).run();
        // A shell waits half a second for it, which a busy machine may need by itself.
        let login = wait_until("a login shows the greeting", Duration::from_secs(20), || {
            let login = guest.command(["bash", "--login", "-i", "-c", "true"]).within(Duration::from_secs(20)).run();
            if login.stdout.contains("synapse") { Ok(login) } else { Err(login.evidence()) }
        });
        signal("-CONT");
        guest.sh("rm /run/hangs; mv /usr/bin/podman.real /usr/bin/podman").ok();
        assert_ne!(asked.code, 0, "systemd does hang\n{}", asked.evidence());
        assert!(greeted.ok().stdout.contains("synapse"));
        let took: u32 = took.ok().text().parse().unwrap();
        let most = at_this_pace(GREETING).as_millis();
        assert!(u128::from(took) < most, "the greeting took {took} ms");
        let login = login.ok();
        assert!(login.took < at_this_pace(Duration::from_secs(2)), "{}", login.evidence());
        assert!(login.stdout.contains("synapse"), "{}", login.evidence());
    });
}

/// Another site on the same node, with all that the first one does without. It
/// is made on a terminal, where somebody answers.
fn second(s: &mut Scenario, site: &Site) {
    const PASSWORD: &str = "planted-root-password";
    const MAC: &str = "BC:24:11:87:00:30";
    const KEY: &str =
        "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIWNJ8l6m1Zp1JxY6qxHIfMb2yKwN0lPo9mQvR5GvS3t anna@laptop";
    let (lab, node) = (Lab::new("proxmox-second"), &site.node);
    let name = lab.guest().name;
    let network = format!("10.87.{}", site.lab.number);
    let prefix6 = format!("fd87:{}", u16::from(site.lab.number) + 1);
    let address6 = format!("{prefix6}::30");
    // Proxmox takes a comment for a key that is wrong.
    let keys = lab.write("keys.pub", &format!("# laptops\n\n{KEY}\n")).display().to_string();
    lab.write(
        "matrix.toml",
        &format!(
            "domain = \"{}\"\n\n[guest]\nname = \"{name}\"\nipv6 = true\n\n[guest.network]\naddress = \"{network}.30/24\"\n\
             gateway = \"{network}.1\"\ndns = [\"{network}.1\"]\n\n[proxmox]\nroot_password = \"ask\"\n\
             data_volume = \"6G\"\nmac = \"{MAC}\"\nmtu = 1400\nfirewall = true\nswap = \"1G\"\npool = \"home\"\n\
             ssh_keys = {keys:?}\naddress6 = \"{address6}/64\"\ngateway6 = \"{prefix6}::1\"\n\n[backup]\n\
             repository = {:?}\n",
            lab.domain,
            lab.path("repository").display().to_string()
        ),
    );
    lab.use_archives();
    // What is made of a plain template, the first one shows.
    node.has_prepared_templates();
    let setting = |key: &str| node.setting(101, key).unwrap_or_else(|| panic!("the container has no {key}"));
    s.test(
        "on a terminal, storages and bridges are offered as lists, and root's password is asked for",
        || {
            let kept = node.change(|state| {
                let kept = (state.storages.clone(), state.bridges.clone());
                let disks = state.storages[1].clone();
                state.storages[1].name = "nvme".to_owned();
                state.storages.push(matrix_podman_e2e::Storage { name: "tank".to_owned(), ..disks });
                state.bridges.insert(0, "vmbr7".to_owned());
                state.pools.insert("home".to_owned(), Vec::new());
                kept
            });
            // Whoever cannot be asked is told what there is.
            node.run(&lab, &["up", "--yes"]).exits(1).says("no storage local-lvm").says("nvme").says("tank");
            let up = node
                .on_terminal(
                    &lab,
                    &["up"],
                    &[
                        ("no storage local-lvm for containers' disks. Which one?", "9"),
                        ("type a number from 1 to 2", "2"),
                        ("no bridge vmbr0. Which one?", "2"),
                        ("[Y/n]", "y"),
                        ("Password of root in the container: ", "four"),
                        ("Password of root in the container: ", PASSWORD),
                        ("Once more: ", "another"),
                        ("Password of root in the container: ", PASSWORD),
                        ("Once more: ", PASSWORD),
                    ],
                )
                .ok()
                .says("is up.")
                .never_says(PASSWORD);
            assert!(up.stdout.contains("2) tank"), "{}", up.evidence());
            let config = lab.config();
            assert!(config.contains("storage = \"tank\"") && config.contains(&site.lab.bridge()), "{config}");
            node.change(|state| (state.storages, state.bridges) = kept);
        },
    );
    s.test("the password is root's, and written down nowhere", || {
        let shadow = node.guest(101).read("/etc/shadow");
        let hash = shadow.lines().find_map(|line| line.strip_prefix("root:")?.split(':').next()).unwrap();
        let same = "exit(crypt($ARGV[0], $ARGV[1]) ne $ARGV[1])";
        Invocation::new(["perl", "-e", same, PASSWORD, hash]).quietly().run().ok();
        for (file, text) in lab.machine_records().into_iter().chain(site.lab.machine_records()) {
            assert!(!text.contains(PASSWORD), "{} holds root's password", file.display());
        }
    });
    s.test("the data are on the data volume, which grows", || {
        assert_eq!(setting("mp0"), "tank:vm-101-disk-1,mp=/opt/matrix,backup=1,size=6G");
        let guest = node.guest(101);
        assert_eq!(
            guest.exec(["findmnt", "--noheadings", "--output", "TARGET", "/opt/matrix"]).ok().text(),
            "/opt/matrix"
        );
        assert!(guest.folder().join("volume/postgresdata").exists());
        assert!(
            fs::read_dir(guest.folder().join("rootfs/opt/matrix"))
                .is_ok_and(|mut inside| inside.next().is_none())
        );
        lab.set("[proxmox]", "data_volume", "\"8G\"");
        node.run(&lab, &["plan", "--diff"])
            .ok()
            .says("- mp0: size=6G")
            .says("+ mp0: size=8G")
            .says("while it runs");
        node.run(&lab, &["up", "--yes"]).ok();
        assert!(setting("mp0").ends_with("size=8G"));
    });
    s.test("its interface, pool, swap and keys are as the config has them", || {
        let net = setting("net0");
        for part in [format!("hwaddr={MAC}"), "mtu=1400".to_owned(), "firewall=1".to_owned()] {
            assert!(net.split(',').any(|p| p == part), "{part} in {net}");
        }
        assert_eq!(setting("swap"), "1024");
        assert_eq!(node.change(|state| state.pools["home"].clone()), [101]);
        let link = node.guest(101).exec(["ip", "link", "show", "eth0"]).ok();
        assert!(link.stdout.contains("mtu 1400"), "{}", link.evidence());
        assert!(link.stdout.to_uppercase().contains(MAC), "{}", link.evidence());
        assert!(node.guest(101).read("/root/.ssh/authorized_keys").contains(KEY));
        node.guest(101).exec(["systemctl", "is-active", "ssh"]).ok();
        lab.set("[proxmox]", "vlan", "30");
        node.run(&lab, &["plan", "--diff"]).ok().says("tag=30");
        lab.unset("vlan");
        node.run(&lab, &["plan", "--exit-code"]).ok().says("Nothing to do");
    });
    s.test("it has its fixed addresses of both kinds", || {
        Invocation::new([
            "ip",
            "address",
            "add",
            &format!("{prefix6}::1/64"),
            "dev",
            &site.lab.bridge(),
            "nodad",
        ])
        .quietly()
        .run()
        .ok();
        let reach = |address: String| {
            TcpStream::connect_timeout(&address.parse().unwrap(), Duration::from_secs(5)).map(drop)
        };
        reach(format!("{network}.30:8008")).unwrap();
        // The guest lets nobody near its published ports; that another refuses says that it is there.
        let refused = reach(format!("[{address6}]:9")).unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused, "{refused}");
        let routes = node.guest(101).exec(["ip", "-6", "route", "show", "default"]).ok();
        assert!(routes.stdout.contains(&format!("via {prefix6}::1 ")), "{}", routes.evidence());
    });
    s.test("two sites on one node do not disturb each other", || {
        for (lab, id) in [(&site.lab, "100"), (&lab, "101")] {
            node.run(lab, &["plan", "--exit-code"]).ok().says("Nothing to do");
            let status = node.command(lab, &["status", "--json"]).quietly().run().ok().json();
            assert_eq!(status["guest"]["id"], id);
        }
        // Its number is not how it is found.
        lab.set("[proxmox]", "id", "100");
        node.run(&lab, &["status", "--json"]).ok();
        lab.unset("id");
    });
    volume::comes_back(s, &lab, node, &format!("http://{network}.30:8008"));
    s.test("one site's removal does not disturb the other", || {
        node.run(&lab, &["destroy", "--yes"]).ok();
        assert_eq!(node.ids(), [100]);
        site.run(&["status"]).ok();
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

fn listed(s: &mut Scenario, site: &Site) {
    s.test("every call that was made is on the page that lists them", || {
        // What only follows a creation that was cut off, or an old list of templates.
        // And what nobody can do where mounted file systems cannot be made larger.
        let elsewhere = ["/tasks ", "pct unlock", "pveam update", "pvesm"];
        let never = site.node.calls_are_listed();
        assert!(never.iter().all(|call| elsewhere.iter().any(|e| call.contains(e))), "{never:?}");
    });
}
