//! What a server that is there takes.

use std::{fs, time::Duration};

use matrix_podman_e2e::{Lab, binary};

use crate::measure::{Figure, against, median, peak_memory, seconds, timed, until_answers};

/// The largest the program may be.
const MAX_BINARY: u64 = 25 << 20;

/// A second `up` with nothing to do: time against the one question to Podman
/// that it must put, and peak memory.
pub fn nothing_to_do(lab: &Lab) -> (Figure, Figure) {
    let guest = lab.guest();
    let floor = median(|| timed(|| drop(guest.exec(["podman", "ps", "--all"]))));
    let mut peak = 0;
    let time = median(|| {
        timed(|| {
            peak = peak.max(peak_memory(lab, &["up", "--yes"]).1);
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

/// A change of one setting of Synapse's, against Synapse's own restart.
pub fn one_setting(lab: &Lab) -> Figure {
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

pub fn size() -> Figure {
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
