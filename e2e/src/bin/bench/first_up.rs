//! From nothing to a server, and from the guest's start to one.

use std::{collections::BTreeMap, fs, time::Duration};

use jiff::Timestamp;
use matrix_podman_e2e::{Lab, Node};
use serde_json::Value;

use crate::{
    floor::{boot_floor, initdb, load, synapse_first_start, timed_unpack},
    measure::{Figure, against, median_of, timed, until_answers},
};

/// First `up` with images and root file system at hand, against the longest
/// chain of unavoidable work in it. All four images have to be loaded, on
/// whatever cores there are, so the floor loads them as `up` does: Synapse's
/// beside the others, with nothing but Podman at work.
pub fn figure(lab: &Lab, measured: Duration) -> Figure {
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

/// From the program in the booted guest to the started services on a node of
/// Proxmox, against the same with plain LXC. The template has nothing of the
/// program's and is not of today, while a plain LXC guest is made with the packages
/// in their newest versions; what apt takes, which nobody can avoid there, is told
/// and taken off.
pub fn proxmox(plain: &Lab) -> Figure {
    let lab = Lab::new("bench-pve");
    let node = Node::new(&lab);
    node.has_plain_templates();
    node.write_config(&lab);
    node.run(&lab, &["up", "--yes"]).ok();
    let (on_proxmox, floor) = (FirstUp::of(&lab), FirstUp::of(plain));
    println!(
        "  on Proxmox: {:.1?} from the booted guest to the started stack, {:.1?} of it for Debian's packages",
        on_proxmox.whole, on_proxmox.packages
    );
    against(
        "from the booted guest to the started stack on Proxmox, packages aside, beside plain LXC",
        on_proxmox.whole.saturating_sub(on_proxmox.packages),
        floor.whole.saturating_sub(floor.packages),
        1.1,
        "at most 1.1",
    )
}

/// From the program in the guest to the started services.
struct FirstUp {
    whole: Duration,
    /// Of it, for packages that were not in the root file system, or not in their
    /// newest versions.
    packages: Duration,
}

impl FirstUp {
    /// How it went in a site's first `up`, as its journal has it.
    fn of(lab: &Lab) -> Self {
        let path = lab.state_folder().join("journal.jsonl");
        let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let mut acts: BTreeMap<u64, (String, Timestamp)> = BTreeMap::new();
        let (mut booted, mut started) = (None, None);
        let mut packages = Duration::ZERO;
        for line in text.lines() {
            let line: Value =
                serde_json::from_str(line).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            let act = line["act"].as_u64().unwrap_or_default();
            let at = line["at"].as_str().and_then(|at| at.parse::<Timestamp>().ok()).unwrap_or_default();
            match (line["entry"].as_str(), line["resource"].as_str()) {
                (Some("intent"), Some(resource)) => drop(acts.insert(act, (resource.to_owned(), at))),
                (Some("done"), _) => match acts.get(&act) {
                    Some((resource, _)) if resource == "guest/program" && booted.is_none() => {
                        booted = Some(at);
                    }
                    Some((resource, since))
                        if matches!(resource.as_str(), "guest/packages" | "guest/upgraded") =>
                    {
                        packages += at.duration_since(*since).unsigned_abs();
                    }
                    Some((resource, _)) if resource.starts_with("service/") => started = Some(at),
                    _ => {}
                },
                // Later runs are not the first.
                (Some("ended"), _) => break,
                _ => {}
            }
        }
        let (Some(booted), Some(started)) = (booted, started) else {
            panic!("{} tells of no first up", path.display())
        };
        Self { whole: started.duration_since(booted).unsigned_abs(), packages }
    }
}

/// From the guest's start to a healthy Synapse, against the guest's own boot
/// and Synapse's own start.
pub fn boot(lab: &Lab) -> Figure {
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
