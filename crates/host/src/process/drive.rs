//! A process from its start to its end: its pipes are read as they fill, by the
//! thread that waits, so that nobody has to be joined once its time is over.

use std::{
    io::{self, Read, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
    process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open},
};

use super::Input;

/// How much is read at once.
const PIECE: usize = 64 << 10;
/// How long pipes are listened to when the program has ended and something that
/// it started still holds them.
const LINGER: Duration = Duration::from_secs(2);
/// How long a process that was killed may take until it is gone. One that is
/// frozen, or that waits for a disk, is left to a thread of its own.
const GONE: Duration = Duration::from_millis(500);
/// Between two looks where the kernel cannot tell that a process ended.
const LOOK: Duration = Duration::from_millis(50);

/// How a process ended.
pub(super) enum End {
    /// With this exit status; `None` after a signal.
    Status(Option<i32>),
    /// Its time was over, and it was ended.
    Overdue,
    /// What it printed was refused, and it was ended.
    Refused(io::Error),
}

/// Starts the first process of a group of its own.
pub(crate) fn spawn(command: &mut Command) -> io::Result<Child> {
    command.process_group(0).spawn()
}

/// Feeds a process, hands on what it prints, and waits for its end. Nothing that
/// it started can make this take longer than the deadline.
pub(super) fn drive(
    mut child: Child,
    input: Input<'_>,
    deadline: Option<Instant>,
    out: &mut dyn FnMut(&[u8]) -> io::Result<()>,
    err: &mut dyn FnMut(&[u8]),
) -> io::Result<End> {
    feed(&mut child, input);
    let mut pipes = [Pipe::new(child.stdout.take())?, Pipe::new(child.stderr.take())?];
    let mut ended = Ended::watch(&child);
    let mut buffer = vec![0; PIECE];
    while pipes.iter().any(Pipe::is_open) {
        let until = earliest(deadline, ended.at.map(|at| at + LINGER));
        if until.is_some_and(|until| Instant::now() >= until) {
            if ended.at.is_some() {
                break;
            }
            end_group(child);
            return Ok(End::Overdue);
        }
        let ready = await_any(&pipes, &ended, until)?;
        for (index, pipe) in pipes.iter_mut().enumerate().filter(|(index, _)| ready[*index]) {
            let Some(count) = pipe.read(&mut buffer) else { continue };
            ended.heard();
            if index == 1 {
                err(&buffer[..count]);
            } else if let Err(why) = out(&buffer[..count]) {
                end_group(child);
                return Ok(End::Refused(why));
            }
        }
        ended.look(&mut child, ready[2]);
    }
    drop(pipes);
    match wait(&mut child, deadline)? {
        Some(status) => Ok(End::Status(status)),
        None => {
            end_group(child);
            Ok(End::Overdue)
        }
    }
}

/// Waits for its end; `None` when the deadline comes first.
pub(crate) fn wait(child: &mut Child, deadline: Option<Instant>) -> io::Result<Option<Option<i32>>> {
    let handle = handle(child);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status.code()));
        }
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Ok(None);
        }
        match &handle {
            Some(handle) => {
                let mut fds = [PollFd::new(handle, PollFlags::IN)];
                sleep_on(&mut fds, deadline)?;
            }
            None => std::thread::sleep(LOOK),
        }
    }
}

/// Ends a process and all that it started and that is still in its group. What
/// cannot end yet is waited for by nobody but a thread of its own.
pub(crate) fn end_group(mut child: Child) {
    kill_group(&child);
    let gone = wait(&mut child, Some(Instant::now() + GONE));
    if !matches!(gone, Ok(Some(_))) {
        leave(child);
    }
}

/// Waits for a process in the background, so that it does not stay a zombie.
pub(crate) fn leave(mut child: Child) {
    std::thread::spawn(move || {
        let _ = child.wait();
    });
}

fn kill_group(child: &Child) {
    // It has not been waited for, so the number is still its own.
    if let Some(pid) = pid(child) {
        let _ = kill_process_group(pid, Signal::KILL);
    }
}

fn pid(child: &Child) -> Option<Pid> {
    i32::try_from(child.id()).ok().and_then(Pid::from_raw)
}

fn handle(child: &Child) -> Option<OwnedFd> {
    pidfd_open(pid(child)?, PidfdFlags::empty()).ok()
}

/// Gives it what it is to read, from a thread that nobody waits for: what is read
/// from may never end, and a program that stops reading early says itself why.
fn feed(child: &mut Child, input: Input<'_>) {
    let Some(mut stdin) = child.stdin.take() else { return };
    match input {
        Input::None => {}
        Input::Bytes(bytes) => {
            let bytes = bytes.to_vec();
            std::thread::spawn(move || {
                let _ = stdin.write_all(&bytes);
            });
        }
        Input::Stream(mut stream) => {
            std::thread::spawn(move || {
                let _ = io::copy(&mut stream, &mut stdin);
            });
        }
    }
}

/// How the child's standard streams are to be.
pub(super) fn piped(command: &mut Command, input: &Input<'_>) {
    command.stdin(if matches!(input, Input::None) { Stdio::null() } else { Stdio::piped() });
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
}

/// Our end of a pipe; none once the other ends are closed.
struct Pipe(Option<std::fs::File>);

impl Pipe {
    fn new(end: Option<impl Into<OwnedFd>>) -> io::Result<Self> {
        let Some(end) = end else { return Ok(Self(None)) };
        let fd: OwnedFd = end.into();
        // Ours alone: the child's end stays as it is.
        fcntl_setfl(&fd, fcntl_getfl(&fd)? | OFlags::NONBLOCK)?;
        Ok(Self(Some(fd.into())))
    }

    fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// What there is to read now.
    fn read(&mut self, buffer: &mut [u8]) -> Option<usize> {
        match self.0.as_mut()?.read(buffer) {
            Ok(count @ 1..) => Some(count),
            Err(e) if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => None,
            Ok(0) | Err(_) => {
                self.0 = None;
                None
            }
        }
    }
}

/// Whether the process itself has ended, whatever holds its pipes.
struct Ended {
    handle: Option<OwnedFd>,
    at: Option<Instant>,
}

impl Ended {
    fn watch(child: &Child) -> Self {
        Self { handle: handle(child), at: None }
    }

    /// Something was printed: whoever holds the pipes is still at it.
    fn heard(&mut self) {
        if self.at.is_some() {
            self.at = Some(Instant::now());
        }
    }

    fn look(&mut self, child: &mut Child, told: bool) {
        let over = told || (self.handle.is_none() && matches!(child.try_wait(), Ok(Some(_))));
        if over && self.at.is_none() {
            self.at = Some(Instant::now());
        }
    }
}

/// Which of these have something: both pipes, and the process's end.
fn await_any(pipes: &[Pipe; 2], ended: &Ended, until: Option<Instant>) -> io::Result<[bool; 3]> {
    let end = ended.handle.as_ref().filter(|_| ended.at.is_none());
    let sources =
        [pipes[0].0.as_ref().map(AsFd::as_fd), pipes[1].0.as_ref().map(AsFd::as_fd), end.map(AsFd::as_fd)];
    let mut at = Vec::with_capacity(sources.len());
    let mut fds = Vec::with_capacity(sources.len());
    for (index, source) in sources.iter().enumerate() {
        if let Some(fd) = source {
            at.push(index);
            fds.push(PollFd::from_borrowed_fd(*fd, PollFlags::IN));
        }
    }
    let blind = ended.handle.is_none().then(|| Instant::now() + LOOK);
    sleep_on(&mut fds, earliest(until, blind))?;
    let mut ready = [false; 3];
    for (index, fd) in at.iter().zip(&fds) {
        ready[*index] = !fd.revents().is_empty();
    }
    Ok(ready)
}

fn sleep_on(fds: &mut [PollFd<'_>], until: Option<Instant>) -> io::Result<()> {
    let left = until.map(|until| until.saturating_duration_since(Instant::now()));
    let left = left.and_then(|left| Timespec::try_from(left).ok());
    match poll(fds, left.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
