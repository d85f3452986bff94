//! The machine itself as the guest, with images from archives: a plain Debian
//! 13 machine, on which nothing is prepared.

use std::{fs, path::Path, process::ExitCode, time::Duration};

use matrix_podman_e2e::{
    Guest, Lab, Laptop, Matrix, Ran, SERVICES, Scenario, archive, binary, make_archives, wait_until,
};

const PASSWORD: &str = "correct horse battery staple";

struct Machine {
    lab: Lab,
    guest: Guest,
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("this-machine");
    let machine =
        s.foundation("there is a plain Debian 13 machine with archives of the images", plain_machine);
    let (lab, guest) = (&machine.lab, &machine.guest);
    s.foundation("one command makes a server of the machine itself", || {
        let up = machine.run(&["up", "--backend", "this-machine", "--domain", &lab.domain, "--yes"]).ok();
        assert!(up.stdout.contains("is up."), "{}", up.evidence());
    });
    s.test("a second up has nothing to do", || {
        machine.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
        machine.run(&["up", "--yes"]).ok().says("Nothing to do");
    });
    s.test("all four services run from the archives", || {
        let status = machine.run(&["status", "--json"]).ok().json();
        assert_eq!(status["guest"]["backend"], "this-machine");
        assert_eq!(status["guest"]["address"], lab.machine_address());
        for (service, name) in status["services"].as_array().unwrap().iter().zip(SERVICES) {
            assert_eq!((&service["name"], &service["health"]), (&name.into(), &"healthy".into()), "{status}");
            assert!(
                service["image"].as_str().is_some_and(|i| i.starts_with("archive /srv/images/")),
                "{service}"
            );
        }
    });
    s.test("a user made on the machine logs in from another", || {
        guest
            .command([
                "/root/matrix-podman",
                "user",
                "add",
                "anna",
                "--config",
                "/root/site/matrix.toml",
                "--password-file",
                "-",
            ])
            .input(PASSWORD)
            .run()
            .ok();
        matrix(lab).login("anna", PASSWORD).create_room("Here");
    });
    s.test("from a laptop, through the machine's own sshd, it is the same server", || {
        machine
            .guest
            .sh("apt-get install --quiet=2 --yes openssh-server >/dev/null; systemctl start ssh")
            .ok();
        let address = lab.machine_address();
        let laptop = Laptop::new(lab, &address, 22);
        laptop.knows(&address, 22, &guest.read("/etc/ssh/ssh_host_ed25519_key.pub"));
        guest.write("/root/.ssh/authorized_keys", laptop.key("own.pub"));
        laptop.gets_in();
        let config = laptop.folder.join("matrix.toml");
        let on_machine = guest.read("/root/site/matrix.toml");
        let with =
            |rest: &str| fs::write(&config, format!("host = \"ssh://box\"\n{on_machine}{rest}")).unwrap();
        with("");
        let run = |words: &[&str]| laptop.command(lab, words).run();
        run(&["up", "--yes"]).ok().says("Nothing to do");
        let status = run(&["status", "--json"]).ok().json();
        assert_eq!(status["guest"]["backend"], "this-machine");
        with("\n[synapse]\nmax_upload_size = \"60M\"\n");
        run(&["plan", "--exit-code"]).exits(3).says("60M");
        run(&["up", "--yes"]).ok().says("is up.");
        assert!(guest.read("/opt/matrix/synapse/homeserver.yaml").contains("60M"));
        // What is typed on the machine counts as much.
        machine.run(&["up", "--yes"]).ok();
        assert!(!guest.read("/opt/matrix/synapse/homeserver.yaml").contains("60M"));
    });
    s.test("after a reboot of the machine the server comes back by itself", || {
        guest.shut_down();
        guest.start();
        wait_until("anna can log in again", Duration::from_secs(120), || {
            matrix(lab).try_login("anna", PASSWORD)
        });
        guest.booted();
        wait_until("all four services are healthy", Duration::from_secs(60), || {
            match machine.run(&["status"]).code {
                0 => Ok(()),
                code => Err(format!("status exits {code}")),
            }
        });
        machine.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
    });
    s.test("destroy removes the server and leaves the machine", || {
        machine.run(&["destroy"]).exits(2).says("--yes");
        machine.run(&["destroy", "--yes"]).ok();
        guest.exec(["test", "-e", "/opt/matrix"]).exits(1);
        assert_eq!(guest.exec(["podman", "ps", "--all", "--quiet"]).ok().text(), "");
        let units =
            guest.sh("systemctl list-unit-files --no-legend 'matrix-*' synapse.service redis.service").stdout;
        assert_eq!(units.trim(), "", "no unit is left");
        guest.exec(["dpkg", "--status", "podman"]).ok();
        guest.exec(["test", "-e", "/root/site/matrix.toml"]).ok();
    });
    s.end()
}

impl Machine {
    /// Runs the program on the machine, in the folder of its config.
    #[track_caller]
    fn run(&self, arguments: &[&str]) -> Ran {
        let words = ["sh", "-euc", "cd /root/site; exec /root/matrix-podman \"$@\"", "sh"];
        let ran = self.guest.exec(words.iter().chain(arguments));
        println!(
            "  (machine) matrix-podman {}  → {} in {:.1} s",
            arguments.join(" "),
            ran.code,
            ran.took.as_secs_f32()
        );
        ran
    }
}

fn matrix(lab: &Lab) -> Matrix {
    Matrix::new(&format!("http://{}:8008", lab.machine_address()), &lab.server_name())
}

fn plain_machine() -> Machine {
    make_archives();
    let lab = Lab::new("this-machine");
    lab.raise_network();
    let guest = lab.plain_machine();
    // The archive of guests holds what guests need; a plain machine has none of it.
    guest
        .sh("apt-get purge --quiet=2 --yes podman crun netavark aardvark-dns nftables unattended-upgrades >/dev/null; apt-get autoremove --quiet=2 --yes >/dev/null; ! command -v podman")
        .ok();
    let root = guest.folder().join("rootfs");
    give(binary(), &root.join("root/matrix-podman"));
    let mut config = format!("domain = \"{}\"\n\n[guest]\nbackend = \"this-machine\"\n", lab.domain);
    for (key, recipe) in
        [("postgres", "postgres"), ("redis", "redis"), ("synapse", "synapse"), ("web", "element-web")]
    {
        give(&archive(recipe), &root.join(format!("srv/images/{recipe}.tar")));
        config.push_str(&format!("\n[images.{key}]\narchive = \"/srv/images/{recipe}.tar\"\n"));
    }
    guest.write("/root/site/matrix.toml", config);
    Machine { lab, guest }
}

/// Puts a file of this machine into the other's root file system.
#[track_caller]
fn give(from: &Path, to: &Path) {
    fs::create_dir_all(to.parent().unwrap()).unwrap();
    fs::copy(from, to).unwrap_or_else(|e| panic!("copy {} to {}: {e}", from.display(), to.display()));
}
