//! The side outside: one child process whose pipes lead to the agent.

use std::{
    collections::BTreeMap,
    io::{BufReader, Read},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
        mpsc::{Receiver, Sender, channel},
    },
    thread::JoinHandle,
    time::Duration,
};

use matrix_podman_core::{effect::Effect, fact::Fact, layout, observed::Answer, people};

use super::wire::{
    CHUNK, Envelope, Frame, PROTOCOL, Reply, Request, Saying, read_frame, write_cut, write_data,
    write_message,
};
use crate::{
    apply::Sink,
    failure::{Doing, Failure},
};

/// How many pieces of a stream may be on their way or wait here to be read.
const PIECES_AHEAD: usize = 8;
/// How much each of the pipes to and from the agent may hold, in bytes.
const PIPE: usize = 1 << 20;
/// How long the agent may take to say hello.
const HELLO: Duration = Duration::from_secs(20);

/// The way into a guest: words to put in front of a command that is to run there.
#[derive(Debug, Clone)]
pub struct Doorway {
    /// `lxc-attach … --`
    pub prefix: Vec<String>,
    /// What a person calls the guest.
    pub guest: String,
}

impl Doorway {
    /// The command that runs `argv` in the guest.
    pub fn argv(&self, argv: &[&str]) -> Vec<String> {
        self.prefix.iter().cloned().chain(argv.iter().map(|word| (*word).to_owned())).collect()
    }
}

/// What reaches a waiting request.
enum Incoming {
    Reply(Reply),
    Data(Vec<u8>),
}

type Waiting = Arc<Mutex<Option<BTreeMap<u32, Sender<Incoming>>>>>;

/// An open connection to the program in the guest.
pub struct Connection {
    child: Child,
    to: Mutex<Option<ChildStdin>>,
    waiting: Waiting,
    next: AtomicU32,
    reader: Option<JoinHandle<()>>,
    /// SHA-256 of the program in the guest.
    pub digest: String,
    guest: String,
}

impl Connection {
    /// Starts the agent in the guest and waits for its hello.
    pub fn open(doorway: &Doorway) -> Result<Self, Failure> {
        let doing = || format!("speak with matrix-podman in the guest {}", doorway.guest);
        let argv = doorway.argv(&[layout::BINARY, "agent"]);
        let mut words = argv.iter();
        let mut child = Command::new(words.next().map(String::as_str).unwrap_or_default())
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .doing(doing)?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(Failure::new(doing(), "it has no pipes"));
        };
        // Images and dumps are large and a pipe is small; where it may not be larger, it is
        // only slower.
        let _ = rustix::pipe::fcntl_setpipe_size(&stdin, PIPE);
        let _ = rustix::pipe::fcntl_setpipe_size(&stdout, PIPE);
        let waiting: Waiting = Arc::new(Mutex::new(Some(BTreeMap::new())));
        let (hello_to, hello) = channel();
        if let Ok(mut waiting) = waiting.lock()
            && let Some(waiting) = waiting.as_mut()
        {
            waiting.insert(0, hello_to);
        }
        let reader = std::thread::spawn({
            let waiting = Arc::clone(&waiting);
            move || distribute(BufReader::with_capacity(CHUNK, stdout), &waiting)
        });
        let mut connection = Self {
            child,
            to: Mutex::new(Some(stdin)),
            waiting,
            next: AtomicU32::new(1),
            reader: Some(reader),
            digest: String::new(),
            guest: doorway.guest.clone(),
        };
        match hello.recv_timeout(HELLO) {
            Ok(Incoming::Reply(Reply::Hello { protocol, digest, .. })) if protocol == PROTOCOL => {
                connection.digest = digest;
                Ok(connection)
            }
            Ok(Incoming::Reply(Reply::Hello { version, .. })) => {
                Err(Failure::new(doing(), format!("it is version {version}, which speaks another protocol"))
                    .hint("`matrix-podman up` puts this version into the guest"))
            }
            _ => Err(Failure::new(doing(), "it did not answer")
                .hint("`matrix-podman up` puts the program into the guest again")),
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
        answers.ok_or_else(|| self.lost())
    }

    /// Asks Synapse, through the guest, something about people.
    pub fn people(&self, call: &people::Call) -> Result<people::Answer, Failure> {
        let mut answer = None;
        self.ask(&Request::People(Box::new(call.clone())), None, &|_| {}, &mut |incoming| {
            if let Incoming::Reply(Reply::People(found)) = incoming {
                answer = Some(*found);
            }
        })?;
        answer.ok_or_else(|| self.lost())
    }

    /// Has the guest do something.
    pub fn apply(&self, effect: &Effect, sink: &Sink) -> Result<(), Failure> {
        self.call(&Request::Apply(Box::new(effect.clone())), sink)
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
            _ => Err(self.lost()),
        }
    }

    /// Has the guest send something, to be read while it comes.
    pub fn stream(self: &Arc<Self>, request: &Request) -> Result<Stream, Failure> {
        let (id, receiver) = self.begin(request)?;
        self.write(|to| write_data(to, id, &[0; PIECES_AHEAD]))?;
        Ok(Stream {
            connection: Arc::clone(self),
            id,
            receiver,
            piece: std::io::Cursor::default(),
            ended: false,
        })
    }

    /// Sends a request; what comes back for its number comes out of the channel.
    fn begin(&self, request: &Request) -> Result<(u32, Receiver<Incoming>), Failure> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = channel();
        match self.waiting.lock().map(|mut w| w.as_mut().map(|w| w.insert(id, sender))) {
            Ok(Some(_)) => {}
            _ => return Err(self.lost()),
        }
        self.write(|to| write_message(to, id, request))?;
        Ok((id, receiver))
    }

    fn ask(
        &self,
        request: &Request,
        data: Option<(&mut (dyn Read + Send), Option<u64>)>,
        sink: &Sink,
        on: &mut dyn FnMut(Incoming),
    ) -> Result<Reply, Failure> {
        let (id, receiver) = self.begin(request)?;
        match data {
            None => self.await_end(&receiver, sink, on),
            Some((data, total)) => std::thread::scope(|scope| {
                let feeder = scope.spawn(move || self.feed(id, data, total, sink));
                let reply = self.await_end(&receiver, sink, on);
                match (feeder.join(), &reply) {
                    // The guest only knows that there was no more.
                    (Ok(Err(Unfed::Source(failure))), _) => Err(failure),
                    // A failure there explains a feeder that could not go on.
                    (Ok(Err(Unfed::Guest(failure))), Ok(_)) => Err(failure),
                    _ => reply,
                }
            }),
        }
    }

    fn await_end(
        &self,
        receiver: &Receiver<Incoming>,
        sink: &Sink,
        on: &mut dyn FnMut(Incoming),
    ) -> Result<Reply, Failure> {
        loop {
            match receiver.recv().map_err(|_| self.lost())? {
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

    fn feed(&self, id: u32, data: &mut dyn Read, total: Option<u64>, sink: &Sink) -> Result<(), Unfed> {
        let mut buffer = vec![0; CHUNK];
        let mut done = 0;
        loop {
            let count = match data.read(&mut buffer).doing(|| "read what is sent to the guest") {
                Ok(count) => count,
                Err(failure) => {
                    // Else the guest would wait for the rest.
                    let _ = self.write(|to| write_cut(to, id));
                    return Err(Unfed::Source(failure));
                }
            };
            self.write(|to| write_data(to, id, &buffer[..count])).map_err(Unfed::Guest)?;
            done += count as u64;
            if count == 0 {
                return Ok(());
            }
            sink(Saying::Bytes { done, total });
        }
    }

    fn write(&self, write: impl FnOnce(&mut ChildStdin) -> std::io::Result<()>) -> Result<(), Failure> {
        let mut to = self.to.lock().map_err(|_| self.lost())?;
        to.as_mut().ok_or_else(|| self.lost()).and_then(|to| write(to).map_err(|_| self.lost()))
    }

    /// Whether its other end is gone.
    pub fn is_cut(&self) -> bool {
        !self.waiting.lock().is_ok_and(|waiting| waiting.is_some())
    }

    fn lost(&self) -> Failure {
        Failure::new(format!("speak with the guest {}", self.guest), "the connection was cut")
            .hint("nothing is lost: `matrix-podman up` looks at what is there and goes on")
    }
}

/// What the guest sends, as it comes.
pub struct Stream {
    connection: Arc<Connection>,
    id: u32,
    receiver: Receiver<Incoming>,
    piece: std::io::Cursor<Vec<u8>>,
    ended: bool,
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let count = self.piece.read(buffer)?;
            if count > 0 || self.ended || buffer.is_empty() {
                return Ok(count);
            }
            match self.receiver.recv().map_err(|_| std::io::Error::other(self.connection.lost()))? {
                Incoming::Data(bytes) => {
                    self.piece = std::io::Cursor::new(bytes);
                    // One more may come. A guest that is done needs no telling.
                    let _ = self.connection.write(|to| write_data(to, self.id, &[0]));
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
        if let Ok(mut waiting) = self.connection.waiting.lock()
            && let Some(waiting) = waiting.as_mut()
        {
            waiting.remove(&self.id);
        }
        // No more is wanted, and the guest may forget the request.
        let _ = self.connection.write(|to| write_data(to, self.id, &[]));
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Ok(mut to) = self.to.lock() {
            to.take();
        }
        let _ = self.child.wait();
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// Why data did not reach the guest.
enum Unfed {
    /// They could not be read.
    Source(Failure),
    /// The guest did not take them.
    Guest(Failure),
}

/// Hands what comes in to whoever waits for it; at the end, everybody who still
/// waits learns that nothing more will come.
fn distribute(mut from: impl Read, waiting: &Waiting) {
    while let Ok(Some(frame)) = read_frame::<Reply>(&mut from) {
        let (id, incoming) = match frame {
            Frame::Message(Envelope { id, body }) => (id, Incoming::Reply(body)),
            Frame::Data { id, bytes } => (id, Incoming::Data(bytes)),
            // A guest whose data end too early says why in its reply.
            Frame::Cut(_) => continue,
        };
        let last = matches!(
            incoming,
            Incoming::Reply(
                Reply::Done
                    | Reply::Failed(_)
                    | Reply::Answers(_)
                    | Reply::People(_)
                    | Reply::Ended(_)
                    | Reply::Hello { .. }
            )
        );
        let Ok(mut waiting) = waiting.lock() else { return };
        let Some(waiting) = waiting.as_mut() else { return };
        let target = if last { waiting.remove(&id) } else { waiting.get(&id).cloned() };
        if let Some(target) = target {
            let _ = target.send(incoming);
        }
    }
    if let Ok(mut waiting) = waiting.lock() {
        waiting.take();
    }
}
