//! A guest from which nothing comes: every command ends within its limit, says
//! which kind of silence it is, and leaves everything as it was.

use std::{process::ExitCode, time::Duration};

use matrix_podman_e2e::{Invocation, Lab, Ran, Scenario};

/// What needs the guest, and how long it may take at most: with a guest that the
/// machine sees to be held, what is asked elsewhere; with one that only says
/// nothing, the time for its hello besides.
const COMMANDS: [(&[&str], u64); 8] = [
    (&["status"], 15),
    (&["doctor"], 30),
    (&["plan"], 30),
    (&["logs"], 15),
    (&["verify"], 90),
    (&["user", "list"], 15),
    (&["exec", "synapse", "--", "true"], 15),
    (&["backup", "now"], 45),
];
/// How long the program in a guest may take to say hello.
const HELLO: u64 = 20;
/// What a busy machine may add.
const BUSY: u64 = 30;

fn main() -> ExitCode {
    let mut s = Scenario::begin("silence");
    let lab = s.foundation("a server with a backup", || {
        let lab = Lab::with_config("silence");
        lab.use_archives();
        lab.set("[backup]", "repository", &format!("{:?}", lab.path("repository").display().to_string()));
        lab.up();
        lab.healthy();
        lab.run(&["backup", "init"]).ok();
        lab.run(&["backup", "now"]).ok();
        lab
    });
    let lab = &lab;
    s.test("a frozen guest", || {
        lxc(lab, "lxc-freeze");
        all_end(lab, "is frozen", 0);
        for command in [&["up", "--yes"][..], &["doctor"], &["logs"]] {
            lab.run(command).says(&format!("lxc-unfreeze --name {}", lab.guest().name));
        }
        assert_eq!(lab.run(&["status", "--json"]).exits(1).json()["guest"]["state"], "frozen");
        lxc(lab, "lxc-unfreeze");
        lab.becomes_healthy(Duration::from_secs(120));
    });
    s.test("a guest that is frozen while it is asked", || {
        let mut logs = lab.command(&["logs", "--follow"]).start();
        std::thread::sleep(Duration::from_secs(5));
        assert!(logs.is_running());
        lxc(lab, "lxc-freeze");
        let ran = logs.wait();
        lxc(lab, "lxc-unfreeze");
        assert!(ran.took < Duration::from_secs(30 + BUSY), "{}", ran.evidence());
        ran.exits(1).says("is frozen").says("lxc-unfreeze");
        lab.becomes_healthy(Duration::from_secs(120));
    });
    s.test("a guest whose first process is stopped", || {
        let pid = first_process(lab);
        Invocation::new(["kill", "-STOP", &pid]).run().ok();
        all_end(lab, "is stopped by a signal", 0);
        lab.run(&["doctor"]).says(&format!("kill -CONT {pid}"));
        Invocation::new(["kill", "-CONT", &pid]).run().ok();
        lab.becomes_healthy(Duration::from_secs(120));
    });
    s.test("a guest whose program says nothing", || {
        let guest = lab.guest();
        guest.sh("mv /usr/local/bin/matrix-podman /root/kept");
        guest.write("/usr/local/bin/matrix-podman", "#!/bin/sh\nsetsid sleep 600 & exec sleep 600\n");
        guest.sh("chmod 755 /usr/local/bin/matrix-podman");
        all_end(lab, "did not answer within 20 s", HELLO);
        // It is what `up` is for.
        guest.sh("pkill -x sleep || true");
        lab.up();
        lab.healthy();
        guest.sh("rm /root/kept");
    });
    s.test("nothing was lost, and nothing is left to be done", || {
        lab.run(&["backup", "now"]).ok();
        lab.settled();
    });
    s.end()
}

fn lxc(lab: &Lab, command: &str) {
    Invocation::new([command, "--name", &lab.guest().name]).run().ok();
}

fn first_process(lab: &Lab) -> String {
    let name = lab.guest().name;
    Invocation::new(["lxc-info", "--name", &name, "--pid", "--no-humanize"]).run().ok().text().to_owned()
}

/// Each command ends within its limit and says what kind of silence it is.
#[track_caller]
fn all_end(lab: &Lab, words: &str, more: u64) {
    for (command, limit) in COMMANDS {
        // `exec` opens no connection: it is a terminal that is waited for by who typed it.
        if more > 0 && command[0] == "exec" {
            continue;
        }
        let ran: Ran = lab.command(command).within(Duration::from_secs(300)).run();
        println!("  ({} took {:.1} s)", command.join(" "), ran.took.as_secs_f32());
        assert!(ran.took < Duration::from_secs(limit + more + BUSY), "{}", ran.evidence());
        if command[0] != "plan" {
            assert_ne!(ran.code, 0, "{}", ran.evidence());
        }
        // A plan of what is not known says so in its own words.
        if more == 0 || command[0] != "plan" {
            ran.says(words);
        }
    }
}
