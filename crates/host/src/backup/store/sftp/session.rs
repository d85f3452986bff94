//! One login through the operator's own ssh, shared by all that asks at the same time.
//!
//! Its config, agent, keys and known hosts are ssh's affair. Nothing is asked on a
//! terminal: at night nobody would answer.

use std::{
    collections::HashMap,
    io::{BufReader, Write as _},
    process::{Child, ChildStdin, Command, Stdio},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread,
    time::{Duration, Instant},
};

use matrix_podman_core::name::SshHost;

use super::wire::{Packet, Words, code, kind};
use crate::bounded;

/// How long an answer may take: a disk may have to wake up.
const PATIENCE: Duration = Duration::from_secs(120);
/// How many lines of what ssh says are kept.
const KEPT: usize = 15;
/// How long ssh may take to say why it ended.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// Why something could not be done there.
#[derive(Debug)]
pub(super) enum Lost {
    /// The connection is not there (any more): why, and what else ssh said.
    Connection(String, Vec<String>),
    /// The other side refused: its code and words.
    Refused(u32, String),
}

impl Lost {
    /// Whether there is no such file or folder.
    pub(super) fn is_not_there(&self) -> bool {
        matches!(self, Lost::Refused(code::NOT_THERE, _))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Who waits for which answer; none once nothing comes any more.
#[derive(Default)]
struct Waiting {
    over: bool,
    next: u32,
    whom: HashMap<u32, Sender<Packet>>,
}

/// A login.
pub(super) struct Session {
    to: Mutex<Option<ChildStdin>>,
    waiting: Arc<Mutex<Waiting>>,
    said: Arc<Mutex<Vec<String>>>,
    process: Mutex<Child>,
    extensions: Vec<String>,
}

impl Drop for Session {
    fn drop(&mut self) {
        // ssh ends when nothing can come any more.
        drop(locked(&self.to).take());
        let mut process = locked(&self.process);
        let _ = process.kill();
        let _ = process.wait();
    }
}

fn command(host: &SshHost) -> Command {
    let mut ssh = Command::new("ssh");
    for option in [
        "BatchMode=yes",
        "ConnectTimeout=20",
        "ServerAliveInterval=15",
        "ServerAliveCountMax=4",
        "ForwardAgent=no",
        "ForwardX11=no",
        "PermitLocalCommand=no",
        "ClearAllForwardings=yes",
    ] {
        ssh.args(["-o", option]);
    }
    if let Some(port) = host.port() {
        ssh.args(["-p", &port.to_string()]);
    }
    if let Some(user) = host.user() {
        ssh.args(["-l", user]);
    }
    ssh.args(["-s", "--", host.host(), "sftp"]);
    ssh.env("LC_ALL", "C.UTF-8").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    ssh
}

impl Session {
    /// Logs in.
    pub(super) fn open(host: &SshHost) -> Result<Self, Lost> {
        let cannot = |what: &str, e: std::io::Error| Lost::Connection(format!("{what}: {e}"), Vec::new());
        let mut process = command(host).spawn().map_err(|e| cannot("ssh cannot be started", e))?;
        let pipes = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let (Some(mut to), Some(mut from), Some(stderr)) = pipes else {
            return Err(Lost::Connection("ssh has no pipes".to_owned(), Vec::new()));
        };
        let said = Arc::new(Mutex::new(Vec::new()));
        let keep = Arc::clone(&said);
        thread::spawn(move || {
            for line in bounded::lines(BufReader::new(stderr), u64::MAX).map_while(Result::ok) {
                let mut said = locked(&keep);
                if said.len() == KEPT {
                    said.remove(0);
                }
                said.push(line.trim_end().to_owned());
            }
        });
        let waiting = Arc::new(Mutex::new(Waiting::default()));
        let (whom, (first, hello)) = (Arc::clone(&waiting), mpsc::channel());
        thread::spawn(move || {
            // The first packet answers nobody's question.
            if let Ok(packet) = Packet::read(&mut from)
                && first.send(packet).is_ok()
            {
                while let Ok(packet) = Packet::read(&mut from) {
                    let asker = packet.words().u32().and_then(|id| locked(&whom).whom.remove(&id));
                    if let Some(asker) = asker {
                        let _ = asker.send(packet);
                    }
                }
            }
            drop(first);
            let mut waiting = locked(&whom);
            waiting.over = true;
            waiting.whom.clear();
        });
        let began = to.write_all(&Words::default().byte(kind::INIT).u32(3).packet());
        let mut session = Self {
            to: Mutex::new(Some(to)),
            waiting,
            said,
            process: Mutex::new(process),
            extensions: Vec::new(),
        };
        let hello = began.ok().and_then(|()| hello.recv_timeout(PATIENCE).ok());
        let Some(hello) = hello.filter(|hello| hello.kind == kind::VERSION) else {
            return Err(session.lost());
        };
        let mut words = hello.words();
        words.u32();
        while let (Some(name), Some(_)) = (words.text(), words.bytes()) {
            session.extensions.push(name);
        }
        Ok(session)
    }

    /// Whether the other side knows a word that is not in the standard.
    pub(super) fn knows(&self, extension: &str) -> bool {
        self.extensions.iter().any(|known| known == extension)
    }

    /// Asks; the answer is waited for with [`Self::answer`].
    pub(super) fn ask(&self, kind: u8, words: Words) -> Result<Receiver<Packet>, Lost> {
        let (to, answer) = mpsc::channel();
        let id = {
            let mut waiting = locked(&self.waiting);
            if waiting.over {
                drop(waiting);
                return Err(self.lost());
            }
            waiting.next = waiting.next.wrapping_add(1);
            let id = waiting.next;
            waiting.whom.insert(id, to);
            id
        };
        let packet = Words::default().byte(kind).u32(id).bytes(&words.inner()).packet();
        let sent = locked(&self.to).as_mut().map(|to| to.write_all(&packet).and_then(|()| to.flush()));
        match sent {
            Some(Ok(())) => Ok(answer),
            _ => Err(self.lost()),
        }
    }

    /// What came; a refusal is an error.
    pub(super) fn answer(&self, answer: &Receiver<Packet>) -> Result<Packet, Lost> {
        let packet = answer.recv_timeout(PATIENCE).map_err(|_| self.lost())?;
        if packet.kind != kind::STATUS {
            return Ok(packet);
        }
        let mut words = packet.words();
        words.u32();
        match (words.u32(), words.text()) {
            (Some(code::OK), _) => Ok(packet),
            (Some(code), said) => Err(Lost::Refused(code, said.unwrap_or_default())),
            (None, _) => Err(Lost::Connection("what comes is not SFTP".to_owned(), Vec::new())),
        }
    }

    /// Asks and waits.
    pub(super) fn call(&self, kind: u8, words: Words) -> Result<Packet, Lost> {
        let answer = self.ask(kind, words)?;
        self.answer(&answer)
    }

    /// Why the connection is gone, in ssh's words.
    fn lost(&self) -> Lost {
        let until = Instant::now() + LAST_WORDS;
        let status = loop {
            match locked(&self.process).try_wait() {
                Ok(Some(status)) => break Some(status),
                Ok(None) if Instant::now() < until => thread::sleep(Duration::from_millis(20)),
                _ => break None,
            }
        };
        let said = locked(&self.said).clone();
        let why = match (said.iter().rev().find(|line| !line.is_empty()), status) {
            (Some(line), _) => line.clone(),
            (None, Some(_)) => "the connection was lost".to_owned(),
            (None, None) => "the other side does not answer".to_owned(),
        };
        Lost::Connection(why, said)
    }
}
