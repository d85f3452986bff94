//! A server that reads paths as Twisted does for Synapse, and writes down what
//! it was handed.
//!
//! What it cannot show: whatever Synapse does behind choosing a resource. That
//! a path which reaches the admin API there also does something is shown with
//! the real Synapse.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

/// The header by which a request is known again behind a proxy.
pub const CASE: &str = "x-case";

/// What a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// `/_matrix`
    Matrix,
    /// `/_synapse/client`
    Client,
    /// `/_synapse/admin`
    Admin,
    /// Anything else that Synapse answers, metrics among it.
    Other,
    /// Nothing.
    Nothing,
}

/// The resource that Twisted finds: what stands before the `?`, without its
/// first letter, taken apart at slashes, each part decoded once. Dots mean nothing.
pub fn twisted(target: &[u8]) -> Reads {
    let path = target.split(|byte| *byte == b'?').next().unwrap_or_default();
    let parts: Vec<Vec<u8>> =
        path.get(1..).unwrap_or_default().split(|byte| *byte == b'/').map(decoded).collect();
    let part = |number: usize| parts.get(number).map_or(&b""[..], Vec::as_slice);
    match (part(0), part(1)) {
        (b"_matrix", _) => Reads::Matrix,
        (b"_synapse", b"client") => Reads::Client,
        (b"_synapse", b"admin") => Reads::Admin,
        (b"_synapse" | b"health" | b".well-known", _) => Reads::Other,
        _ => Reads::Nothing,
    }
}

/// The same as the most obliging of servers would have it: decoded until nothing
/// changes, backslashes taken for slashes, parameters dropped, dots resolved,
/// capital letters made small.
pub fn obliging(target: &[u8]) -> Reads {
    let mut path = target.split(|byte| *byte == b'?').next().unwrap_or_default().to_vec();
    loop {
        let next = decoded(&path);
        if next == path {
            break;
        }
        path = next;
    }
    let mut parts: Vec<Vec<u8>> = Vec::new();
    for part in path.split(|byte| matches!(byte, b'/' | b'\\')) {
        match part.split(|byte| *byte == b';').next().unwrap_or_default() {
            b"" | b"." => {}
            b".." => drop(parts.pop()),
            part => parts.push(part.to_ascii_lowercase()),
        }
    }
    twisted(&[b"/", parts.join(&b'/').as_slice()].concat())
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let (mut out, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(byte) = text.get(at) {
        let digit = |place: usize| text.get(place).and_then(|b| char::from(*b).to_digit(16));
        match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push(u8::try_from(high * 16 + low).unwrap_or(0));
                at += 3;
            }
            _ => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    out
}

/// The server.
pub struct Twisted {
    handed: Arc<Mutex<BTreeMap<String, Vec<u8>>>>,
    stop: Arc<AtomicBool>,
    address: String,
}

impl Twisted {
    /// At an address of this machine's.
    #[track_caller]
    pub fn start(address: &str) -> Self {
        let listener = TcpListener::bind(address).unwrap_or_else(|e| panic!("listen at {address}: {e}"));
        let (handed, stop) = (Arc::default(), Arc::new(AtomicBool::new(false)));
        let this = Self { handed, stop, address: address.to_owned() };
        let (handed, stopped) = (Arc::clone(&this.handed), Arc::clone(&this.stop));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let handed = Arc::clone(&handed);
                std::thread::spawn(move || serve(stream, &handed));
            }
        });
        this
    }

    /// What it was handed since the last time: each case with its target.
    pub fn take(&self) -> BTreeMap<String, Vec<u8>> {
        std::mem::take(&mut *self.handed.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

impl Drop for Twisted {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(&self.address);
    }
}

fn serve(stream: TcpStream, handed: &Mutex<BTreeMap<String, Vec<u8>>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut stream = stream;
    loop {
        let mut line = Vec::new();
        if reader.read_until(b'\n', &mut line)? == 0 {
            return Ok(());
        }
        // Between method and version, whatever stands there.
        let line = line.trim_ascii_end();
        let begin = line.iter().position(|b| *b == b' ').map_or(0, |at| at + 1);
        let end = line.iter().rposition(|b| *b == b' ').unwrap_or(line.len()).max(begin);
        let target = line[begin..end].to_vec();
        let mut case = None;
        loop {
            let mut header = String::new();
            reader.read_line(&mut header)?;
            let Some((name, value)) = header.trim_end().split_once(':') else { break };
            if name.eq_ignore_ascii_case(CASE) {
                case = Some(value.trim().to_owned());
            }
        }
        if let Some(case) = case {
            handed.lock().unwrap_or_else(|e| e.into_inner()).insert(case, target);
        }
        stream
            .write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}")?;
    }
}
