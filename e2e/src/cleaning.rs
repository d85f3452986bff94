//! Removing what tests made: guests, bridges, folders. Nothing that does not
//! carry a name of the tests is ever touched.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{Guest, Invocation};

/// Names of the tests' guests begin with this.
pub(crate) const GUEST_PREFIX: &str = "e2e-";
/// Names of the tests' bridges begin with this.
pub(crate) const BRIDGE_PREFIX: &str = "mpe2e";

/// Where the tests' guests lie until [`empty_trash`].
pub const TRASH: &str = "/var/lib/lxc/.matrix-podman-e2e-trash";

/// Moves a guest's folder out of the way. Removing tens of thousands of files
/// makes ext4 slow to make new ones for minutes (it does not give out inodes
/// again that were freed just before), so that is done after the last test.
pub(crate) fn discard(folder: &Path) {
    // Other files of tests are at work beside this one.
    let root = folder.join("rootfs");
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    if mounts.lines().any(|line| line.split(' ').nth(4).is_some_and(|point| Path::new(point) == root)) {
        Invocation::new(["umount", &root.display().to_string()]).quietly().run();
    }
    let name = |n: u32| Path::new(TRASH).join(format!("{}-{n}", std::process::id()));
    let place = (0..).map(name).find(|place| !place.exists());
    let moved =
        fs::create_dir_all(TRASH).and_then(|()| place.map_or(Ok(()), |place| fs::rename(folder, place)));
    if let Err(error) = moved {
        println!("  (cannot remove {}: {error})", folder.display());
    }
}

/// Removes for good what tests made and were done with.
pub fn empty_trash() {
    let _ = fs::remove_dir_all(TRASH);
}

/// Removes a guest by force.
pub(crate) fn remove_guest(name: &str) {
    assert!(name.starts_with(GUEST_PREFIX), "{name} is not a guest of the tests");
    let guest = Guest::new(name);
    for partial in [format!(".matrix-podman-{name}.partial"), name.to_owned()] {
        let folder = Path::new("/var/lib/lxc").join(&partial);
        if !folder.exists() {
            continue;
        }
        if partial == name && guest.runs() {
            Invocation::new(["lxc-stop", "--name", name, "--kill"]).quietly().run();
        }
        discard(&folder);
    }
    let _ = fs::remove_file(format!("/var/log/lxc/matrix-podman-{name}.log"));
}

/// Removes a bridge and what serves it, by force.
pub(crate) fn remove_bridge(name: &str) {
    assert!(name.starts_with(BRIDGE_PREFIX), "{name} is not a bridge of the tests");
    let folder = Path::new("/run/matrix-podman").join(name);
    // What keeps dnsmasq running goes first.
    for (file, command) in [("keeper.pid", "machine-names"), ("dnsmasq.pid", "dnsmasq")] {
        let Ok(pid) = fs::read_to_string(folder.join(file)) else { continue };
        let pid = pid.trim();
        // The id may be another process's by now.
        let its = fs::read_to_string(format!("/proc/{pid}/cmdline"))
            .is_ok_and(|argv| argv.contains(command) && argv.contains(name));
        if !pid.is_empty() && its {
            Invocation::new(["kill", pid]).quietly().run();
        }
    }
    let _ = fs::remove_dir_all(&folder);
    let table = format!("matrix-podman-{name}");
    if succeeds(&["nft", "list", "table", "inet", &table]) {
        Invocation::new(["nft", "delete", "table", "inet", &table]).quietly().run();
    }
    if Path::new("/sys/class/net").join(name).exists() {
        Invocation::new(["ip", "link", "delete", "dev", name]).quietly().run();
    }
}

fn succeeds(argv: &[&str]) -> bool {
    // A machine on which nothing was ever brought up may lack nft.
    let found =
        ["/usr/sbin", "/usr/bin", "/sbin", "/bin"].iter().any(|f| Path::new(f).join(argv[0]).exists());
    found && Invocation::new(argv).quietly().run().code == 0
}

/// Folder of what the program remembers of a site.
pub(crate) fn site_state(site: &str) -> PathBuf {
    Path::new("/var/lib/matrix-podman/sites").join(site)
}

/// Removes what has this machine make backups of a site that is gone.
pub(crate) fn remove_timers(site: &str) {
    let _ = fs::remove_file(format!("/etc/cron.d/matrix-backup-{}", site.replace('.', "-")));
    for chore in ["backup", "drill", "watch"] {
        let timer = format!("matrix-{chore}-{site}.timer");
        let file = Path::new("/etc/systemd/system").join(&timer);
        if file.exists() {
            Invocation::new(["systemctl", "disable", "--now", &timer]).quietly().run();
            let _ = fs::remove_file(file.with_extension("service"));
            let _ = fs::remove_file(file);
        }
    }
}
