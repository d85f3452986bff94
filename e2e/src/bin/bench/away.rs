//! How long Synapse is away while it is updated, and what people's clients
//! notice of it, against `podman restart` of the same container.

use std::{
    collections::BTreeMap,
    fmt,
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use matrix_podman_e2e::{Guest, Lab, Session, archive, clients_folder, wait_until};
use serde_json::Value;

use crate::measure::{Figure, against, in_guest_until_healthy, seconds, until_answers};

/// How often Synapse is asked whether it is there.
const PROBE: Duration = Duration::from_millis(20);
/// How often somebody says something.
const SENDS: Duration = Duration::from_millis(100);
/// How many clients wait for news.
const SYNCS: usize = 4;
/// How long things go on before and after what is measured.
const AROUND: Duration = Duration::from_secs(3);

/// The figure; what clients noticed is printed.
pub fn figure(lab: &Lab) -> Figure {
    let guest = lab.guest();
    let anna = lab.user("anna", "correct horse battery staple");
    let room = anna.create_room("load");
    rewriting_is_over(&guest);
    let load = Load { lab, anna: &anna, room: &room };
    beside_systemd(&guest);
    let floor = load.during(|| {
        guest.exec(["podman", "restart", "synapse"]).ok();
    });
    guest.sh("podman rm --force synapse >/dev/null; rm -f /run/synapse.cid; systemctl start synapse").ok();
    in_guest_until_healthy(&guest);
    newer_image(lab);
    let update = load.during(|| {
        lab.run(&["update", "synapse", "--yes"]).ok();
    });
    lab.unset("archive");
    println!("  podman restart of Synapse: {floor}");
    println!("  update of Synapse: {update}");
    against(
        "Synapse away during an update, beside `podman restart`",
        update.away,
        floor.away,
        2.0,
        "at most 2",
    )
}

/// Has the config want an image that is another one and does the same.
fn newer_image(lab: &Lab) {
    let to = lab.path("newer.tar").display().to_string();
    let made = Command::new("python3")
        .arg(clients_folder().join("variant.py"))
        .arg(archive("synapse"))
        .args([&to, "null"])
        .status();
    assert!(made.is_ok_and(|status| status.success()), "the newer image was not made");
    lab.set("[images.synapse]", "archive", &format!("{to:?}"));
}

/// Runs Synapse's container as its unit does, but beside systemd, which takes a
/// container that ends for one that is to be removed.
fn beside_systemd(guest: &Guest) {
    guest
        .sh("systemctl stop synapse.service; \
             run=$(sed -n 's/^ExecStart=//p' /run/systemd/generator/synapse.service | \
               sed 's|%t|/run|g; s|%N|synapse|g; s| --rm | |; s| --sdnotify=healthy | |; \
                    s| --cgroups=split | --cgroups=disabled |'); \
             eval \"$run\" >/dev/null")
        .ok();
    wait_until("Synapse answers in its container", Duration::from_secs(120), || {
        let asked = guest.sh("podman exec synapse curl -fsS http://127.0.0.1:8008/health");
        if asked.text() == "OK" { Ok(()) } else { Err(asked.stderr.clone()) }
    });
}

/// Waits until a new Synapse has nothing left to rewrite: no update begins before.
fn rewriting_is_over(guest: &Guest) {
    let query = "psql -U synapse -tAc 'SELECT count(*) FROM background_updates'";
    wait_until("Synapse's background updates are over", Duration::from_secs(600), || {
        match guest.sh(&format!("podman exec postgres_db {query}")).text() {
            "0" => Ok(()),
            other => Err(format!("{other} to go")),
        }
    });
}

/// People who write and wait for news.
struct Load<'a> {
    lab: &'a Lab,
    anna: &'a Session,
    room: &'a str,
}

/// What was noticed.
struct Noticed {
    away: Duration,
    syncs: Count,
    sends: Count,
}

/// Requests of one kind.
#[derive(Default)]
struct Count {
    all: AtomicUsize,
    failed: Mutex<BTreeMap<String, usize>>,
}

impl Count {
    fn note(&self, result: Result<(), String>) {
        self.all.fetch_add(1, Ordering::Relaxed);
        if let Err(why) = result {
            let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
            *failed.entry(kind(&why)).or_default() += 1;
        }
    }
}

/// The end of an error's text: what stands before it is the address.
fn kind(why: &str) -> String {
    why.rsplit(": ").next().unwrap_or(why).chars().take(60).collect()
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        write!(f, "{} of {} failed", failed.values().sum::<usize>(), self.all.load(Ordering::Relaxed))?;
        for (why, count) in failed.iter() {
            write!(f, " ({count} × {why})")?;
        }
        Ok(())
    }
}

impl fmt::Display for Noticed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { away, syncs, sends } = self;
        write!(f, "away for {}; syncs: {syncs}; messages: {sends}", seconds(*away))
    }
}

impl Load<'_> {
    /// Has people at work before, during and after `act`.
    fn during(&self, act: impl FnOnce()) -> Noticed {
        let over = AtomicBool::new(false);
        let (syncs, sends) = (Count::default(), Count::default());
        let away = std::thread::scope(|scope| {
            let probe = scope.spawn(|| self.probe(&over));
            for _ in 0..SYNCS {
                scope.spawn(|| self.sync(&over, &syncs));
            }
            scope.spawn(|| self.send(&over, &sends));
            std::thread::sleep(AROUND);
            act();
            // Podman does not wait for it: what is measured ends with an answer.
            until_answers(self.lab, Duration::from_secs(120));
            std::thread::sleep(AROUND);
            over.store(true, Ordering::Relaxed);
            probe.join().unwrap_or_else(|_| panic!("the probe failed"))
        });
        Noticed { away, syncs, sends }
    }

    /// The longest time between two answers of Synapse.
    fn probe(&self, over: &AtomicBool) -> Duration {
        let url = format!("http://10.87.{}.10:8008/health", self.lab.number);
        let agent: ureq::Agent =
            ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(1))).build().into();
        let (mut last, mut longest) = (Instant::now(), Duration::ZERO);
        while !over.load(Ordering::Relaxed) {
            if agent.get(&url).call().is_ok() {
                longest = longest.max(last.elapsed());
                last = Instant::now();
            }
            std::thread::sleep(PROBE);
        }
        longest
    }

    /// A client that waits for news, and tries again after what failed.
    fn sync(&self, over: &AtomicBool, count: &Count) {
        let mut since = String::new();
        while !over.load(Ordering::Relaxed) {
            let path = format!("/v3/sync?timeout=1000{since}");
            let answer = self.anna.request("GET", &path, None);
            if let Some(next) = answer.as_ref().ok().and_then(|a: &Value| a["next_batch"].as_str()) {
                since = format!("&since={next}");
            }
            let failed = answer.is_err();
            count.note(answer.map(drop));
            if failed {
                std::thread::sleep(SENDS);
            }
        }
    }

    /// A person who writes steadily.
    fn send(&self, over: &AtomicBool, count: &Count) {
        for n in 0.. {
            if over.load(Ordering::Relaxed) {
                return;
            }
            count.note(self.anna.send(self.room, &format!("message {n}")).map(drop));
            std::thread::sleep(SENDS);
        }
    }
}
