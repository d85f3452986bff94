//! Requests to a store that speaks HTTP.

use std::{io::Read as _, time::Duration};

use bytes::Bytes;
use rustic_core::BytesList;
use ureq::{
    Agent, SendBody,
    http::{HeaderMap, Request},
};

use super::{Limits, Trouble};
use crate::{failure::Failure, proxy, trust};

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(20);
/// How long an answer may take once all was sent; a store may sort out a large file first.
const ANSWER: Duration = Duration::from_secs(120);
/// How long all of a request may take, where nothing limits how fast it is.
const WHOLE: Duration = Duration::from_secs(30 * 60);
/// What is written or read with one request is hardly ever larger.
const LARGE: u64 = 256 << 20;
/// No answer is larger: packs have some tens of megabytes.
const LARGEST: u64 = 4 << 30;

/// What a store answered.
pub(super) struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// The value of a header.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// A client with the system's certificates. It follows nobody elsewhere: what
/// it may do is meant for one store.
pub(super) struct Client {
    agent: Agent,
    limits: Limits,
}

impl Client {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { agent: agent(limits), limits: limits.clone() }
    }
}

fn agent(limits: &Limits) -> Agent {
    let limited = limits.up.takes(LARGE).max(limits.down.takes(LARGE));
    Agent::config_builder()
        .tls_config(trust::system())
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .timeout_connect(Some(CONNECT))
        .timeout_recv_response(Some(ANSWER))
        .timeout_global(Some(WHOLE + limited))
        .user_agent(concat!("matrix-podman/", env!("CARGO_PKG_VERSION")))
        .build()
        .into()
}

/// Sends a request. What stands in its address may sign it, and is in no error.
pub(super) fn send(
    client: &Client,
    method: &str,
    url: &str,
    headers: &[(&str, String)],
    body: Option<&BytesList>,
    doing: &dyn Fn() -> String,
) -> Result<Answer, Trouble> {
    let lost = |e: ureq::Error| Trouble::passing(Failure::new(doing(), words(&e)));
    let mut request = Request::builder().method(method).uri(url);
    for (name, value) in headers {
        request = request.header(*name, value);
    }
    let proxy = proxy::for_url(url).map_err(|why| Trouble::from(Failure::new(doing(), why)))?;
    let unsayable = |_| Trouble::from(Failure::new(doing(), "its address cannot be put into a request"));
    let answer = match body {
        Some(body) => {
            request = request.header("content-length", body.size());
            let mut reader = client.limits.up.reader(body.clone().reader());
            let request = request.body(SendBody::from_reader(&mut reader)).map_err(unsayable)?;
            client.agent.run(client.agent.configure_request(request).proxy(proxy).build())
        }
        None => {
            let request = request.body(()).map_err(unsayable)?;
            client.agent.run(client.agent.configure_request(request).proxy(proxy).build())
        }
    };
    let mut answer = answer.map_err(lost)?;
    let status = answer.status().as_u16();
    let headers = answer.headers().clone();
    let mut body = Vec::new();
    let from = answer.body_mut().with_config().limit(LARGEST).reader();
    client.limits.down.reader(from).read_to_end(&mut body).map_err(|e| lost(e.into()))?;
    let answer = Answer { status, headers, body: body.into() };
    match status {
        408 | 429 | 500..=599 => Err(Trouble::passing(Failure::new(
            doing(),
            format!("the store answers {status}{}", said(&answer)),
        ))),
        _ => Ok(answer),
    }
}

/// An error without the address that the request went to.
fn words(error: &ureq::Error) -> String {
    match error {
        ureq::Error::BadUri(_) => "its address cannot be used".to_owned(),
        ureq::Error::Io(e) => e.to_string(),
        other => other.to_string(),
    }
}

/// What a store says about why it does not do something, for people.
pub(super) fn said(answer: &Answer) -> String {
    let text = String::from_utf8_lossy(&answer.body);
    let inner = |tag: &str| {
        let (_, rest) = text.split_once(&format!("<{tag}>"))?;
        Some(rest.split_once('<')?.0.trim().to_owned())
    };
    let said = match (inner("Code"), inner("Message")) {
        (Some(code), Some(message)) => format!("{code}: {message}"),
        (Some(code), None) => code,
        // rclone says it in a line.
        _ if !text.trim_start().starts_with('<') => text.lines().next().unwrap_or_default().to_owned(),
        _ => String::new(),
    };
    let said: String = said.chars().filter(|c| !c.is_control()).take(200).collect();
    if said.is_empty() { said } else { format!(" ({said})") }
}
