//! What only a logged-in user can try: with the service account's token, and
//! clearing away what it makes.

use std::time::Instant;

use matrix_podman_core::fact::{
    HttpAnswer, HttpBody, HttpMethod, HttpQuestion, HttpReply, Stage, Trial, Tried,
};
use serde_json::{Value, json};

use super::web;
use crate::{failure::Failure, synapse};

/// How long an upload to Synapse itself may take, in seconds.
const UPLOAD: u16 = 120;
/// How long a sync may go on after its time, in seconds.
const AFTER: u16 = 30;

/// Tries it.
pub(super) fn attempt(trial: &Trial) -> Result<Tried, Failure> {
    let base = synapse::local_address();
    let token = synapse::own_token()?;
    let ask = |question: &HttpQuestion| answered(question, &token);
    let post = |path: &str, body| HttpQuestion {
        method: HttpMethod::Post,
        body,
        patience: UPLOAD,
        ..HttpQuestion::get(format!("{base}{path}"))
    };
    let started = Instant::now();
    let (reply, left_behind) = match trial {
        Trial::SlidingSync => {
            let body =
                json!({"lists": {"all": {"ranges": [[0, 0]], "timeline_limit": 0, "required_state": []}}});
            let path = "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync?timeout=0";
            (ask(&post(path, HttpBody::Json(body.to_string())))?, None)
        }
        Trial::Upload(bytes) => {
            let reply = ask(&post(
                "/_matrix/media/v3/upload?filename=matrix-podman-verify",
                HttpBody::Zeros(*bytes),
            ))?;
            let left = match field(reply.as_ref(), "content_uri") {
                Some(uri) => synapse::delete_media(uri.strip_prefix("mxc://").unwrap_or(&uri), &token)
                    .err()
                    .map(|why| why.to_string()),
                None => None,
            };
            (reply, left)
        }
        Trial::LongPoll { question, seconds } => {
            // The first sync is full of news; the one after it has none.
            let filter = r#"{"room":{"rooms":[]},"presence":{"types":[]},"account_data":{"types":[]}}"#;
            let filter = filter.replace('"', "%22").replace('{', "%7B").replace('}', "%7D");
            let sync = |more: &str, patience: u16| HttpQuestion {
                url: format!(
                    "{}/_matrix/client/v3/sync?set_presence=offline&filter={filter}{more}",
                    question.url
                ),
                patience,
                ..(**question).clone()
            };
            let first = ask(&sync("&timeout=0", AFTER))?;
            let Some(since) = field(first.as_ref(), "next_batch") else {
                return Ok(tried(first.as_ref(), started, None));
            };
            let more = format!("&since={since}&timeout={}", u32::from(*seconds) * 1000);
            let began = Instant::now();
            let reply = ask(&sync(&more, seconds + AFTER))?;
            return Ok(tried(reply.as_ref(), began, None));
        }
    };
    Ok(tried(reply.as_ref(), started, left_behind))
}

/// The answer; `None` when the connection was cut off before there was one.
pub(super) fn answered(question: &HttpQuestion, token: &str) -> Result<Option<HttpReply>, Failure> {
    let doing = || format!("ask {}", question.url.split('?').next().unwrap_or_default());
    match web::ask_as(question, Some(token)).map_err(|why| Failure::new(doing(), why))? {
        HttpAnswer::Answered(reply) => Ok(Some(*reply)),
        HttpAnswer::Silent(silence) if silence.stage == Stage::Cut => Ok(None),
        HttpAnswer::Silent(silence) => Err(Failure::new(doing(), silence.why)),
    }
}

fn field(reply: Option<&HttpReply>, name: &str) -> Option<String> {
    let body: Value = serde_json::from_str(reply?.body.as_deref()?).ok()?;
    body.get(name)?.as_str().map(str::to_owned)
}

fn tried(reply: Option<&HttpReply>, started: Instant, left_behind: Option<String>) -> Tried {
    Tried {
        status: reply.map(|reply| reply.status),
        errcode: field(reply, "errcode"),
        millis: u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        left_behind,
    }
}
