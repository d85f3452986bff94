//! The work that nobody can avoid, done by itself.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
    time::Duration,
};

use matrix_podman_e2e::{Guest, Lab, TRASH};

use crate::measure::{in_guest_until_healthy, median, median_of, timed, until_answers};

/// The guest's own boot without the stack, and Synapse's own start with
/// everything that it needs running.
pub fn boot_floor(guest: &Guest) -> (Duration, Duration) {
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
pub fn timed_unpack() -> Duration {
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
pub fn load(guest: &Guest, storage: &str, recipe: &str) {
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
pub fn initdb(guest: &Guest) {
    guest
        .sh("image=$(sed -n 's/^Image=//p' /etc/containers/systemd/postgres_db.container); \
                podman run --rm --network=none --user 70:70 --tmpfs /var/lib/postgresql:mode=1777 \
                --entrypoint initdb \"$image\" --encoding=UTF8 --locale=C --data-checksums \
                --username=synapse -D /var/lib/postgresql/x >/dev/null")
        .ok();
}

/// Synapse's start on an empty database, until it answers.
pub fn synapse_first_start(guest: &Guest, lab: &Lab) -> Duration {
    guest
        .sh("systemctl stop synapse.service; \
            podman exec postgres_db psql -qU postgres -d postgres -c 'DROP DATABASE synapse' \
              -c \"CREATE DATABASE synapse OWNER synapse TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C'\"")
        .ok();
    timed(|| {
        guest.exec(["systemctl", "start", "--no-block", "synapse.service"]).ok();
        until_answers(lab, Duration::from_secs(300));
    })
}
