//! The side outside: one child process whose pipes lead to the agent.

use std::{
    io::{BufReader, Read},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
        mpsc::{Receiver, RecvTimeoutError},
    },
    time::{Duration, Instant},
};

use matrix_podman_core::{effect::Local, fact::Fact, format::UPGRADE, layout, observed::Answer, people};

use super::{
    line::{Incoming, Line, PIECES_AHEAD, Patient, TICK},
    wire::{CHUNK, PROTOCOL, Reply, Request, write_cut, write_data, write_message},
};
use crate::{
    failure::{Doing, Failure, Kind},
    process,
    progress::{Saying, Sink},
};

/// How much each of the pipes to and from the agent may hold, in bytes.
const PIPE: usize = 1 << 20;
/// How long the agent may take to say hello.
const HELLO: Duration = Duration::from_secs(20);
/// How long an agent may take to end when nothing more is asked of it. One that
/// finishes what it had begun is left to that.
const GOODBYE: Duration = Duration::from_secs(10);
/// How long the guest may take to answer questions: each has a deadline of half a
/// minute there, and some wait for another.
const QUESTIONS: Duration = Duration::from_secs(150);
/// How long Synapse may take for what concerns people.
const PEOPLE: Duration = Duration::from_secs(600);
/// How long another run that holds the guest's lock is waited for, and a little more.
const LOCK: Duration = Duration::from_secs(900);
/// How long an act may go without any progress. What it runs has deadlines in the
/// guest; the longest is a day, for a database.
const ACT: Duration = Duration::from_secs(25 * 3600);
/// How long a stream may bring nothing.
const STREAM: Duration = Duration::from_secs(2 * 3600);

/// How long nothing may come of a request, though the guest is alive; `None` for
/// what is followed until somebody has seen enough.
fn limit(request: &Request) -> Option<Duration> {
    match request {
        Request::Observe(_) => Some(QUESTIONS),
        Request::People(_) => Some(PEOPLE),
        Request::Lock(_) => Some(LOCK),
        Request::Stream(_) => Some(STREAM),
        Request::Apply(_) | Request::LoadImage { .. } | Request::PutSecret(_) | Request::Restore(..) => {
            Some(ACT)
        }
        Request::Follow(_) => None,
    }
}

/// The way into a guest: words to put in front of a command that is to run there.
#[derive(Debug, Clone)]
pub struct Doorway {
    /// `lxc-attach … --`
    pub prefix: Vec<String>,
    /// What a person calls the guest.
    pub guest: String,
    /// What LXC calls it.
    pub lxc: String,
}

impl Doorway {
    /// The command that runs `argv` in the guest.
    pub fn argv(&self, argv: &[&str]) -> Vec<String> {
        self.prefix.iter().cloned().chain(argv.iter().map(|word| (*word).to_owned())).collect()
    }
}

/// An open connection to the program in the guest.
pub struct Connection {
    child: Option<Child>,
    to: Mutex<Option<ChildStdin>>,
    line: Arc<Line>,
    next: AtomicU32,
    /// SHA-256 of the program in the guest.
    pub digest: String,
}

impl Connection {
    /// Starts the agent in the guest and waits for its hello.
    pub fn open(doorway: &Doorway) -> Result<Self, Failure> {
        Self::open_within(doorway, HELLO)
    }

    fn open_within(doorway: &Doorway, hello: Duration) -> Result<Self, Failure> {
        let doing = || format!("speak with matrix-podman in the guest {}", doorway.guest);
        let argv = doorway.argv(&[layout::BINARY, "agent"]);
        let mut words = argv.iter();
        let mut command = Command::new(words.next().map(String::as_str).unwrap_or_default());
        command.args(words).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = process::spawn(&mut command).doing(doing)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new(doing(), "it has no pipes"));
        };
        // Images and dumps are large and a pipe is small; where it may not be larger, it is
        // only slower.
        let _ = rustix::pipe::fcntl_setpipe_size(&stdin, PIPE);
        let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE);
        Patient::prepare(&stdin).doing(doing)?;
        let line = Arc::new(Line::new(&doorway.guest, &doorway.lxc));
        let greeting = line.expect(0, false)?;
        // Nobody waits for this thread: what it reads from may stay open forever.
        std::thread::spawn({
            let line = Arc::clone(&line);
            move || line.distribute(BufReader::with_capacity(CHUNK, stdout))
        });
        let mut connection = Self {
            child: Some(child),
            to: Mutex::new(Some(stdin)),
            line,
            next: AtomicU32::new(1),
            digest: String::new(),
        };
        match greeting.recv_timeout(hello) {
            Ok(Incoming::Reply(Reply::Hello { protocol, digest, .. })) if protocol == PROTOCOL => {
                connection.digest = digest;
                Ok(connection)
            }
            Ok(Incoming::Reply(Reply::Hello { protocol, version, .. })) => {
                Err(another_protocol(doing(), protocol, &version))
            }
            Err(RecvTimeoutError::Timeout) => {
                connection.end();
                let why = format!("it did not answer within {} s", hello.as_secs_f32());
                Err(connection.line.silent(doing(), why))
            }
            _ => {
                connection.end();
                Err(Failure::new(doing(), "it did not answer")
                    .hint("`matrix-podman up` puts the program into the guest again"))
            }
        }
    }

    /// Ends what is left of the agent, which would not end on its own.
    fn end(&mut self) {
        if let Some(child) = self.child.take() {
            process::end_group(child);
        }
    }

    /// Answers to `facts`, in their order.
    pub fn observe(&self, facts: &[Fact]) -> Result<Vec<Answer>, Failure> {
        let mut answers = None;
        self.ask(&Request::Observe(facts.to_vec()), None, &|_| {}, &mut |incoming| {
            if let Incoming::Reply(Reply::Answers(found)) = incoming {
                answers = Some(found);
            }
        })?;
        answers.ok_or_else(|| self.line.lost())
    }

    /// Asks Synapse, through the guest, something about people.
    pub fn people(&self, call: &people::Call) -> Result<people::Answer, Failure> {
        let mut answer = None;
        self.ask(&Request::People(Box::new(call.clone())), None, &|_| {}, &mut |incoming| {
            if let Incoming::Reply(Reply::People(found)) = incoming {
                answer = Some(*found);
            }
        })?;
        answer.ok_or_else(|| self.line.lost())
    }

    /// Has the guest do something.
    pub fn apply(&self, act: &Local, sink: &Sink) -> Result<(), Failure> {
        self.call(&Request::Apply(Box::new(act.clone())), sink)
    }

    /// Makes a request that is answered with done or a failure.
    pub fn call(&self, request: &Request, sink: &Sink) -> Result<(), Failure> {
        self.ask(request, None, sink, &mut |_| {}).map(drop)
    }

    /// The same, with data that follow it; `total` is how much there is.
    pub fn send(
        &self,
        request: &Request,
        data: &mut (dyn Read + Send),
        total: Option<u64>,
        sink: &Sink,
    ) -> Result<(), Failure> {
        self.ask(request, Some((data, total)), sink, &mut |_| {}).map(drop)
    }

    /// Runs a command in the guest and hands what it prints to `print`.
    pub fn follow(&self, argv: Vec<String>, print: &mut dyn FnMut(&[u8])) -> Result<Option<i32>, Failure> {
        let reply = self.ask(&Request::Follow(argv), None, &|_| {}, &mut |incoming| {
            if let Incoming::Data(bytes) = incoming {
                print(&bytes);
            }
        })?;
        match reply {
            Reply::Ended(status) => Ok(status),
            _ => Err(self.line.lost()),
        }
    }

    /// Has the guest send something, to be read while it comes.
    pub fn stream(self: &Arc<Self>, request: &Request) -> Result<Stream, Failure> {
        let ticket = self.begin(request, true)?;
        self.write(|to| write_data(to, ticket.id, &[0; PIECES_AHEAD]))?;
        Ok(Stream {
            connection: Arc::clone(self),
            ticket,
            limit: limit(request),
            piece: std::io::Cursor::default(),
            ended: false,
        })
    }

    /// Sends a request; what comes back for its number comes out of the channel.
    fn begin(&self, request: &Request, paced: bool) -> Result<Ticket, Failure> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let receiver = self.line.expect(id, paced)?;
        let ticket = Ticket { id, receiver, line: Arc::clone(&self.line) };
        self.write(|to| write_message(to, id, request))?;
        Ok(ticket)
    }

    fn ask(
        &self,
        request: &Request,
        data: Option<(&mut (dyn Read + Send), Option<u64>)>,
        sink: &Sink,
        on: &mut dyn FnMut(Incoming),
    ) -> Result<Reply, Failure> {
        let ticket = self.begin(request, false)?;
        let progress = Progress::new(limit(request));
        match data {
            None => ticket.await_end(&progress, sink, on),
            Some((data, total)) => std::thread::scope(|scope| {
                let (id, moved) = (ticket.id, &progress);
                let feeder = scope.spawn(move || self.feed(id, data, total, moved, sink));
                let reply = ticket.await_end(&progress, sink, on);
                match (feeder.join(), &reply) {
                    // The guest only knows that there was no more.
                    (Ok(Err(FeedFailure::Source(failure))), _) => Err(failure),
                    // A failure there explains a feeder that could not go on.
                    (Ok(Err(FeedFailure::Guest(failure))), Ok(_)) => Err(failure),
                    _ => reply,
                }
            }),
        }
    }

    fn feed(
        &self,
        id: u32,
        data: &mut dyn Read,
        total: Option<u64>,
        progress: &Progress,
        sink: &Sink,
    ) -> Result<(), FeedFailure> {
        let mut buffer = vec![0; CHUNK];
        let mut done = 0;
        loop {
            let count = match data.read(&mut buffer).doing(|| "read what is sent to the guest") {
                Ok(count) => count,
                Err(failure) => {
                    // Else the guest would wait for the rest.
                    let _ = self.write(|to| write_cut(to, id));
                    return Err(FeedFailure::Source(failure));
                }
            };
            self.write(|to| write_data(to, id, &buffer[..count])).map_err(FeedFailure::Guest)?;
            done += count as u64;
            progress.moved();
            if count == 0 {
                return Ok(());
            }
            sink(Saying::Bytes { done, total });
        }
    }

    fn write(&self, write: impl FnOnce(&mut Patient<'_>) -> std::io::Result<()>) -> Result<(), Failure> {
        let mut to = self.to.lock().map_err(|_| self.line.lost())?;
        let to = to.as_mut().ok_or_else(|| self.line.lost())?;
        write(&mut Patient { to, line: &self.line }).map_err(|_| self.line.lost())
    }

    /// Whether it was given up, though its other end may still be there.
    pub fn is_silent(&self) -> bool {
        self.line.hangs()
    }

    /// Whether its other end is gone.
    pub fn is_cut(&self) -> bool {
        self.line.is_lost()
    }
}

/// The program in the guest speaks a protocol that this one does not. What it says of
/// itself is shown only where it could be a version.
fn another_protocol(doing: String, protocol: u32, version: &str) -> Failure {
    let harmless = |c: char| c.is_ascii_alphanumeric() || "+-.~".contains(c);
    let version = Some(version).filter(|v| v.len() <= 40 && v.chars().all(harmless)).unwrap_or("unknown");
    let own = env!("CARGO_PKG_VERSION");
    let why = format!(
        "it is version {version}, which speaks protocol {protocol}; this one, {own}, speaks {PROTOCOL}"
    );
    let failure = Failure::new(doing, why);
    if protocol > PROTOCOL {
        let hint = format!("{UPGRADE}; `matrix-podman up` says how to go back instead");
        return Failure { kind: Kind::NewerProgram, ..failure }.hint(hint);
    }
    failure.hint("`matrix-podman up` puts this version into the guest")
}

/// A request that is answered.
struct Ticket {
    id: u32,
    receiver: Receiver<Incoming>,
    line: Arc<Line>,
}

impl Ticket {
    /// What comes next.
    fn next(&self, progress: &Progress) -> Result<Incoming, Failure> {
        loop {
            match self.receiver.recv_timeout(TICK) {
                Ok(incoming) => {
                    progress.moved();
                    return Ok(incoming);
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.line.lost()),
                Err(RecvTimeoutError::Timeout) => {
                    self.line.look()?;
                    progress.check()?;
                }
            }
        }
    }

    fn await_end(
        &self,
        progress: &Progress,
        sink: &Sink,
        on: &mut dyn FnMut(Incoming),
    ) -> Result<Reply, Failure> {
        loop {
            match self.next(progress)? {
                Incoming::Reply(Reply::Said(saying)) => sink(saying),
                Incoming::Reply(Reply::Failed(failure)) => return Err(failure),
                Incoming::Reply(reply @ (Reply::Done | Reply::Ended(_))) => return Ok(reply),
                incoming @ Incoming::Reply(Reply::Answers(_) | Reply::People(_)) => {
                    on(incoming);
                    return Ok(Reply::Done);
                }
                incoming => on(incoming),
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.line.forget(self.id);
    }
}

/// How long nothing has come of a request, and how long that may be so.
struct Progress {
    begun: Instant,
    last: AtomicU64,
    limit: Option<Duration>,
}

impl Progress {
    fn new(limit: Option<Duration>) -> Self {
        Self { begun: Instant::now(), last: AtomicU64::new(0), limit }
    }

    fn moved(&self) {
        let now = u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        self.last.store(now, Ordering::Relaxed);
    }

    fn check(&self) -> Result<(), Failure> {
        let last = Duration::from_millis(self.last.load(Ordering::Relaxed));
        match self.limit {
            Some(limit) if self.begun.elapsed().saturating_sub(last) > limit => Err(Failure::new(
                "wait for the guest",
                format!(
                    "nothing came of what was asked of it within {} s, though its program is alive",
                    limit.as_secs()
                ),
            )
            .hint("`matrix-podman doctor` looks for what hangs there")),
            _ => Ok(()),
        }
    }
}

/// What the guest sends, as it comes.
pub struct Stream {
    connection: Arc<Connection>,
    ticket: Ticket,
    limit: Option<Duration>,
    piece: std::io::Cursor<Vec<u8>>,
    ended: bool,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let progress = Progress::new(self.limit);
        loop {
            let count = self.piece.read(buffer)?;
            if count > 0 || self.ended || buffer.is_empty() {
                return Ok(count);
            }
            match self.ticket.next(&progress).map_err(std::io::Error::other)? {
                Incoming::Data(bytes) => {
                    self.piece = std::io::Cursor::new(bytes);
                    // One more may come. A guest that is done needs no telling.
                    let _ = self.connection.write(|to| write_data(to, self.ticket.id, &[0]));
                }
                Incoming::Reply(Reply::Done) => self.ended = true,
                Incoming::Reply(Reply::Failed(failure)) => {
                    self.ended = true;
                    return Err(std::io::Error::other(failure));
                }
                Incoming::Reply(_) => {}
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.line.forget(self.ticket.id);
        // No more is wanted, and the guest may forget the request.
        let _ = self.connection.write(|to| write_data(to, self.ticket.id, &[]));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Ok(mut to) = self.to.lock() {
            to.take();
        }
        if self.line.hangs() {
            return self.end();
        }
        let Some(mut child) = self.child.take() else { return };
        if !matches!(process::wait(&mut child, Some(Instant::now() + GOODBYE)), Ok(Some(_))) {
            process::leave(child);
        }
    }
}

/// Why data did not reach the guest.
enum FeedFailure {
    /// They could not be read.
    Source(Failure),
    /// The guest did not take them.
    Guest(Failure),
}

#[cfg(test)]
#[path = "connection_tests.rs"]
mod tests;
