//! Whether Synapse works, asked where it listens.

use serde_json::Value;

use super::homeserver;
use crate::{
    config::Registration,
    frame::{
        Check, DatabaseState, Gap, Group, HttpBody, HttpMethod, HttpQuestion, HttpReply, InsideSynapse,
        RoomCheck, RoomView, Seen, Trial, answered, database_state,
    },
    size::Bytes,
    stack::{self, redis},
};

pub(super) const CHECKS: &[RoomCheck] = &[
    RoomCheck::new(Group::Guest, "guest/admin", admin),
    RoomCheck::new(Group::Data, "data/schema", schema),
    RoomCheck::new(Group::Data, "data/background", background),
    RoomCheck::new(Group::Data, "data/connections", connections),
    RoomCheck::new(Group::Data, "data/media", media),
    RoomCheck::new(Group::Data, "data/signing-key", signing_key),
    RoomCheck::new(Group::Client, "client/versions", versions),
    RoomCheck::new(Group::Client, "client/login", login),
    RoomCheck::new(Group::Client, "client/registration", registration),
    RoomCheck::new(Group::Client, "client/token", token),
    RoomCheck::new(Group::Client, "client/sliding-sync", sliding_sync),
    RoomCheck::new(Group::Client, "client/upload", upload),
    RoomCheck::new(Group::Client, "client/upload-limit", upload_limit),
];

/// PostgreSQL's port.
const POSTGRES: u16 = 5432;
/// The largest upload that is tried without being asked for: it takes a second
/// or two.
const QUICK: Bytes = Bytes::mib(256);

/// An answer of Synapse, or why the check that wants it fails.
fn ask<'a>(
    view: &'a dyn RoomView,
    id: &'static str,
    question: impl FnOnce(String) -> HttpQuestion,
) -> Seen<Result<&'a HttpReply, Check>> {
    let question = question(view.at(view.config().ports.synapse)?);
    Ok(answered(id, &question, "matrix-podman logs synapse", view.http(&question)?))
}

/// Spellings of the admin API's paths: Synapse and whatever stands before it may
/// read some of them differently. None of them needs a token to be told apart: the
/// API answers 401 or a nonce, and what is refused 403 or 404.
const ADMIN_PATHS: [&str; 8] = [
    "/_synapse/admin/v1/register",
    "/_synapse/admin/v2/users",
    "/%5Fsynapse/admin/v1/register",
    "/_synapse/%61dmin/v1/register",
    "/_synapse//admin/v1/register",
    "/_matrix/../_synapse/admin/v1/register",
    "/_matrix/%2e%2e/_synapse/admin/v1/register",
    "/_synapse/admin/v2/users/@a%2f%2e%2e%2f%2e%2e%2f_matrix%2fx",
];

fn admin(view: &dyn RoomView) -> Seen<Check> {
    let id = "guest/admin";
    let replies = ADMIN_PATHS.map(|path| ask(view, id, |base| HttpQuestion::get(format!("{base}{path}"))));
    for (path, reply) in ADMIN_PATHS.into_iter().zip(replies) {
        match reply? {
            Err(check) => return Ok(check),
            Ok(reply) if matches!(reply.status, 403 | 404) => {}
            Ok(reply) => {
                return Ok(Check::fail(
                    id,
                    format!("the admin API answers {path} with status {}", reply.status),
                    "`matrix-podman up` gives Synapse a config in which only the guest itself reaches it",
                ));
            }
        }
    }
    Ok(Check::pass(id, "the admin API answers nobody but the guest itself"))
}

fn schema(view: &dyn RoomView) -> Seen<Check> {
    let id = "data/schema";
    let (database, inside) = (database_state(id, view), view.inside_synapse());
    let (database, inside) = (database?, inside?);
    Ok(match (database, inside.schema) {
        (Err(check), _) => check,
        (Ok(DatabaseState { schema: None, .. }), _) => Check::fail(
            id,
            "Synapse has not made its tables yet",
            format!("`matrix-podman logs {}` says what keeps it from it", super::ID),
        ),
        (Ok(DatabaseState { schema: Some(version), .. }), Some(wanted)) if *version != wanted => Check::fail(
            id,
            format!("the data have version {version}, and this Synapse writes {wanted}"),
            format!("Synapse migrates when it starts: `matrix-podman logs {}` shows it", super::ID),
        ),
        (Ok(DatabaseState { schema: Some(version), .. }), Some(_)) => {
            Check::pass(id, format!("migrations are finished: version {version}, which this Synapse writes"))
        }
        (Ok(_), None) => {
            Check::gap(id, Gap::Unknown("Synapse's program does not say which version it writes".to_owned()))
        }
    })
}

fn background(view: &dyn RoomView) -> Seen<Check> {
    let id = "data/background";
    Ok(match database_state(id, view)? {
        Err(check) => check,
        Ok(s) if s.background.is_empty() => Check::pass(id, "no rewriting is left to be done"),
        Ok(s) => Check::weaker(
            id,
            format!("Synapse still rewrites data in the background ({} to go)", s.background.len()),
            "it is slower until that is over, and should not be updated before",
        ),
    })
}

fn connections(view: &dyn RoomView) -> Seen<Check> {
    let id = "data/connections";
    let InsideSynapse { peers, .. } = view.inside_synapse()?;
    let open = |port: u16| peers.iter().filter(|peer| peer.port() == port).count();
    let (database, cache) = (open(POSTGRES), open(redis::PORT));
    let log = format!("`matrix-podman logs {}` says what it tries", super::ID);
    Ok(if database == 0 {
        Check::fail(id, "Synapse has no connection to PostgreSQL", log)
    } else if cache == 0 {
        Check::fail(
            id,
            "Synapse has no connection to Redis",
            format!("{log}, `matrix-podman logs {}` whether it was refused", stack::redis::ID),
        )
    } else {
        Check::pass(id, format!("Synapse holds {database} to PostgreSQL and {cache} to Redis"))
    })
}

fn media(view: &dyn RoomView) -> Seen<Check> {
    let id = "data/media";
    Ok(if view.inside_synapse()?.media_writable {
        Check::pass(id, format!("Synapse may write to {}/media_store", homeserver::DATA))
    } else {
        Check::fail(
            id,
            "Synapse may not write where media is kept",
            "`matrix-podman up` sets the folder's owner right; a disk that is mounted read-only has to be mended first",
        )
    })
}

fn signing_key(view: &dyn RoomView) -> Seen<Check> {
    let id = "data/signing-key";
    let own = view.signing_key();
    let shown = ask(view, id, |base| HttpQuestion::get(format!("{base}/_matrix/key/v2/server")));
    let (own, shown) = (own?, shown?);
    let Some(own) = own else {
        return Ok(Check::fail(
            id,
            "there is no signing key",
            "put it back from a backup; with a new one, other servers take this one for somebody else",
        ));
    };
    Ok(match shown {
        Err(check) => check,
        Ok(reply) => {
            let answer = reply.json();
            let used = answer.pointer(&format!("/verify_keys/{}/key", own.id)).and_then(|key| key.as_str());
            match used {
                Some(key) if key.trim_end_matches('=') == own.key => {
                    Check::pass(id, format!("{} is in its file and is the one in use", own.id))
                }
                _ => Check::fail(
                    id,
                    format!("Synapse does not use {}, the key in its file", own.id),
                    "`matrix-podman restart synapse` makes it read the file; if the file was changed, put the old one \
                     back first",
                ),
            }
        }
    })
}

fn versions(view: &dyn RoomView) -> Seen<Check> {
    let id = "client/versions";
    let get = |base| HttpQuestion::get(format!("{base}/_matrix/client/versions"));
    Ok(match ask(view, id, get)? {
        Err(check) => check,
        Ok(reply) => {
            let answer = reply.json();
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

fn login(view: &dyn RoomView) -> Seen<Check> {
    let id = "client/login";
    let get = |base| HttpQuestion::get(format!("{base}/_matrix/client/v3/login"));
    Ok(match ask(view, id, get)? {
        Err(check) => check,
        Ok(reply) => {
            let answer = reply.json();
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
fn registration(view: &dyn RoomView) -> Seen<Check> {
    let id = "client/registration";
    let post = |base| HttpQuestion {
        method: HttpMethod::Post,
        body: HttpBody::Json("{}".to_owned()),
        ..HttpQuestion::get(format!("{base}/_matrix/client/v3/register"))
    };
    let reply = match ask(view, id, post)? {
        Err(check) => return Ok(check),
        Ok(reply) => reply,
    };
    let answer = reply.json();
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
            return Err(Gap::Unknown(why));
        }
        (status, _) => {
            return Ok(Check::fail(
                id,
                format!(
                    "it answers status {status} {}",
                    answer.get("errcode").and_then(Value::as_str).unwrap_or_default()
                ),
                "matrix-podman logs synapse",
            ));
        }
    };
    let wanted = match view.config().synapse.registration {
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

fn token(view: &dyn RoomView) -> Seen<Check> {
    let id = "client/token";
    let paths = ["/_matrix/client/v3/account/whoami", "/_matrix/client/v3/sync"];
    let replies = paths.map(|path| ask(view, id, |base| HttpQuestion::get(format!("{base}{path}"))));
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
    Ok(Check::pass(id, "unauthenticated requests are rejected"))
}

fn sliding_sync(view: &dyn RoomView) -> Seen<Check> {
    let id = "client/sliding-sync";
    let tried = view.tried(&Trial::SlidingSync)?;
    Ok(match tried.status {
        Some(200) => Check::pass(id, format!("answers in {} ms, as Element X needs it", tried.millis)),
        _ => Check::fail(
            id,
            format!("it answers {} {}", tried.outcome(), tried.errcode.as_deref().unwrap_or_default()),
            "use a Synapse from 1.114 on, which has it built in",
        ),
    })
}

/// Whether uploads of that size are tried in this run; else why not.
fn is_tried(view: &dyn RoomView, id: &'static str) -> Result<Bytes, Check> {
    let limit = *view.config().synapse.max_upload_size;
    if limit > QUICK && !view.is_slow() {
        return Err(Check::left_out(id, format!("{limit} take a while; --slow tries it")));
    }
    Ok(limit)
}

fn upload(view: &dyn RoomView) -> Seen<Check> {
    let id = "client/upload";
    let limit = match is_tried(view, id) {
        Ok(limit) => limit,
        Err(check) => return Ok(check),
    };
    let tried = view.tried(&Trial::Upload(limit.0))?;
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
        _ => Check::fail(
            id,
            format!("sending a file of {limit} ends with {}", tried.outcome()),
            "matrix-podman logs synapse",
        ),
    })
}

fn upload_limit(view: &dyn RoomView) -> Seen<Check> {
    let id = "client/upload-limit";
    let limit = match is_tried(view, id) {
        Ok(limit) => limit,
        Err(check) => return Ok(check),
    };
    let (tried, whole) = (view.tried(&Trial::Upload(limit.0 + 1)), view.tried(&Trial::Upload(limit.0)));
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
        _ => Check::fail(
            id,
            format!("one byte more than {limit} ends with {}, not with a refusal", tried.outcome()),
            "matrix-podman logs synapse",
        ),
    })
}
