//! A certificate authority for tests, and requests over TLS to it.

use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::Invocation;

/// A certificate authority of a test's own.
pub struct Authority {
    folder: PathBuf,
}

impl Authority {
    /// A new one, in a folder of its own.
    #[track_caller]
    pub fn new(folder: &Path) -> Self {
        std::fs::create_dir_all(folder).unwrap_or_else(|e| panic!("make {}: {e}", folder.display()));
        let this = Self { folder: folder.to_owned() };
        let (key, certificate) = (this.path("ca.key"), this.path("ca.pem"));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            "30",
            "-subj",
            "/CN=Test authority",
            "-keyout",
            &key,
            "-out",
            &certificate,
        ]);
        this
    }

    fn path(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Its own certificate.
    pub fn certificate(&self) -> String {
        self.path("ca.pem")
    }

    /// Makes a certificate for `names`, valid for `days`: `NAME.pem` with the
    /// chain and `NAME.pem.key`, in `folder`.
    #[track_caller]
    pub fn issue(&self, folder: &Path, name: &str, names: &[&str], days: u32) {
        std::fs::create_dir_all(folder).unwrap_or_else(|e| panic!("make {}: {e}", folder.display()));
        let file = |end: &str| folder.join(format!("{name}{end}")).display().to_string();
        let list: Vec<String> = names.iter().map(|name| format!("DNS:{name}")).collect();
        let extension = format!("subjectAltName={}", list.join(","));
        openssl(&[
            "req",
            "-x509",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
            "-nodes",
            "-days",
            &days.to_string(),
            "-subj",
            &format!("/CN={}", names[0]),
            "-addext",
            &extension,
            "-addext",
            "basicConstraints=critical,CA:FALSE",
            "-CA",
            &self.certificate(),
            "-CAkey",
            &self.path("ca.key"),
            "-keyout",
            &file(".pem.key"),
            "-out",
            &file(".pem"),
        ]);
    }
}

#[track_caller]
fn openssl(arguments: &[&str]) {
    Invocation::new(["openssl"].iter().chain(arguments)).quietly().run().ok();
}

/// What came back.
#[derive(Debug, Clone)]
pub struct Fetched {
    /// The status; 0 when there was no answer.
    pub status: u16,
    /// Header lines, in lower case.
    pub headers: Vec<String>,
    /// The body.
    pub body: String,
}

impl Fetched {
    /// The body as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|e| panic!("{e}: {self:?}"))
    }

    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim))
    }
}

/// Asks for `url` with curl, with its path exactly as it is written; `address`
/// is where its host is. More of curl's own words may follow.
#[track_caller]
pub fn fetch(authority: &Authority, address: &str, url: &str, more: &[&str]) -> Fetched {
    let host = url.split('/').nth(2).unwrap_or_default();
    let port = if url.starts_with("https://") { 443 } else { 80 };
    let resolve = format!("{host}:{port}:{address}");
    let ca = authority.certificate();
    let base = [
        "curl",
        "--silent",
        "--include",
        "--path-as-is",
        "--http1.1",
        "--max-time",
        "20",
        "--cacert",
        &ca,
        "--resolve",
        &resolve,
        "--write-out",
        "\n%{http_code}",
        url,
    ];
    let ran = Invocation::new(base.iter().chain(more)).quietly().run();
    let text = ran.stdout.replace("\r\n", "\n");
    let (text, status) = text.rsplit_once('\n').unwrap_or(("", "0"));
    let mut rest = text;
    let mut headers = "";
    // Answers on the way, such as 100, come first.
    while let Some((head, body)) = rest.split_once("\n\n") {
        (headers, rest) = (head, body);
        if !rest.starts_with("HTTP/") {
            break;
        }
    }
    Fetched {
        status: status.trim().parse().unwrap_or(0),
        headers: headers
            .lines()
            .filter_map(|l| l.split_once(':'))
            .map(|(name, value)| format!("{}:{value}", name.to_ascii_lowercase()))
            .collect(),
        body: rest.to_owned(),
    }
}
