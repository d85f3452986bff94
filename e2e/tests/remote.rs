//! From a laptop: commands typed in one place are done on another machine,
//! through a real sshd. The machine is a node of Proxmox, stood in for; other
//! kinds are looked at.

use std::{
    fs::{self, File},
    net::TcpListener,
    os::unix::fs::PermissionsExt as _,
    path::PathBuf,
    process::{Child, Command, ExitCode, Stdio},
    time::Duration,
};

use matrix_podman_e2e::{Invocation, Lab, Node, Ran, Scenario, archive, make_archives, wait_until};

const PASSWORD: &str = "correct horse battery staple";

/// A laptop, a machine, and the sshd between them.
struct Site {
    lab: Lab,
    node: Node,
    laptop: PathBuf,
    sshd: Child,
}

impl Drop for Site {
    fn drop(&mut self) {
        let _ = self.sshd.kill();
        let _ = self.sshd.wait();
    }
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("remote");
    let site = s.foundation("there is a machine that can be reached through ssh alone", machine);
    refused(&mut s, &site);
    worked(&mut s, &site);
    s.end()
}

fn machine() -> Site {
    make_archives();
    let lab = Lab::new("remote");
    let node = Node::new(&lab);
    let folder = lab.path("ssh");
    fs::create_dir_all(&folder).unwrap();
    for key in ["host", "own"] {
        let file = folder.join(key).display().to_string();
        Invocation::new(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", &file]).quietly().run().ok();
    }
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let write = |name: &str, text: String| {
        let path = folder.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let host = fs::read_to_string(folder.join("host.pub")).unwrap();
    write("known_hosts", format!("[127.0.0.1]:{port} {host}"));
    let at = folder.display();
    let client = write(
        "config",
        format!(
            "Host pve\n  HostName 127.0.0.1\n  Port {port}\n  User root\n  IdentityFile {at}/own\n  IdentitiesOnly yes\n  \
             UserKnownHostsFile {at}/known_hosts\n  StrictHostKeyChecking yes\n\nHost stranger\n  HostName 127.0.0.1\n  \
             Port {port}\n  User root\n  UserKnownHostsFile /dev/null\n  StrictHostKeyChecking yes\n  BatchMode yes\n"
        ),
    );
    let server = write(
        "sshd_config",
        format!(
            "ListenAddress 127.0.0.1:{port}\nHostKey {at}/host\nPidFile none\nAuthorizedKeysFile {at}/own.pub\n\
             StrictModes no\nUsePAM no\nPasswordAuthentication no\nPermitRootLogin yes\nSetEnv PATH={}\n",
            node.path()
        ),
    );
    fs::create_dir_all("/run/sshd").unwrap();
    let log = File::create(folder.join("log")).unwrap();
    let sshd = Command::new("/usr/sbin/sshd")
        .args(["-D", "-e", "-f", &server.display().to_string()])
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .unwrap();
    // The laptop's own ssh, with its own config.
    let laptop = lab.path("laptop");
    fs::create_dir_all(laptop.join("bin")).unwrap();
    let ssh = laptop.join("bin/ssh");
    fs::write(&ssh, format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", client.display())).unwrap();
    fs::set_permissions(&ssh, fs::Permissions::from_mode(0o755)).unwrap();
    let mut config = format!(
        "domain = \"{}\"\nhost = \"ssh://pve\"\n\n[guest]\nname = \"{}\"\n\n[guest.network]\nbridge = \"{}\"\n\n[proxmox]\n\
         ssh_keys = \"{at}/own.pub\"\n",
        lab.domain,
        lab.guest().name,
        lab.bridge()
    );
    for (key, recipe) in
        [("postgres", "postgres"), ("redis", "redis"), ("synapse", "synapse"), ("web", "element-web")]
    {
        config.push_str(&format!("\n[images.{key}]\narchive = {:?}\n", archive(recipe)));
    }
    fs::write(laptop.join("matrix.toml"), config).unwrap();
    let site = Site { lab, node, laptop, sshd };
    wait_until("the sshd lets in", Duration::from_secs(20), || {
        let ran = site.ssh(&["pve", "true"]);
        if ran.code == 0 { Ok(()) } else { Err(ran.evidence()) }
    });
    site
}

impl Site {
    fn path(&self) -> String {
        format!("{}:{}", self.laptop.join("bin").display(), std::env::var("PATH").unwrap_or_default())
    }

    fn ssh(&self, words: &[&str]) -> Ran {
        Invocation::new(["ssh"].iter().chain(words)).env("PATH", &self.path()).quietly().run()
    }

    fn command(&self, words: &[&str]) -> Invocation {
        self.lab.command(words).folder(&self.laptop).env("PATH", &self.path())
    }

    #[track_caller]
    fn run(&self, words: &[&str]) -> Ran {
        self.command(words).run()
    }

    /// Writes another host, and the rest as it was, for as long as `test` runs.
    fn with(&self, from: &str, to: &str, test: impl FnOnce()) {
        let file = self.laptop.join("matrix.toml");
        let before = fs::read_to_string(&file).unwrap();
        fs::write(&file, before.replace(from, to)).unwrap();
        test();
        fs::write(&file, before).unwrap();
    }
}

fn refused(s: &mut Scenario, site: &Site) {
    s.test("a machine that cannot be reached is named, with what to try", || {
        site.with("ssh://pve", "ssh://no-such-machine.invalid", || {
            site.run(&["plan"]).exits(1).says("no-such-machine.invalid").says("has to work by hand first");
        });
        site.with("ssh://pve", "ssh://stranger", || {
            site.run(&["plan"]).exits(1).says("Host key verification failed");
        });
    });
    s.test("mistakes in the config are told here, before anybody is reached", || {
        site.with("[guest]", "[guest]\ncores = 0", || {
            site.run(&["up", "--yes"]).exits(2).says("matrix.toml:").says("guest.cores");
        });
        site.with("ssh://pve", "root@pve", || {
            site.run(&["plan"]).exits(2).says("ssh:// is missing");
        });
    });
    s.test("a machine of another kind is looked at in the same way", || {
        site.with("[guest]", "[guest]\nbackend = \"lxc\"", || {
            site.with("[proxmox]", "#[proxmox]", || {
                site.with("ssh_keys", "#ssh_keys", || {
                    site.with("[guest.network]", "[guest.network]\nexisting = true", || {
                        site.run(&["plan", "--exit-code", "--brief"]).exits(3).says("Create the guest");
                    });
                });
            });
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
        let file = site.laptop.join("password");
        fs::write(&file, PASSWORD).unwrap();
        site.run(&["user", "add", "anna", "--password-file", "password"]).ok();
        site.run(&["user", "add", "anna", "--password-file", "password"]).exits(1).says("anna");
        site.run(&["logs", "synapse", "--lines", "2"]).ok();
    });
    s.test("the files that the config names came along, for root alone", || {
        let state = PathBuf::from("/var/lib/matrix-podman/sites").join(&site.lab.domain).join("handed");
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
    });
    s.test("typed on the machine itself, the same site is found", || {
        let config = format!("/var/lib/matrix-podman/sites/{}/handed/matrix.toml", site.lab.domain);
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
