//! How fast and how large, with the floor beside each figure, all from one run
//! on one machine: only ratios mean something.
//!
//! The floor of a figure is the work in it that nobody can avoid, measured by
//! itself in the same guest: LXC's own boot, Podman's own load, Synapse's own
//! start. Images and root file system must have been made before; the first
//! `up` of this program sees to that and is not measured.
//!
//! Nothing is deleted before the end: ext4 does not give out inodes again that
//! were freed in the last minutes, and searches past tens of thousands of them
//! for every new file, which would be measured instead of the program.

use std::{
    collections::BTreeMap,
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use jiff::Timestamp;
use matrix_podman_e2e::{Guest, Lab, Node, TRASH, binary, empty_trash, wait_until};
use serde_json::Value;

/// How often each short thing is measured; the median counts.
const TIMES: usize = 3;
/// The largest the program may be.
const MAX_BINARY: u64 = 25 << 20;

/// One line of the table.
struct Figure {
    what: &'static str,
    measured: String,
    floor: String,
    ratio: String,
    wanted: &'static str,
    met: bool,
}

fn main() {
    println!("Preparing: a first `up`, which leaves images and root file system at hand.");
    empty_trash();
    Lab::with_config("bench-warm").up().ok();

    println!("Measuring.");
    let lab = Lab::with_config("bench");
    let first_up = timed(|| {
        lab.up().ok();
    });
    let on_proxmox = proxmox(&lab);
    let mut figures = vec![first(&lab, first_up), on_proxmox];
    let (time, memory) = nothing_to_do(&lab);
    figures.extend([time, memory]);
    figures.push(boot(&lab));
    figures.push(one_setting(&lab));
    figures.push(size());

    println!("\n| figure | measured | floor | ratio | wanted | met |");
    println!("|---|---|---|---|---|---|");
    for f in &figures {
        let met = if f.met { "yes" } else { "NO" };
        println!("| {} | {} | {} | {} | {} | {met} |", f.what, f.measured, f.floor, f.ratio, f.wanted);
    }
    let missed = figures.iter().filter(|f| !f.met).count();
    println!("\n{} of {} figures are as wanted.", figures.len() - missed, figures.len());
    drop(lab);
    empty_trash();
    if missed > 0 {
        std::process::exit(1);
    }
}

/// First `up` with images and root file system at hand, against the longest
/// chain of unavoidable work in it. All four images have to be loaded, on
/// whatever cores there are, so the floor loads them as `up` does: Synapse's
/// beside the others, with nothing but Podman at work.
fn first(lab: &Lab, measured: Duration) -> Figure {
    let guest = lab.guest();
    let unpack = timed_unpack();
    let (own_boot, _) = boot_floor(&guest);
    guest.sh("systemctl stop matrix-stack.service").ok();
    let synapse = median_of(|time| timed(|| load(&guest, &format!("synapse-{time}"), "synapse")));
    let loads = median_of(|time| {
        let storage = format!("all-{time}");
        timed(|| {
            std::thread::scope(|scope| {
                scope.spawn(|| load(&guest, &storage, "synapse"));
                load(&guest, &storage, "postgres");
                initdb(&guest);
                load(&guest, &storage, "redis");
                load(&guest, &storage, "element-web");
            });
        })
    });
    lab.up().ok();
    let synapse_start = synapse_first_start(&guest, lab);
    lab.up().ok();
    println!(
        "  first up: unpack {unpack:.1?}, boot {own_boot:.1?}, four images and initdb {loads:.1?} (Synapse's image \
         alone {synapse:.1?}), Synapse's first start {synapse_start:.1?}"
    );
    let chain = unpack + own_boot + loads + synapse_start;
    against("first `up`, images and root file system at hand", measured, chain, 1.5, "at most 1.5")
}

/// From the created container to the started services on a node of Proxmox,
/// against the same with plain LXC.
fn proxmox(plain: &Lab) -> Figure {
    let lab = Lab::new("bench-pve");
    let node = Node::new(&lab);
    node.write_config(&lab);
    node.run(&lab, &["up", "--yes"]).ok();
    let (measured, floor) = (created_to_started(&lab), created_to_started(plain));
    against(
        "from creation to the started stack on Proxmox, beside plain LXC",
        measured,
        floor,
        1.1,
        "at most 1.1",
    )
}

/// How long it took in a site's first `up`, as its journal has it.
fn created_to_started(lab: &Lab) -> Duration {
    let path = lab.state_folder().join("journal.jsonl");
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut acts: BTreeMap<u64, String> = BTreeMap::new();
    let (mut created, mut started) = (None, None);
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let act = line["act"].as_u64().unwrap_or_default();
        let at = || line["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok());
        match (line["entry"].as_str(), line["resource"].as_str()) {
            (Some("intent"), Some(resource)) => drop(acts.insert(act, resource.to_owned())),
            (Some("done"), _) => match acts.get(&act).map(String::as_str) {
                Some("guest/container") if created.is_none() => created = at(),
                Some(resource) if resource.starts_with("service/") => started = at(),
                _ => {}
            },
            // Later runs are not the first.
            (Some("ended"), _) => break,
            _ => {}
        }
    }
    let (Some(created), Some(started)) = (created, started) else {
        panic!("{} tells of no first up", path.display())
    };
    started.duration_since(created).unsigned_abs()
}

/// A second `up` with nothing to do: time against the one question to Podman
/// that it must put, and peak memory.
fn nothing_to_do(lab: &Lab) -> (Figure, Figure) {
    let guest = lab.guest();
    let floor = median(|| timed(|| drop(guest.exec(["podman", "ps", "--all"]))));
    let mut peak = 0;
    let time = median(|| {
        timed(|| {
            peak = peak.max(peak_memory(lab));
        })
    });
    let ratio = time.as_secs_f64() / floor.as_secs_f64();
    (
        Figure {
            what: "second `up`, nothing to do",
            measured: seconds(time),
            floor: format!("{} (podman ps in the guest)", seconds(floor)),
            ratio: format!("{ratio:.1}"),
            wanted: "under 1 s",
            met: time < Duration::from_secs(1),
        },
        Figure {
            what: "its peak memory",
            measured: format!("{} MiB", peak >> 10),
            floor: String::new(),
            ratio: String::new(),
            wanted: "under 64 MiB",
            met: peak < 64 << 10,
        },
    )
}

/// From the guest's start to a healthy Synapse, against the guest's own boot
/// and Synapse's own start.
fn boot(lab: &Lab) -> Figure {
    let guest = lab.guest();
    let (own_boot, own_start) = boot_floor(&guest);
    guest.shut_down();
    let measured = timed(|| {
        guest.start();
        until_answers(lab, Duration::from_secs(300));
    });
    lab.becomes_healthy(Duration::from_secs(120));
    println!("  boot: the guest's own {own_boot:.1?}, Synapse's own start {own_start:.1?}");
    against("guest boot to Synapse healthy", measured, own_boot + own_start, 2.0, "at most 2")
}

/// A change of one setting of Synapse's, against Synapse's own restart.
fn one_setting(lab: &Lab) -> Figure {
    let guest = lab.guest();
    let restart = || {
        timed(|| {
            guest.exec(["systemctl", "restart", "synapse.service"]).ok();
            until_answers(lab, Duration::from_secs(120));
        })
    };
    let mut days = 30;
    let change = || {
        days += 1;
        lab.set("[synapse]", "remote_media_lifetime", &format!("\"{days}d\""));
        timed(|| {
            lab.up().ok();
        })
    };
    let floor = median(restart);
    let measured = median(change);
    against("one setting of Synapse changed by `up`", measured, floor, 1.5, "at most 1.5")
}

fn size() -> Figure {
    let size = fs::metadata(binary()).unwrap_or_else(|e| panic!("the program: {e}")).len();
    Figure {
        what: "size of the program",
        measured: format!("{:.1} MB", size as f64 / 1e6),
        floor: String::new(),
        ratio: String::new(),
        wanted: "under 25 MB",
        met: size < MAX_BINARY,
    }
}

/// The guest's own boot without the stack, and Synapse's own start with
/// everything that it needs running.
fn boot_floor(guest: &Guest) -> (Duration, Duration) {
    let start = || {
        guest.exec(["systemctl", "stop", "synapse.service"]).ok();
        timed(|| {
            guest.exec(["systemctl", "start", "--no-block", "synapse.service"]).ok();
            in_guest_until_healthy(guest);
        })
    };
    let start = median(start);
    guest.exec(["systemctl", "disable", "matrix-stack.service"]).ok();
    let boot = median(|| {
        guest.shut_down();
        timed(|| {
            guest.start();
            guest.booted();
        })
    });
    guest.exec(["systemctl", "enable", "--now", "matrix-stack.service"]).ok();
    in_guest_until_healthy(guest);
    (boot, start)
}

/// Unpacking the root file system, which a guest cannot do without.
fn timed_unpack() -> Duration {
    median_of(|time| {
        let folder = PathBuf::from(TRASH).join(format!("unpacked-{time}"));
        fs::create_dir_all(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
        timed(|| {
            let done = Command::new("tar")
                .args(["--extract", "--exclude=./dev/*", "--file=/var/cache/matrix-podman/rootfs-trixie.tar"])
                .arg(format!("--directory={}", folder.display()))
                .status();
            assert!(done.is_ok_and(|s| s.success()), "tar failed");
        })
    })
}

/// Loads the newest archive of a recipe into a storage of that name.
fn load(guest: &Guest, storage: &str, recipe: &str) {
    let storage = format!("--root=/var/lib/bench-{storage}");
    let prefix = format!("{recipe}-");
    let archive = fs::read_dir("/var/cache/matrix-podman/images")
        .unwrap_or_else(|e| panic!("the cache: {e}"))
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            name.starts_with(&prefix) && name.ends_with(".tar")
        })
        .max_by_key(|path| fs::metadata(path).and_then(|m| m.modified()).ok())
        .unwrap_or_else(|| panic!("the cache has no {recipe}"));
    let file = fs::File::open(&archive).unwrap_or_else(|e| panic!("{}: {e}", archive.display()));
    let done = Command::new("lxc-attach")
        .args(["--name", &guest.name, "--clear-env", "--", "podman", &storage, "load", "--quiet"])
        .stdin(file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(done.is_ok_and(|s| s.success()), "podman load failed");
}

/// PostgreSQL's own initdb, in a container as it is made by `up`.
fn initdb(guest: &Guest) {
    guest
        .sh("image=$(sed -n 's/^Image=//p' /etc/containers/systemd/postgres_db.container); \
                podman run --rm --network=none --user 70:70 --tmpfs /var/lib/postgresql:mode=1777 \
                --entrypoint initdb \"$image\" --encoding=UTF8 --locale=C --data-checksums \
                --username=synapse -D /var/lib/postgresql/x >/dev/null")
        .ok();
}

/// Synapse's start on an empty database, until it answers.
fn synapse_first_start(guest: &Guest, lab: &Lab) -> Duration {
    guest
        .sh("systemctl stop synapse.service; \
            podman exec postgres_db psql -qU synapse -d postgres -c 'DROP DATABASE synapse' \
              -c \"CREATE DATABASE synapse TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'\"")
        .ok();
    timed(|| {
        guest.exec(["systemctl", "start", "--no-block", "synapse.service"]).ok();
        until_answers(lab, Duration::from_secs(300));
    })
}

fn in_guest_until_healthy(guest: &Guest) {
    wait_until("Synapse is healthy", Duration::from_secs(300), || {
        let state = guest.exec(["systemctl", "is-active", "synapse.service"]);
        if state.text() == "active" { Ok(()) } else { Err(state.text().to_owned()) }
    });
}

fn until_answers(lab: &Lab, deadline: Duration) {
    // The address is fixed, so it is known while the guest is down.
    let address = format!("10.87.{}.10:8008", lab.number);
    let url = format!("http://{address}/health");
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(2))).build().into();
    wait_until("Synapse answers", deadline, || agent.get(&url).call().map(drop).map_err(|e| e.to_string()));
}

/// The largest resident set of an `up`, in KiB (`VmHWM`, proc(5)).
fn peak_memory(lab: &Lab) -> u64 {
    let mut child = Command::new(binary())
        .args(["up", "--yes"])
        .current_dir(&lab.folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("up: {e}"));
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let now = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(now.unwrap_or_default());
        match child.try_wait() {
            Ok(Some(ended)) => {
                assert!(ended.success(), "up failed");
                return peak;
            }
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn against(
    what: &'static str,
    measured: Duration,
    floor: Duration,
    limit: f64,
    wanted: &'static str,
) -> Figure {
    let ratio = measured.as_secs_f64() / floor.as_secs_f64();
    Figure {
        what,
        measured: seconds(measured),
        floor: seconds(floor),
        ratio: format!("{ratio:.2}"),
        wanted,
        met: ratio <= limit,
    }
}

fn timed(act: impl FnOnce()) -> Duration {
    let started = Instant::now();
    act();
    started.elapsed()
}

fn median(mut measure: impl FnMut() -> Duration) -> Duration {
    median_of(|_| measure())
}

/// The median; `measure` is told how many came before.
fn median_of(measure: impl FnMut(usize) -> Duration) -> Duration {
    let mut all: Vec<Duration> = (0..TIMES).map(measure).collect();
    all.sort();
    all[TIMES / 2]
}

fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}
