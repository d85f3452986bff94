//! Database, cache, media, keys.

use super::{Asked, Check, Question, json, synapse};
use crate::{
    fact::{Database, DatabaseState, HttpQuestion, InsideSynapse},
    observed::{Observed, Seen},
    size::Bytes,
    stack::{self, Data, redis, synapse::homeserver},
};

pub(super) const QUESTIONS: &[Question] = &[
    ("data/database", database),
    ("data/locale", locale),
    ("data/schema", schema),
    ("data/background", background),
    ("data/connections", connections),
    ("data/media", media),
    ("data/signing-key", signing_key),
];

/// PostgreSQL's port.
const POSTGRES: u16 = 5432;

fn database(_: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "data/database";
    Ok(match seen.database()? {
        Database::Answers(state) => Check::pass(
            id,
            format!("PostgreSQL {} answers; {} of data", state.server_version, Bytes(state.size).rounded()),
        ),
        Database::Refuses(why) => {
            Check::fail(id, format!("the database does not answer: {why}"), Data::Cluster.log_hint())
        }
    })
}

/// What the database says, or the check of that name which cannot be made.
fn state<'a>(id: &'static str, seen: &'a Observed) -> Seen<Result<&'a DatabaseState, Check>> {
    Ok(match seen.database()? {
        Database::Answers(state) => Ok(state),
        Database::Refuses(_) => {
            Err(Check::gap(id, crate::observed::Gap::Unknown("the database does not answer".to_owned())))
        }
    })
}

fn locale(_: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "data/locale";
    Ok(match state(id, seen)? {
        Err(check) => check,
        Ok(s) if s.encoding == "UTF8" && s.collate == "C" && s.ctype == "C" => {
            Check::pass(id, "UTF-8, sorted by bytes (locale C)")
        }
        Ok(s) => Check::fail(
            id,
            format!("it has the encoding {} and the locales {} and {}", s.encoding, s.collate, s.ctype),
            "dump it and restore it into a database made with --encoding=UTF8 --locale=C --template=template0: an \
             update of the C library can make the indexes of any other wrong",
        ),
    })
}

fn schema(_: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "data/schema";
    let (database, inside) = (state(id, seen), seen.inside_synapse());
    let (database, inside) = (database?, inside?);
    Ok(match (database, inside.schema) {
        (Err(check), _) => check,
        (Ok(DatabaseState { schema: None, .. }), _) => Check::fail(
            id,
            "Synapse has not made its tables yet",
            format!("`matrix-podman logs {}` says what keeps it from it", stack::synapse::ID),
        ),
        (Ok(DatabaseState { schema: Some(version), .. }), Some(wanted)) if *version != wanted => Check::fail(
            id,
            format!("the data have version {version}, and this Synapse writes {wanted}"),
            format!("Synapse migrates when it starts: `matrix-podman logs {}` shows it", stack::synapse::ID),
        ),
        (Ok(DatabaseState { schema: Some(version), .. }), Some(_)) => {
            Check::pass(id, format!("migrations are finished: version {version}, which this Synapse writes"))
        }
        (Ok(_), None) => Check::gap(
            id,
            crate::observed::Gap::Unknown(
                "Synapse's program does not say which version it writes".to_owned(),
            ),
        ),
    })
}

fn background(_: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "data/background";
    Ok(match state(id, seen)? {
        Err(check) => check,
        Ok(s) if s.background.is_empty() => Check::pass(id, "no rewriting is left to be done"),
        Ok(s) => Check::weaker(
            id,
            format!("Synapse still rewrites data in the background ({} to go)", s.background.len()),
            "it is slower until that is over, and should not be updated before",
        ),
    })
}

fn connections(_: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "data/connections";
    let InsideSynapse { peers, .. } = seen.inside_synapse()?;
    let open = |port: u16| peers.iter().filter(|peer| peer.port() == port).count();
    let (database, cache) = (open(POSTGRES), open(redis::PORT));
    let log = format!("`matrix-podman logs {}` says what it tries", stack::synapse::ID);
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

fn media(_: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "data/media";
    Ok(if seen.inside_synapse()?.media_writable {
        Check::pass(id, format!("Synapse may write to {}/media_store", homeserver::DATA))
    } else {
        Check::fail(
            id,
            "Synapse may not write where media are kept",
            "`matrix-podman up` sets the folder's owner right; a disk that is mounted read-only has to be mended first",
        )
    })
}

fn signing_key(asked: &Asked<'_>, seen: &Observed) -> Seen<Check> {
    let id = "data/signing-key";
    let own = seen.signing_key();
    let shown = synapse(asked, id, |base| HttpQuestion::get(format!("{base}/_matrix/key/v2/server")), seen);
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
            let answer = json(reply);
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
