//! What the machine or the guest is.

use std::{fs, net::Ipv4Addr, os::unix::fs::MetadataExt as _, path::Path, time::Duration};

use matrix_podman_core::{
    fact::{Clock, MachineInfo},
    size::Bytes,
};

use super::{command, web};
use crate::process::Program;

/// How long a command that answers a question may take.
const PATIENCE: Duration = Duration::from_secs(30);

pub(super) fn info() -> Result<MachineInfo, String> {
    let release = fs::read_to_string("/etc/os-release").map_err(|e| format!("/etc/os-release: {e}"))?;
    let field = |key: &str| {
        release
            .lines()
            .find_map(|l| l.strip_prefix(key)?.strip_prefix('='))
            .map(|v| v.trim_matches('"').to_owned())
            .unwrap_or_default()
    };
    let uname = rustix::system::uname();
    let mounts = read("/proc/self/mounts");
    let unified = mounts.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let (at, kind) = (fields.nth(1)?, fields.next()?);
        (kind == "cgroup2").then(|| at.to_owned())
    });
    let cgroup2 = (unified.as_deref() == Some("/sys/fs/cgroup"))
        .then(|| read("/sys/fs/cgroup/cgroup.controllers").split_whitespace().map(str::to_owned).collect());
    let memory = read("/proc/meminfo");
    let memory_field = |key: &str| {
        let kib =
            memory.lines().find_map(|l| l.strip_prefix(key)?.split_whitespace().nth(1)?.parse::<u64>().ok());
        Bytes(kib.unwrap_or_default() << 10)
    };
    Ok(MachineInfo {
        os: field("ID"),
        release: field("VERSION_ID"),
        kernel: uname.release().to_string_lossy().into_owned(),
        arch: uname.machine().to_string_lossy().into_owned(),
        hostname: uname.nodename().to_string_lossy().into_owned(),
        root: rustix::process::geteuid().is_root(),
        systemd: Path::new("/run/systemd/system").is_dir(),
        cgroup2,
        cgroup1: read("/proc/cgroups")
            .lines()
            .filter_map(|line| {
                let mut fields = line.split_whitespace();
                let (name, hierarchy) = (fields.next()?, fields.next()?);
                (hierarchy != "0" && !name.starts_with('#')).then(|| name.to_owned())
            })
            .collect(),
        swap_limits: swap_limits(),
        apparmor: read("/sys/module/apparmor/parameters/enabled").trim() == "Y",
        user_namespaces: Path::new("/proc/self/ns/user").exists()
            && read("/proc/sys/user/max_user_namespaces").trim().parse::<u64>().unwrap_or_default() > 0,
        overlay: read("/proc/filesystems").lines().any(|l| l.trim_start_matches("nodev").trim() == "overlay")
            || Path::new("/sys/module/overlay").exists()
            || module_exists("overlay", &uname.release().to_string_lossy()),
        memory: memory_field("MemTotal"),
        memory_free: memory_field("MemAvailable"),
        disk_free: disk_free("/var"),
        cores: std::thread::available_parallelism().map_or(1, |n| u32::try_from(n.get()).unwrap_or(u32::MAX)),
        address: own_address(),
        resolvers: read("/etc/resolv.conf")
            .lines()
            .filter_map(|l| l.strip_prefix("nameserver").map(|a| a.trim().to_owned()))
            .collect(),
        proxmox: command("pct").is_some() && command("pveversion").is_some(),
        container: is_container(),
        timezone: fs::read_link("/etc/localtime")
            .ok()
            .and_then(|t| t.to_str()?.split_once("zoneinfo/").map(|(_, zone)| zone.to_owned())),
        binary_is_static: binary_is_static().unwrap_or(false),
    })
}

/// Whether a control group has a file for its swap: the root of version 2 has
/// none of its own.
fn swap_limits() -> bool {
    let groups = fs::read_dir("/sys/fs/cgroup").map(|all| all.filter_map(Result::ok).collect::<Vec<_>>());
    Path::new("/sys/fs/cgroup/memory/memory.memsw.limit_in_bytes").exists()
        || groups.is_ok_and(|all| all.iter().any(|group| group.path().join("memory.swap.max").exists()))
}

/// The time, and whether systemd says that time servers keep it right.
pub(super) fn clock() -> Clock {
    let said = Program::new(["timedatectl", "show", "--property=NTPSynchronized", "--value"])
        .deadline(PATIENCE)
        .output();
    let synchronized = match String::from_utf8_lossy(&said.stdout).trim() {
        "yes" => Some(true),
        "no" => Some(false),
        _ => None,
    };
    Clock { now: web::now(), synchronized }
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

fn module_exists(name: &str, release: &str) -> bool {
    read(&format!("/lib/modules/{release}/modules.dep")).contains(&format!("/{name}.ko"))
}

fn is_container() -> bool {
    let own = fs::metadata("/proc/1/root").ok().map(|m| m.dev());
    read("/run/systemd/container").trim() != ""
        || (own.is_some() && read("/proc/1/environ").contains("container="))
}

fn disk_free(path: &str) -> Bytes {
    rustix::fs::statvfs(path).map_or(Bytes(0), |fs| Bytes(fs.f_bavail * fs.f_frsize))
}

/// The address that the machine would use to reach the world: a UDP socket is
/// connected, which sends nothing.
pub fn own_address() -> Option<Ipv4Addr> {
    let socket = std::net::UdpSocket::bind("0.0.0.0:0").ok()?;
    // TEST-NET-3 (RFC 5737): routed like the internet, owned by nobody.
    socket.connect("203.0.113.1:9").ok()?;
    match socket.local_addr().ok()?.ip() {
        std::net::IpAddr::V4(address) if !address.is_unspecified() => Some(address),
        _ => None,
    }
}

/// Whether the program's file names no dynamic linker: an ELF program header
/// of type `PT_INTERP` would (System V ABI, chapter 5).
fn binary_is_static() -> Option<bool> {
    use object::{
        Endianness,
        elf::PT_INTERP,
        read::elf::{FileHeader as _, ProgramHeader as _},
    };
    let bytes = fs::read("/proc/self/exe").ok()?;
    let header = object::elf::FileHeader64::<Endianness>::parse(&*bytes).ok()?;
    let endian = header.endian().ok()?;
    let segments = header.program_headers(endian, &*bytes).ok()?;
    Some(segments.iter().all(|segment| segment.p_type(endian) != PT_INTERP))
}
