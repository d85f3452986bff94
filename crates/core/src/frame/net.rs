//! What the network says: names, connections, certificates, answers over HTTP.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
};

use serde::{Deserialize, Serialize};

/// One request over HTTP. It carries no token, so whoever answers it changes
/// nothing that lasts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct HttpQuestion {
    /// How it is asked.
    pub method: HttpMethod,
    /// What is asked for. The host in it is what the certificate has to be for.
    pub url: String,
    /// Where to connect to; found by the URL's host when absent.
    pub at: Option<SocketAddr>,
    /// What the `Host` header says, where it is not the URL's own.
    pub host: Option<String>,
    /// What the `Origin` header says, as a browser's would.
    pub origin: Option<String>,
    /// What is sent.
    pub body: HttpBody,
    /// Certificates (PEM) to trust besides those of the system.
    pub ca: Option<String>,
    /// How long the answer may take, in seconds.
    pub patience: u16,
}

/// How something is asked over HTTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HttpMethod {
    /// `GET`
    Get,
    /// `OPTIONS`
    Options,
    /// `POST`
    Post,
}

/// What is sent with a request.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum HttpBody {
    /// Nothing.
    Nothing,
    /// This JSON.
    Json(String),
    /// So many zero bytes.
    Zeros(u64),
    /// A header that announces so many bytes, and then none of them: who
    /// answers at all answers because of the announcement.
    Announced(u64),
}

/// Seconds that an answer may take, unless it is asked for something slow.
pub const PATIENCE: u16 = 10;

impl HttpQuestion {
    /// A GET of `url`.
    pub fn get(url: impl Into<String>) -> Self {
        Self {
            method: HttpMethod::Get,
            url: url.into(),
            at: None,
            host: None,
            origin: None,
            body: HttpBody::Nothing,
            ca: None,
            patience: PATIENCE,
        }
    }
}

/// What came of an [`HttpQuestion`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HttpAnswer {
    /// An answer, whatever it says.
    Answered(Box<HttpReply>),
    /// None.
    Silent(Silence),
}

/// An answer over HTTP.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HttpReply {
    /// Who answered.
    pub address: SocketAddr,
    /// The encryption, where there was one.
    pub tls: Option<Tls>,
    /// The status.
    pub status: u16,
    /// The headers, their names in lower case.
    pub headers: BTreeMap<String, String>,
    /// The body, when it is text of at most 256 KiB.
    pub body: Option<String>,
    /// When it came: milliseconds since 1970, by the clock of the side that asked.
    pub at: u64,
    /// How long it took, in milliseconds.
    pub millis: u64,
}

impl HttpReply {
    /// The body as JSON; null where it is none.
    pub fn json(&self) -> serde_json::Value {
        self.body.as_deref().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default()
    }
}

/// Why there was no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Silence {
    /// How far it came.
    pub stage: Stage,
    /// Why it came no further, in a fragment.
    pub why: String,
}

/// How far a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// Nobody is known by that name.
    Name,
    /// No connection.
    Connect,
    /// No encryption.
    Tls,
    /// Connected, and cut off before an answer came.
    Cut,
    /// Connected, and then no answer that could be understood.
    Answer,
}

/// An encrypted connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tls {
    /// `TLS 1.3`
    pub version: String,
    /// The cipher suite.
    pub cipher: String,
    /// What is wrong with the certificate, if anything is.
    pub distrust: Option<Distrust>,
    /// The server's own certificate, when it could be read.
    pub certificate: Option<Certificate>,
}

/// Why a certificate is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", content = "why", rename_all = "kebab-case")]
pub enum Distrust {
    /// It is past its end.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// It is for other names.
    WrongName,
    /// Nobody who is trusted has signed it, or an intermediate one is missing.
    UnknownIssuer,
    /// Something else, in the words of the library.
    Other(String),
}

/// A certificate, as far as a person wants to know it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// Who signed it.
    pub issuer: String,
    /// The names that it is for.
    pub names: Vec<String>,
    /// From when on: seconds since 1970.
    pub not_before: i64,
    /// Until when: seconds since 1970.
    pub not_after: i64,
}

/// The addresses of a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NameAddresses {
    /// All of them, IPv4 and IPv6; none when there is no such name.
    pub addresses: Vec<IpAddr>,
}

/// One SRV record.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SrvRecord {
    /// The lowest is asked first.
    pub priority: u16,
    /// Among the same priority: the share.
    pub weight: u16,
    /// The port.
    pub port: u16,
    /// The host, without the dot at its end; empty for "there is none".
    pub target: String,
    /// Whether the host is only another name of a third (a CNAME), which the
    /// standard forbids.
    pub alias: bool,
}
