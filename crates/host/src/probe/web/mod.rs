//! Requests over HTTP that are asked to learn how somebody answers: to an
//! address and with a name that are given, and with a certificate that is
//! judged and told instead of refused.

mod encryption;

use std::{
    collections::BTreeMap,
    io::{self, Read},
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use matrix_podman_core::fact::{
    HttpAnswer, HttpBody, HttpMethod, HttpQuestion, HttpReply, Silence, Stage, Tls,
};
use ureq::{
    Agent, SendBody,
    config::Config,
    http::{Response, Uri},
    unversioned::{
        resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver},
        transport::{Connector, NextTimeout, TcpConnector, Transport},
    },
};

pub use encryption::certificates_in;

use encryption::Encryption;

/// How much of a body is read.
const BODY: u64 = 256 << 10;
/// How long an announcement may stay unanswered before it counts as accepted.
const ANNOUNCED: Duration = Duration::from_millis(1500);
/// What is said when an announced body would have to be sent.
const NOT_SENT: &str = "nobody objected";

/// How far a request came, noted on the way.
#[derive(Debug, Default)]
struct Way {
    address: Option<SocketAddr>,
    connected: bool,
    encrypted: bool,
    tls: Option<Tls>,
    why: Option<String>,
}

type Noted = Arc<Mutex<Way>>;

fn note(way: &Noted, change: impl FnOnce(&mut Way)) {
    change(&mut way.lock().unwrap_or_else(PoisonError::into_inner));
}

/// Asks, and tells what came of it.
pub(super) fn ask(question: &HttpQuestion) -> Result<HttpAnswer, String> {
    ask_as(question, None)
}

/// The same with an access token, which is sent only where the certificate
/// holds (or in clear to this very machine).
pub(crate) fn ask_as(question: &HttpQuestion, token: Option<&str>) -> Result<HttpAnswer, String> {
    let uri: Uri = question.url.parse().map_err(|e| format!("{}: {e}", question.url))?;
    let way = Noted::default();
    let encryption = Encryption::new(question.ca.as_deref(), token.is_some(), Arc::clone(&way))?;
    let config = Config::builder()
        .timeout_global(Some(Duration::from_secs(u64::from(question.patience))))
        .timeout_await_100(Some(ANNOUNCED))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .proxy(None)
        .user_agent(concat!("matrix-podman/", env!("CARGO_PKG_VERSION")))
        .build();
    let connector = ().chain(TcpConnector::default()).chain(Connected(Arc::clone(&way))).chain(encryption);
    let agent = Agent::with_parts(config, connector, Where { at: question.at, way: Arc::clone(&way) });
    let started = Instant::now();
    let outcome = send(&agent, &uri, question, token).and_then(read);
    let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let way = way.lock().unwrap_or_else(PoisonError::into_inner);
    let reply = |status, headers, body| {
        HttpAnswer::Answered(Box::new(HttpReply {
            address: way.address.unwrap_or_else(|| SocketAddr::from(([0, 0, 0, 0], 0))),
            tls: way.tls.clone(),
            status,
            headers,
            body,
            at: now(),
            millis,
        }))
    };
    Ok(match outcome {
        Ok((status, headers, body)) => reply(status, headers, body),
        // Whoever would have refused the announced body has not.
        Err(error) if was_not_sent(&error) => reply(100, BTreeMap::new(), None),
        Err(error) => HttpAnswer::Silent(silence(&error, &way, &uri)),
    })
}

/// Milliseconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

fn was_not_sent(error: &ureq::Error) -> bool {
    matches!(error, ureq::Error::Io(e) if e.to_string() == NOT_SENT)
}

fn send(
    agent: &Agent,
    uri: &Uri,
    question: &HttpQuestion,
    token: Option<&str>,
) -> Result<Response<ureq::Body>, ureq::Error> {
    let headers = [
        ("host", question.host.clone()),
        ("origin", question.origin.clone()),
        ("authorization", token.map(|token| format!("Bearer {token}"))),
    ];
    let headers = headers.into_iter().filter_map(|(name, value)| Some((name, value?)));
    match question.method {
        HttpMethod::Get | HttpMethod::Options => {
            let request = match question.method {
                HttpMethod::Options => agent
                    .options(uri)
                    .header("access-control-request-method", "GET")
                    .header("access-control-request-headers", "authorization"),
                _ => agent.get(uri),
            };
            headers.fold(request, |request, (name, value)| request.header(name, value)).call()
        }
        HttpMethod::Post => {
            let request = headers.fold(agent.post(uri), |request, (name, value)| request.header(name, value));
            match &question.body {
                HttpBody::Nothing => request.send_empty(),
                HttpBody::Json(text) => request.content_type("application/json").send(text),
                HttpBody::Zeros(count) => {
                    let mut zeros = io::repeat(0).take(*count);
                    request
                        .content_type("application/octet-stream")
                        .header("content-length", count.to_string())
                        .send(SendBody::from_reader(&mut zeros))
                }
                HttpBody::Announced(count) => request
                    .content_type("application/octet-stream")
                    .header("content-length", count.to_string())
                    .header("expect", "100-continue")
                    .send(SendBody::from_reader(&mut NeverSent)),
            }
        }
    }
}

/// A body that fails as soon as somebody wants it.
struct NeverSent;

impl Read for NeverSent {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other(NOT_SENT))
    }
}

type Said = (u16, BTreeMap<String, String>, Option<String>);

fn read(mut response: Response<ureq::Body>) -> Result<Said, ureq::Error> {
    let mut headers: BTreeMap<String, String> = BTreeMap::new();
    for (name, value) in response.headers() {
        let value = String::from_utf8_lossy(value.as_bytes()).into_owned();
        headers
            .entry(name.as_str().to_owned())
            .and_modify(|all| *all = format!("{all}, {value}"))
            .or_insert(value);
    }
    let mut bytes = Vec::new();
    response.body_mut().as_reader().take(BODY + 1).read_to_end(&mut bytes)?;
    let body = (u64::try_from(bytes.len()).is_ok_and(|n| n <= BODY))
        .then(|| String::from_utf8(bytes).ok())
        .flatten();
    Ok((response.status().as_u16(), headers, body))
}

fn silence(error: &ureq::Error, way: &Way, uri: &Uri) -> Silence {
    let stage = if !way.connected && way.address.is_none() {
        Stage::Name
    } else if !way.connected {
        Stage::Connect
    } else if uri.scheme_str() == Some("https") && !way.encrypted {
        Stage::Tls
    } else if is_cut(error) {
        Stage::Cut
    } else {
        Stage::Answer
    };
    let why = way.why.clone().unwrap_or_else(|| in_words(stage, error));
    Silence { stage, why }
}

/// Whether the other end hung up.
fn is_cut(error: &ureq::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset, UnexpectedEof};
    match error {
        ureq::Error::Io(e) => {
            matches!(e.kind(), UnexpectedEof | ConnectionReset | ConnectionAborted | BrokenPipe)
        }
        _ => false,
    }
}

fn in_words(stage: Stage, error: &ureq::Error) -> String {
    let timeout = match error {
        ureq::Error::Timeout(_) => true,
        // Below TLS, a timeout comes up as an error of reading.
        ureq::Error::Io(e) => {
            e.kind() == io::ErrorKind::TimedOut
                || e.get_ref()
                    .and_then(|e| e.downcast_ref())
                    .is_some_and(|e| matches!(e, ureq::Error::Timeout(_)))
        }
        _ => false,
    };
    match (stage, error) {
        (Stage::Name, _) => "nobody is known by that name".to_owned(),
        (Stage::Connect, _) if timeout => {
            "no connection: nobody answers, as where a firewall swallows it".to_owned()
        }
        (Stage::Connect, ureq::Error::Io(e)) => match e.kind() {
            io::ErrorKind::ConnectionRefused => "no connection: nothing listens there".to_owned(),
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => {
                "no connection: there is no way to that address".to_owned()
            }
            _ => format!("no connection: {e}"),
        },
        (Stage::Connect, _) => format!("no connection: {error}"),
        (Stage::Tls, _) if timeout => "connected, but nobody begins TLS there".to_owned(),
        (Stage::Tls, _) => format!("connected, but TLS does not come about: {error}"),
        (Stage::Answer, _) if timeout => "connected, but no answer in time".to_owned(),
        (Stage::Cut, _) => "the connection was closed before an answer came".to_owned(),
        (Stage::Answer, _) => format!("no answer that could be understood: {error}"),
    }
}

/// Gives the address that was asked for, else what the system knows.
#[derive(Debug)]
struct Where {
    at: Option<SocketAddr>,
    way: Noted,
}

impl Resolver for Where {
    fn resolve(
        &self,
        uri: &Uri,
        config: &Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let addresses = match self.at {
            None => DefaultResolver::default().resolve(uri, config, timeout)?,
            Some(at) => {
                let mut one = self.empty();
                one.push(at);
                one
            }
        };
        note(&self.way, |way| way.address = addresses.first().copied());
        Ok(addresses)
    }
}

/// Notes that the connection stands.
#[derive(Debug)]
struct Connected(Noted);

impl<In: Transport> Connector<In> for Connected {
    type Out = In;

    fn connect(
        &self,
        _: &ureq::unversioned::transport::ConnectionDetails<'_>,
        chained: Option<In>,
    ) -> Result<Option<In>, ureq::Error> {
        note(&self.0, |way| way.connected = chained.is_some());
        Ok(chained)
    }
}

#[cfg(test)]
mod tests;
