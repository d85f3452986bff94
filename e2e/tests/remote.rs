//! From a laptop: commands typed in one place are done on another machine,
//! through a real sshd. The machine is a node of Proxmox, stood in for; other
//! kinds are looked at.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use matrix_podman_e2e::{
    Invocation, Lab, Laptop, Node, Ran, Scenario, Sshd, archive, make_archives, wait_until,
};

const PASSWORD: &str = "correct horse battery staple";
const ROOT_PASSWORD: &str = "planted-root-password";

/// A laptop, a machine, and the sshd between them.
struct Site {
    lab: Lab,
    node: Node,
    laptop: Laptop,
    _sshd: Sshd,
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("remote");
    let site = s.foundation("there is a machine that can be reached through ssh alone", machine);
    refused(&mut s, &site);
    worked(&mut s, &site);
    plain_lxc(&mut s, &site);
    s.end()
}

fn machine() -> Site {
    make_archives();
    let lab = Lab::new("remote");
    let node = Node::new(&lab);
    let port = Sshd::free_port();
    let laptop = Laptop::new(&lab, "127.0.0.1", port);
    let sshd = Sshd::start(&laptop, port, &node.path());
    let password = laptop.folder.join("root-password");
    fs::write(&password, format!("{ROOT_PASSWORD}\n")).unwrap();
    fs::set_permissions(&password, fs::Permissions::from_mode(0o600)).unwrap();
    let site = Site { lab, node, laptop, _sshd: sshd };
    let keys = site.laptop.key_file("own.pub");
    let own = format!(
        "[guest.network]\nbridge = \"{}\"\n\n[proxmox]\nssh_keys = {keys:?}\nroot_password = {password:?}\n",
        site.lab.bridge()
    );
    site.write(&own);
    site.laptop.gets_in();
    site
}

impl Site {
    /// Writes the laptop's config: what is the same for all kinds of guests,
    /// and what is not.
    fn write(&self, rest: &str) {
        let mut config = format!(
            "domain = \"{}\"\nhost = \"ssh://box\"\n\n[guest]\nname = \"{}\"\n\n{rest}",
            self.lab.domain,
            self.lab.guest().name
        );
        for (key, recipe) in
            [("postgres", "postgres"), ("redis", "redis"), ("synapse", "synapse"), ("web", "element-web")]
        {
            config.push_str(&format!("\n[images.{key}]\narchive = {:?}\n", archive(recipe)));
        }
        fs::write(self.laptop.folder.join("matrix.toml"), config).unwrap();
    }

    fn command(&self, words: &[&str]) -> Invocation {
        self.laptop.command(&self.lab, words)
    }

    #[track_caller]
    fn run(&self, words: &[&str]) -> Ran {
        self.command(words).run()
    }

    /// What is handed over to the machine.
    fn handed(&self) -> PathBuf {
        Path::new("/var/lib/matrix-podman/sites").join(&self.lab.domain).join("handed")
    }

    /// Writes another host, and the rest as it was, for as long as `test` runs.
    fn with(&self, from: &str, to: &str, test: impl FnOnce()) {
        let file = self.laptop.folder.join("matrix.toml");
        let before = fs::read_to_string(&file).unwrap();
        fs::write(&file, before.replace(from, to)).unwrap();
        test();
        fs::write(&file, before).unwrap();
    }
}

fn refused(s: &mut Scenario, site: &Site) {
    s.test("a machine that cannot be reached is named, with what to try", || {
        site.with("ssh://box", "ssh://no-such-machine.invalid", || {
            site.run(&["plan"]).exits(1).says("no-such-machine.invalid").says("has to work by hand first");
        });
        site.with("ssh://box", "ssh://stranger", || {
            site.run(&["plan"]).exits(1).says("Host key verification failed");
        });
    });
    s.test("mistakes in the config are told here, before anybody is reached", || {
        site.with("[guest]", "[guest]\ncores = 0", || {
            site.run(&["up", "--yes"]).exits(2).says("matrix.toml:").says("guest.cores");
        });
        site.with("ssh://box", "root@box", || {
            site.run(&["plan"]).exits(2).says("ssh:// is missing");
        });
    });
}

fn worked(s: &mut Scenario, site: &Site) {
    s.test("a plan comes back as JSON, and so does the exit code", || {
        let plan = site.run(&["plan", "--json", "--exit-code"]).exits(3).json();
        assert_eq!(plan["site"], site.lab.domain.as_str());
        assert!(site.node.ids().is_empty());
    });
    s.test("an up whose connection is cut is gone on with by the next one", || {
        let mut up = site.command(&["up", "--yes"]).start();
        wait_until("the server is half made", Duration::from_secs(180), || match up.said() {
            said if said.contains("done   Put matrix-podman into the guest") => Ok(()),
            said => Err(said),
        });
        assert!(up.is_running());
        up.kill();
        // Whatever still runs there ends by itself.
        wait_until("the next up goes through", Duration::from_secs(300), || {
            let ran = site.run(&["up", "--yes"]);
            if ran.code == 0 { Ok(()) } else { Err(ran.evidence()) }
        });
        site.run(&["up", "--yes"]).ok().says("Nothing to do");
        assert_eq!(site.node.ids(), [100]);
    });
    s.test("status, users and logs are the machine's", || {
        assert_eq!(site.run(&["status", "--json"]).ok().json()["guest"]["id"], "100");
        let file = site.laptop.folder.join("password");
        fs::write(&file, PASSWORD).unwrap();
        site.run(&["user", "add", "anna", "--password-file", "password"]).ok();
        site.run(&["user", "add", "anna", "--password-file", "password"]).exits(1).says("anna");
        site.run(&["logs", "synapse", "--lines", "2"]).ok();
    });
    s.test("the files that the config names came along, for root alone", || {
        let state = site.handed();
        assert_eq!(fs::metadata(&state).unwrap().permissions().mode() & 0o777, 0o700);
        for file in fs::read_dir(&state).unwrap().flatten() {
            assert_eq!(
                file.metadata().unwrap().permissions().mode() & 0o777,
                0o600,
                "{}",
                file.path().display()
            );
        }
        let keys = site.node.guest(100).read("/root/.ssh/authorized_keys");
        assert!(keys.starts_with("ssh-ed25519 "), "{keys}");
        let shadow = site.node.guest(100).read("/etc/shadow");
        let hash = shadow.lines().find_map(|line| line.strip_prefix("root:")?.split(':').next()).unwrap();
        let same = "exit(crypt($ARGV[0], $ARGV[1]) ne $ARGV[1])";
        Invocation::new(["perl", "-e", same, ROOT_PASSWORD, hash]).quietly().run().ok();
        let calls = site.node.all_calls();
        assert!(!calls.iter().flatten().any(|word| word.contains(ROOT_PASSWORD)), "it is on a command line");
    });
    s.test("typed on the machine itself, the same site is found", || {
        let config = site.handed().join("matrix.toml").display().to_string();
        site.node
            .command(&site.lab, &["plan", "--exit-code", "--config", &config])
            .folder("/")
            .run()
            .ok()
            .says("Nothing to do");
    });
    s.test("destroy asks, and removes what is there", || {
        site.run(&["destroy"]).exits(2).says("--yes");
        site.run(&["destroy", "--yes"]).ok();
        assert!(site.node.ids().is_empty());
    });
}

fn plain_lxc(s: &mut Scenario, site: &Site) {
    s.test("a machine with plain LXC is made a server in the same way", || {
        let with = |start: &str| {
            site.write(&format!(
                "backend = \"lxc\"\n{start}\n[guest.network]\nexisting = true\nbridge = \"{}\"\n",
                site.lab.bridge()
            ));
        };
        with("");
        site.run(&["plan", "--exit-code", "--brief"]).exits(3).says("Create the guest");
        site.run(&["up", "--yes"]).ok().says("is up.");
        assert!(site.lab.guest().runs());
        site.run(&["up", "--yes"]).ok().says("Nothing to do");
        let status = site.run(&["status", "--json"]).ok().json();
        assert_eq!(status["guest"]["backend"], "lxc");
        with("memory = \"2G\"\n");
        site.run(&["plan", "--exit-code", "--diff"]).exits(3).says("memory");
        site.run(&["destroy", "--yes"]).ok();
        assert!(!site.lab.guest().exists());
    });
}
