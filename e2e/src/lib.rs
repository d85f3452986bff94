//! End-to-end tests against the real thing: real guests, real containers, a
//! real Synapse, a real browser. This is their harness; the tests are in
//! `tests/`, one file for each scenario.
//!
//! * [`Lab`]: a place on this machine for one site, with its own folder, guest
//!   and bridge, in which the built program is run as a person would run it.
//!   It is removed when the test ends, and what a killed test left behind is
//!   removed when the next one begins.
//! * [`Ran`]: a command that has ended, with what it said, and what a test may
//!   say of it: [`Ran::ok`], [`Ran::exits`], [`Ran::says`].
//! * [`Guest`]: an LXC guest seen from the machine, without the program.
//! * [`Matrix`]: a client of the server, of a few lines.
//!
//! Everything here ends the test with a panic that holds the evidence, at the
//! line of the test that asked for it.

mod archives;
pub mod campaign;
mod cleaning;
mod command;
mod guest;
mod lab;
mod laptop;
mod machine;
mod matrix;
mod mounts;
mod pace;
mod proxmox;
mod routed;
mod scenario;
mod snapshot;
pub mod standin;
mod tmux;
mod tools;
mod wait;
mod watcher;
mod wire;

pub use archives::{archive, make_archives, postgres_archive};
pub use cleaning::{TRASH, empty_trash};
pub use command::{Invocation, Ran, Running};
pub use guest::Guest;
pub use lab::{DOMAIN, Lab, binary};
pub use laptop::{Laptop, Sshd};
pub use machine::{lxc_config, put};
pub use matrix::{Matrix, Session, http};
pub use pace::{at_this_pace, pace};
pub use proxmox::{CallsPage, How, Node, SnapshotState, State, Storage, standin as proxmox_standin};
pub use routed::{Home, Routed};
pub use scenario::Scenario;
pub use snapshot::MachineSnapshot;
pub use tmux::Tmux;
pub use tools::{NodeClient, PythonClient, S3Store, clients_folder, tool};
pub use wait::{wait_closely, wait_until};
pub use watcher::ProcessWatcher;
pub use wire::Wire;

/// Names of the services, in the order in which they start.
pub const SERVICES: [&str; 4] = ["postgres_db", "redis", "synapse", "element-web"];

/// Says that a test cannot run on this machine. It then fails, unless the
/// person who runs the tests allowed that; in no case does it silently pass.
#[track_caller]
pub fn not_run(name: &str, why: &str) {
    println!("not run: {name}: {why}");
    if let Some(list) = std::env::var_os("E2E_NOT_RUN_LIST") {
        use std::io::Write as _;
        let mut file = std::fs::OpenOptions::new()
            .create(true)
            .append(true)
            .open(&list)
            .unwrap_or_else(|e| panic!("open {}: {e}", list.display()));
        writeln!(file, "{name}: {why}").unwrap_or_else(|e| panic!("write {}: {e}", list.display()));
    }
    assert!(
        std::env::var_os("E2E_ALLOW_NOT_RUN").is_some(),
        "{name} could not run: {why} (cargo xtask e2e --allow-not-run lets that pass)"
    );
}
