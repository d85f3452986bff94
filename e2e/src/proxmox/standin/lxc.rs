//! The LXC guests behind the stand-in's containers.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::lxc_config;

/// Folder of a guest.
pub(super) fn place(name: &str) -> PathBuf {
    Path::new("/var/lib/lxc").join(name)
}

fn run(argv: &[&str]) -> Result<String, String> {
    let output = Command::new(argv[0])
        .args(&argv[1..])
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{}: {e}", argv[0]))?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    if output.status.success() {
        Ok(said)
    } else {
        Err(format!("command '{}' failed: {}", argv.join(" "), said.trim()))
    }
}

/// What of a container's config its guest is made from.
pub(super) struct Made<'a> {
    pub name: &'a str,
    pub hostname: &'a str,
    pub bridge: &'a str,
    /// What Proxmox writes into `/etc/network/interfaces`.
    pub interfaces: String,
    pub hwaddr: Option<&'a str>,
    /// Its largest packet.
    pub mtu: Option<&'a str>,
    pub nameserver: Option<&'a str>,
    /// Where a second volume is mounted.
    pub volume: Option<&'a str>,
}

/// The number in the name of a volume: `local-lvm:vm-100-disk-0`.
pub(super) fn id_of(volume: &str) -> Option<u32> {
    volume.split(":vm-").nth(1)?.split('-').next()?.parse().ok()
}

/// The file behind a volume, which is a folder here: where the kernel lets nobody make a
/// mounted file system larger, none could be grown.
pub(super) fn image_of(name: &str, volume: &str) -> PathBuf {
    place(name).join(format!("{}.raw", volume.split(':').next_back().unwrap_or_default()))
}

fn is_mounted(path: &Path) -> bool {
    let mounts = fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    mounts.lines().any(|line| line.split(' ').nth(1) == path.to_str())
}

/// Where Proxmox mounts a container's disks while it makes it.
fn left(id: u32) -> PathBuf {
    PathBuf::from(format!("/var/lib/lxc/{id}/rootfs"))
}

/// Whether what a creation that was killed has left is mounted.
pub(super) fn is_left_mounted(id: u32) -> bool {
    is_mounted(&left(id))
}

/// Leaves what a creation leaves that is killed: its disk, mounted.
pub(super) fn leave_mounted(id: u32) {
    let place = left(id);
    let _ = fs::create_dir_all(&place);
    let _ = run(&["mount", "-t", "tmpfs", "none", &place.display().to_string()]);
}

/// Takes that away again.
pub(crate) fn unmount_left(id: u32) {
    if is_left_mounted(id) {
        let _ = run(&["umount", &left(id).display().to_string()]);
    }
    // Both are removed only when nothing is in them.
    let _ = fs::remove_dir(left(id));
    let _ = fs::remove_dir(left(id).with_file_name(""));
}

/// Unpacks the template.
pub(super) fn unpack(name: &str, archive: &str) -> Result<(), String> {
    let rootfs = place(name).join("rootfs");
    fs::create_dir_all(&rootfs).map_err(|e| e.to_string())?;
    run(&[
        "tar",
        "--extract",
        "--numeric-owner",
        "--same-owner",
        "--preserve-permissions",
        "--xattrs",
        "--xattrs-include=*",
        "--exclude=./dev/*",
        "--file",
        archive,
        "--directory",
        &rootfs.display().to_string(),
    ])
    .map(drop)
}

/// Writes what follows from the container's config, as Proxmox does before
/// each start.
pub(super) fn configure(made: &Made) -> Result<(), String> {
    let place = place(made.name);
    let rootfs = place.join("rootfs");
    let write = |path: &str, content: &str| {
        let path = rootfs.join(path);
        let _ = fs::remove_file(&path);
        let folder = path.parent().map(Path::to_owned).unwrap_or_default();
        fs::create_dir_all(folder).and_then(|()| fs::write(&path, content)).map_err(|e| e.to_string())
    };
    write("etc/hostname", &format!("{}\n", made.hostname))?;
    write("etc/hosts", &format!("127.0.0.1 localhost\n127.0.1.1 {}\n", made.hostname))?;
    write("etc/network/interfaces", &made.interfaces)?;
    // Its network is ifupdown2's; at the first boot systemd would enable its own.
    write("etc/systemd/system-preset/00-pve.preset", "disable systemd-networkd.service\n")?;
    let default = rootfs.join("etc/systemd/system/default.target");
    let _ = std::os::unix::fs::symlink("/usr/lib/systemd/system/multi-user.target", default);
    match made.nameserver {
        Some(servers) => {
            let lines: String = servers.split_whitespace().map(|s| format!("nameserver {s}\n")).collect();
            write("etc/resolv.conf", &lines)?;
        }
        // Those of the node, until a DHCP server says others.
        None => write("etc/resolv.conf", &fs::read_to_string("/etc/resolv.conf").unwrap_or_default())?,
    }
    let mut lines = lxc_config(made.hostname, &rootfs.display().to_string(), made.bridge);
    lines.extend(made.hwaddr.map(|hwaddr| format!("lxc.net.0.hwaddr = {hwaddr}")));
    lines.extend(made.mtu.map(|mtu| format!("lxc.net.0.mtu = {mtu}")));
    if let Some(mount) = made.volume {
        let volume = place.join("volume");
        if !volume.exists() {
            fs::create_dir_all(&volume).map_err(|e| e.to_string())?;
            run(&["chown", "100000:100000", &volume.display().to_string()])?;
            // What mke2fs makes beside its root belongs to root of the node, who is nobody
            // in the guest, and cannot be read there.
            let found = volume.join("lost+found");
            fs::create_dir(&found).map_err(|e| e.to_string())?;
            run(&["chmod", "700", &found.display().to_string()])?;
        }
        lines.push(format!(
            "lxc.mount.entry = {} {} none bind,create=dir 0 0",
            volume.display(),
            mount.trim_start_matches('/')
        ));
    }
    fs::write(place.join("config"), lines.join("\n") + "\n").map_err(|e| e.to_string())
}

/// Empties what must be each guest's own.
pub(super) fn personalise(name: &str) {
    let _ = fs::write(place(name).join("rootfs/etc/machine-id"), "");
}

/// Sets root's password.
pub(super) fn set_password(name: &str, password: &str) -> Result<(), String> {
    use std::io::Write as _;
    let rootfs = place(name).join("rootfs").display().to_string();
    let mut child = Command::new("chroot")
        .args([&rootfs, "chpasswd"])
        .stdin(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    if let Some(mut stdin) = child.stdin.take() {
        let _ = writeln!(stdin, "root:{password}");
    }
    child.wait().map_err(|e| e.to_string()).map(drop)
}

/// For how many seconds it has been running, if it does.
pub(super) fn uptime(name: &str) -> Option<u64> {
    let pid = run(&["lxc-info", "--name", name, "--pid", "--no-humanize"]).ok()?;
    let pid: u32 = pid.trim().parse().ok()?;
    // The start of its init, in ticks since the machine's start (proc_pid_stat(5), field 22).
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let ticks: u64 = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()?;
    let since_boot: f64 = fs::read_to_string("/proc/uptime").ok()?.split_whitespace().next()?.parse().ok()?;
    Some((since_boot - ticks as f64 / 100.0).max(0.0) as u64)
}

pub(super) fn start(name: &str) -> Result<(), String> {
    run(&["lxc-start", "--name", name, "--daemon"]).map(drop)
}

pub(super) fn stop(name: &str, timeout: &str, force: bool) -> Result<(), String> {
    let gentle = run(&["lxc-stop", "--name", name, "--timeout", timeout, "--nokill"]);
    match gentle {
        Err(_) if force => run(&["lxc-stop", "--name", name, "--kill"]).map(drop),
        other => other.map(drop),
    }
}

/// Has everything in it stand still while `work` is done.
pub(super) fn frozen<T>(name: &str, work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    if uptime(name).is_none() {
        return work();
    }
    run(&["lxc-freeze", "--name", name])?;
    let done = work();
    run(&["lxc-unfreeze", "--name", name])?;
    done
}

/// Runs `ip` in a guest's network, as Proxmox does from outside.
pub(super) fn ip(name: &str, words: &[&str]) -> Result<(), String> {
    run(&[&["lxc-attach", "--name", name, "--namespaces", "NETWORK", "--", "ip"], words].concat()).map(drop)
}

/// Writes a file of a guest.
pub(super) fn write(name: &str, path: &str, content: &str) -> Result<(), String> {
    fs::write(place(name).join("rootfs").join(path), content).map_err(|e| e.to_string())
}

/// Stops it as when its plug is pulled.
pub(super) fn kill(name: &str) -> Result<(), String> {
    run(&["lxc-stop", "--name", name, "--kill"]).map(drop)
}

/// What of a guest is never written into, only replaced, and is linked for that
/// in place of copied.
const LINKED: [&str; 2] = ["usr", "var/lib/containers/storage/overlay"];

/// Copies the disks that are in `from`.
pub(super) fn copy_disks(from: &Path, to: &Path) -> Result<(), String> {
    let made = |path: &Path| fs::create_dir_all(path).map_err(|e| format!("{}: {e}", path.display()));
    made(to)?;
    let copy = |options: &[&str], from: &Path, to: &Path| {
        let (from, to) = (from.display().to_string(), to.display().to_string());
        run(&[&["cp", "--archive", "--no-target-directory"], options, &[&from, &to]].concat()).map(drop)
    };
    if from.join("volume").exists() {
        copy(&[], &from.join("volume"), &to.join("volume"))?;
    }
    let (old, new) = (from.join("rootfs"), to.join("rootfs"));
    made(&new)?;
    let (old, new) = (old.display().to_string(), new.display().to_string());
    let excluded: Vec<String> = LINKED.iter().map(|path| format!("--exclude=./{path}")).collect();
    let mut read = Command::new("tar")
        .args(["--create", "--numeric-owner", "--xattrs", "--xattrs-include=*", "--warning=none"])
        .args(&excluded)
        .args(["--directory", &old, "."])
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|e| e.to_string())?;
    let piped = read.stdout.take().map_or_else(Stdio::null, Stdio::from);
    let wrote = Command::new("tar")
        .args(["--extract", "--numeric-owner", "--same-owner", "--preserve-permissions"])
        .args(["--xattrs", "--xattrs-include=*", "--delay-directory-restore", "--directory", &new])
        .stdin(piped)
        .status()
        .map_err(|e| e.to_string())?;
    let was_read = read.wait().map_err(|e| e.to_string())?;
    if !wrote.success() || !was_read.success() {
        return Err(format!("copying {old} failed: {was_read}, {wrote}"));
    }
    for path in LINKED {
        let old = Path::new(&old).join(path);
        if old.exists() {
            copy(&["--link"], &old, &Path::new(&new).join(path))?;
        }
    }
    Ok(())
}

/// Removes it with everything in it.
pub(super) fn remove(name: &str) -> Result<(), String> {
    let place = place(name);
    if !place.exists() {
        return Ok(());
    }
    for _ in 0..20 {
        if fs::remove_dir_all(&place).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Err(format!("{} is busy", place.display()))
}
