//! The commands of every day, on a server that runs: on the machine and in the
//! guest, for a person and for a program, quickly.

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use matrix_podman_e2e::{Invocation, Lab, Scenario, Tmux, at_this_pace, binary, wait_until};
use serde_json::{Value, json};

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
    typed(&mut s, &lab);
    pruned(&mut s, &lab);
    watched(&mut s, &lab);
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
            &["psql", "--", "-qAtc", "SELECT 1"],
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
            let patience = at_this_pace(AT_ONCE).max(floor * 8);
            assert!(here < patience && inside < patience, "{arguments:?}: {here:.2?}, inside {inside:.2?}");
        }
        // Each time it is another one, so that each time there is a plan to be shown.
        let (before, mut brands) = (lab.config(), ["One", "Two"].iter().cycle());
        let set = median(|| drop(lab.run(&["set", "web.brand", brands.next().unwrap()]).ok()));
        lab.write("matrix.toml", &before);
        println!("  set: {set:.2?}");
        assert!(set < at_this_pace(AT_ONCE).max(floor * 8), "set: {set:.2?}");
    });
    s.test("logs are followed as they are written, and nothing goes on when nobody follows any more", || {
        for inside in [false, true] {
            let mark = format!("followed-{inside}");
            let arguments = ["logs", "postgres_db", "--follow", "--since", "1m"];
            let mut follow = match inside {
                true => guest.command([&["matrix-podman"][..], &arguments].concat()).start(),
                false => lab.command(&arguments).start(),
            };
            let says = |query: &str| {
                lab.run(&["psql", "--", "-qAtc", query]);
            };
            wait_until("the log is followed", Duration::from_secs(30), || {
                // PostgreSQL notes what it cannot do.
                says(&format!("SELECT \"{mark}\""));
                let said = follow.said();
                if said.contains(&mark) { Ok(()) } else { Err(said) }
            });
            // A log that says nothing more is no reason to stay either.
            if inside {
                guest.sh("kill -KILL $(pidof matrix-podman)").ok();
            }
            follow.kill();
            wait_until("nobody follows any more", Duration::from_secs(20), || {
                let left = guest.exec(["pgrep", "--full", "journalctl.*--follow"]);
                if left.code == 1 { Ok(()) } else { Err(left.stdout) }
            });
        }
    });
}

/// Whether a screen has a colour in the foreground, written in one way or
/// another; 39 is the terminal's own.
fn is_coloured(screen: &str) -> bool {
    let mut codes = screen.split("\u{1b}[").skip(1).filter_map(|rest| rest.split_once('m'));
    codes.any(|(code, _)| {
        code.split(';').any(|part| part.parse().is_ok_and(|number: u8| (30..39).contains(&number)))
    })
}

fn watched(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    let program = binary().display().to_string();
    let folder = lab.folder.display().to_string();
    s.test("watch refuses to draw where no terminal is, and says what to type instead", || {
        let ran = lab.run(&["watch"]).exits(2).says("here is none").says("matrix-podman status");
        assert_eq!(ran.stdout, "", "{}", ran.evidence());
    });
    s.test(
        "the screen shows all of it on 80 by 24, hears its keys and leaves the terminal as it was",
        || {
            let script =
                format!("cd {folder}; echo BEFORE; {program} watch --every 1s; echo LEFT $?; stty -a");
            let terminal = Tmux::start("watch", (80, 24), &script);
            let screen = terminal.shows(&["synapse", "healthy", "2 users", "doctor", "q leave"]);
            assert!(!screen.contains("BEFORE"), "it has the screen for itself\n{screen}");
            assert!(screen.contains("› postgres_db"), "{screen}");
            assert!(is_coloured(&terminal.coloured()), "{:?}", terminal.coloured());
            terminal.press("Down");
            terminal.press("Down");
            terminal.shows(&["› synapse"]);
            terminal.press("l");
            terminal.shows(&["What Synapse said", "synapse.", "q back"]);
            terminal.press("q");
            terminal.shows(&["› synapse", "q leave"]);
            terminal.press("?");
            terminal.shows(&["Ctrl-C", "Nothing is changed from here"]);
            terminal.press("q");
            terminal.resize(50, 12);
            terminal.shows(&["q leave", "synapse"]);
            terminal.resize(120, 40);
            terminal.shows(&["q leave", "web client", "verify"]);
            terminal.press("q");
            let after = terminal.shows(&["BEFORE", "LEFT 0", " icanon", " echo "]);
            assert!(!after.contains("q leave"), "{after}");
        },
    );
    s.test(
        "the screen survives a guest that goes away and comes back, on one connection while it is there",
        || {
            let pid_file = lab.path("watch.pid").display().to_string();
            let inner = format!("echo $$ > {pid_file}; exec {program} watch --every 1s");
            let script = format!("cd {folder}; sh -c '{inner}'; echo LEFT $?; stty -a");
            let terminal = Tmux::start("away", (80, 24), &script);
            terminal.shows(&["synapse", "healthy"]);
            let pid = std::fs::read_to_string(&pid_file).unwrap().trim().to_owned();
            let attached = || Invocation::new(["pgrep", "-P", &pid]).quietly().run().stdout;
            let before = attached();
            assert_eq!(before.lines().count(), 1, "one way into the guest: {before:?}");
            let asked = lab.status()["at"].as_u64().unwrap();
            wait_until("it was asked a few times", Duration::from_secs(20), || {
                let now = lab.status()["at"].as_u64().unwrap();
                if now >= asked + 4 { Ok(()) } else { Err(format!("{} s", now - asked)) }
            });
            assert_eq!(attached(), before, "no new connection for each look");
            guest.shut_down();
            terminal.shows_within(Duration::from_secs(60), &["stopped", "to do"]);
            guest.start();
            terminal.shows_within(Duration::from_secs(120), &["running  healthy", "2 users"]);
            lab.becomes_healthy(Duration::from_secs(120));
            // Ended from elsewhere, it still puts the terminal back.
            Invocation::new(["kill", "-TERM", &pid]).quietly().run().ok();
            terminal.shows(&["LEFT 143", " icanon", " echo "]);
        },
    );
    s.test("a terminal that is closed ends it, whether or not somebody passes that on", || {
        // In a session of its own, it is not told by a signal.
        for (name, before) in [("closed", ""), ("unheard", "setsid --wait ")] {
            let pid_file = lab.path(&format!("watch-{name}.pid")).display().to_string();
            let inner = format!("echo $$ > {pid_file}; exec {program} watch --every 1s");
            let terminal = Tmux::start(name, (80, 24), &format!("cd {folder}; {before}sh -c '{inner}'"));
            terminal.shows(&["synapse", "healthy"]);
            let pid = std::fs::read_to_string(&pid_file).unwrap().trim().to_owned();
            let process = std::path::PathBuf::from(format!("/proc/{pid}"));
            assert!(process.exists(), "{name}: {pid}");
            terminal.close();
            wait_until(&format!("{name}: the screen's process has ended"), Duration::from_secs(20), || {
                let status = std::fs::read_to_string(process.join("status")).unwrap_or_default();
                if status.is_empty() || status.contains("State:\tZ") { Ok(()) } else { Err(status) }
            });
        }
    });
    s.test("the screen is there in the guest too, and without colours where none are wanted", || {
        let inside =
            format!("NO_COLOR=1 TERM=xterm lxc-attach -n {} -- matrix-podman watch; echo LEFT", guest.name);
        let terminal = Tmux::start("inside", (80, 24), &inside);
        terminal.shows(&["synapse", "healthy", "2 users"]);
        assert!(!is_coloured(&terminal.coloured()), "{:?}", terminal.coloured());
        terminal.press("C-c");
        terminal.shows(&["LEFT"]);
    });
}

fn pruned(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    s.test("prune removes what nothing needs, keeps what a way back needs, and asks first", || {
        guest.sh("tar --create --file=- /etc/hostname | podman import --quiet - localhost/matrix-podman/synapse:generation-77").ok();
        guest.sh("podman tag localhost/matrix-podman/synapse:generation-77 docker.io/somebody/else:1; podman untag localhost/matrix-podman/synapse:generation-77 docker.io/somebody/else:1").ok();
        guest
            .sh("mkdir --parents --mode=700 /opt/matrix/dumps; cd /opt/matrix/dumps; for name in before-1 before-2 mine; do head --bytes=1M /dev/zero > $name.dump; done")
            .ok();
        let sql = |text: &str| lab.run(&["psql", "--", "--username=postgres", "-qAtc", text]).ok().text().to_owned();
        sql("CREATE DATABASE synapse_of_generation_1");
        sql("CREATE DATABASE synapse_mine");
        sql("INSERT INTO remote_media_cache (media_origin, media_id, media_type, created_ts, upload_name, \
             media_length, filesystem_id, last_access_ts) VALUES ('far.example', 'abc', 'image/png', 1, 'a', 5000000, 'abcdefghijklmnopqrstuvwx', 1)");
        let found = lab.run(&["prune", "--dry-run", "--json"]).ok().json();
        let names = |found: &Value| -> Vec<String> {
            found["removable"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap().to_owned()).collect()
        };
        let wanted = [
            "localhost/matrix-podman/synapse:generation-77",
            "/opt/matrix/dumps/before-1.dump",
            "synapse_of_generation_1",
        ];
        assert_eq!(names(&found), wanted, "{found}");
        assert_eq!(found["kept"][0]["name"], "/opt/matrix/dumps/before-2.dump", "{found}");
        let inside = ["matrix-podman", "prune", "--dry-run", "--json", "--remote-media", "30d"];
        let inside = guest.command(inside).run().ok().json();
        assert_eq!(names(&inside).len(), 4, "{inside}");
        assert_eq!(inside["removable"][3]["bytes"], 5_000_000, "{inside}");
        lab.run(&["prune"]).exits(2).says("--yes").says("before-1.dump");
        lab.run(&["prune", "--remote-media", "5s"]).exits(2).says("at least 1d");
        lab.on_terminal(&["prune"], &[("[y/N]", "")]).exits(1).says("Nothing was removed");
        assert_eq!(names(&lab.run(&["prune", "--dry-run", "--json"]).ok().json()), wanted, "nothing went");
        lab.run(&["prune", "--yes", "--remote-media", "30d"]).ok().says("4 things are removed");
        lab.run(&["prune", "--remote-media", "30d"]).ok().says("Nothing can go").says("before-2.dump");
        let left = guest.exec(["ls", "/opt/matrix/dumps"]).ok();
        assert_eq!(left.text(), "before-2.dump\nmine.dump");
        let databases = sql("SELECT string_agg(datname, ' ' ORDER BY datname) FROM pg_database WHERE NOT datistemplate");
        assert_eq!(databases, "postgres synapse synapse_mine");
        assert_eq!(sql("SELECT count(*) FROM remote_media_cache"), "0");
        lab.healthy();
    });
}

fn typed(s: &mut Scenario, lab: &Lab) {
    let guest = lab.guest();
    s.test("wrong input is refused before anything is done, with what to type instead", || {
        for (arguments, words) in [
            (&["logs", "nobody"][..], "postgres_db"),
            (&["logs", "--since", "nonsense"], "10m"),
            (&["exec", "synapse"], "COMMAND"),
            (&["restart", "nobody"], "element-web"),
            (&["watch", "--every", "0s"], "at least 1s"),
            (&["set", "synapse.url_previev", "false"], "synapse.url_previews"),
            (&["set", "synapse.url_previews", "perhaps"], "perhaps"),
        ] {
            lab.run(arguments).exits(2).says(words);
            guest.command([&["matrix-podman"][..], arguments].concat()).run().exits(2).says(words);
        }
    });
    s.test("set changes the file of the machine; in the guest it says where to type it", || {
        let before = lab.config();
        let set = lab.run(&["set", "web.brand", "Family chat", "--json"]).ok().json();
        assert_eq!((&set["changed"], &set["key"]), (&json!(true), &json!("web.brand")), "{set}");
        assert!(set["plan"]["entries"].as_array().is_some_and(|e| !e.is_empty()), "{set}");
        let again = lab.run(&["set", "web.brand", "Family chat", "--json"]).ok().json();
        assert_eq!(again["changed"], false, "{again}");
        lab.write("matrix.toml", &before);
        let applied = guest.read("/opt/matrix/matrix.toml");
        guest
            .exec(["matrix-podman", "set", "web.brand", "Family chat"])
            .exits(2)
            .says("matrix-podman set web.brand 'Family chat'");
        assert_eq!(guest.read("/opt/matrix/matrix.toml"), applied);
    });
    s.test("services are restarted with events for programs, from inside too", || {
        let before = guest.incarnation("redis");
        let events = guest.exec(["matrix-podman", "restart", "redis", "--json"]).ok().json_lines();
        assert!(events.iter().any(|e| e["event"] == "finished"), "{events:?}");
        assert_ne!(guest.incarnation("redis"), before);
        let state = || guest.exec(["systemctl", "is-active", "element-web"]).text().to_owned();
        guest.exec(["matrix-podman", "stop", "element-web"]).ok();
        assert_eq!(state(), "inactive");
        guest.exec(["matrix-podman", "start", "element-web"]).ok();
        assert_eq!(state(), "active");
        lab.becomes_healthy(Duration::from_secs(60));
    });
    s.test("the shell in the guest completes commands, services and keys", || {
        let complete = |words: &str, count: usize| {
            let script = format!(
                "COMP_WORDS=({words}); COMP_CWORD={count}; f=$(complete -p matrix-podman); f=${{f#*-F }}; \
                 ${{f%% *}} matrix-podman \"${{COMP_WORDS[{count}]}}\" \"${{COMP_WORDS[{}]}}\"; echo \"COMPLETES ${{COMPREPLY[@]}}\"",
                count - 1
            );
            guest.exec(["bash", "--login", "-i", "-c", &script]).stdout
        };
        let says = |words: &str, count, wanted: &str| {
            let said = complete(words, count);
            let said = said.split("COMPLETES").last().unwrap_or_default();
            assert!(said.split_whitespace().any(|word| word == wanted), "{words}: {wanted} in {said}");
        };
        says("matrix-podman wat", 1, "watch");
        says("matrix-podman restart po", 2, "postgres_db");
        says("matrix-podman logs syn", 2, "synapse");
        says("matrix-podman set synapse.max_upl", 2, "synapse.max_upload_size");
    });
}
