//! LXC containers, read from their configs and the kernel's list of sockets:
//! no process is needed to see whether one runs.

use std::{
    collections::BTreeSet,
    net::Ipv4Addr,
    path::{Path, PathBuf},
};

use matrix_podman_core::{
    fact::{GuestDisk, GuestRoot, GuestState, Neighbour, Suspension},
    render::lxc::SITE_MARK,
    size::Bytes,
};

use super::disk;
use crate::process::Program;

/// Folder of LXC's containers.
pub(crate) const LXC: &str = "/var/lib/lxc";
/// What stands before and behind a guest's name while it is made or removed.
pub(crate) const PARTIAL: (&str, &str) = (".matrix-podman-", ".partial");
/// Where the kernel's control groups are.
const CGROUPS: &str = "/sys/fs/cgroup";
/// From this share of its limit on, in hundredths, a guest's memory is used up.
const USED_UP: u64 = 97;

/// What is read of a container's config file.
pub struct Config {
    /// The site whose mark it carries.
    pub site: Option<String>,
    /// First id on the machine that it uses, and how many.
    pub ids: Option<(u32, u32)>,
    /// Its fixed address.
    pub address: Option<Ipv4Addr>,
}

/// Whether there is such a container, and how it is.
pub fn state(name: &str) -> GuestState {
    let Some(config) = read(name) else { return GuestState::Absent };
    if !runs(name) {
        return GuestState::Stopped { site: config.site };
    }
    if let Some(by) = suspension(Path::new(CGROUPS), name) {
        return GuestState::Suspended { site: config.site, by };
    }
    let address = config.address.or_else(|| leased_address(name));
    GuestState::Running { site: config.site, address }
}

/// What the root file system of a container that does not run looks like.
pub fn root(name: &str) -> Result<GuestRoot, String> {
    match disk::look(name)? {
        Some(GuestDisk { mounted: false, .. }) => Err(format!("the disk of the guest {name} is not mounted")),
        _ => Ok(root_below(&Path::new(LXC).join(name).join("rootfs"))),
    }
}

fn root_below(root: &Path) -> GuestRoot {
    let mut found = GuestRoot::default();
    for folder in ["usr/bin", "usr/sbin", "usr/lib/systemd"] {
        for entry in std::fs::read_dir(root.join(folder)).into_iter().flatten().flatten() {
            if let Ok(meta) = entry.metadata()
                && meta.is_file()
            {
                found.programs += 1;
                found.empty += u32::from(meta.len() == 0);
            }
        }
    }
    let holds_something =
        |folder: &str| std::fs::read_dir(root.join(folder)).is_ok_and(|mut all| all.next().is_some());
    found.data = ["opt/matrix/secrets", "opt/matrix/postgresdata"].into_iter().any(holds_something);
    found
}

/// All LXC containers on this machine, and those that are being made: what they
/// will use is taken. They are no site's guest yet.
pub fn neighbours() -> Vec<Neighbour> {
    let Ok(folder) = std::fs::read_dir(LXC) else { return Vec::new() };
    folder
        .filter_map(|entry| {
            let folder = entry.ok()?.file_name().into_string().ok()?;
            let Config { site, ids, address } = read(&folder)?;
            match folder.strip_prefix(PARTIAL.0).and_then(|name| name.strip_suffix(PARTIAL.1)) {
                Some(name) => Some(Neighbour { name: name.to_owned(), site: None, ids, address }),
                None if folder.starts_with('.') => None,
                None => Some(Neighbour { name: folder, site, ids, address }),
            }
        })
        .collect()
}

fn read(name: &str) -> Option<Config> {
    let text = std::fs::read_to_string(Path::new(LXC).join(name).join("config")).ok()?;
    Some(Config::parse(&text))
}

impl Config {
    /// Reads it, without what it includes.
    pub fn parse(text: &str) -> Self {
        let value = |key: &str| {
            text.lines()
                .filter_map(|line| line.split_once('='))
                .find(|(k, _)| k.trim() == key)
                .map(|(_, v)| v.trim())
        };
        // `u 0 100000 65536`: kind, first inside, first outside, how many.
        let ids = value("lxc.idmap").and_then(|map| {
            let mut fields = map.split_whitespace().skip(2);
            Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
        });
        let address = value("lxc.net.0.ipv4.address")
            .and_then(|a| a.split('/').next().unwrap_or_default().parse().ok());
        let site = text.lines().find_map(|line| line.strip_prefix(SITE_MARK));
        Self { site: site.map(|site| site.trim().to_owned()), ids, address }
    }
}

/// A running container's monitor listens on an abstract socket with its name.
fn runs(name: &str) -> bool {
    let socket = format!("@{LXC}/{name}/command");
    std::fs::read_to_string("/proc/net/unix").is_ok_and(|sockets| {
        sockets.lines().any(|line| line.split_whitespace().last() == Some(socket.as_str()))
    })
}

/// What holds a running container, as the kernel tells it: no process that could
/// hang with it is asked.
fn suspension(cgroups: &Path, name: &str) -> Option<Suspension> {
    if is_frozen(cgroups, name) {
        return Some(Suspension::Frozen);
    }
    let (pid, state) = first_process(cgroups, name)?;
    state.starts_with(['T', 't']).then_some(Suspension::Stopped { pid })
}

/// The control groups of a container, by LXC's naming and by Proxmox's.
fn groups(cgroups: &Path, name: &str) -> Vec<PathBuf> {
    let hierarchies = ["", "freezer", "pids", "memory", "systemd", "unified"];
    let names = [format!("lxc.payload.{name}"), format!("lxc/{name}")];
    hierarchies
        .iter()
        .flat_map(|hierarchy| names.iter().map(move |name| cgroups.join(hierarchy).join(name)))
        .filter(|group| group.is_dir())
        .collect()
}

/// Both versions of control groups are read: `freezer.state` is of the first.
fn is_frozen(cgroups: &Path, name: &str) -> bool {
    groups(cgroups, name).iter().any(|group| {
        let says = |file: &str, word: &str| {
            std::fs::read_to_string(group.join(file)).is_ok_and(|text| text.lines().any(|line| line == word))
        };
        says("freezer.state", "FROZEN")
            || says("freezer.state", "FREEZING")
            || says("cgroup.events", "frozen 1")
    })
}

/// The process that is the first one in the container, and its state in the words
/// of proc(5).
fn first_process(cgroups: &Path, name: &str) -> Option<(u32, String)> {
    let members = groups(cgroups, name).into_iter().flat_map(|group| {
        ["", "init.scope", "ns", "ns/init.scope"].map(|below| group.join(below).join("cgroup.procs"))
    });
    let pids: BTreeSet<u32> = members
        .filter_map(|file| std::fs::read_to_string(file).ok())
        .flat_map(|text| text.lines().filter_map(|line| line.trim().parse().ok()).collect::<Vec<_>>())
        .collect();
    // Containers in it have first processes, too, deeper below.
    pids.into_iter()
        .filter_map(|pid| {
            let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
            let field = |key: &str| status.lines().find_map(|line| line.strip_prefix(key)).map(str::trim);
            let numbers: Vec<&str> = field("NSpid:")?.split_whitespace().collect();
            if numbers.len() < 2 || numbers.last() != Some(&"1") {
                return None;
            }
            Some((numbers.len(), pid, field("State:")?.to_owned()))
        })
        .min_by_key(|(depth, ..)| *depth)
        .map(|(_, pid, state)| (pid, state))
}

/// How much of its memory a container uses, where that is nearly all of it.
pub fn memory_is_used_up(name: &str) -> Option<String> {
    groups(Path::new(CGROUPS), name).iter().find_map(|group| used_up(group))
}

fn used_up(group: &Path) -> Option<String> {
    let read = |file: &str| std::fs::read_to_string(group.join(file)).ok();
    let number = |file: &str| read(file)?.trim().parse::<u64>().ok();
    let limit = number("memory.max").or_else(|| number("memory.limit_in_bytes"))?;
    let used = number("memory.current").or_else(|| number("memory.usage_in_bytes"))?;
    // What the kernel holds of files it gives back as soon as somebody wants it.
    let stat = read("memory.stat")?;
    let files: u64 = ["total_inactive_file ", "total_active_file ", "inactive_file ", "active_file "]
        .iter()
        .filter_map(|key| stat.lines().find_map(|line| line.strip_prefix(key)?.parse::<u64>().ok()))
        .take(2)
        .sum();
    let held = used.saturating_sub(files);
    (held.saturating_mul(100) >= limit.saturating_mul(USED_UP)).then(|| {
        format!("its memory is used up: {} of {} are held", Bytes(held).rounded(), Bytes(limit).rounded())
    })
}

/// The address that a running container got by DHCP.
fn leased_address(name: &str) -> Option<Ipv4Addr> {
    let output = Program::new(["lxc-info", "--name", name, "--ips", "--no-humanize"]).output();
    String::from_utf8_lossy(&output.stdout)
        .lines()
        .filter_map(|line| line.trim().parse::<Ipv4Addr>().ok())
        .find(|address| !address.is_loopback() && address.octets()[..2] != [10, 89])
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_root_file_system_without_content_is_known_by_its_programs() {
        let folder = tempfile::tempdir().unwrap();
        let write = |path: &str, content: &str| {
            let path = folder.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, content).unwrap();
        };
        assert!(root_below(folder.path()).is_damaged(), "there is nothing at all");
        for program in ["usr/bin/sh", "usr/bin/ls", "usr/sbin/init", "usr/lib/systemd/systemd"] {
            write(program, "x");
        }
        std::os::unix::fs::symlink("sh", folder.path().join("usr/bin/dash")).unwrap();
        let whole = GuestRoot { programs: 4, empty: 0, data: false };
        assert_eq!(root_below(folder.path()), whole);
        write("usr/lib/systemd/systemd", "");
        std::fs::create_dir_all(folder.path().join("opt/matrix/secrets")).unwrap();
        assert_eq!(root_below(folder.path()), GuestRoot { empty: 1, ..whole });
        write("opt/matrix/secrets/signing.key", "ed25519");
        assert_eq!(root_below(folder.path()), GuestRoot { empty: 1, data: true, ..whole });
    }

    fn group(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (file, text) in files {
            let path = folder.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    #[test]
    fn a_frozen_guest_is_known_by_either_kind_of_control_groups() {
        for (file, text, frozen) in [
            ("freezer/lxc.payload.g/freezer.state", "FROZEN\n", true),
            ("freezer/lxc.payload.g/freezer.state", "FREEZING\n", true),
            ("freezer/lxc.payload.g/freezer.state", "THAWED\n", false),
            ("lxc.payload.g/cgroup.events", "populated 1\nfrozen 1\n", true),
            ("lxc.payload.g/cgroup.events", "populated 1\nfrozen 0\n", false),
            // Proxmox's naming.
            ("lxc/101/cgroup.events", "populated 1\nfrozen 1\n", true),
            ("lxc.payload.other/cgroup.events", "frozen 1\n", false),
        ] {
            let name = if text.is_empty() || file.starts_with("lxc/") { "101" } else { "g" };
            let folder = group(&[(file, text)]);
            assert_eq!(suspension(folder.path(), name).is_some(), frozen, "{file} {text:?}");
        }
    }

    #[test]
    fn memory_that_is_used_up_is_told_from_what_the_kernel_keeps_of_files() {
        let stat = |files: u64| format!("anon 1\ninactive_file {files}\nactive_file 0\n");
        let (limit, used) = (("memory.max", "1000000000"), ("memory.current", "990000000"));
        let full = group(&[limit, used, ("memory.stat", &stat(0))]);
        assert!(used_up(full.path()).unwrap().contains("944 MiB of 953 MiB"));
        let cached = group(&[limit, used, ("memory.stat", &stat(500_000_000))]);
        assert_eq!(used_up(cached.path()), None);
        let unlimited = group(&[("memory.max", "max"), used, ("memory.stat", &stat(0))]);
        assert_eq!(used_up(unlimited.path()), None);
        let first = group(&[
            ("memory.limit_in_bytes", "1000000000"),
            ("memory.usage_in_bytes", "990000000"),
            ("memory.stat", "inactive_file 1\ntotal_inactive_file 400000000\ntotal_active_file 0\n"),
        ]);
        assert_eq!(used_up(first.path()), None);
    }
}
