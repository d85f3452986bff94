//! Synapse's admin API, spoken to from inside the guest and nowhere else.

mod inside;
mod people;
mod register;
mod room;
mod service;

use std::{
    collections::BTreeSet,
    fs,
    io::ErrorKind,
    net::{Ipv4Addr, SocketAddrV4},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use matrix_podman_core::{
    config::Config,
    fact::{Fact, Value},
    layout,
    stack::{self, synapse::homeserver},
};
use serde_json::Value as Json;

use inside::Inside;
pub use people::answer;
pub(crate) use register::{NewAccount, REGISTER, registration};

use crate::{failure::Failure, process};

/// How long an answer may take; hashing a password takes most of a second, and
/// ending an account that is in many rooms more.
const PATIENCE: Duration = Duration::from_secs(60);

/// What a request is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Get,
    Post,
    Put,
    Delete,
}

/// What Synapse answered, whatever it was.
#[derive(Debug)]
struct Response {
    status: u16,
    body: Json,
}

impl Response {
    fn ok(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Matrix's own word for what went wrong.
    fn code(&self) -> &str {
        self.body.get("errcode").and_then(Json::as_str).unwrap_or_default()
    }

    /// The failure that this is, for a case that nobody foresaw.
    fn failure(&self, doing: &str) -> Failure {
        let said = match self.body.get("error").and_then(Json::as_str) {
            Some(said) => format!("Synapse answered {} {}: {said}", self.status, self.code()),
            None => format!("Synapse answered {}", self.status),
        };
        Failure::new(doing, said).hint("`matrix-podman logs synapse` may say more")
    }
}

/// Where Synapse listens, seen from inside the guest.
pub(crate) fn local_address() -> String {
    format!("http://{}", address())
}

/// The token of the program's own account, for what only a logged-in user can
/// try.
pub(crate) fn own_token() -> Result<String, Failure> {
    // Several things are tried at once, and one account is enough.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    service::Admin::open()?.into_token()
}

/// Deletes an upload (Synapse, docs/admin_api/media_admin_api.md). `place` is
/// server and id, with a slash between.
pub(crate) fn delete_media(place: &str, token: &str) -> Result<(), Failure> {
    let doing = format!("delete the upload {place} again");
    let path = format!("/_synapse/admin/v1/media/{place}");
    let answer = Api::here().send(Method::Delete, &path, Some(token), None, &doing)?;
    if answer.ok() { Ok(()) } else { Err(answer.failure(&doing)) }
}

/// Deletes copies of other servers' media that nobody looked at since `before`,
/// in milliseconds since 1970 (Synapse, docs/admin_api/media_admin_api.md).
pub(crate) fn forget_remote_media(before: u64) -> Result<(), Failure> {
    let doing = "delete copies of other servers' media";
    ready(doing)?;
    let path = format!("/_synapse/admin/v1/purge_media_cache?before_ts={before}");
    let answer = service::Admin::open()?.send(Method::Post, &path, None, doing)?;
    if answer.ok() { Ok(()) } else { Err(answer.failure(doing)) }
}

/// The admin API, and how to ask it something.
struct Api {
    agent: ureq::Agent,
    inside: Inside,
}

impl Api {
    /// Of the Synapse in this guest.
    fn here() -> Self {
        let agent = ureq::Agent::config_builder()
            .timeout_global(Some(PATIENCE))
            .http_status_as_error(false)
            .max_redirects(0)
            // A proxy that the environment names must not see any of this.
            .proxy(None)
            .build()
            .into();
        Self { agent, inside: Inside::of(stack::HOMESERVER) }
    }

    /// One request. `doing` completes "could not …". An answer of any status is
    /// a response; a failure is that there was none.
    fn send(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
        body: Option<&Json>,
        doing: &str,
    ) -> Result<Response, Failure> {
        let ask = |port: u16| {
            let url = format!("http://127.0.0.1:{port}{path}");
            self.inside
                .run(|| self.request(method, &url, token, body))
                .map_err(|why| (why.to_string(), None))?
        };
        // One that still runs with a config of before has all on one port.
        let answer = match ask(homeserver::ADMIN_PORT) {
            Err((_, Some(ErrorKind::ConnectionRefused))) => ask(homeserver::PORT),
            answer => answer,
        };
        answer.map_err(|(why, _)| silent(doing, &why))
    }

    /// One request, or why there was no answer.
    fn request(
        &self,
        method: Method,
        url: &str,
        token: Option<&str>,
        body: Option<&Json>,
    ) -> Result<Response, (String, Option<ErrorKind>)> {
        let bearer = token.map(|token| format!("Bearer {token}"));
        let answered = match method {
            Method::Get | Method::Delete => {
                let mut request =
                    if method == Method::Get { self.agent.get(url) } else { self.agent.delete(url) };
                if let Some(bearer) = &bearer {
                    request = request.header("authorization", bearer);
                }
                request.call()
            }
            Method::Post | Method::Put => {
                let mut request =
                    if method == Method::Post { self.agent.post(url) } else { self.agent.put(url) };
                if let Some(bearer) = &bearer {
                    request = request.header("authorization", bearer);
                }
                request.send_json(body.unwrap_or(&Json::Object(serde_json::Map::new())))
            }
        };
        let kind = |error: &ureq::Error| match error {
            ureq::Error::Io(e) => Some(e.kind()),
            _ => None,
        };
        let mut response = answered.map_err(|error| (error.to_string(), kind(&error)))?;
        let status = response.status().as_u16();
        let text = response.body_mut().read_to_string().map_err(|error| (error.to_string(), None))?;
        Ok(Response { status, body: serde_json::from_str(&text).unwrap_or(Json::Null) })
    }
}

/// What systemd says of Synapse's unit: whether it is loaded, whether it is active.
fn unit_state() -> (String, String) {
    let unit = stack::HOMESERVER.unit();
    match process::ask(&Fact::Units(BTreeSet::from([unit.clone()]))) {
        Some(Ok(Value::Units(units))) => {
            units.get(&unit).map(|state| (state.load.clone(), state.active.clone())).unwrap_or_default()
        }
        _ => Default::default(),
    }
}

/// Fails when Synapse cannot answer yet, or not at all: its port takes
/// connections long before it answers.
fn ready(doing: &str) -> Result<(), Failure> {
    let (load, active) = unit_state();
    Err(match (load.as_str(), active.as_str()) {
        (_, "active") => return Ok(()),
        ("not-found" | "", _) => {
            Failure::new(doing, "there is no Synapse here yet").hint("`matrix-podman up` makes it")
        }
        (_, "activating") => Failure::new(doing, "Synapse is still starting")
            .hint("wait a little and try again; `matrix-podman doctor` says why when it takes long"),
        _ => Failure::new(doing, "Synapse does not run")
            .hint("`matrix-podman doctor` finds out why, `matrix-podman status` shows all services"),
    })
}

/// Why there is no answer.
fn silent(doing: &str, error: &str) -> Failure {
    match ready(doing) {
        Err(failure) => failure,
        Ok(()) => Failure::new(doing, format!("Synapse does not answer ({error})"))
            .hint("`matrix-podman doctor` finds out why"),
    }
}

/// Where Synapse's port is published, as the applied config says.
fn address() -> SocketAddrV4 {
    let path = layout::applied_config();
    let text = fs::read_to_string(path.as_str()).unwrap_or_default();
    match Config::parse(&text, path.as_str()) {
        Ok(config) => {
            let bind = config.ports.bind;
            let address = if bind.is_unspecified() { Ipv4Addr::LOCALHOST } else { bind };
            SocketAddrV4::new(address, config.ports.synapse.get())
        }
        Err(_) => SocketAddrV4::new(Ipv4Addr::LOCALHOST, homeserver::PORT),
    }
}

/// Text as one segment of a path.
fn segment(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => {
                char::from(byte).to_string()
            }
            other => format!("%{other:02X}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_one_segment_of_a_path() {
        assert_eq!(segment("@a/b:c.de"), "%40a%2Fb%3Ac.de");
        assert_eq!(segment("../x?y"), "..%2Fx%3Fy");
    }
}
