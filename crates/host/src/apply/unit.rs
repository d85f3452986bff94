//! systemd's units, in the guest.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use matrix_podman_core::{
    fact::{Fact, Value},
    layout,
    observed::Answer,
    service::Service,
    size::Seconds,
    stack, stopped,
    update::telling,
};

use crate::{
    failure::Failure,
    file,
    front::Hold,
    probe,
    process::Program,
    progress::{Saying, Sink},
};

/// How long systemd's own quick acts may take.
const QUICK: Duration = Duration::from_secs(90);

/// How long after a start a service is asked for more often whether it is healthy.
const EAGER: Duration = Duration::from_secs(30);
/// How long between two such looks; each costs the start of Podman.
const BETWEEN_LOOKS: Duration = Duration::from_millis(100);

/// Longer than any unit of the stack may take to stop.
const STOP: Duration = Duration::from_secs(300);

pub(super) fn reload() -> Result<(), Failure> {
    Program::new(["systemctl", "daemon-reload"]).deadline(QUICK).run("make systemd read its units", &|_| {})
}

/// systemd reads its units anew by itself when one is enabled.
pub(super) fn enable(unit: &str, start: bool, sink: &Sink) -> Result<(), Failure> {
    Program::new(["systemctl", "enable", "--", unit]).deadline(QUICK).run(
        &format!("enable {unit}"),
        &|line| {
            sink(Saying::Line(line.to_owned()));
        },
    )?;
    if !start {
        return Ok(());
    }
    // Marks the stack as started; its services run already.
    Program::new(["systemctl", "start", "--", unit]).deadline(QUICK).run(&format!("start {unit}"), &|_| {})
}

/// A unit that runs goes on until the next start; a timer is stopped.
pub(super) fn disable(unit: &str) -> Result<(), Failure> {
    let now = unit.ends_with(".timer").then_some("--now");
    Program::new(["systemctl", "disable"].into_iter().chain(now).chain(["--", unit]))
        .deadline(QUICK)
        .run(&format!("disable {unit}"), &|_| {})
}

pub(super) fn restart_daemon(unit: &str, sink: &Sink) -> Result<(), Failure> {
    Program::new(["systemctl", "try-restart", "--", unit])
        .deadline(QUICK)
        .run(&format!("restart {unit}"), &|line| sink(Saying::Line(line.to_owned())))
}

/// Kernel settings that an unprivileged container may not change are left out
/// of the files; one that fails all the same is a failure.
pub(super) fn apply_sysctl(sink: &Sink) -> Result<(), Failure> {
    Program::new(["/usr/lib/systemd/systemd-sysctl", matrix_podman_core::render::system::SYSCTL_FILE])
        .deadline(QUICK)
        .run("apply the kernel settings", &|line| sink(Saying::Line(line.to_owned())))
}

/// Starts or restarts a service. Its unit says when it is ready, so this
/// returns when it is.
pub(super) fn start_service(
    service: Service,
    restart: bool,
    timeout: Seconds,
    sink: &Sink,
) -> Result<(), Failure> {
    let unit = service.unit();
    if needs_reload(service) {
        reload()?;
    }
    // They end with this function: once the service answers, or does not.
    let _held: Vec<Hold> = if restart { Hold::of_those_that_need(service, sink) } else { Vec::new() };
    let verb = if restart { "restart" } else { "start" };
    let doing = format!("{verb} {}", service.title());
    sink(Saying::WaitsFor(format!("{} to answer", service.title())));
    let started = Instant::now();
    // A service that failed too often is not started again before this.
    Program::new(["systemctl", "reset-failed", "--", &unit]).deadline(QUICK).output();
    if restart && stack::room(service).is_deaf_while_starting() && is_starting(&unit) {
        end_at_once(service);
    }
    let over = AtomicBool::new(false);
    let result = std::thread::scope(|scope| {
        scope.spawn(|| ask_whether_healthy(service, &over));
        let result = Program::new(["systemctl", verb, "--", &unit])
            .deadline(Duration::from_secs(timeout.0))
            .run(&doing, &|line| sink(Saying::Line(line.to_owned())));
        over.store(true, Ordering::Relaxed);
        result
    });
    // Whatever the operator once stopped it for is over.
    let _ = file::remove(Path::new(stopped::file(service).as_str()));
    result.map_err(|failure| {
        Failure::new(
            doing,
            format!("it was not ready after {} s: {}", started.elapsed().as_secs(), failure.why),
        )
        .evidence(last_log_lines(service))
        .hint(format!("`matrix-podman logs {service}` shows more; `matrix-podman up` tries again"))
    })
}

/// Has Podman look whether a service that starts is healthy, more often than its
/// timer does, which systemd lets fire up to a second late. The look is Podman's
/// own and its verdict is what the unit waits for.
///
/// Only while the unit starts: one that is being stopped is not healthy, and must
/// not be ended for that before it has put its data in order.
fn ask_whether_healthy(service: Service, over: &AtomicBool) {
    let unit = service.unit();
    let started = Instant::now();
    while !over.load(Ordering::Relaxed) && started.elapsed() < EAGER {
        std::thread::sleep(BETWEEN_LOOKS);
        if !is_starting(&unit) {
            continue;
        }
        Program::new(["podman", "healthcheck", "run", service.name()]).deadline(QUICK).output();
    }
}

fn is_starting(unit: &str) -> bool {
    let state = Program::new(["systemctl", "is-active", "--", unit]).deadline(QUICK).output();
    state.stdout.trim_ascii() == b"activating"
}

/// Ends a container that is starting and hears no signal, as a power cut would: it would be
/// waited for in vain for the whole of its stop's patience, a minute.
fn end_at_once(service: Service) {
    // One that has come up meanwhile is stopped in order by what comes next.
    Program::new(["podman", "kill", "--signal=KILL", "--", service.name()]).deadline(QUICK).output();
}

/// Stops a service. Its unit says how long it may take to end in order.
pub(super) fn stop_service(service: Service) -> Result<(), Failure> {
    // What it works on may end; once it is gone, requests wait for it to come back.
    let _held = Hold::begin(service, &|_| {});
    if stack::room(service).front().is_some() {
        // Its ports would start it again at the next request. A unit that is not there needs no stop.
        let sockets = layout::socket_unit(service);
        Program::new(["systemctl", "stop", "--", &sockets]).deadline(STOP).output();
    }
    Program::new(["systemctl", "stop", "--", &service.unit()])
        .deadline(STOP)
        .run(&format!("stop {}", service.title()), &|_| {})
}

/// Stops those services of the stack that there are, the last one first.
pub fn stop_all() -> Result<(), Failure> {
    let mut all = Service::ALL;
    all.reverse();
    stop_if_there(&all)
}

/// Stops those of `services` that there are.
pub(super) fn stop_if_there(services: &[Service]) -> Result<(), Failure> {
    let units = services.iter().map(|service| service.unit()).collect();
    let states = match probe::answer(&Fact::Units(units)) {
        Answer::Known(Value::Units(states)) => states,
        Answer::Known(_) => Default::default(),
        Answer::Unknown(why) => return Err(Failure::new("see which services run", why)),
    };
    for service in services {
        // One that never was cannot be stopped.
        if states.get(&service.unit()).is_some_and(|state| state.load != "not-found") {
            stop_service(*service)?;
        }
    }
    Ok(())
}

/// Whether systemd knows other units of a service than there are: its own, and that of its sockets.
fn needs_reload(service: Service) -> bool {
    let sockets = stack::room(service).front().map(|_| layout::socket_unit(service));
    let units: BTreeSet<String> = sockets.into_iter().chain([service.unit()]).collect();
    let count = units.len();
    match probe::answer(&Fact::Units(units)) {
        Answer::Known(Value::Units(units)) => {
            units.len() < count || units.values().any(|unit| unit.stale || unit.load == "not-found")
        }
        _ => true,
    }
}

fn last_log_lines(service: Service) -> Vec<String> {
    let (unit, sockets) = (service.unit(), layout::socket_unit(service));
    let units = ["journalctl", "--unit", &unit, "--unit", &sockets];
    let form = ["--lines=60", "--no-pager", "--output=cat", "--quiet"];
    let output = Program::new(units.into_iter().chain(form)).deadline(Duration::from_secs(10)).output();
    let lines: Vec<String> = String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect();
    telling(&lines, 15)
}
