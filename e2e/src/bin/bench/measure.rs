//! Figures, and how they are measured.

use std::{
    fmt, fs,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use matrix_podman_e2e::{Guest, Lab, binary, wait_until};

/// How often each short thing is measured; the median counts.
const TIMES: usize = 5;

/// One line of the table.
pub struct Figure {
    pub what: &'static str,
    pub measured: String,
    pub floor: String,
    pub ratio: String,
    pub wanted: &'static str,
    pub met: bool,
}

impl fmt::Display for Figure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, measured, floor, ratio, wanted, met } = self;
        let met = if *met { "yes" } else { "NO" };
        write!(f, "| {what} | {measured} | {floor} | {ratio} | {wanted} | {met} |")
    }
}

pub fn in_guest_until_healthy(guest: &Guest) {
    wait_until("Synapse is healthy", Duration::from_secs(300), || {
        let state = guest.exec(["systemctl", "is-active", "synapse.service"]);
        if state.text() == "active" { Ok(()) } else { Err(state.text().to_owned()) }
    });
}

pub fn until_answers(lab: &Lab, deadline: Duration) {
    // The address is fixed, so it is known while the guest is down.
    let address = format!("10.87.{}.10:8008", lab.number);
    let url = format!("http://{address}/health");
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(Duration::from_secs(2))).build().into();
    wait_until("Synapse answers", deadline, || agent.get(&url).call().map(drop).map_err(|e| e.to_string()));
}

pub fn against(
    what: &'static str,
    measured: Duration,
    floor: Duration,
    limit: f64,
    wanted: &'static str,
) -> Figure {
    let ratio = measured.as_secs_f64() / floor.as_secs_f64();
    Figure {
        what,
        measured: seconds(measured),
        floor: seconds(floor),
        ratio: format!("{ratio:.2}"),
        wanted,
        met: ratio <= limit,
    }
}

pub fn timed(act: impl FnOnce()) -> Duration {
    let started = Instant::now();
    act();
    started.elapsed()
}

pub fn median(mut measure: impl FnMut() -> Duration) -> Duration {
    median_of(|_| measure())
}

/// The median; `measure` is told how many came before.
pub fn median_of(measure: impl FnMut(usize) -> Duration) -> Duration {
    let mut all: Vec<Duration> = (0..TIMES).map(measure).collect();
    all.sort();
    all[TIMES / 2]
}

pub fn seconds(time: Duration) -> String {
    format!("{:.2} s", time.as_secs_f64())
}

/// How long a command of the program takes, and its largest resident set in KiB
/// (`VmHWM`, proc(5)).
pub fn peak_memory(lab: &Lab, arguments: &[&str]) -> (Duration, u64) {
    let started = Instant::now();
    let mut child = Command::new(binary())
        .args(arguments)
        .current_dir(&lab.folder)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap_or_else(|e| panic!("{arguments:?}: {e}"));
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    loop {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let now = text
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse::<u64>().ok());
        peak = peak.max(now.unwrap_or_default());
        match child.try_wait() {
            Ok(Some(ended)) => {
                assert!(ended.success(), "{arguments:?} failed");
                return (started.elapsed(), peak);
            }
            _ => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}
