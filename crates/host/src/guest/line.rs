//! What comes from a guest, and whether anything still comes. Nothing that a
//! guest sends takes more memory here than its limits let it, and nobody waits
//! for one that has fallen silent.

use std::{
    collections::BTreeMap,
    io::{self, Read, Write},
    process::ChildStdin,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TrySendError, sync_channel},
    },
    time::{Duration, Instant},
};

use matrix_podman_core::fact::Suspension;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{OFlags, fcntl_getfl, fcntl_setfl},
};

use super::wire::{Envelope, Frame, Reply, read_frame};
use crate::{failure::Failure, probe, progress::Saying};

/// How many pieces of a stream may be on their way or wait here to be read.
pub(super) const PIECES_AHEAD: usize = 8;
/// How many messages may wait for one request.
const MESSAGES: usize = 8;
/// How long a guest may say nothing at all; it has a pulse of a few seconds.
const SILENCE: Duration = Duration::from_secs(30);
/// From this silence on the machine looks whether something holds the guest.
const SUSPECT: Duration = Duration::from_secs(7);
/// Between two looks.
pub(super) const TICK: Duration = Duration::from_millis(500);
/// How much of a text that a guest says is kept, in characters.
const LONGEST_TEXT: usize = 2000;

/// What reaches a waiting request.
pub(super) enum Incoming {
    Reply(Reply),
    Data(Vec<u8>),
}

/// Why nothing more will come.
#[derive(Debug, Clone)]
enum Loss {
    /// Its other end is gone.
    Cut,
    /// It said nothing for so long.
    Silent(Duration),
    /// Something holds the guest.
    Held(Suspension),
    /// What it sent is not what was agreed on.
    Broken(String),
}

struct Waiter {
    to: SyncSender<Incoming>,
    /// Whether it only gets what it asked for, piece by piece.
    paced: bool,
}

/// The state of a connection.
pub(super) struct Line {
    /// What a person calls the guest.
    guest: String,
    /// What LXC calls it.
    lxc: String,
    waiting: Mutex<Option<BTreeMap<u32, Waiter>>>,
    begun: Instant,
    /// When something was heard last, in milliseconds after the beginning.
    heard: AtomicU64,
    /// Whether it is us who do not listen.
    held_up: AtomicBool,
    loss: Mutex<Option<Loss>>,
}

impl Line {
    pub(super) fn new(guest: &str, lxc: &str) -> Self {
        Self {
            guest: guest.to_owned(),
            lxc: lxc.to_owned(),
            waiting: Mutex::new(Some(BTreeMap::new())),
            begun: Instant::now(),
            heard: AtomicU64::new(0),
            held_up: AtomicBool::new(false),
            loss: Mutex::new(None),
        }
    }

    /// From now on what comes for the request `id` comes out of the channel.
    pub(super) fn expect(&self, id: u32, paced: bool) -> Result<Receiver<Incoming>, Failure> {
        let (to, receiver) = sync_channel(if paced { PIECES_AHEAD + 1 } else { MESSAGES });
        match self.waiting.lock().map(|mut w| w.as_mut().map(|w| w.insert(id, Waiter { to, paced }))) {
            Ok(Some(_)) => Ok(receiver),
            _ => Err(self.lost()),
        }
    }

    /// Nobody waits for that request any more.
    pub(super) fn forget(&self, id: u32) {
        if let Ok(mut waiting) = self.waiting.lock()
            && let Some(waiting) = waiting.as_mut()
        {
            waiting.remove(&id);
        }
    }

    /// Whether its other end is gone, or does not answer any more.
    pub(super) fn is_lost(&self) -> bool {
        !self.waiting.lock().is_ok_and(|waiting| waiting.is_some())
    }

    /// Whether what is left of it should be ended: it would not end on its own.
    pub(super) fn hangs(&self) -> bool {
        !matches!(*self.loss(), None | Some(Loss::Cut))
    }

    fn loss(&self) -> std::sync::MutexGuard<'_, Option<Loss>> {
        self.loss.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lose(&self, loss: Loss) {
        self.loss().get_or_insert(loss);
        if let Ok(mut waiting) = self.waiting.lock() {
            waiting.take();
        }
    }

    fn beat(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.heard.store(now, Ordering::Relaxed);
    }

    fn silence(&self) -> Duration {
        if self.held_up.load(Ordering::Relaxed) {
            return Duration::ZERO;
        }
        self.begun.elapsed().saturating_sub(Duration::from_millis(self.heard.load(Ordering::Relaxed)))
    }

    /// Gives up a guest that says nothing, sooner where the machine sees why.
    pub(super) fn look(&self) -> Result<(), Failure> {
        let silence = self.silence();
        if silence >= SUSPECT
            && let Some(by) = probe::lxc_state(&self.lxc).suspension()
        {
            self.lose(Loss::Held(by));
        } else if silence >= SILENCE {
            self.lose(Loss::Silent(silence));
        }
        if self.is_lost() { Err(self.lost()) } else { Ok(()) }
    }

    /// Why the connection is of no use any more.
    pub(super) fn lost(&self) -> Failure {
        let doing = format!("speak with the guest {}", self.guest);
        let goes_on = "nothing is lost: `matrix-podman up` looks at what is there and goes on";
        match self.loss().clone() {
            None | Some(Loss::Cut) => Failure::new(doing, "the connection was cut").hint(goes_on),
            Some(Loss::Held(by)) => {
                Failure::new(doing, by.why(&self.guest)).hint(format!("`{}` lets it go on", by.fix(&self.lxc)))
            }
            Some(Loss::Silent(for_so_long)) => {
                let why = format!("the program in it has said nothing for {} s", for_so_long.as_secs());
                self.silent(doing, why)
            }
            Some(Loss::Broken(what)) => {
                Failure::new(doing, format!("the program in it sends what was not asked for: {what}"))
                    .hint("`matrix-podman up` puts the program into the guest again; if it goes on, somebody changed it there")
            }
        }
    }

    /// A failure about a guest that says nothing, with what the machine sees of why.
    pub(super) fn silent(&self, doing: String, why: String) -> Failure {
        if let Some(by) = probe::lxc_state(&self.lxc).suspension() {
            return Failure::new(doing, by.why(&self.guest))
                .hint(format!("`{}` lets it go on", by.fix(&self.lxc)));
        }
        match probe::memory_is_used_up(&self.lxc) {
            Some(memory) => Failure::new(doing, format!("{why}; {memory}")).hint(
                "`matrix-podman set guest.memory SIZE`, then `matrix-podman up`, gives it more",
            ),
            None => Failure::new(doing, why).hint(
                "`matrix-podman doctor` looks for why; `matrix-podman up` puts the program into the guest again",
            ),
        }
    }

    /// Hands what comes in to whoever waits for it; at the end, everybody who still
    /// waits learns that nothing more will come.
    pub(super) fn distribute(&self, mut from: impl Read) {
        let loss = loop {
            match read_frame::<Reply>(&mut from) {
                Ok(Some(frame)) => {
                    self.beat();
                    if let Err(loss) = self.deliver(frame) {
                        break loss;
                    }
                }
                Ok(None) => break Loss::Cut,
                Err(e) if e.kind() == io::ErrorKind::InvalidData || e.get_ref().is_some() => {
                    break Loss::Broken(e.to_string());
                }
                Err(_) => break Loss::Cut,
            }
        };
        self.lose(loss);
    }

    fn deliver(&self, frame: Frame<Reply>) -> Result<(), Loss> {
        let (id, incoming) = match frame {
            Frame::Message(Envelope { body: Reply::Alive, .. }) => return Ok(()),
            Frame::Message(Envelope { id, body }) => (id, Incoming::Reply(bounded(body))),
            Frame::Data { id, bytes } => (id, Incoming::Data(bytes)),
            // A guest whose data end too early says why in its reply.
            Frame::Cut(_) => return Ok(()),
        };
        let said = matches!(incoming, Incoming::Reply(Reply::Said(_)));
        let last = matches!(incoming, Incoming::Reply(_)) && !said;
        let Ok(mut waiting) = self.waiting.lock() else { return Err(Loss::Cut) };
        let Some(all) = waiting.as_mut() else { return Err(Loss::Cut) };
        let waiter = if last {
            all.remove(&id)
        } else {
            all.get(&id).map(|waiter| Waiter { to: waiter.to.clone(), paced: waiter.paced })
        };
        // Never held while somebody is waited for.
        drop(waiting);
        match waiter {
            // Its caller no longer waits for it.
            None => Ok(()),
            Some(Waiter { paced: true, .. }) if said => Ok(()),
            Some(Waiter { to, paced: true }) => match to.try_send(incoming) {
                Err(TrySendError::Full(_)) => {
                    Err(Loss::Broken("more data than there was room for".to_owned()))
                }
                Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
            },
            Some(Waiter { to, paced: false }) => {
                self.held_up.store(true, Ordering::Relaxed);
                let _ = to.send(incoming);
                self.beat();
                self.held_up.store(false, Ordering::Relaxed);
                Ok(())
            }
        }
    }
}

/// The same with texts of a length that somebody reads.
fn bounded(reply: Reply) -> Reply {
    match reply {
        Reply::Said(saying) => Reply::Said(match saying {
            Saying::Line(text) => Saying::Line(short(text)),
            Saying::WaitsFor(text) => Saying::WaitsFor(short(text)),
            Saying::TriesAgain(text) => Saying::TriesAgain(short(text)),
            Saying::Share { percent, at } => Saying::Share { percent: percent.min(100), at: short(at) },
            bytes @ Saying::Bytes { .. } => bytes,
        }),
        Reply::Failed(failure) => Reply::Failed(failure.of_guest(LONGEST_TEXT)),
        other => other,
    }
}

fn short(text: String) -> String {
    match text.char_indices().nth(LONGEST_TEXT) {
        Some((end, _)) => text[..end].to_owned(),
        None => text,
    }
}

/// The way to the guest: one that reads nothing is waited for only as long as it
/// has a pulse.
pub(super) struct Patient<'a> {
    pub(super) to: &'a mut ChildStdin,
    pub(super) line: &'a Line,
}

impl Patient<'_> {
    /// Makes a pipe one that this can wait for.
    pub(super) fn prepare(to: &ChildStdin) -> io::Result<()> {
        Ok(fcntl_setfl(to, fcntl_getfl(to)? | OFlags::NONBLOCK)?)
    }
}

impl Write for Patient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match self.to.write(bytes) {
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
                other => return other,
            }
            self.line.look().map_err(io::Error::other)?;
            let tick = Timespec::try_from(TICK).map_err(io::Error::other)?;
            match poll(&mut [PollFd::new(&*self.to, PollFlags::OUT)], Some(&tick)) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.to.flush()
    }
}
