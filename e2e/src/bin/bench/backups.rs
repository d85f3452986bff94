//! Backups of a server with much on it, beside the ways that people have
//! without this program: everything stopped, dumped and packed with `tar` and
//! `zstd`; and the `restic` program on the same files.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use matrix_podman_e2e::{Guest, Lab};

use crate::{
    answers::Answers,
    measure::{Figure, against, peak_memory, seconds, timed},
};

/// How many files people sent, of 1 MiB each.
const FILES: usize = 3000;
/// How many events there are, of some 2 KiB each.
const EVENTS: usize = 110_000;
/// Of each hundred, so many change before the second backup.
const CHANGED: usize = 1;
/// The largest that a backup may become, in KiB.
const MEMORY: u64 = 512 << 10;
/// What bench writes of its own beside the repository.
const PASSWORD: &str = "correct horse battery staple";

/// All figures, in the order in which they are measured.
pub fn figures(lab: &Lab) -> Vec<Figure> {
    let repository = lab.path("repository").display().to_string();
    lab.set("[backup]", "repository", &format!("{repository:?}"));
    lab.up().ok();
    lab.run(&["backup", "init"]).ok();
    let guest = lab.guest();
    people_write(&guest, 0, EVENTS);
    people_send(&guest, 0, FILES);
    println!(
        "  {} of media in {FILES} files, a database of {}",
        size_of(&guest, "media"),
        size_of(&guest, "db")
    );

    let (first, peak) = peak_memory(lab, &["backup", "now"]);
    let restic = restic(lab, &guest);
    let tar = everything_stopped(lab, &guest);
    people_write(&guest, EVENTS, EVENTS * CHANGED / 100);
    people_send(&guest, FILES, FILES * CHANGED / 100);
    let watched = Watched::begin(lab);
    let before = Answers::in_peace(lab);
    let ((second, peak_again), answers) =
        Answers::during(lab, || watched.during(|| peak_memory(lab, &["backup", "now"])));
    let drill = timed(|| {
        lab.run(&["backup", "drill"]).ok();
    });
    let restore = timed(|| {
        lab.run(&["backup", "restore", "--yes"]).ok();
    });
    let peak = peak.max(peak_again);
    vec![
        against("first backup, beside restic on the same files", first, restic, 1.3, "at most 1.3"),
        Figure {
            what: "second backup, 1 % changed, beside stop, dump, tar and zstd",
            measured: seconds(second),
            floor: seconds(tar),
            ratio: format!("{:.3}", second.as_secs_f64() / tar.as_secs_f64()),
            wanted: "at most 0.1",
            met: second * 10 <= tar,
        },
        answers.figure(&before),
        Figure {
            what: "peak memory of a backup",
            measured: format!("{} MiB", peak >> 10),
            floor: String::new(),
            ratio: String::new(),
            wanted: "under 512 MiB",
            met: peak < MEMORY,
        },
        told("drill: restored, started, compared, removed", drill),
        told("restore into the present server", restore),
    ]
}

/// A figure that nothing is wanted of.
fn told(what: &'static str, time: Duration) -> Figure {
    Figure {
        what,
        measured: seconds(time),
        floor: String::new(),
        ratio: String::new(),
        wanted: "",
        met: true,
    }
}

/// Events as the database has them, with what does not compress.
fn people_write(guest: &Guest, from: usize, count: usize) {
    let statement = format!(
        "INSERT INTO event_json (event_id, room_id, internal_metadata, json, format_version) \
         SELECT '$bench-' || n, '!bench:bench', '{{}}', \
           (SELECT string_agg(md5(n::text || '-' || part), '') FROM generate_series(1, 60) part), 3 \
         FROM generate_series({from}, {}) n",
        from + count - 1
    );
    guest.exec(["podman", "exec", "postgres_db", "psql", "-qU", "synapse", "-c", &statement]).ok();
}

/// Files in the place where Synapse keeps what people sent.
fn people_send(guest: &Guest, from: usize, count: usize) {
    guest
        .sh(&format!(
            "cd /opt/matrix/synapse/media_store && for n in $(seq -w {from} {}); do \
               folder=local_content/be/${{n#??}}; mkdir -p $folder; \
               head -c 1048576 /dev/urandom > $folder/bench$n; done; chown -R 991:991 local_content",
            from + count - 1
        ))
        .ok();
}

fn size_of(guest: &Guest, what: &str) -> String {
    let asked = match what {
        "media" => guest.sh("du -sh /opt/matrix/synapse/media_store | cut -f1"),
        _ => guest.sh(
            "podman exec postgres_db psql -qtAU synapse -c 'SELECT pg_size_pretty(pg_database_size(current_database()))'",
        ),
    };
    asked.ok().text().to_owned()
}

/// The files of a guest, as the machine sees them.
fn root(guest: &Guest) -> PathBuf {
    guest.folder().join("rootfs/opt/matrix")
}

fn dump(guest: &Guest, to: &Path) {
    let file = fs::File::create(to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    let done = Command::new("lxc-attach")
        .args(["--name", &guest.name, "--clear-env", "--"])
        .args(["podman", "exec", "postgres_db", "pg_dump", "--username=synapse", "synapse"])
        .stdout(file)
        .status();
    assert!(done.is_ok_and(|s| s.success()), "pg_dump failed");
}

/// Everything stopped but the database, which is dumped; then all is packed.
fn everything_stopped(lab: &Lab, guest: &Guest) -> Duration {
    let to = lab.path("tar-way");
    fs::create_dir_all(&to).unwrap_or_else(|e| panic!("{}: {e}", to.display()));
    timed(|| {
        guest.exec(["systemctl", "stop", "synapse.service", "element-web.service", "redis.service"]).ok();
        dump(guest, &to.join("dump.sql"));
        guest.exec(["systemctl", "stop", "matrix-stack.service"]).ok();
        let done = Command::new("tar")
            .args(["--create", "--use-compress-program=zstd", "--exclude=./postgresdata"])
            .arg(format!("--file={}", to.join("all.tar.zst").display()))
            .arg(format!("--directory={}", root(guest).display()))
            .args([".", &format!("--directory={}", to.display()), "dump.sql"])
            .status();
        assert!(done.is_ok_and(|s| s.success()), "tar failed");
        guest.exec(["systemctl", "start", "matrix-stack.service"]).ok();
        lab.becomes_healthy(Duration::from_secs(120));
    })
}

/// The restic program on a dump and the same files, into a new repository.
fn restic(lab: &Lab, guest: &Guest) -> Duration {
    let place = lab.path("restic");
    let run = |arguments: &[&str]| {
        let done = Command::new("restic")
            .env("RESTIC_PASSWORD", PASSWORD)
            .env("RESTIC_REPOSITORY", &place)
            .env("RESTIC_CACHE_DIR", lab.path("restic-cache"))
            .args(arguments)
            .stdout(Stdio::null())
            .status();
        assert!(done.is_ok_and(|s| s.success()), "restic {arguments:?} failed");
    };
    run(&["init"]);
    let sql = lab.path("restic.sql");
    timed(|| {
        dump(guest, &sql);
        run(&["backup", &sql.display().to_string(), &root(guest).join("synapse").display().to_string()]);
    })
}

/// Somebody who looks whether Synapse answers.
struct Watched {
    url: String,
}

impl Watched {
    fn begin(lab: &Lab) -> Self {
        Self { url: format!("{}/health", lab.url("synapse")) }
    }

    /// Tells the longest that it was not seen to answer meanwhile.
    fn during<R>(&self, act: impl FnOnce() -> R) -> R {
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let looks = scope.spawn(|| {
                let agent: ureq::Agent =
                    ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(2))).build().into();
                let (mut seen, mut longest) = (Instant::now(), Duration::ZERO);
                while !over.load(Ordering::Relaxed) {
                    if agent.get(&self.url).call().is_ok() {
                        longest = longest.max(seen.elapsed());
                        seen = Instant::now();
                    }
                    std::thread::sleep(Duration::from_millis(20));
                }
                longest.max(seen.elapsed())
            });
            let result = act();
            over.store(true, Ordering::Relaxed);
            let longest = looks.join().unwrap_or(Duration::MAX);
            println!(
                "  Synapse answered all through the second backup; the longest between two answers: {longest:.2?}"
            );
            assert!(longest < Duration::from_secs(5), "Synapse was away for {longest:.1?}");
            result
        })
    }
}
