//! A small HTTP server that records what it is asked, and that can stop a
//! client at any request.

use std::{
    collections::BTreeMap,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Condvar, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    time::Duration,
};

use serde_json::{Value, json};

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// GET, POST, …
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query's words.
    pub query: BTreeMap<String, String>,
    /// The query as it came.
    pub query_text: String,
    /// The header `authorization`.
    pub authorization: Option<String>,
    /// The body; null when there is none.
    pub body: Value,
}

impl Asked {
    /// Whether it may change something. Logging in does not.
    pub fn is_write(&self) -> bool {
        self.method != "GET" && !self.path.ends_with("/tokens") && !self.path.ends_with("/tokens/2fa")
    }

    /// `POST /zones/…`
    pub fn line(&self) -> String {
        format!("{} {}", self.method, self.path)
    }
}

/// An answer.
pub(super) struct Answer {
    pub status: u16,
    pub body: Value,
    pub retry_after: Option<u64>,
}

impl Answer {
    pub fn new(status: u16, body: Value) -> Self {
        Self { status, body, retry_after: None }
    }
}

/// When a client is stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Before the request does anything.
    Before,
    /// When it is done, but not answered.
    After,
}

/// Holds a client at one of its writes.
#[derive(Default)]
pub struct Gate {
    state: Mutex<GateState>,
    opened: Condvar,
}

#[derive(Default)]
struct GateState {
    stop: Option<Stop>,
    closed: bool,
}

struct Stop {
    /// How many writes pass before.
    left: usize,
    when: When,
    report: mpsc::Sender<()>,
}

impl Gate {
    /// Stops the client at the write number `number`, counted from 0 and from
    /// now on; the channel says when.
    pub fn stop_at(&self, number: usize, when: When) -> mpsc::Receiver<()> {
        let (report, receive) = mpsc::channel();
        let stop = Some(Stop { left: number, when, report });
        *self.state.lock().unwrap() = GateState { stop, closed: false };
        receive
    }

    /// Lets everything through, what is held included: its client is gone.
    pub fn open(&self) {
        *self.state.lock().unwrap() = GateState::default();
        self.opened.notify_all();
    }

    fn pass(&self, asked: &Asked, when: When) {
        let mut state = self.state.lock().unwrap();
        if let Some(stop) = &mut state.stop
            && asked.is_write()
            && stop.when == when
        {
            if stop.left == 0 {
                let _ = stop.report.send(());
                state.closed = true;
            } else {
                stop.left -= 1;
            }
        }
        // While the gate is closed nothing else begins either.
        while state.closed {
            state = self.opened.wait(state).unwrap();
        }
    }
}

type Handler = dyn Fn(&Asked) -> Answer + Send + Sync;

/// A server on this machine. It ends when it is dropped.
pub(super) struct Server {
    pub address: SocketAddr,
    pub asked: Arc<Mutex<Vec<Asked>>>,
    stop: Arc<AtomicBool>,
}

impl Server {
    /// On this machine alone.
    pub fn start(gate: Arc<Gate>, handler: Arc<Handler>) -> Self {
        Self::start_at("127.0.0.1", gate, handler)
    }

    /// At an address of this machine's.
    pub fn start_at(address: &str, gate: Arc<Gate>, handler: Arc<Handler>) -> Self {
        let listener = TcpListener::bind((address, 0)).unwrap_or_else(|e| panic!("listen: {e}"));
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let (log, stopped) = (Arc::clone(&asked), Arc::clone(&stop));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let (gate, handler, log) = (Arc::clone(&gate), Arc::clone(&handler), Arc::clone(&log));
                std::thread::spawn(move || {
                    let _ = serve(stream, &gate, handler.as_ref(), &log);
                });
            }
        });
        Self { address, asked, stop }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(self.address);
    }
}

fn serve(stream: TcpStream, gate: &Gate, handler: &Handler, log: &Mutex<Vec<Asked>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let mut words = line.split_whitespace();
    let (Some(method), Some(target)) = (words.next(), words.next()) else { return Ok(()) };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let (method, path, query_text) = (method.to_owned(), path.to_owned(), query.to_owned());
    let query = query
        .split('&')
        .filter_map(|w| w.split_once('='))
        .map(|(k, v)| (k.to_owned(), v.to_owned()))
        .collect();
    let (mut length, mut authorization) = (0usize, None);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.trim().parse().unwrap_or(0),
            "authorization" => authorization = Some(value.trim().to_owned()),
            _ => {}
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body)?;
    let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
    let asked = Asked { method, path, query, query_text, authorization, body };
    log.lock().unwrap().push(asked.clone());
    gate.pass(&asked, When::Before);
    let answer = handler(&asked);
    gate.pass(&asked, When::After);
    let text = if answer.body.is_null() { String::new() } else { answer.body.to_string() };
    let retry = answer.retry_after.map_or_else(String::new, |s| format!("retry-after: {s}\r\n"));
    let mut stream = stream;
    write!(
        stream,
        "HTTP/1.1 {} Said\r\ncontent-type: application/json\r\n{retry}content-length: {}\r\nconnection: close\r\n\r\n{text}",
        answer.status,
        text.len()
    )
}

/// The parts of a path.
pub(super) fn parts(path: &str) -> Vec<&str> {
    path.split('/').filter(|part| !part.is_empty()).collect()
}

/// Whether an object has only these keys.
pub(super) fn only(body: &Value, known: &[&str]) -> Result<(), String> {
    let Some(object) = body.as_object() else { return Err("data must be object".to_owned()) };
    match object.keys().find(|key| !known.contains(&key.as_str())) {
        Some(key) => Err(format!("data must NOT have additional properties ({key})")),
        None => Ok(()),
    }
}

/// Merges the keys of `from` into `into`.
pub(super) fn merge(into: &mut Value, from: &Value) {
    for (key, value) in from.as_object().into_iter().flatten() {
        into[key] = value.clone();
    }
}

/// An empty list.
pub(super) fn none() -> Value {
    json!([])
}
