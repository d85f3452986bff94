//! What a client finds, asked where the services listen.

use serde_json::Value;

use super::{Asked, Check, Question, address, errcode, json, reply, synapse};
use crate::{
    config::Registration,
    fact::{HttpBody, HttpMethod, HttpQuestion, Trial},
    observed::{Observed, Seen},
    size::Bytes,
};

pub(super) const QUESTIONS: &[Question] = &[
    ("client/versions", versions),
    ("client/login", login),
    ("client/registration", registration),
    ("client/token", token),
    ("client/sliding-sync", sliding_sync),
    ("client/upload", upload),
    ("client/upload-limit", upload_limit),
    ("client/web", web),
];

/// The largest upload that is tried without being asked for: it takes a second
/// or two.
const QUICK: Bytes = Bytes::mib(256);

fn versions(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "client/versions";
    let get = |base| HttpQuestion::get(format!("{base}/_matrix/client/versions"));
    Ok(match synapse(asked, id, get, seen)? {
        Err(check) => check,
        Ok(reply) => {
            let answer = json(reply);
            let versions =
                answer.get("versions").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            match versions.last().and_then(Value::as_str) {
                Some(newest) => Check::pass(id, format!("Matrix up to {newest}")),
                None => Check::fail(
                    id,
                    format!("it does not say which versions of Matrix it speaks (status {})", reply.status),
                    "matrix-podman logs synapse",
                ),
            }
        }
    })
}

fn login(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "client/login";
    let get = |base| HttpQuestion::get(format!("{base}/_matrix/client/v3/login"));
    Ok(match synapse(asked, id, get, seen)? {
        Err(check) => check,
        Ok(reply) => {
            let answer = json(reply);
            let flows = answer.get("flows").and_then(Value::as_array).cloned().unwrap_or_default();
            let kinds: Vec<&str> = flows.iter().filter_map(|flow| flow.get("type")?.as_str()).collect();
            if kinds.contains(&"m.login.password") {
                Check::pass(id, "with name and password")
            } else {
                Check::fail(
                    id,
                    format!("nobody can log in with a password; it offers {}", list(&kinds)),
                    "`matrix-podman plan` shows whether its config was changed",
                )
            }
        }
    })
}

fn list(words: &[&str]) -> String {
    if words.is_empty() { "nothing".to_owned() } else { words.join(", ") }
}

/// Asks what a client asks before it shows the page for a new account. Synapse
/// remembers the question for a while and forgets it by itself.
fn registration(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "client/registration";
    let post = |base| HttpQuestion {
        method: HttpMethod::Post,
        body: HttpBody::Json("{}".to_owned()),
        ..HttpQuestion::get(format!("{base}/_matrix/client/v3/register"))
    };
    let reply = match synapse(asked, id, post, seen)? {
        Err(check) => return Ok(check),
        Ok(reply) => reply,
    };
    let answer = json(reply);
    let flows: Vec<Vec<&str>> = answer
        .get("flows")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .map(|flow| {
            let stages = flow.get("stages").and_then(Value::as_array).into_iter().flatten();
            stages.filter_map(Value::as_str).collect()
        })
        .collect();
    let by_token = !flows.is_empty() && flows.iter().all(|flow| flow.contains(&"m.login.registration_token"));
    let found = match (reply.status, flows.is_empty()) {
        (403, _) => "nobody can make an account",
        (401, false) if by_token => "only who has an invite token can make an account",
        (401, false) => "anybody can make an account",
        (429, _) => {
            let why = "Synapse was asked too often just now; try again in a minute".to_owned();
            return Err(crate::observed::Gap::Unknown(why));
        }
        (status, _) => {
            return Ok(Check::fail(
                id,
                format!("it answers status {status} {}", errcode(reply)),
                "matrix-podman logs synapse",
            ));
        }
    };
    let wanted = match asked.site.config.synapse.registration {
        Registration::Closed => "nobody can make an account",
        Registration::Token => "only who has an invite token can make an account",
        Registration::Open { .. } => "anybody can make an account",
    };
    Ok(if found == wanted {
        Check::pass(id, format!("{found}, as the config says"))
    } else {
        Check::fail(id, format!("{found}, and the config says: {wanted}"), "matrix-podman up")
    })
}

fn token(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "client/token";
    let paths = ["/_matrix/client/v3/account/whoami", "/_matrix/client/v3/sync"];
    let replies =
        paths.map(|path| synapse(asked, id, |base| HttpQuestion::get(format!("{base}{path}")), seen));
    for (path, reply) in paths.into_iter().zip(replies) {
        match reply? {
            Err(check) => return Ok(check),
            Ok(reply) if reply.status == 401 => {}
            Ok(reply) => {
                return Ok(Check::fail(
                    id,
                    format!("{path} answers status {} to somebody who is not logged in", reply.status),
                    "something other than Synapse answers there: `matrix-podman status`",
                ));
            }
        }
    }
    Ok(Check::pass(id, "who is not logged in learns nothing"))
}

fn sliding_sync(_: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "client/sliding-sync";
    let tried = seen.tried(&Trial::SlidingSync)?;
    Ok(match tried.status {
        Some(200) => Check::pass(id, format!("answers in {} ms, as Element X needs it", tried.millis)),
        status => Check::fail(
            id,
            format!("it answers {} {}", told(status), tried.errcode.as_deref().unwrap_or_default()),
            "use a Synapse from 1.114 on, which has it built in",
        ),
    })
}

/// What came of something that was tried, after "ends with".
pub(super) fn told(status: Option<u16>) -> String {
    match status {
        Some(status) => format!("status {status}"),
        None => "a closed connection".to_owned(),
    }
}

/// Whether uploads of that size are tried in this run; else why not.
fn is_tried(asked: &Asked<'_>, id: &'static str) -> Result<Bytes, Check> {
    let limit = *asked.site.config.synapse.max_upload_size;
    if limit > QUICK && !asked.scope.slow {
        return Err(Check::left_out(id, format!("{limit} take a while; --slow tries it")));
    }
    Ok(limit)
}

fn upload(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "client/upload";
    let limit = match is_tried(asked, id) {
        Ok(limit) => limit,
        Err(check) => return Ok(check),
    };
    let tried = seen.tried(&Trial::Upload(limit.0))?;
    Ok(match (tried.status, &tried.left_behind) {
        (Some(200), None) => Check::pass(id, format!("a file of {limit} can be sent; it was deleted again")),
        (Some(200), Some(why)) => Check::weaker(
            id,
            format!("a file of {limit} can be sent, and stays: {why}"),
            "it takes room on the disk",
        ),
        (Some(413), _) => Check::fail(
            id,
            format!("a file of {limit}, as the config allows, is refused as too large"),
            "matrix-podman up",
        ),
        (status, _) => Check::fail(
            id,
            format!("sending a file of {limit} ends with {}", told(status)),
            "matrix-podman logs synapse",
        ),
    })
}

fn upload_limit(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "client/upload-limit";
    let limit = match is_tried(asked, id) {
        Ok(limit) => limit,
        Err(check) => return Ok(check),
    };
    let (tried, whole) = (seen.tried(&Trial::Upload(limit.0 + 1)), seen.tried(&Trial::Upload(limit.0)));
    let (tried, whole) = (tried?, whole?);
    Ok(match tried.status {
        Some(413) => Check::pass(id, "one byte more is refused"),
        // Synapse hangs up on a body that is longer than any it takes.
        None if whole.status == Some(200) => Check::pass(id, "one byte more is refused: Synapse hangs up"),
        Some(200) => Check::fail(
            id,
            format!("one byte more than {limit} is accepted too"),
            "`matrix-podman up` sets the limit that the config says",
        ),
        status => Check::fail(
            id,
            format!("one byte more than {limit} ends with {}, not with a refusal", told(status)),
            "matrix-podman logs synapse",
        ),
    })
}

fn web(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "client/web";
    let base = address(asked, asked.site.config.ports.web.get(), seen)?;
    let log = "matrix-podman logs element-web";
    let page = reply(id, &HttpQuestion::get(format!("{base}/")), log, seen);
    let config = reply(id, &HttpQuestion::get(format!("{base}/config.json")), log, seen);
    let (page, config) = match (page?, config?) {
        (Ok(page), Ok(config)) => (page, config),
        (Err(check), _) | (_, Err(check)) => return Ok(check),
    };
    let html = page.body.as_deref().unwrap_or_default().to_ascii_lowercase().contains("<html");
    if page.status != 200 || !html {
        return Ok(Check::fail(
            id,
            format!("{base}/ is no page of the web client (status {})", page.status),
            format!("`{log}` says why"),
        ));
    }
    Ok(match config_flaw(asked, config.status, &json(config)) {
        None => Check::pass(id, format!("it loads and speaks to {}", asked.site.config.matrix_url)),
        Some(flaw) => Check::fail(id, flaw, "matrix-podman up"),
    })
}

/// What is wrong with a `config.json` of the web client.
pub(super) fn config_flaw(asked: &Asked<'_>, status: u16, config: &Value) -> Option<String> {
    let server = config.pointer("/default_server_config/m.homeserver");
    let text = |key: &str| server.and_then(|s| s.get(key)).and_then(Value::as_str).unwrap_or_default();
    let wanted = &asked.site.config;
    if server.is_none() {
        Some(format!("its config.json names no server (status {status})"))
    } else if text("base_url") != wanted.matrix_url {
        Some(format!("it speaks to {}, and matrix_url is {}", text("base_url"), wanted.matrix_url))
    } else if text("server_name") != wanted.server_name.as_str() {
        Some(format!("it says that the server is {}, and it is {}", text("server_name"), wanted.server_name))
    } else {
        None
    }
}
