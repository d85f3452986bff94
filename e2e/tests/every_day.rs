//! The commands of every day, on a server that runs: on the machine and in the
//! guest, for a person and for a program, quickly.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use matrix_podman_e2e::{Lab, Scenario, wait_until};

const PASSWORD: &str = "correct horse battery staple";
/// A command of every day is not waited for.
const AT_ONCE: Duration = Duration::from_secs(1);
/// How often something is measured; the median counts.
const TIMES: usize = 5;

fn main() -> ExitCode {
    let mut s = Scenario::begin("every_day");
    let lab = s.foundation("a server with people, a room and media", || {
        let lab = Lab::with_config("every-day");
        lab.up().ok();
        let anna = lab.user("anna", PASSWORD);
        let room = anna.create_room("Kitchen");
        anna.send(&room, "the kettle is on").unwrap();
        lab.user("bela", PASSWORD);
        lab.healthy();
        lab
    });
    told(&mut s, &lab);
    s.end()
}

fn median(mut act: impl FnMut()) -> Duration {
    let mut times: Vec<Duration> = (0..TIMES)
        .map(|_| {
            let started = Instant::now();
            act();
            started.elapsed()
        })
        .collect();
    times.sort();
    times[TIMES / 2]
}

fn told(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    s.test("status tells what is on the server and what it takes, on one screen", || {
        let status = wait_until("the rooms are counted", Duration::from_secs(30), || {
            let status = lab.status();
            if status["contents"]["rooms"] == 1 { Ok(status) } else { Err(status.to_string()) }
        });
        assert_eq!(status["contents"]["users"], 2, "the program's own account is none of them\n{status}");
        assert!(status["contents"]["database"].as_u64().unwrap() > 1 << 20, "{status}");
        let (disk, memory) = (&status["guest"]["disk"], &status["guest"]["memory"]);
        assert!(disk["free"].as_u64().unwrap() < disk["total"].as_u64().unwrap(), "{status}");
        let (used, total) = (memory["used"].as_u64().unwrap(), memory["total"].as_u64().unwrap());
        assert!(used > 50 << 20 && used < total, "{status}");
        for service in status["services"].as_array().unwrap() {
            assert_eq!(service["restarts"], 0, "{service}");
            assert!(service["memory"].as_u64().is_some_and(|bytes| bytes > 1 << 20), "{service}");
        }
        let timers = status["timers"].as_array().unwrap();
        assert!(timers.iter().any(|t| t["unit"] == "apt-daily-upgrade.timer"), "{status}");
        assert_eq!(status["found"]["doctor"], serde_json::Value::Null);
        let told = lab.run(&["status"]).ok();
        for words in ["2 users, 1 room", "disk ", "memory ", "Debian packages in", "not asked yet"] {
            assert!(told.stdout.contains(words), "{words}\n{}", told.evidence());
        }
        let lines = told.stdout.lines().count() + told.stderr.lines().count();
        assert!(lines <= 24, "it fits on one screen\n{}", told.evidence());
    });
    s.test("what doctor and verify found stands in status, with its age, on the side that looked", || {
        // The program of the machine may be another test's by now, so that there is drift.
        let found = lab.run(&["doctor", "--json"]).json()["findings"].as_array().unwrap().len();
        let remembered = lab.status()["found"]["doctor"].clone();
        assert_eq!(remembered["wrong"].as_array().map(Vec::len), Some(found), "{remembered}");
        guest.exec(["matrix-podman", "status"]).ok().says("not asked yet: matrix-podman doctor");
        guest.exec(["matrix-podman", "doctor"]).ok();
        guest.exec(["matrix-podman", "status"]).ok().says("nothing was wrong just now");
        // From outside, the way in is missing.
        let verify = lab.run(&["verify", "--json"]).exits(1).json();
        assert_eq!(verify["ok"], false);
        let status = lab.status();
        assert!(!status["found"]["verify"]["wrong"].as_array().unwrap().is_empty(), "{status}");
    });
    s.test("status, open, logs and exec answer in well under a second, here and in the guest", || {
        let floor = median(|| drop(guest.exec(["podman", "ps", "--all"])));
        println!("  podman ps in the guest: {floor:.2?}");
        for arguments in [
            &["status"][..],
            &["status", "--json"],
            &["open"],
            &["logs", "synapse", "-n", "20"],
            &["exec", "redis", "--", "true"],
            &["history"],
        ] {
            let here = median(|| drop(lab.command(arguments).quietly().run().ok()));
            let inside = median(|| {
                guest.command([&["matrix-podman"][..], arguments].concat()).quietly().run().ok();
            });
            let ratio = here.as_secs_f64() / floor.as_secs_f64();
            println!(
                "  {}: {here:.2?} ({ratio:.1} of podman ps), in the guest {inside:.2?}",
                arguments.join(" ")
            );
            // On a machine that is busy with other things, Podman says how busy.
            let patience = AT_ONCE.max(floor * 8);
            assert!(here < patience && inside < patience, "{arguments:?}: {here:.2?}, inside {inside:.2?}");
        }
    });
}
