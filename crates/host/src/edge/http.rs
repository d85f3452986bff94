//! One HTTP client for both APIs: timeouts, and retries where they are safe.

use std::{sync::OnceLock, time::Duration};

use matrix_podman_core::edge::{Refusal, RefusalKind};
use serde_json::Value as Json;

use super::{Trouble, credential::Secret};
use crate::{proxy, trust};

/// How long a usual request may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How often a question is put when nobody answers.
const TRIES: u32 = 3;
/// The longest that we wait because we were told to.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// No answer of these APIs is larger.
const LARGEST: u64 = 32 << 20;

/// A method.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl Method {
    fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// A request.
pub(super) struct Call<'a> {
    pub method: Method,
    pub url: &'a str,
    pub bearer: Option<&'a Secret>,
    pub body: Option<&'a Json>,
    pub patience: Duration,
    /// Whether it may go through the proxy that the environment names.
    pub far: bool,
}

/// Sends a request. A question is put again when it was not answered; a write
/// only when it was turned away unread (429): whether one that was not answered
/// was done, its caller finds out by looking.
pub(super) fn send(call: &Call<'_>) -> Result<(u16, Json), Trouble> {
    let mut tried = 0;
    loop {
        tried += 1;
        let again = tried < TRIES;
        match once(call) {
            Ok((429, _, wait)) if again && wait <= LONGEST_WAIT => std::thread::sleep(wait),
            Ok((429, body, wait)) if wait > LONGEST_WAIT => return Err(busy(call.url, &body, wait)),
            Ok((502..=504, ..)) if again && call.method == Method::Get => std::thread::sleep(pause(tried)),
            Ok((status, body, _)) => return Ok((status, body)),
            Err(_) if again && call.method == Method::Get => std::thread::sleep(pause(tried)),
            Err(why) => return Err(Trouble::Silent(why)),
        }
    }
}

/// A server that asks for a long pause is reported, not waited for.
fn busy(url: &str, body: &Json, wait: Duration) -> Trouble {
    let host = url.split('/').nth(2).unwrap_or(url);
    let said = body["errors"][0]["message"].as_str().unwrap_or("it gave no reason");
    let minutes = wait.as_secs().div_ceil(60);
    Trouble::Refused(Refusal {
        kind: RefusalKind::Trouble,
        why: format!("{host} was asked too often and answers again in {minutes} min ({said})"),
        hint: "run the same again then".to_owned(),
        code: body["errors"][0]["code"].as_i64(),
    })
}

fn pause(tried: u32) -> Duration {
    Duration::from_millis(300 * u64::from(tried))
}

fn once(call: &Call<'_>) -> Result<(u16, Json, Duration), String> {
    let agent = agent()?;
    let host = call.url.split('/').nth(2).unwrap_or(call.url);
    let failed = |e: &dyn std::fmt::Display| format!("{host} does not answer: {e}");
    let mut request = ureq::http::Request::builder().method(call.method.as_str()).uri(call.url);
    if let Some(bearer) = call.bearer {
        let mut value = ureq::http::HeaderValue::from_str(&format!("Bearer {}", bearer.reveal()))
            .map_err(|_| "the credential holds letters that cannot be sent".to_owned())?;
        value.set_sensitive(true);
        request = request.header("authorization", value);
    }
    let body = match call.body {
        Some(body) => {
            request = request.header("content-type", "application/json");
            body.to_string()
        }
        None => String::new(),
    };
    let request = request.body(body).map_err(|e| failed(&e))?;
    let proxy = if call.far { proxy::for_url(call.url)? } else { None };
    let request = agent.configure_request(request).timeout_global(Some(call.patience)).proxy(proxy).build();
    let mut answer = agent.run(request).map_err(|e| failed(&e))?;
    let status = answer.status().as_u16();
    let wait = answer
        .headers()
        .get("retry-after")
        .and_then(|value| value.to_str().ok()?.trim().parse().ok())
        .map_or(Duration::from_secs(2), Duration::from_secs);
    let text = answer.body_mut().with_config().limit(LARGEST).read_to_string().map_err(|e| failed(&e))?;
    Ok((status, serde_json::from_str(&text).unwrap_or(Json::String(text)), wait))
}

/// The client, made once: the system's certificates, no redirects, since a
/// credential goes to whom it was meant for and nobody else.
fn agent() -> Result<&'static ureq::Agent, String> {
    static AGENT: OnceLock<ureq::Agent> = OnceLock::new();
    if let Some(agent) = AGENT.get() {
        return Ok(agent);
    }
    let agent = ureq::Agent::config_builder()
        .tls_config(trust::system())
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("matrix-podman/", env!("CARGO_PKG_VERSION")))
        .build()
        .into();
    Ok(AGENT.get_or_init(|| agent))
}
