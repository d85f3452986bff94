//! The machine itself as the guest, with images from archives: a plain Debian
//! 13 machine, on which nothing is prepared.

use std::{fs, process::ExitCode, time::Duration};

use matrix_podman_e2e::{
    Guest, Lab, Laptop, Matrix, Ran, SERVICES, Scenario, binary, make_archives, put, wait_until,
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
    s.foundation("a config and one command make a server of the machine itself", || {
        let up = machine.run(&["up", "--yes"]).ok();
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
        run(&["plan", "--exit-code", "--diff"]).exits(3).says("60M");
        run(&["up", "--yes"]).ok().says("is up.");
        assert!(guest.read("/opt/matrix/synapse/homeserver.yaml").contains("60M"));
        // What is typed on the machine counts as much.
        machine.run(&["up", "--yes"]).ok();
        assert!(!guest.read("/opt/matrix/synapse/homeserver.yaml").contains("60M"));
    });
    s.test("the machine's own timers make a backup and try it out", || by_itself(&machine));
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

/// systemd fires the timers; only their times are drawn near.
fn by_itself(machine: &Machine) {
    let (guest, site) = (&machine.guest, machine.lab.domain.as_str());
    let config = guest.read("/root/site/matrix.toml");
    let notify = "[notify]\non = \"always\"\nfile = \"/var/log/matrix-notices\"\n";
    guest.write(
        "/root/site/matrix.toml",
        format!("{config}\n[backup]\nrepository = \"/srv/backups\"\n\n{notify}"),
    );
    let causes = || -> Vec<String> {
        let doctor = machine.run(&["doctor", "--json"]).json();
        let found = doctor["findings"].as_array().unwrap().iter();
        found
            .filter_map(|finding| finding["cause"].as_str())
            .filter(|c| c.starts_with("backup/"))
            .map(str::to_owned)
            .collect()
    };
    machine.run(&["plan"]).ok().says("timers for backups");
    machine.run(&["up", "--yes"]).ok();
    machine.run(&["plan", "--exit-code"]).ok().says("Nothing to do");
    assert_eq!(causes(), ["backup/old"]);
    let status: serde_json::Value = machine.run(&["status", "--json"]).ok().json();
    for chore in ["backup", "drill"] {
        let unit = format!("matrix-{chore}-{site}.timer");
        let timers = status["timers"].as_array().unwrap();
        let next = timers.iter().find(|timer| timer["unit"] == unit.as_str());
        assert!(next.is_some_and(|timer| timer["next"].as_u64().is_some()), "{unit}: {timers:?}");
    }
    machine.run(&["backup", "init"]).ok();
    for (word, says) in [("backup", "No backup is due"), ("drill", "No drill is due")] {
        let (timer, service) =
            (format!("matrix-{word}-{site}.timer"), format!("matrix-{word}-{site}.service"));
        let show = |unit: &str, property: &str| {
            guest.exec(["systemctl", "show", "--value", "--property", property, unit]).ok().text().to_owned()
        };
        assert_ne!(show(&timer, "NextElapseUSecRealtime"), "", "{timer} waits for its time");
        let near = format!("/etc/systemd/system/{timer}.d/near.conf");
        guest
            .write(&near, "[Timer]\nOnCalendar=\nOnCalendar=*:*:0/5\nRandomizedDelaySec=0\nAccuracySec=1s\n");
        guest.sh(&format!("systemctl daemon-reload; systemctl restart {timer}")).ok();
        // It is done once, and at the next time there is nothing to do.
        wait_until(says, Duration::from_secs(300), || {
            let said = guest.exec(["journalctl", "--no-pager", "--output=cat", "--unit", &service]).stdout;
            assert_ne!(show(&service, "Result"), "exit-code", "{said}");
            if said.contains(says) { Ok(()) } else { Err(said) }
        });
        guest.sh(&format!("rm {near}; systemctl daemon-reload; systemctl restart {timer}")).ok();
    }
    let notices = guest.read("/var/log/matrix-notices").to_lowercase();
    assert!(notices.contains("backup") && notices.contains("drill"), "{notices}");
    let key = machine.run(&["backup", "key"]).ok();
    let journal = guest.exec(["journalctl", "--no-pager", "--output=export"]).ok();
    assert!(!journal.stdout.contains(key.text()), "the password is in the journal");
    machine.run(&["status"]).ok().says_lately("made").says("came back whole at");
    assert!(guest.exec(["matrix-podman", "motd"]).ok().stdout.contains("came back whole"));
    // When nothing makes them any more, the greeting says so by itself.
    let news = guest.read("/var/lib/matrix-podman/backups.json");
    let mut late: serde_json::Value = serde_json::from_str(&news).unwrap();
    late[0]["missed_from"] = "2026-01-01T00:00:00Z".into();
    guest.write("/var/lib/matrix-podman/backups.json", late.to_string());
    assert!(guest.exec(["matrix-podman", "motd"]).ok().stdout.contains("MISSED"));
    guest.write("/var/lib/matrix-podman/backups.json", news);
    assert_eq!(causes(), [""; 0]);
    let timer = format!("matrix-backup-{site}.timer");
    guest.exec(["systemctl", "disable", "--now", &timer]).ok();
    assert_eq!(causes(), ["backup/timer"]);
    machine.run(&["up", "--yes"]).ok();
    assert_eq!(causes(), [""; 0]);
    tried_again(machine, site);
    guest.write(
        "/root/site/matrix.toml",
        format!("{config}\n[backup]\nrepository = \"/srv/gone\"\ndrill = \"never\"\n"),
    );
    machine.run(&["up", "--yes"]).ok();
    guest.exec(["test", "-e", &format!("/etc/systemd/system/matrix-drill-{site}.timer")]).exits(1);
    machine.run(&["backup", "now"]).exits(1).says("no such folder");
    assert_eq!(causes(), ["backup/unreachable"]);
    machine.run(&["status"]).ok().says("failed at");
    assert!(guest.exec(["matrix-podman", "motd"]).ok().stdout.contains("FAILED"));
}

/// systemd starts one that failed again; only its hour is made short.
fn tried_again(machine: &Machine, site: &str) {
    let guest = &machine.guest;
    let service = format!("matrix-backup-{site}.service");
    let state = |property: &str| {
        guest.exec(["systemctl", "show", "--value", "--property", property, &service]).ok().text().to_owned()
    };
    assert_eq!(state("RestartUSec"), "1h 1min");
    let near = format!("/etc/systemd/system/{service}.d/near.conf");
    guest.write(&near, "[Service]\nRestartSec=10\n");
    let record = format!("/var/lib/matrix-podman/sites/{site}/backup-last.json");
    let age = |back: &str| {
        let at = guest.exec(["date", "--utc", "--date", back, "+%Y-%m-%dT%H:%M:%SZ"]).ok();
        let mut last: serde_json::Value = serde_json::from_str(&guest.read(&record)).unwrap();
        last["at"] = at.text().into();
        guest.write(&record, last.to_string());
    };
    let held = format!("/srv/backups/locks/{}", "0".repeat(64));
    guest.write(&held, "held");
    age("33 days ago");
    guest.sh(&format!("systemctl daemon-reload; ! systemctl start {service}")).ok();
    // An hour passes.
    age("1 hour ago");
    guest.exec(["rm", &held]).ok();
    assert_eq!((state("SubState"), state("Result")), ("auto-restart".to_owned(), "exit-code".to_owned()));
    wait_until("the backup is made by itself", Duration::from_secs(120), || {
        let last: serde_json::Value = serde_json::from_str(&guest.read(&record)).unwrap();
        if last["why"].is_null() { Ok(()) } else { Err(last.to_string()) }
    });
    wait_until("nothing is tried any more", Duration::from_secs(60), || {
        match state("ActiveState").as_str() {
            "inactive" => Ok(()),
            other => Err(other.to_owned()),
        }
    });
    guest.sh(&format!("rm {near}; systemctl daemon-reload")).ok();
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
    put(binary(), &root.join("root/matrix-podman"));
    guest.write("/root/site/matrix.toml", lab.machine_toml());
    Machine { lab, guest }
}
