//! The side in the guest: reads requests, works on them side by side, answers.

mod aside;
mod calls;
mod drill;
mod files;
mod rehearsal;
mod restore;
mod room_media;
mod switch;

use std::{
    collections::BTreeMap,
    io::{self, BufReader, Read, Write},
    os::fd::AsFd,
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel},
    },
};

use rustix::event::{PollFd, PollFlags, poll};

use crate::{
    apply,
    failure::{Doing, Failure},
    guest::wire::{
        CHUNK, Envelope, Frame, PROTOCOL, PULSE, Reply, Request, read_frame, write_data, write_message,
    },
    lock::{self, LockHolder, RunLock},
    own_program, probe,
    progress::{Saying, Sink},
    secret, synapse,
};

pub(crate) use calls::stream_here;
pub(crate) use restore::serve as restore_here;

/// How many pieces of data may wait for a slow reader.
const PIECES_WAITING: usize = 8;

/// Serves one connection until its other end is gone. Work that was begun is
/// finished even then, with the lock held: half a package installation is
/// worse than a late one.
///
/// `until_gone` returns when the other end is gone, which can be long before
/// all that it had sent has been read.
pub fn serve(
    input: impl Read + Send,
    output: impl Write + Send,
    until_gone: impl FnOnce() + Send,
) -> io::Result<()> {
    let output = Mutex::new(output);
    let lock = Held::default();
    let hello = Reply::Hello {
        protocol: PROTOCOL,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        digest: own_program::digest().map_err(io::Error::other)?,
    };
    say(&output, 0, &hello);
    let mut input = BufReader::with_capacity(CHUNK, input);
    let mut open: BTreeMap<u32, SyncSender<Vec<u8>>> = BTreeMap::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            until_gone();
            lock.finishing();
        });
        let (until_here, stopped) = sync_channel::<()>(0);
        let output = &output;
        scope.spawn(move || {
            while stopped.recv_timeout(PULSE) == Err(RecvTimeoutError::Timeout) {
                say(output, 0, &Reply::Alive);
            }
        });
        let end = loop {
            let frame = match read_frame::<serde_json::Value>(&mut input) {
                Ok(Some(frame)) => frame,
                Ok(None) => break Ok(()),
                // Cut off in the middle of a frame, or noise.
                Err(error) => break Err(error),
            };
            match frame {
                Frame::Data { id, bytes } => {
                    let end = bytes.is_empty();
                    if let Some(data) = open.get(&id) {
                        // A reader that gave up has answered already.
                        let _ = data.send(bytes);
                    }
                    if end {
                        open.remove(&id);
                    }
                }
                // Its reader finds out that this was not the end.
                Frame::Cut(id) => drop(open.remove(&id)),
                Frame::Message(Envelope { id, body }) => {
                    let body = match serde_json::from_value::<Request>(body) {
                        Ok(body) => body,
                        // The caller would wait for an answer.
                        Err(error) => {
                            let failure = Failure::new("understand what the machine asks", error)
                                .hint("`matrix-podman up` puts the same program on both sides");
                            say(output, id, &Reply::Failed(failure));
                            continue;
                        }
                    };
                    let (sender, receiver) = sync_channel(PIECES_WAITING);
                    open.insert(id, sender);
                    let lock = &lock;
                    scope.spawn(move || {
                        let reply = answer(id, body, DataReader::new(receiver), output, lock);
                        say(output, id, &reply);
                    });
                }
            }
        };
        // Whoever still reads data gets no more, however the connection ended:
        // the work that waits for them would otherwise wait forever.
        open.clear();
        lock.finishing();
        drop(until_here);
        end
    })
}

/// Returns when the writing end of a pipe is gone, read or not.
pub fn until_gone(pipe: impl AsFd) {
    // Nothing is asked for; a hang-up is always told.
    let mut polled = [PollFd::new(&pipe, PollFlags::empty())];
    while poll(&mut polled, None).is_err_and(|e| e == rustix::io::Errno::INTR) {}
}

/// The guest's lock, once it was asked for.
#[derive(Default)]
struct Held {
    lock: Mutex<Option<RunLock>>,
    gone: AtomicBool,
}

impl Held {
    fn take(&self, holder: &LockHolder, sink: &Sink) -> Result<(), Failure> {
        if let Ok(mut lock) = self.lock.lock() {
            // One that an earlier piece of work of the same run took is no other run's.
            lock.take();
        }
        let taken = RunLock::take(&lock::file_here("guest"), holder, sink)?;
        if let Ok(mut lock) = self.lock.lock() {
            *lock = Some(taken);
        }
        if self.gone.load(Ordering::SeqCst) {
            self.finishing();
        }
        Ok(())
    }

    /// The caller is gone; what was begun is still being finished.
    fn finishing(&self) {
        self.gone.store(true, Ordering::SeqCst);
        if let Ok(mut lock) = self.lock.lock()
            && let Some(lock) = lock.as_mut()
        {
            lock.finishing();
        }
    }
}

/// Sends a reply. When nobody listens any more, there is nobody to tell.
fn say(output: &Mutex<impl Write>, id: u32, reply: &Reply) {
    if let Ok(mut output) = output.lock()
        && let Err(error) = write_message(&mut *output, id, reply)
        && error.kind() == io::ErrorKind::InvalidInput
    {
        // Nothing was sent, and somebody waits for it.
        let _ = write_message(&mut *output, id, &Reply::Failed(Failure::new("send an answer", error)));
    }
}

fn answer(
    id: u32,
    request: Request,
    data: DataReader,
    output: &Mutex<impl Write + Send>,
    lock: &Held,
) -> Reply {
    let sink = |saying: Saying| say(output, id, &Reply::Said(saying));
    let done = |result: Result<(), Failure>| match result {
        Ok(()) => Reply::Done,
        Err(failure) => Reply::Failed(failure),
    };
    match request {
        Request::Observe(facts) => Reply::Answers(probe::answer_all(&facts)),
        Request::Apply(act) => done(apply::apply(&act, &sink)),
        Request::LoadImage { tag } => done(apply::image::load(&tag, Box::new(data), &sink)),
        Request::PutSecret(secret) => done(secret::put(secret, data)),
        Request::Lock(holder) => done(lock.take(&holder, &sink)),
        Request::Follow(argv) => follow(id, &argv, data, output),
        Request::Restore(beside, step) => done(restore::serve(beside, &step, data)),
        Request::Stream(call) => {
            let mut pieces = Pieces { id, output, asked: data, waiting: Vec::with_capacity(CHUNK) };
            done(
                calls::serve(&call, &mut pieces)
                    .and_then(|()| pieces.flush().doing(|| "send what was asked for")),
            )
        }
        Request::People(call) => match synapse::answer(&call) {
            Ok(answer) => Reply::People(Box::new(answer)),
            Err(failure) => Reply::Failed(failure),
        },
    }
}

/// Runs a command and sends what it prints as data; both its streams in one,
/// as on a terminal. It ends when the connection does, also when it never prints
/// anything again: `asked` has no data, and is cut off then.
fn follow(id: u32, argv: &[String], mut asked: DataReader, output: &Mutex<impl Write + Send>) -> Reply {
    let run = || -> Result<Option<i32>, Failure> {
        let doing = || format!("run {}", argv.first().map(String::as_str).unwrap_or("nothing"));
        let (mut reader, writer) = io::pipe().doing(doing)?;
        let mut words = argv.iter();
        let mut command = Command::new(words.next().map(String::as_str).unwrap_or_default());
        command.args(words).stdin(Stdio::null());
        command.stderr(writer.try_clone().doing(doing)?).stdout(writer);
        let child = Arc::new(Mutex::new(command.spawn().doing(doing)?));
        // The pipe ends when the child's own ends are the last ones.
        drop(command);
        let listened_to = Arc::clone(&child);
        // It may wait for longer than the child lives, and is nobody's to wait for.
        std::thread::spawn(move || {
            if asked.read(&mut [0]).is_err() {
                end(&listened_to);
            }
        });
        let mut buffer = vec![0; CHUNK];
        loop {
            let count = reader.read(&mut buffer).doing(doing)?;
            if count == 0 {
                break;
            }
            let sent = match output.lock() {
                Ok(mut output) => write_data(&mut *output, id, &buffer[..count]).is_ok(),
                Err(_) => false,
            };
            if !sent {
                end(&child);
                break;
            }
        }
        let mut child = child.lock().map_err(|_| Failure::new(doing(), "a thread failed"))?;
        Ok(child.wait().doing(doing)?.code())
    };
    match run() {
        Ok(status) => Reply::Ended(status),
        Err(failure) => Reply::Failed(failure),
    }
}

/// Ends a process, unless it was waited for already.
fn end(child: &Mutex<Child>) {
    if let Ok(mut child) = child.lock() {
        let _ = child.kill();
    }
}

/// Sends what is written as data, a piece for each that was asked for.
struct Pieces<'a, W> {
    id: u32,
    output: &'a Mutex<W>,
    asked: DataReader,
    waiting: Vec<u8>,
}

impl<W: Write> Write for Pieces<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.waiting.len() == CHUNK {
            self.flush()?;
        }
        let count = bytes.len().min(CHUNK - self.waiting.len());
        self.waiting.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.waiting.is_empty() {
            return Ok(());
        }
        if self.asked.read(&mut [0])? == 0 {
            return Err(io::Error::new(io::ErrorKind::BrokenPipe, "nobody wants more of it"));
        }
        let mut output = self.output.lock().map_err(|_| io::Error::other("a thread failed"))?;
        write_data(&mut *output, self.id, &self.waiting)?;
        self.waiting.clear();
        Ok(())
    }
}

/// The data of a request as something to read from.
struct DataReader {
    from: Receiver<Vec<u8>>,
    piece: io::Cursor<Vec<u8>>,
    ended: bool,
}

impl DataReader {
    fn new(from: Receiver<Vec<u8>>) -> Self {
        Self { from, piece: io::Cursor::new(Vec::new()), ended: false }
    }
}

impl Read for DataReader {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.piece.read(buffer)?;
            if count > 0 || self.ended {
                return Ok(count);
            }
            match self.from.recv() {
                Ok(piece) => {
                    self.ended = piece.is_empty();
                    self.piece = io::Cursor::new(piece);
                }
                // Cut off: what came so far must not be taken for the whole.
                Err(_) => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the connection was cut")),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guest::wire::write_cut;

    #[test]
    fn data_that_cannot_be_sent_to_their_end_are_not_taken_for_the_whole() {
        let mut sent = Vec::new();
        write_message(&mut sent, 1, &Request::PutSecret(matrix_podman_core::layout::Secret::TURN)).unwrap();
        write_data(&mut sent, 1, b"half").unwrap();
        write_cut(&mut sent, 1).unwrap();
        let mut said = Vec::new();
        serve(sent.as_slice(), &mut said, || {}).unwrap();
        let mut said = said.as_slice();
        let mut last = None;
        while let Some(frame) = read_frame::<Reply>(&mut said).unwrap() {
            last = Some(frame);
        }
        let Some(Frame::Message(Envelope { id: 1, body: Reply::Failed(failure) })) = last else {
            panic!("{last:?}")
        };
        assert!(failure.to_string().contains("cut"), "{failure}");
    }

    #[test]
    fn what_is_followed_ends_with_the_connection_though_it_says_nothing() {
        let mut sent = Vec::new();
        let argv = ["sleep", "1000"].map(str::to_owned).to_vec();
        write_message(&mut sent, 1, &Request::Follow(argv)).unwrap();
        let (done, waits) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _ = done.send(serve(sent.as_slice(), io::sink(), || {}).is_ok());
        });
        assert_eq!(waits.recv_timeout(std::time::Duration::from_secs(20)), Ok(true));
    }

    #[test]
    fn a_connection_cut_in_the_middle_of_a_frame_leaves_nobody_waiting() {
        let mut sent = Vec::new();
        write_message(&mut sent, 1, &Request::PutSecret(matrix_podman_core::layout::Secret::TURN)).unwrap();
        write_data(&mut sent, 1, b"half").unwrap();
        write_data(&mut sent, 1, b"never arrives whole").unwrap();
        sent.truncate(sent.len() - 5);
        let (done, waits) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _ = done.send(serve(sent.as_slice(), io::sink(), || {}).is_err());
        });
        assert_eq!(waits.recv_timeout(std::time::Duration::from_secs(20)), Ok(true));
    }

    #[test]
    fn a_request_that_is_not_understood_is_answered() {
        let mut sent = Vec::new();
        write_message(&mut sent, 7, &"something newer").unwrap();
        let mut said = Vec::new();
        serve(sent.as_slice(), &mut said, || {}).unwrap();
        let mut said = said.as_slice();
        let mut failed = None;
        while let Some(frame) = read_frame::<Reply>(&mut said).unwrap() {
            if let Frame::Message(Envelope { id: 7, body: Reply::Failed(failure) }) = frame {
                failed = failure.hint;
            }
        }
        assert!(failed.is_some_and(|hint| hint.contains("matrix-podman up")));
    }
}
