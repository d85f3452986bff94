//! What can happen to the machine and to the guest while a backup is made or
//! pruned: no room, no power, a program that is killed.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use matrix_podman_e2e::{Invocation, Running, Scenario, wait_until};

use super::Server;

pub fn provoked(s: &mut Scenario, server: &Server) {
    let lab = &server.lab;
    let count = || lab.run(&["backup", "list", "--json"]).ok().json().as_array().map(Vec::len);
    s.test("a guest without room for anything is backed up all the same: nothing is staged in it", || {
        let places = ["/tmp", "/var/tmp", "/opt/matrix/dumps"];
        lab.guest().sh("mkdir -p /opt/matrix/dumps").ok();
        for place in places {
            lab.guest().exec(["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", place]).ok();
            lab.guest().sh(&format!("dd if=/dev/zero of={place}/full bs=4k count=1 status=none")).ok();
        }
        let now = lab.run(&["backup", "now"]);
        places.iter().for_each(|place| {
            lab.guest().exec(["umount", place]).ok();
        });
        now.ok();
    });
    s.test(
        "a machine without room for the dump makes a backup all the same: it passes through memory",
        || {
            let (state, away) = (lab.state_folder(), lab.path("state"));
            let (place, kept) = (state.display().to_string(), away.display().to_string());
            Invocation::new(["cp", "-a", &place, &kept]).run().ok();
            Invocation::new(["mount", "-t", "tmpfs", "-o", "size=160k,mode=700", "tmpfs", &place]).run().ok();
            Invocation::new(["cp", "-a", &format!("{kept}/."), &place]).run().ok();
            let now = lab.run(&["backup", "now"]);
            let status = lab.run(&["status"]);
            Invocation::new(["umount", &place]).run().ok();
            fs::remove_dir_all(&away).unwrap();
            now.ok();
            status.ok().says_lately("made");
            lab.run(&["backup", "verify"]).ok().says("all whole");
        },
    );
    s.test("a power cut of the guest in the middle of the dump makes no snapshot", || {
        let before = count();
        // Whoever has a table for itself makes the dump wait.
        let lock = "BEGIN; LOCK TABLE users; SELECT pg_sleep(600)";
        let psql = ["podman", "exec", "postgres_db", "psql", "--username=synapse", "--command", lock];
        let session = lab.guest().command(psql).start();
        let held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted AND relation = \
                    'users'::regclass";
        wait_until("the table is locked", Duration::from_secs(60), || {
            let psql = ["podman", "exec", "postgres_db", "psql", "--username=synapse", "--tuples-only"];
            let seen = lab.guest().command(psql.iter().chain(&["--command", held])).quietly().run();
            if seen.text().trim() == "1" { Ok(()) } else { Err(seen.evidence()) }
        });
        let mut running = lab.command(&["backup", "now", "--json"]).start();
        running.comes_to("dumping the database");
        lab.guest().cut_power();
        running.wait().exits(1).says("the guest");
        drop(session);
        lab.guest().start();
        lab.becomes_healthy(Duration::from_secs(180));
        assert_eq!(count(), before);
        lab.run(&["status"]).ok().says("failed at");
        lab.run(&["backup", "now"]).ok();
    });
    s.test("a prune that is killed leaves the repository whole, and the next one succeeds", || {
        // First what names data goes, then the data.
        for folder in ["snapshots", "index"] {
            for _ in 0..2 {
                lab.run(&["backup", "now"]).ok();
            }
            let running = lab.command(&["backup", "prune"]).start();
            changed(&server.repository.join(folder), running).kill();
            lab.run(&["backup", "verify"]).ok().says("all whole");
        }
        lab.run(&["backup", "now"]).ok();
        lab.run(&["backup", "prune"]).ok().says("2 snapshots are kept");
        lab.run(&["backup", "verify"]).ok().says("2 snapshots, all whole");
        let password = lab.state_folder().join("backup-password");
        super::restic(&server.repository, &password, &["check", "--read-data"]).ok();
    });
}

/// Comes back as soon as there is another file in a folder, or one less.
#[track_caller]
fn changed(folder: &Path, mut running: Running) -> Running {
    let names =
        || -> BTreeSet<_> { fs::read_dir(folder).unwrap().map(|item| item.unwrap().path()).collect() };
    let (before, started) = (names(), Instant::now());
    loop {
        let runs = running.is_running();
        if names() != before {
            return running;
        }
        assert!(runs, "it ended and changed nothing in {}: {}", folder.display(), running.said());
        assert!(started.elapsed() < Duration::from_secs(120), "nothing changes in {}", folder.display());
        thread::sleep(Duration::from_millis(1));
    }
}
