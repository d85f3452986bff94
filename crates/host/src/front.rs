//! What stands before the other services, by its control socket: who waits, and holding requests while a
//! service is restarted.

use std::{
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::{fs::FileTypeExt as _, net::UnixStream},
    path::Path,
    time::{Duration, Instant, SystemTime},
};

use matrix_podman_core::{
    frame::HeldRequests,
    layout,
    name::{Mode, Owner},
    service::ServiceId,
    stack::{self, Behind, Front},
};
use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Pid, PidfdFlags, pidfd_open},
};

use crate::{
    failure::{Doing, Failure},
    file,
    process::Program,
    progress::{Saying, Sink},
};

/// It answers at once, or hangs: all of an answer has this long.
const ANSWERS: Duration = Duration::from_secs(5);
/// The longest answer that is read.
const LONGEST: usize = 1 << 20;
/// How long is waited for requests that a service works on before it is stopped: uploads take a while.
const IN_FLIGHT: Duration = Duration::from_secs(10);
/// How long between two looks at them.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

fn ask(front: &Front, command: &str) -> Result<String, Failure> {
    let control = front.control();
    let ask = || {
        // Its folder is the gateway's own: a link there could lead to anybody's socket.
        if !file::meta(Path::new(control.as_str()))?.file_type().is_socket() {
            return Err(std::io::Error::other("it is no socket"));
        }
        let until = Instant::now() + ANSWERS;
        let mut socket = UnixStream::connect(control.as_str())?;
        socket.set_write_timeout(Some(ANSWERS))?;
        socket.write_all(command.as_bytes())?;
        socket.shutdown(Shutdown::Write)?;
        let (mut said, mut part) = (Vec::new(), [0; 4096]);
        while said.len() < LONGEST {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(std::io::ErrorKind::TimedOut.into());
            }
            socket.set_read_timeout(Some(left))?;
            match socket.read(&mut part)? {
                0 => break,
                count => said.extend_from_slice(&part[..count]),
            }
        }
        String::from_utf8(said).map_err(std::io::Error::other)
    };
    ask().doing(|| format!("ask the gateway at {control}"))
}

fn look(front: &Front) -> Result<Vec<Behind>, Failure> {
    stack::parse_stat(&ask(front, stack::ASK_STAT)?).doing(|| "read what the gateway says")
}

/// Whether there is one that can be asked.
fn is_there(front: &Front) -> bool {
    Path::new(front.control().as_str()).exists()
}

/// The backends of `service`, where there is something before it.
fn behind(front: &Front, service: ServiceId) -> Result<Vec<Behind>, Failure> {
    let mut all = look(front)?;
    all.retain(|behind| behind.service == service);
    Ok(all)
}

/// Which requests are held on purpose.
pub(crate) fn held_requests() -> Result<Vec<HeldRequests>, Failure> {
    let mut all: Vec<HeldRequests> = Vec::new();
    for front in stack::fronts().filter(|front| is_there(front)) {
        for behind in look(front)?.iter().filter(|behind| behind.is_held()) {
            match all.iter_mut().find(|held| held.service == behind.service) {
                Some(held) => held.waiting = held.waiting.saturating_add(behind.waiting),
                None => {
                    let (service, waiting) = (behind.service, behind.waiting);
                    all.push(HeldRequests { service, seconds: held_for(front, service), waiting });
                }
            }
        }
    }
    Ok(all)
}

fn held_for(front: &Front, service: ServiceId) -> u64 {
    let since = file::meta(Path::new(front.mark(service).as_str())).and_then(|meta| meta.modified());
    let held = since.ok().and_then(|since| SystemTime::now().duration_since(since).ok());
    held.map_or(0, |held| held.as_secs())
}

fn set(front: &Front, service: ServiceId, held: bool) -> Result<(), Failure> {
    for behind in behind(front, service)? {
        ask(front, &behind.hold(held))?;
    }
    Ok(())
}

/// Lets requests to `service` through that were held for the process `holder`.
fn release(front: &Front, service: ServiceId, holder: u32) -> Result<(), Failure> {
    let mark = front.mark(service);
    let is_ours =
        file::read_text(Path::new(mark.as_str())).is_ok_and(|text| text.trim() == holder.to_string());
    if is_ours && is_there(front) {
        set(front, service, false)?;
        file::remove(Path::new(mark.as_str()))?;
    }
    Ok(())
}

/// Waits for the end of the process `holder`, then lets requests to `service` through that it held.
pub fn release_after(service: ServiceId, holder: u32) -> Result<(), Failure> {
    let pid = i32::try_from(holder).ok().and_then(Pid::from_raw);
    // One that is gone already cannot be opened.
    if let Some(process) = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok()) {
        let mut ended = [PollFd::new(&process, PollFlags::IN)];
        while let Err(rustix::io::Errno::INTR) = poll(&mut ended, None) {}
    }
    stack::fronts().try_for_each(|front| release(front, service, holder))
}

/// Requests to a service that wait in what stands before it, until this is dropped. Should this process be
/// killed, another one lets them through.
#[derive(Debug)]
pub(crate) struct Hold {
    front: &'static Front,
    service: ServiceId,
    guard: String,
}

impl Hold {
    /// Holds requests to `service` and to all that cannot serve without it.
    pub(crate) fn of_those_that_need(service: ServiceId, sink: &Sink) -> Vec<Self> {
        let needs = |id: &ServiceId| *id == service || stack::room(*id).needs().contains(&service);
        ServiceId::ALL.into_iter().filter(needs).filter_map(|id| Self::begin(id, sink)).collect()
    }

    /// Holds requests to `service`, and waits a little for those that it works on. Nothing where nothing stands
    /// before it; a hold that fails is said, and is no reason not to go on.
    pub(crate) fn begin(service: ServiceId, sink: &Sink) -> Option<Self> {
        if stack::room(service).front().is_some() {
            return None;
        }
        let front = stack::fronts().find(|front| is_there(front))?;
        let held = behind(front, service)
            .and_then(|all| if all.is_empty() { Ok(None) } else { Self::on(front, service).map(Some) });
        match held {
            Ok(held) => held,
            Err(failure) => {
                sink(Saying::Line(format!("requests are not held: {failure}")));
                None
            }
        }
    }

    fn on(front: &'static Front, service: ServiceId) -> Result<Self, Failure> {
        let holder = std::process::id();
        let mark = front.mark(service);
        let text = format!("{holder}\n");
        file::write(Path::new(mark.as_str()), text.as_bytes(), Mode(0o600), Owner::ROOT)?;
        let guard = format!("matrix-release-{service}-{holder}.service");
        let hold = Self { front, service, guard };
        hold.start_guard(holder)?;
        set(front, service, true)?;
        hold.await_those_in_flight()?;
        Ok(hold)
    }

    /// Starts what lets go when this process is killed: no child of it, for those may be killed with it.
    fn start_guard(&self, holder: u32) -> Result<(), Failure> {
        let own = std::env::current_exe().ok().filter(|path| path.exists());
        let program = own.map_or_else(|| layout::BINARY.to_owned(), |path| path.display().to_string());
        let unit = format!("--unit={}", self.guard);
        let run = ["systemd-run", "--quiet", "--collect", "--service-type=exec", &unit, "--", &program];
        let release = ["agent", "--release", self.service.name(), "--after", &holder.to_string()];
        Program::new(run.into_iter().chain(release))
            .deadline(ANSWERS)
            .run("see to it that no hold outlives this run", &|_| {})
    }

    /// Waits until the service works on nothing that ends by itself: what waits for news does not.
    fn await_those_in_flight(&self) -> Result<(), Failure> {
        let began = Instant::now();
        while began.elapsed() < IN_FLIGHT {
            let all = behind(self.front, self.service)?;
            if all.iter().filter(|behind| !behind.is_long()).all(|behind| behind.current == 0) {
                break;
            }
            std::thread::sleep(BETWEEN_LOOKS);
        }
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        // What does not succeed here, the guard does once this process has ended.
        if release(self.front, self.service, std::process::id()).is_ok() {
            Program::new(["systemctl", "stop", "--no-block", "--", &self.guard]).deadline(ANSWERS).output();
        }
    }
}
