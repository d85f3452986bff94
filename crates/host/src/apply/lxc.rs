//! Plain LXC containers.

use std::{
    fs,
    net::Ipv4Addr,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant, SystemTime},
};

use matrix_podman_core::{
    effect::NewGuest,
    fact::{Fact, GuestState, Neighbour, Value},
    name::{Mode, Owner},
    observed::Answer,
    size::Seconds,
};

use super::{disk, network};
use crate::{
    failure::{Doing, Failure, Kind},
    file,
    guest::Doorway,
    probe::{
        self,
        lxc::{LXC, PARTIAL},
    },
    process::Program,
    progress::{Saying, Sink},
};

/// Held by who chooses ids and address for a guest.
const CHOOSING: &str = ".matrix-podman-choosing";
/// How long a guest may take to have a working systemd.
const BOOT: Duration = Duration::from_secs(120);
/// How long unpacking a root file system may take, on a slow disk.
const UNPACKED: Duration = Duration::from_secs(3600);
/// What is active once a guest has booted.
const BOOTED: &str = "multi-user.target";
/// How long a stop that somebody else began may take to end, once LXC answers nobody any more.
const OTHERS_STOP: Duration = Duration::from_secs(20);
/// Between two looks at something that is waited for.
const LOOK: Duration = Duration::from_millis(100);
/// An archive younger than this needs no update before it is used.
const CURRENT: Duration = Duration::from_secs(24 * 3600);
/// Has dpkg not wait for the disk.
const UNSAFE: &str = "force-unsafe-io";
/// Left in the guest when its packages are up to date.
const UPGRADE_STAMP: &str = "var/lib/matrix-podman/upgraded";

/// Units that want what an unprivileged container does not have, and would
/// leave its systemd "degraded", or that only cost time at boot.
const MASKED: [&str; 10] = [
    "systemd-modules-load.service",
    "sys-kernel-debug.mount",
    "sys-kernel-tracing.mount",
    "sys-kernel-config.mount",
    "dev-hugepages.mount",
    "modprobe@.service",
    "systemd-pstore.service",
    "fstrim.timer",
    "ldconfig.service",
    "systemd-journal-catalog-update.service",
];

/// The way into a running container: root's, with a clean environment.
pub fn doorway(name: &str) -> Doorway {
    let words = [
        "lxc-attach",
        "--name",
        name,
        "--clear-env",
        "--set-var=HOME=/root",
        "--set-var=LANG=C.UTF-8",
        "--set-var=PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "--",
    ];
    Doorway {
        prefix: words.iter().map(|word| (*word).to_owned()).collect(),
        guest: name.to_owned(),
        lxc: name.to_owned(),
    }
}

/// Adds a range to /etc/subuid and /etc/subgid, unless root has it.
pub(super) fn allow_ids(start: u32, count: u32) -> Result<(), Failure> {
    let line = format!("root:{start}:{count}");
    for path in ["/etc/subuid", "/etc/subgid"] {
        let mut text = fs::read_to_string(path).unwrap_or_default();
        if text.lines().any(|l| l.trim() == line) {
            continue;
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(&line);
        text.push('\n');
        file::write(Path::new(path), text.as_bytes(), Mode(0o644), Owner::ROOT)?;
    }
    Ok(())
}

/// Makes a guest beside its place, then renames it there.
pub(super) fn create(guest: &NewGuest, sink: &Sink) -> Result<(), Failure> {
    let doing = || format!("create the guest {}", guest.name);
    let place = Path::new(LXC).join(&guest.name);
    let partial = partial(&guest.name);
    discard(&partial)?;
    discard(&emptied(&guest.name))?;
    // Set-id files of the guest lie here with the machine's own ids.
    file::make_dir(&partial, Mode(0o700), Owner::ROOT)?;
    claim(guest, &partial)?;
    let rootfs = partial.join("rootfs");
    file::make_dir(&rootfs, Mode(0o755), Owner::ROOT)?;
    if let Some(size) = guest.disk {
        disk::make(&partial, size, sink)?;
    }
    sink(Saying::WaitsFor("the root file system to be unpacked".to_owned()));
    let archive = guest.archive.as_str();
    Program::new([
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
    .ends_with_us()
    .deadline(UNPACKED)
    .run(&doing(), &|line| sink(Saying::Line(line.to_owned())))?;
    furnish(guest, &rootfs)?;
    sink(Saying::WaitsFor("the root file system to be on the disk".to_owned()));
    // Its name makes it the guest, also after a power cut: what is in it comes first.
    file::flush(&rootfs)?;
    file::flush(&partial)?;
    if can_be_replaced(&guest.name, &guest.site) {
        let emptied = emptied(&guest.name);
        discard(&emptied)?;
        fs::rename(&place, &emptied).doing(doing)?;
    }
    if place.exists() {
        return Err(Failure::new(doing(), format!("{} is there, without an LXC config", place.display()))
            .hint("look at what it is; move it away if nobody needs it"));
    }
    fs::rename(&partial, &place).doing(doing)?;
    file::sync_folder(Path::new(LXC)).doing(doing)?;
    discard(&emptied(&guest.name))
}

/// Removes a guest's folder that has lost its name, and its disk with it.
fn discard(folder: &Path) -> Result<(), Failure> {
    disk::unmount(folder)?;
    file::remove_partial(folder)
}

/// Whether the guest was being removed when that was cut off, or made: no other run
/// is at it, whose lock the caller holds. It has the site's keys and data.
pub fn is_half_removed(name: &str, site: &str) -> bool {
    let config = fs::read_to_string(partial(name).join("config"));
    config.is_ok_and(|text| probe::LxcConfig::parse(&text).site.as_deref() == Some(site))
}

/// Whether what has the guest's name is this site's, does not run, cannot boot
/// since a power cut emptied its files, and never had data.
fn can_be_replaced(name: &str, site: &str) -> bool {
    let stopped = GuestState::Stopped { site: Some(site.to_owned()) };
    state(name) == stopped && probe::lxc_root(name).is_ok_and(|root| root.is_damaged() && !root.data)
}

/// Where a guest lies that is replaced, until it is removed.
fn emptied(name: &str) -> PathBuf {
    Path::new(LXC).join(format!("{}{name}.emptied{}", PARTIAL.0, PARTIAL.1))
}

/// Where a guest lies while it is made or removed.
fn partial(name: &str) -> PathBuf {
    Path::new(LXC).join(format!("{}{name}{}", PARTIAL.0, PARTIAL.1))
}

/// Writes the guest's config, which claims its ids and its address before the
/// long work begins: another site's run that looks from now on chooses others.
fn claim(guest: &NewGuest, partial: &Path) -> Result<(), Failure> {
    let doing = || format!("choose ids and address for the guest {}", guest.name);
    let path = Path::new(LXC).join(CHOOSING);
    let choosing = fs::File::options().create(true).append(true).open(path).doing(doing)?;
    choosing.lock().doing(doing)?;
    let probe::LxcConfig { ids, address, .. } = probe::LxcConfig::parse(&guest.config);
    let taken = |other: &Neighbour| {
        (ids.is_some() && other.ids == ids) || (address.is_some() && other.address == address)
    };
    if let Some(other) = probe::lxc_neighbours().iter().find(|o| o.name != guest.name && taken(o)) {
        let failure = Failure::new(doing(), format!("{} took them meanwhile", other.name));
        return Err(Failure { kind: Kind::Taken, ..failure }.hint("run the same again: others are free"));
    }
    // Those that root was let give away before may have been others.
    if let Some((start, count)) = ids {
        allow_ids(start, count)?;
    }
    file::write(&partial.join("config"), guest.config.as_bytes(), Mode(0o644), Owner::ROOT)
}

/// What a root file system needs to be this guest.
fn furnish(guest: &NewGuest, rootfs: &Path) -> Result<(), Failure> {
    let root = |path: &str, content: &str| {
        file::write(&rootfs.join(path), content.as_bytes(), Mode(0o644), Owner::ROOT)
    };
    root("etc/hostname", &format!("{}\n", guest.name))?;
    root(
        "etc/hosts",
        &format!("127.0.0.1 localhost\n::1 localhost ip6-localhost\n127.0.1.1 {}\n", guest.name),
    )?;
    // Empty: systemd makes an id of the guest's own at its first boot.
    root("etc/machine-id", "")?;
    if guest.dhcp {
        root(
            "etc/systemd/network/10-eth0.network",
            "[Match]\nName=eth0\n\n[Network]\nDHCP=ipv4\nLinkLocalAddressing=no\nIPv6AcceptRA=no\n",
        )?;
        link_unit(rootfs, "systemd-networkd.service", "multi-user.target.wants")?;
    } else {
        let lines: String = guest.resolvers.iter().map(|a: &Ipv4Addr| format!("nameserver {a}\n")).collect();
        let resolv = rootfs.join("etc/resolv.conf");
        file::remove(&resolv)?;
        root("etc/resolv.conf", &lines)?;
    }
    file::link(
        &rootfs.join("etc/systemd/system/default.target"),
        "/usr/lib/systemd/system/multi-user.target",
    )?;
    for unit in MASKED {
        file::link(&rootfs.join("etc/systemd/system").join(unit), "/dev/null")?;
    }
    flush_what_dpkg_writes(rootfs)?;
    let fresh = fs::metadata(guest.archive.as_str())
        .and_then(|m| m.modified())
        .is_ok_and(|made| SystemTime::now().duration_since(made).is_ok_and(|age| age < CURRENT));
    if fresh {
        root(UPGRADE_STAMP, "")?;
    }
    Ok(())
}

/// What made the archive did not wait for the disk, and left that to the guest's dpkg
/// as a setting.
fn flush_what_dpkg_writes(rootfs: &Path) -> Result<(), Failure> {
    let folder = rootfs.join("etc/dpkg/dpkg.cfg.d");
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        let text = fs::read_to_string(&path).doing(|| format!("read {}", path.display()))?;
        if text.lines().any(|line| line.trim() == UNSAFE) {
            let kept: String =
                text.lines().filter(|line| line.trim() != UNSAFE).map(|line| format!("{line}\n")).collect();
            file::write(&path, kept.as_bytes(), Mode(0o644), Owner::ROOT)?;
        }
    }
    Ok(())
}

fn link_unit(rootfs: &Path, unit: &str, target: &str) -> Result<(), Failure> {
    let folder: PathBuf = rootfs.join("etc/systemd/system").join(target);
    file::make_dir(&folder, Mode(0o755), Owner::ROOT)?;
    file::link(&folder.join(unit), &format!("/usr/lib/systemd/system/{unit}"))
}

/// Starts the guest and waits until its systemd can be spoken to and it has an
/// address. One that is being stopped is started once it has stopped.
pub(super) fn start(name: &str, sink: &Sink) -> Result<(), Failure> {
    let doing = format!("start the guest {name}");
    let log = format!("/var/log/lxc/matrix-podman-{name}.log");
    goes_on(name, &doing)?;
    if matches!(state(name), GuestState::Running { .. }) {
        network::harden_ports()?;
    }
    let doorway = doorway(name);
    let started = Instant::now();
    let (mut told, mut launched) = ("", false);
    loop {
        let (standing, has_address) = match state(name) {
            GuestState::Running { address, .. } => (Standing::of(&doorway), address.is_some()),
            // One that stops on its own would do so each time.
            GuestState::Absent | GuestState::Stopped { .. } if launched => {
                return Err(Failure::new(doing, "it stopped again before it had booted")
                    .evidence(last_lines(&log))
                    .hint(format!("`lxc-start --name {name} --foreground` shows what its boot says")));
            }
            GuestState::Absent | GuestState::Stopped { .. } => {
                launch(name, &log, &doing)?;
                // LXC gives the machine's end of the guest's line to the bridge before it is up.
                network::harden_ports()?;
                launched = true;
                continue;
            }
            GuestState::Suspended { .. } => return goes_on(name, &doing),
        };
        let waits_for = match &standing {
            Standing::Stopping => "the guest to stop, which was begun before, so that it can start",
            Standing::Up | Standing::Booting(_) => "the guest's systemd",
        };
        if told != waits_for {
            sink(Saying::WaitsFor(waits_for.to_owned()));
            told = waits_for;
        }
        if standing == Standing::Up && has_address {
            return ids_are_shifted(&doorway, &doing);
        }
        if started.elapsed() > BOOT {
            let why = match standing {
                Standing::Up => "it has no address".to_owned(),
                Standing::Stopping => "it is being stopped, and does not".to_owned(),
                Standing::Booting(said) => format!("its systemd says that {BOOTED} is {said:?}"),
            };
            return Err(Failure::new(doing, format!("{why} after {} s", BOOT.as_secs()))
                .evidence(last_lines(&log))
                .hint(format!("`lxc-attach --name {name} -- systemctl list-jobs` shows what it waits for")));
        }
        std::thread::sleep(LOOK);
    }
}

fn launch(name: &str, log: &str, doing: &str) -> Result<(), Failure> {
    let _ = fs::create_dir_all("/var/log/lxc");
    let _ = fs::remove_file(log);
    Program::new(["lxc-start", "--name", name, "--daemon", "--logfile", log, "--logpriority=ERROR"])
        .run_daemon(doing)
        .map_err(|failure| {
            failure.evidence(last_lines(log)).hint(format!(
                "`lxc-start --name {name} --foreground` shows what its boot says; {log} has the whole log"
            ))
        })
}

/// How far a guest is that LXC says runs.
#[derive(Debug, PartialEq)]
enum Standing {
    /// It has booted.
    Up,
    /// Not yet; what its systemd says.
    Booting(String),
    /// Its systemd stops what runs in it.
    Stopping,
}

impl Standing {
    fn of(doorway: &Doorway) -> Self {
        // Not whether all of it runs: that would wait for the stack's own start.
        let say = |words: &[&str]| {
            let output = Program::new(doorway.argv(words)).deadline(BOOT).output();
            String::from_utf8_lossy(&output.stdout).trim().to_owned()
        };
        match say(&["systemctl", "is-active", BOOTED]).as_str() {
            "active" => Standing::Up,
            _ if say(&["systemctl", "is-system-running"]) == "stopping" => Standing::Stopping,
            other => Standing::Booting(other.to_owned()),
        }
    }
}

/// LXC starts a guest whose root file system could not be mounted with shifted
/// ids all the same; nothing in it would work.
fn ids_are_shifted(doorway: &Doorway, doing: &str) -> Result<(), Failure> {
    let output = Program::new(doorway.argv(&["stat", "--format=%u", "/"])).output();
    match String::from_utf8_lossy(&output.stdout).trim() {
        "0" => Ok(()),
        other => Err(Failure::new(doing, format!("its files belong to {other}, not to its root"))
            .hint("the file system of /var/lib/lxc cannot be mounted with shifted ids: use ext4, XFS, Btrfs or ZFS 2.2")),
    }
}

/// Stops the guest: its systemd stops what runs, in order. Says what of it has not
/// stopped yet.
pub(super) fn stop(name: &str, timeout: Seconds, sink: &Sink) -> Result<(), Failure> {
    goes_on(name, &format!("stop the guest {name}"))?;
    if !matches!(state(name), GuestState::Running { .. }) {
        return Ok(());
    }
    let seconds = timeout.0.to_string();
    let over = AtomicBool::new(false);
    let asked = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| say_what_stops(name, &over, sink));
        let stopped = Program::new(["lxc-stop", "--name", name, "--timeout", &seconds, "--nokill"])
            .deadline(Duration::from_secs(timeout.0 + 30))
            .run(&format!("stop the guest {name}"), &|_| {})
            .map_err(|f| f.hint("something in it does not stop; `lxc-stop --kill` is like pulling its plug"));
        over.store(true, Ordering::Relaxed);
        // Somebody else's stop may have come first, and its end may still be on the way: LXC then
        // hangs up on whoever asks.
        let runs = || matches!(state(name), GuestState::Running { .. });
        let until = (Instant::now() + OTHERS_STOP).min(asked + Duration::from_secs(timeout.0));
        while stopped.is_err() && runs() && Instant::now() < until {
            std::thread::sleep(LOOK);
        }
        if runs() { stopped } else { Ok(()) }
    })
}

/// Tells, while a guest stops, which units it still waits for.
fn say_what_stops(name: &str, over: &AtomicBool, sink: &Sink) {
    let doorway = doorway(name);
    let mut told = String::new();
    sink(Saying::WaitsFor("the guest to stop".to_owned()));
    while !over.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        let jobs = ["systemctl", "list-jobs", "--no-legend", "--plain"];
        let output = Program::new(doorway.argv(&jobs)).deadline(Duration::from_secs(5)).output();
        let waits_for = stopping(&String::from_utf8_lossy(&output.stdout));
        if !waits_for.is_empty() && waits_for != told {
            sink(Saying::WaitsFor(format!("the guest to stop: {waits_for}")));
            told = waits_for;
        }
    }
}

/// The services that systemd is stopping, from its list of jobs: `123 redis.service
/// stop running`.
fn stopping(jobs: &str) -> String {
    let services = jobs.lines().filter_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        let (unit, kind, state) = (words.next()?, words.next()?, words.next()?);
        let service = unit.strip_suffix(".service")?;
        (kind == "stop" && state == "running").then_some(service)
    });
    services.take(3).collect::<Vec<_>>().join(", ")
}

/// Removes the guest and everything in it.
pub fn destroy(name: &str) -> Result<(), Failure> {
    let doing = || format!("remove the guest {name}");
    if matches!(state(name), GuestState::Running { .. } | GuestState::Suspended { .. }) {
        // What is to be removed need not be stopped gently forever.
        if stop(name, Seconds(60), &|_| {}).is_err() {
            Program::new(["lxc-stop", "--name", name, "--kill"]).run(&doing(), &|_| {})?;
        }
    }
    let place = Path::new(LXC).join(name);
    let doomed = partial(name);
    discard(&doomed)?;
    // From here on there is no such guest, whatever happens to the rest.
    if place.exists() {
        fs::rename(&place, &doomed).doing(doing)?;
    }
    discard(&doomed)
}

/// A guest that is suspended is neither started nor stopped.
fn goes_on(name: &str, doing: &str) -> Result<(), Failure> {
    match state(name).suspension() {
        None => Ok(()),
        Some(by) => Err(Failure::new(doing, by.why(name)).hint(format!("`{}` lets it go on", by.fix(name)))),
    }
}

fn state(name: &str) -> GuestState {
    match probe::answer(&Fact::LxcGuest(name.to_owned())) {
        Answer::Known(Value::LxcGuest(state)) => state,
        _ => GuestState::Absent,
    }
}

fn last_lines(log: &str) -> Vec<String> {
    let text = fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(12)..].iter().map(|line| (*line).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_guest_waits_for_while_it_stops_is_read_from_its_jobs() {
        let jobs = "  201 synapse.service        stop  running\n  202 poweroff.target  start waiting\n\
                    203 redis.service stop running\n 204 postgres_db.service stop waiting\n";
        assert_eq!(stopping(jobs), "synapse, redis");
        assert_eq!(stopping("No jobs running.\n"), "");
    }
}
