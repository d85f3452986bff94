//! Whatever breaks while a server is made or changed: the program says what
//! and what to do, what exists stays as it is, and the next `up` goes on.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, SystemTime},
};

use matrix_podman_e2e::{
    Invocation, Lab, Ran, SERVICES, Scenario, archive, at_this_pace, make_archives, wait_closely, wait_until,
};
use serde_json::Value;

/// How long the whole `up` may take until an act begins.
const BEGINS: Duration = Duration::from_secs(300);

/// What is taken away in the middle of a run.
#[derive(Debug, Clone, Copy)]
enum Blow {
    /// The program, with SIGKILL.
    Run,
    /// The same program's other half in the guest, with SIGKILL.
    Agent,
    /// The process that connects the two, with SIGKILL.
    Connection,
    /// The guest's power.
    Guest,
}

fn main() -> ExitCode {
    let mut s = Scenario::begin("faults");
    let lab = s.foundation("a first up that is cut off again and again makes a healthy server", cut_off);
    let lab = &lab;
    s.test("the process that connects machine and guest can be killed in the middle of a change", || {
        lab.set("[synapse]", "max_upload_size", "\"120M\"");
        cut_off_at(lab, "restart synapse", Blow::Connection, Duration::from_millis(300));
        lab.up();
        lab.healthy();
        lab.settled();
    });
    two_at_once(&mut s, lab);
    sources(&mut s, lab);
    images(&mut s, lab);
    full_disk(&mut s, lab);
    emptied_images(&mut s, lab);
    half_removed(&mut s, lab);
    emptied_guest(&mut s, lab);
    unfinished_database(&mut s, lab);
    s.end()
}

/// Cuts the first `up` off at each of these acts, at a moment within it that
/// differs from run to run, and goes on.
fn cut_off() -> Lab {
    make_archives();
    let lab = Lab::with_config("faults");
    for (name, recipe) in
        [("postgres", "postgres"), ("redis", "redis"), ("synapse", "synapse"), ("web", "element-web")]
    {
        lab.set(
            &format!("[images.{name}]"),
            "archive",
            &format!("{:?}", archive(recipe).display().to_string()),
        );
    }
    lab.set("[guest]", "extra_packages", "[\"tree\"]");
    let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().subsec_nanos();
    println!("  (seed {seed})");
    let mut kept = BTreeMap::new();
    for (n, (act, blow)) in [
        ("create the guest", Blow::Run),
        ("start the guest", Blow::Run),
        ("install tree", Blow::Agent),
        ("load synapse", Blow::Guest),
        ("make the PostgreSQL", Blow::Run),
        ("start synapse", Blow::Run),
    ]
    .into_iter()
    .enumerate()
    {
        let delay = Duration::from_millis(u64::from(seed.rotate_left(5 * u32::try_from(n).unwrap()) % 400));
        cut_off_at(&lab, act, blow, delay);
        nothing_is_lost(&lab, &mut kept);
    }
    let last = lab.up();
    assert!(last.stdout.contains("is up."), "{}", last.evidence());
    // What else was under way then differs.
    let told = last.stderr.lines().any(|l| l.contains("was cut off at: ") && l.contains("start synapse"));
    assert!(told, "{}", last.evidence());
    nothing_is_lost(&lab, &mut kept);
    lab.healthy();
    lab.settled();
    lab
}

/// Begins an `up`, strikes once it is within `act`, and sees to it that the
/// failure, where somebody is left to tell it, is told well.
#[track_caller]
fn cut_off_at(lab: &Lab, act: &str, blow: Blow, delay: Duration) {
    let mut up = lab.command(&["up", "--yes"]).start();
    let before = journal(lab).len();
    let began = wait_until(&format!("it begins to {act}"), BEGINS, || {
        if journal(lab).iter().skip(before).any(|line| is_intent(line, act)) {
            return Ok(true);
        }
        match up.is_running() {
            true => Err("it has not begun".to_owned()),
            // What was finished before the last blow is not begun again.
            false => Ok(false),
        }
    });
    if !began {
        let ran = up.wait();
        panic!("it never came to {act}\n{}", ran.evidence());
    }
    std::thread::sleep(delay);
    println!("  (strikes {blow:?} {} ms into {act})", delay.as_millis());
    let guest = lab.guest();
    let ran = match blow {
        Blow::Run => up.kill(),
        Blow::Agent => {
            guest.sh("kill -KILL $(pidof matrix-podman)");
            up.wait()
        }
        Blow::Connection => {
            for child in children(up.id()) {
                Invocation::new(["kill", "-KILL", &child.to_string()]).run();
            }
            up.wait()
        }
        Blow::Guest => {
            guest.cut_power();
            up.wait()
        }
    };
    match blow {
        Blow::Run => {}
        // The pipes outlive whoever made them, so it may even come to its end.
        Blow::Connection if ran.code == 0 => {}
        Blow::Agent | Blow::Connection | Blow::Guest => {
            let ran = ran.exits(1);
            assert!(ran.stderr.contains("goes on from it"), "{}", ran.evidence());
        }
    }
}

/// Secrets and data that were there once are the same forever.
#[track_caller]
fn nothing_is_lost(lab: &Lab, kept: &mut BTreeMap<PathBuf, Vec<u8>>) {
    for (path, content) in kept.iter() {
        let now = fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        assert!(now == *content, "{} is not what it was", path.display());
    }
    let root = lab.guest().folder().join("rootfs/opt/matrix");
    for secret in fs::read_dir(root.join("secrets")).into_iter().flatten().flatten() {
        let name = secret.file_name().to_string_lossy().into_owned();
        if !name.starts_with('.') {
            kept.insert(secret.path(), fs::read(secret.path()).unwrap());
        }
    }
    // What a cluster is known by: the identifier in its control file's head.
    for cluster in fs::read_dir(root.join("postgresdata")).into_iter().flatten().flatten() {
        let control = cluster.path().join("docker/PG_VERSION");
        if !cluster.file_name().to_string_lossy().starts_with('.') && control.exists() {
            kept.insert(control.clone(), fs::read(&control).unwrap());
        }
    }
}

fn two_at_once(s: &mut Scenario, lab: &Lab) {
    s.test("a second up says at once who is at work and since when", || {
        lab.set("[synapse]", "max_upload_size", "\"150M\"");
        let before = journal(lab).len();
        let first = lab.command(&["up", "--yes"]).start();
        wait_for_act(lab, before, "restart synapse");
        // However slow this machine is, the first one is still at work.
        let still = Paused::on_machine(first.id());
        let refused = lab.run(&["up", "--yes"]).exits(1);
        assert!(refused.took < at_this_pace(Duration::from_secs(10)), "{}", refused.evidence());
        for word in ["`matrix-podman up`", &format!("process {}", first.id()), "since 20"] {
            assert!(refused.stderr.contains(word), "{word}\n{}", refused.evidence());
        }
        let inside = lab.guest().command(["matrix-podman", "up", "--yes"]).run().exits(1);
        assert!(inside.took < at_this_pace(Duration::from_secs(10)), "{}", inside.evidence());
        assert!(inside.stderr.contains(&format!("process {}", first.id())), "{}", inside.evidence());
        drop(still);
        first.wait().ok();
        lab.settled();
    });
    s.test("a run typed in the guest keeps one from the machine out", || {
        lab.guest().sh("systemctl stop synapse redis");
        let mut inside = lab.guest().command(["matrix-podman", "up", "--yes"]).start();
        wait_until("the run in the guest is at work", Duration::from_secs(60), || {
            assert!(inside.is_running(), "it ended: {}", inside.said());
            let units = lab.guest().command(["systemctl", "is-active", "synapse"]).quietly().run();
            if units.text() == "activating" { Ok(()) } else { Err(units.text().to_owned()) }
        });
        let still = Paused::in_guest(lab);
        let refused = lab.run(&["up", "--yes"]).exits(1);
        assert!(refused.took < at_this_pace(Duration::from_secs(10)), "{}", refused.evidence());
        assert!(refused.stderr.contains(&format!("on {}", lab.guest().name)), "{}", refused.evidence());
        drop(still);
        inside.wait().ok();
        lab.settled();
    });
}

/// A run that is stopped where it is, holding what it holds, until this is
/// dropped.
struct Paused {
    go_on: Box<dyn Fn()>,
}

impl Paused {
    fn on_machine(process: u32) -> Self {
        let signal = move |name: &str| {
            Invocation::new(["kill", name, &process.to_string()]).run().ok();
        };
        signal("-STOP");
        Self { go_on: Box::new(move || signal("-CONT")) }
    }

    fn in_guest(lab: &Lab) -> Self {
        let guest = lab.guest();
        let signal = move |name: &str| {
            guest.exec(["pkill", name, "--exact", "--full", "matrix-podman up --yes"]).ok();
        };
        signal("-STOP");
        Self { go_on: Box::new(move || signal("-CONT")) }
    }
}

impl Drop for Paused {
    fn drop(&mut self) {
        (self.go_on)();
    }
}

fn sources(s: &mut Scenario, lab: &Lab) {
    s.test("a package source that cannot be reached is named, and up goes on once it can be", || {
        let broken = "/etc/apt/apt.conf.d/99broken";
        lab.up();
        lab.guest().write(broken, "Acquire::http::Proxy \"http://127.0.0.1:9\";\nAcquire::Retries \"0\";\n");
        lab.set("[guest]", "extra_packages", "[\"tree\", \"jq\"]");
        let before = incarnations(lab);
        let failed = lab.run(&["up", "--yes"]);
        // Whatever comes of it, the tests behind this one get their source back.
        lab.guest().sh(&format!("rm {broken}"));
        tells(&failed.exits(1), &["Install jq", "package source cannot be reached", "goes on from it"]);
        assert_eq!(incarnations(lab), before, "what runs is left alone");
        lab.up();
        lab.guest().sh("jq --version");
        lab.settled();
    });
}

fn images(s: &mut Scenario, lab: &Lab) {
    let good = archive("element-web");
    let use_archive = |path: &Path| {
        lab.set("[images.web]", "archive", &format!("{:?}", path.display().to_string()));
    };
    s.test("an archive that ends too early is refused, and loads once it is whole", || {
        lab.up();
        let bytes = fs::read(&good).unwrap();
        let torn = lab.path("torn.tar");
        fs::write(&torn, &bytes[..bytes.len() / 2]).unwrap();
        use_archive(&torn);
        let before = incarnations(lab);
        let failed = lab.run(&["up", "--yes"]).exits(1);
        tells(&failed, &["torn.tar", "ends too early", "goes on from it"]);
        assert_eq!(incarnations(lab), before, "what runs is left alone");
        fs::write(&torn, bytes).unwrap();
        lab.up();
        lab.healthy();
        lab.settled();
        // The server does not need it any more.
        fs::rename(&torn, lab.path("elsewhere.tar")).unwrap();
        lab.settled();
    });
    s.test("an archive that was replaced by a newer one is loaded, and the service runs from it", || {
        let replaced = lab.path("torn.tar");
        fs::copy(&good, &replaced).unwrap();
        lab.run(&["plan", "--exit-code"]).exits(3).says("Load ");
        lab.up();
        lab.healthy();
        lab.settled();
    });
    s.test("an image that does not start fails with its last words, and the others stay up", || {
        use_archive(&good);
        lab.up();
        let odd = lab.path("odd.tar");
        fs::copy(archive("postgres"), &odd).unwrap();
        use_archive(&odd);
        let before = incarnations(lab);
        let failed = lab.run(&["up", "--yes"]).exits(1);
        tells(&failed, &["the web client", "matrix-podman logs element-web", "goes on from it"]);
        for other in SERVICES.into_iter().filter(|service| *service != "element-web") {
            assert_eq!(lab.guest().incarnation(other), before[other], "{other} is left alone");
        }
        use_archive(&good);
        lab.up();
        lab.healthy();
        lab.settled();
    });
    s.test("a registry that cannot be reached is named, and nothing is stopped", || {
        use_archive(&good);
        lab.up();
        let config = lab.config();
        lab.write(
            "matrix.toml",
            &config.replace(
                &format!("archive = {:?}", good.display().to_string()),
                "reference = \"127.0.0.1:9/nobody/element-web:1\"",
            ),
        );
        lab.set("[images]", "source", "\"registry\"");
        let before = incarnations(lab);
        let failed = lab.run(&["up", "--yes"]).exits(1);
        tells(&failed, &["pull 127.0.0.1:9/nobody/element-web:1", "could not be reached", "goes on from it"]);
        assert_eq!(incarnations(lab), before, "what runs is left alone");
        lab.write("matrix.toml", &config);
        lab.up();
        lab.settled();
    });
}

/// A small file system of its own below a guest; gone when this is dropped.
struct SmallDisk {
    place: PathBuf,
    image: PathBuf,
}

impl SmallDisk {
    /// Moves the guest of `lab`, which must be stopped, onto one with some room.
    fn below(lab: &Lab) -> Self {
        let place = lab.guest().folder();
        let image = lab.path("disk.ext4");
        let used = Invocation::new(["du", "--summarize", "--block-size=1M", &place.display().to_string()])
            .run()
            .ok();
        let mib: u64 = used.text().split_whitespace().next().unwrap().parse().unwrap();
        let size = format!("{}M", mib + mib / 8 + 600);
        let script = "set -e; truncate --size=\"$1\" \"$2\"; mkfs.ext4 -q -m 0 -O ^has_journal \"$2\"; \
                      mkdir \"$2.new\"; mount -o loop \"$2\" \"$2.new\"; cp -a \"$3/.\" \"$2.new/\"; \
                      umount \"$2.new\"; rmdir \"$2.new\"; mount -o loop \"$2\" \"$3\"";
        let disk = Self { place: place.clone(), image: image.clone() };
        Invocation::new([
            "sh",
            "-c",
            script,
            "sh",
            &size,
            &image.display().to_string(),
            &place.display().to_string(),
        ])
        .run()
        .ok();
        disk
    }

    /// Fills it up to the last block.
    fn fill(&self) {
        let filler = self.place.join("filler");
        Invocation::new(["dd", "if=/dev/zero", &format!("of={}", filler.display()), "bs=1M", "conv=fsync"])
            .run();
        assert!(filler.exists());
    }

    /// Makes room again.
    fn make_room(&self) {
        fs::remove_file(self.place.join("filler")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let place = self.place.display().to_string();
        let name = self.place.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Invocation::new(["lxc-stop", "--name", &name, "--kill"]).quietly().run();
        Invocation::new(["umount", &place]).quietly().run();
        let _ = fs::remove_file(&self.image);
    }
}

fn full_disk(s: &mut Scenario, lab: &Lab) {
    s.test("a full disk is named, loses nothing, and up goes on once there is room", || {
        lab.up();
        lab.add_user("anna", "correct horse battery staple");
        lab.guest().shut_down();
        let disk = SmallDisk::below(lab);
        lab.up();
        let mut kept = BTreeMap::new();
        nothing_is_lost(lab, &mut kept);

        // While an image is loaded.
        let copy = lab.path("another.tar");
        fs::copy(archive("element-web"), &copy).unwrap();
        lab.set("[images.web]", "archive", &format!("{:?}", copy.display().to_string()));
        disk.fill();
        let failed = lab.run(&["up", "--yes"]).exits(1);
        // Whoever meets it says it in words of its own; where they are not known, the room
        // is measured.
        tells(&failed, &["element-web", "disk", "make room", "goes on from it"]);
        disk.make_room();
        lab.up();
        lab.becomes_healthy(Duration::from_secs(60));

        // While the database starts, which may or may not do without more room.
        lab.guest().sh("systemctl stop synapse postgres_db");
        disk.fill();
        let failed = lab.run(&["up", "--yes"]);
        if failed.code != 0 {
            tells(&failed.exits(1), &["disk", "make room", "goes on from it"]);
        }
        disk.make_room();
        lab.up();
        lab.becomes_healthy(Duration::from_secs(60));
        nothing_is_lost(lab, &mut kept);
        lab.matrix().login("anna", "correct horse battery staple");
        lab.settled();
    });
}

/// What a power cut left of an older version's images: their names, and files without
/// content.
fn emptied_images(s: &mut Scenario, lab: &Lab) {
    s.test("images that a power cut emptied are found, named, and loaded again by one up", || {
        lab.up();
        lab.healthy();
        lab.guest()
            .sh("systemctl stop redis; rm /var/lib/matrix-podman/podman-storage; \
                 cd /var/lib/containers/storage/overlay; for layer in */diff; do \
                 if test -e $layer/usr/bin/redis-server; then find $layer/usr -type f -exec truncate --size=0 {} +; fi; \
                 done; systemctl start --no-block redis")
            .ok();
        let doctor = lab.run(&["doctor", "--json"]).exits(1).json();
        let first = &doctor["findings"][0];
        assert_eq!(first["cause"], "images/damaged", "{doctor}");
        assert_eq!(first["command"], "matrix-podman up", "{doctor}");
        lab.up();
        lab.healthy();
        lab.settled();
        lab.run(&["doctor"]).ok();
    });
}

fn half_removed(s: &mut Scenario, lab: &Lab) {
    s.test("a destroy that is cut off is finished by the next one, keys and database included", || {
        lab.up();
        let guest = lab.guest().folder();
        let half = guest.with_file_name(format!(".matrix-podman-{}.partial", lab.guest().name));
        let running = lab.command(&["destroy", "--yes"]).start();
        wait_closely("the guest has lost its name", Duration::from_secs(120), || {
            if half.join("config").exists() { Ok(()) } else { Err("not yet".to_owned()) }
        });
        running.kill();
        assert!(half.exists() && !guest.exists(), "it was cut off in the middle");
        lab.run(&["destroy"]).exits(2).says("was cut off").says("keys and its database");
        lab.run(&["destroy", "--yes"]).ok().says("was cut off").says("is removed");
        assert!(!half.exists(), "{} is still there", half.display());
        lab.run(&["destroy", "--yes"]).ok().says("nothing was changed");
    });
}

/// What a power cut left of a guest that an older version had just made.
fn emptied_guest(s: &mut Scenario, lab: &Lab) {
    s.test("a guest that a power cut emptied before there were data in it is made again by one up", || {
        let up = lab.command(&["up", "--yes"]).start();
        wait_closely("the guest has its name", Duration::from_secs(300), || {
            if lab.guest().exists() { Ok(()) } else { Err("not yet".to_owned()) }
        });
        up.kill();
        lab.guest().cut_power_if_it_runs();
        let root = lab.guest().folder().join("rootfs/usr").display().to_string();
        Invocation::new(["find", &root, "-type", "f", "-exec", "truncate", "--size=0", "{}", "+"]).run().ok();
        let doctor = lab.run(&["doctor", "--json"]).exits(1).json();
        assert_eq!(doctor["findings"][0]["cause"], "guest/damaged", "{doctor}");
        assert_eq!(doctor["findings"][0]["command"], "matrix-podman up", "{doctor}");
        let secrets = lab.guest().folder().join("rootfs/opt/matrix/secrets");
        fs::create_dir_all(&secrets).unwrap();
        fs::write(secrets.join("signing.key"), "ed25519 a_1 x").unwrap();
        // What has data is somebody's to decide about.
        lab.run(&["up", "--yes"]).exits(1).says("there are data");
        fs::remove_file(secrets.join("signing.key")).unwrap();
        lab.up();
        lab.healthy();
        lab.settled();
    });
}

fn unfinished_database(s: &mut Scenario, lab: &Lab) {
    s.test("a Synapse that was cut off while it made its first tables starts with the next up", || {
        let guest = lab.guest();
        guest.sh("systemctl stop synapse.service").ok();
        let psql = |statements: &str| {
            let argv = ["podman", "exec", "postgres_db", "psql", "--username=synapse", "--command", statements];
            guest.exec(argv).ok();
        };
        // What is there once its first transaction is: it has the tables, and no version.
        psql(
            "DROP OWNED BY CURRENT_USER; \
             CREATE TABLE schema_version (lock CHAR(1) NOT NULL DEFAULT 'X' UNIQUE, version INTEGER NOT NULL, \
             upgraded BOOL NOT NULL); CREATE TABLE background_updates (update_name text NOT NULL)",
        );
        guest.sh("timeout 60 systemctl start synapse.service").exits(1);
        guest.sh("journalctl --unit synapse --lines=200 --output=cat").ok().says("already exists");
        lab.run(&["plan"]).ok().says("Empty the database, which Synapse never finished making");
        lab.up();
        lab.healthy();
        lab.settled();
        lab.add_user("anna", "correct horse battery staple").ok();
        lab.matrix().login("anna", "correct horse battery staple");
    });
}

/// A failure says all of this.
#[track_caller]
fn tells(failed: &Ran, words: &[&str]) {
    for word in words {
        assert!(failed.stderr.contains(word), "it says {word:?}\n{}", failed.evidence());
    }
}

/// Which containers run, and since when.
#[track_caller]
fn incarnations(lab: &Lab) -> BTreeMap<&'static str, (String, String)> {
    SERVICES.into_iter().map(|service| (service, lab.guest().incarnation(service))).collect()
}

/// Waits until an act begins that the journal did not have when it was that long.
#[track_caller]
fn wait_for_act(lab: &Lab, before: usize, act: &str) {
    wait_until(&format!("it begins to {act}"), BEGINS, || {
        match journal(lab).iter().skip(before).any(|line| is_intent(line, act)) {
            true => Ok(()),
            false => Err("it has not begun".to_owned()),
        }
    });
}

fn is_intent(line: &Value, act: &str) -> bool {
    line["entry"] == "intent" && line["effect"].as_str().is_some_and(|effect| effect.starts_with(act))
}

fn journal(lab: &Lab) -> Vec<Value> {
    let text = fs::read_to_string(lab.state_folder().join("journal.jsonl")).unwrap_or_default();
    text.lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// The processes that a process started.
fn children(of: u32) -> Vec<u32> {
    let mut found = Vec::new();
    for task in fs::read_dir(format!("/proc/{of}/task")).into_iter().flatten().flatten() {
        let text = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        found.extend(text.split_whitespace().filter_map(|id| id.parse::<u32>().ok()));
    }
    found
}
