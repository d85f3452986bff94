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

mod answers;
mod away;
mod backups;
mod first_up;
mod floor;
mod measure;
mod steady;

use matrix_podman_e2e::{Lab, empty_trash};

use measure::{Figure, timed};

fn main() {
    let figures = match std::env::args().nth(1).as_deref() {
        None => server(),
        Some("away") => {
            let lab = Lab::with_config("bench-away");
            lab.up().ok();
            vec![away::figure(&lab)]
        }
        Some("proxmox") => {
            let lab = Lab::with_config("bench");
            lab.up().ok();
            vec![first_up::proxmox(&lab)]
        }
        Some("backup") => backups::figures(&Lab::with_config("bench-backup")),
        Some(other) => {
            eprintln!(
                "there is no {other}; there are: away, backup, proxmox, and without a word the server's own"
            );
            std::process::exit(2);
        }
    };
    println!("\n| figure | measured | floor | ratio | wanted | met |");
    println!("|---|---|---|---|---|---|");
    for figure in &figures {
        println!("{figure}");
    }
    let missed = figures.iter().filter(|f| !f.met).count();
    println!("\n{} of {} figures are as wanted.", figures.len() - missed, figures.len());
    empty_trash();
    if missed > 0 {
        std::process::exit(1);
    }
}

/// The figures of a server from its first minute on.
fn server() -> Vec<Figure> {
    println!("Preparing: a first `up`, which leaves images and root file system at hand.");
    empty_trash();
    Lab::with_config("bench-warm").up().ok();

    println!("Measuring.");
    let lab = Lab::with_config("bench");
    let first = timed(|| {
        lab.up().ok();
    });
    let on_proxmox = first_up::proxmox(&lab);
    let mut figures = vec![first_up::figure(&lab, first), on_proxmox];
    let (time, memory) = steady::nothing_to_do(&lab);
    figures.extend([time, memory]);
    figures.push(first_up::boot(&lab));
    figures.push(steady::one_setting(&lab));
    figures.push(away::figure(&lab));
    figures.push(steady::size());
    figures
}
