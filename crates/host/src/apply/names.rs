//! dnsmasq answers names and gives leases on the program's own bridge, and
//! nowhere else. It is brought back when it dies: by systemd, or, on a machine
//! without, by a process of this program that does nothing else.

use std::{
    fs::{self, File},
    net::Ipv4Addr,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use matrix_podman_core::{
    fact::{Fact, Value},
    name::{Cidr4, Mode, Owner},
    observed::Answer,
    resource::BRIDGE_PID_FILES,
};

use super::network::pid_file;
use crate::{
    failure::{Doing, Failure},
    file, probe,
    process::Program,
};

const QUICK: Duration = Duration::from_secs(30);
/// How long it may take until it serves.
const START: Duration = Duration::from_secs(10);
/// Between two looks, and before it is started again.
const PAUSE: Duration = Duration::from_millis(50);
const AGAIN: Duration = Duration::from_secs(1);
/// The command of this program that keeps it running.
pub const KEEP: &str = "machine-names";

fn folder(bridge: &str) -> PathBuf {
    Path::new(BRIDGE_PID_FILES).join(bridge)
}

fn unit(bridge: &str) -> String {
    format!("matrix-podman-names-{bridge}.service")
}

fn has_systemd() -> bool {
    Path::new("/run/systemd/system").is_dir()
}

/// Whether what wrote its id into the file is alive, and is what it was.
fn lives(bridge: &str) -> bool {
    matches!(probe::answer(&Fact::Process(pid_file(bridge))), Answer::Known(Value::Yes(true)))
}

/// Its command line, in the foreground.
fn argv(bridge: &str, address: Cidr4) -> Result<Vec<String>, Failure> {
    let program = probe::command("dnsmasq").ok_or_else(|| {
        Failure::new("start dnsmasq", "it is not installed").hint("install the package dnsmasq-base")
    })?;
    let first = u32::from(address.network());
    let (from, to) = (Ipv4Addr::from(first + 100), Ipv4Addr::from(first + 199));
    Ok(vec![
        program.display().to_string(),
        "--keep-in-foreground".to_owned(),
        "--conf-file=/dev/null".to_owned(),
        "--no-hosts".to_owned(),
        format!("--interface={bridge}"),
        "--except-interface=lo".to_owned(),
        "--bind-dynamic".to_owned(),
        format!("--pid-file={}", pid_file(bridge)),
        format!("--dhcp-leasefile={}", folder(bridge).join("leases").display()),
        format!("--dhcp-range={from},{to},1h"),
        "--dhcp-authoritative".to_owned(),
        "--user=nobody".to_owned(),
    ])
}

/// Whether somebody brings it back.
fn is_kept(bridge: &str) -> bool {
    if has_systemd() {
        let state = Program::new(["systemctl", "is-active", "--", &unit(bridge)]).deadline(QUICK).output();
        return state.stdout.trim_ascii() == b"active";
    }
    keeper(bridge).is_some()
}

/// The process that keeps it, where that is still the one that wrote its id.
fn keeper(bridge: &str) -> Option<rustix::process::Pid> {
    let pid: i32 = fs::read_to_string(folder(bridge).join("keeper.pid")).ok()?.trim().parse().ok()?;
    let argv = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
    let words: Vec<&[u8]> = argv.split(|byte| *byte == 0).collect();
    let its = words.contains(&KEEP.as_bytes()) && words.contains(&bridge.as_bytes());
    rustix::process::Pid::from_raw(pid).filter(|_| its)
}

/// Sees to it that it runs and is brought back. One that an earlier version
/// started, which nobody watches, is replaced.
pub(super) fn serve(bridge: &str, address: Cidr4) -> Result<(), Failure> {
    let doing = format!("start dnsmasq for {bridge}");
    file::make_dir(&folder(bridge), Mode(0o755), Owner::ROOT)?;
    if is_kept(bridge) && lives(bridge) {
        return Ok(());
    }
    end(bridge);
    let argv = argv(bridge, address)?;
    let log = folder(bridge).join("dnsmasq.log");
    if has_systemd() {
        // One that failed for good would keep the name.
        Program::new(["systemctl", "reset-failed", "--", &unit(bridge)]).deadline(QUICK).output();
        let options = [
            "systemd-run".to_owned(),
            format!("--unit={}", unit(bridge)),
            format!("--description=Names and leases on {bridge}"),
            "--collect".to_owned(),
            "--property=Restart=always".to_owned(),
            format!("--property=RestartSec={}", AGAIN.as_secs()),
            "--property=StartLimitIntervalSec=0".to_owned(),
            format!("--property=StandardError=truncate:{}", log.display()),
            "--".to_owned(),
        ];
        Program::new(options.into_iter().chain(argv)).deadline(QUICK).run(&doing, &|_| {})?;
    } else {
        let own = std::env::current_exe().doing(|| doing.as_str())?.display().to_string();
        let address = address.to_string();
        Program::new(["setsid", "--fork", &own, KEEP, bridge, &address]).run_daemon(&doing)?;
    }
    let started = Instant::now();
    while !lives(bridge) {
        if started.elapsed() > START {
            let said: Vec<String> =
                fs::read_to_string(&log).unwrap_or_default().lines().map(str::to_owned).collect();
            return Err(Failure::new(doing, format!("it does not run after {} s", START.as_secs()))
                .evidence(said)
                .hint("port 53 of the bridge's address may be somebody else's: `ss -lnup` shows whose"));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Ends it and what keeps it. One that is gone already is what is wanted.
pub(super) fn end(bridge: &str) {
    if has_systemd() {
        Program::new(["systemctl", "stop", "--", &unit(bridge)]).deadline(QUICK).output();
    }
    if let Some(keeper) = keeper(bridge) {
        let _ = rustix::process::kill_process(keeper, rustix::process::Signal::TERM);
    }
    if lives(bridge)
        && let Ok(text) = fs::read_to_string(pid_file(bridge).as_str())
        && let Some(pid) = text.trim().parse().ok().and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        let started = Instant::now();
        while lives(bridge) && started.elapsed() < START {
            std::thread::sleep(PAUSE);
        }
    }
}

/// Keeps it running for as long as there is the bridge; does not return before.
pub fn keep(bridge: &str, address: Cidr4) -> Result<(), Failure> {
    let doing = format!("serve names on {bridge}");
    let folder = folder(bridge);
    let own = std::process::id();
    file::write(&folder.join("keeper.pid"), own.to_string().as_bytes(), Mode(0o644), Owner::ROOT)?;
    let argv = argv(bridge, address)?;
    let Some((program, words)) = argv.split_first() else { return Ok(()) };
    let link = Path::new("/sys/class/net").join(bridge);
    while link.exists() && folder.is_dir() {
        let log = File::create(folder.join("dnsmasq.log")).doing(|| doing.as_str())?;
        // However it ends, it is wanted again.
        Command::new(program)
            .args(words)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .status()
            .doing(|| doing.as_str())?;
        std::thread::sleep(AGAIN);
    }
    Ok(())
}
