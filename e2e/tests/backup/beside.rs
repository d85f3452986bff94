//! What a backup leaves to those who use the server meanwhile.

use std::{
    collections::BTreeMap,
    fs, thread,
    time::{Duration, Instant},
};

use matrix_podman_e2e::{Invocation, Running, Scenario};

use super::{Server, number};

/// What is to be saved beside what people sent: of chance, so that nothing of it is saved already.
const NOISE: &str = "/opt/matrix/synapse/noise";
/// Between two requests of somebody at work.
const PAUSE: Duration = Duration::from_millis(15);
/// Between two messages; Synapse lets a user write one in a second.
const WRITES: Duration = Duration::from_millis(1100);
/// So many requests show how the server is when nothing is done beside it.
const BEFORE: usize = 80;

pub fn hardly_noticed(s: &mut Scenario, server: &Server) {
    let lab = &server.lab;
    let noise = |mib: u32| {
        let (to, count) = (format!("of={NOISE}"), format!("count={mib}"));
        lab.guest().exec(["dd", "if=/dev/urandom", &to, "bs=1M", &count, "status=none"]).ok();
    };
    let other = lab.path("large-repository");
    s.test("people hardly notice a backup: nothing fails, and all of it gives way to them", || {
        lab.set("[backup]", "repository", &format!("{:?}", other.display().to_string()));
        lab.run(&["backup", "init"]).ok();
        noise(384);
        let before = Answers::while_(server, |count| count < BEFORE);
        let mut running = lab.command(&["backup", "now"]).start();
        let mut priorities = Vec::new();
        let during = Answers::while_(server, |count| {
            // It takes a moment until the guest's end works, too.
            if count >= 10 && !priorities.iter().any(Priority::is_the_guests) {
                priorities = of_all(&mut running);
            }
            running.is_running()
        });
        let ran = running.wait().ok();
        println!("  answers before: {before}; during a backup of {:.1} s: {during}", ran.took.as_secs_f32());
        assert!(during.0.len() >= 20, "too few answers to say something: {during}\n{}", ran.evidence());
        let bound = |before: Duration, more: u64| before * 3 + Duration::from_millis(more);
        assert!(during.at(50) < bound(before.at(50), 100), "half of the answers: {before} and then {during}");
        assert!(during.at(95) < bound(before.at(95), 500), "nearly all answers: {before} and then {during}");
        assert!(priorities.iter().any(Priority::is_the_guests), "the guest's end is one: {priorities:?}");
        for priority in &priorities {
            assert!(priority.nice >= 10 && priority.disk == "idle", "{priority:?} of {priorities:?}");
        }
    });
    s.test("a repository is written to and read from no faster than its limits say", || {
        noise(32);
        lab.set("[backup]", "upload_limit", "\"8M/s\"");
        lab.set("[backup]", "download_limit", "\"64M/s\"");
        let limited = lab.run(&["backup", "now", "--json"]).ok();
        let verify = lab.run(&["backup", "verify"]).ok();
        lab.unset("upload_limit");
        lab.unset("download_limit");
        let added = number(&limited.json_lines().pop().unwrap()["backup"]["added"]);
        let all: u64 = super::files(&other.join("data")).iter().map(|(size, _)| size).sum();
        assert!(added > 32 << 20, "{added}");
        let takes = |bytes: u64, mib: u32| Duration::from_millis(bytes * 1000 / (u64::from(mib) << 20));
        assert!(limited.took >= takes(added, 8), "{added} bytes\n{}", limited.evidence());
        assert!(verify.took >= takes(all, 64), "{all} bytes\n{}", verify.evidence());
        lab.guest().exec(["rm", NOISE]).ok();
        lab.set("[backup]", "repository", &format!("{:?}", server.repository.display().to_string()));
        fs::remove_dir_all(&other).unwrap();
        lab.run(&["backup", "now"]).ok();
    });
}

/// How long the server took for each request of somebody who reads and writes, sorted.
struct Answers(Vec<Duration>);

impl Answers {
    /// As long as `go_on` says so, which is told how many there were. None of them
    /// fails.
    #[track_caller]
    fn while_(server: &Server, mut go_on: impl FnMut(usize) -> bool) -> Self {
        let (anna, mut took, mut written) = (&server.anna, Vec::new(), Instant::now());
        while go_on(took.len()) {
            let started = Instant::now();
            if written.elapsed() > WRITES {
                written = started;
                anna.send(&server.room, "and meanwhile").unwrap();
            } else {
                anna.request("GET", "/v3/sync?timeout=0", None).unwrap();
            }
            took.push(started.elapsed());
            thread::sleep(PAUSE);
        }
        took.sort();
        Self(took)
    }

    /// So many of a hundred were faster.
    fn at(&self, percent: usize) -> Duration {
        self.0
            .get((self.0.len() * percent / 100).min(self.0.len().saturating_sub(1)))
            .copied()
            .unwrap_or_default()
    }
}

impl std::fmt::Display for Answers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} answers, median {:.1?}, p95 {:.1?}", self.0.len(), self.at(50), self.at(95))
    }
}

/// How a thread asks for the processor and the disk.
#[derive(Debug)]
struct Priority {
    what: String,
    nice: i32,
    disk: String,
}

impl Priority {
    fn is_the_guests(&self) -> bool {
        self.what.contains("matrix-podman agent")
    }
}

/// Those of all threads of a program, and of all that it started, in the guest too.
fn of_all(running: &mut Running) -> Vec<Priority> {
    let parents: BTreeMap<u32, u32> = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|item| item.unwrap().file_name().to_str()?.parse().ok())
        .filter_map(|process: u32| {
            Some((process, stat(&format!("/proc/{process}/stat"))?.get(1)?.parse().ok()?))
        })
        .collect();
    let mut family = vec![running.id()];
    while let Some(more) = parents.iter().find(|(id, of)| family.contains(of) && !family.contains(id)) {
        family.push(*more.0);
    }
    let mut all = Vec::new();
    for process in family {
        let line = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let what = String::from_utf8_lossy(&line).replace('\0', " ");
        let tasks = fs::read_dir(format!("/proc/{process}/task")).into_iter().flatten();
        for task in tasks.flatten() {
            // What has ended meanwhile says nothing any more.
            let Some(stat) = stat(&task.path().join("stat").display().to_string()) else { continue };
            let id = task.file_name().to_string_lossy().into_owned();
            let disk = Invocation::new(["ionice", "--pid", &id]).quietly().run();
            if disk.code == 0 {
                let disk = disk.text().to_owned();
                all.push(Priority { what: what.clone(), nice: stat[16].parse().unwrap(), disk });
            }
        }
    }
    all
}

/// What stands behind the name in a `stat` of /proc, from the state on.
fn stat(path: &str) -> Option<Vec<String>> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned).collect())
}
