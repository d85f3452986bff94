//! Synapse: why it does not start, from its own last words; and its signing key.

use super::{ID, postgres};
use crate::{
    frame::{Found, Mend, RoomCase, RoomCause, Seen, last_words, shorten},
    ids,
    layout::{self, Secret},
    name::AbsPath,
};

pub(super) const CAUSES: &[RoomCause] = &[
    RoomCause::new("synapse/held", held),
    RoomCause::new("synapse/key-missing", key_missing),
    RoomCause::new("synapse/key-broken", key_broken),
    RoomCause::new("synapse/config", config),
    RoomCause::new("synapse/database-password", password),
    RoomCause::new("synapse/database-locale", locale),
    RoomCause::new("synapse/database-too-new", too_new),
    RoomCause::new("synapse/database-too-old", too_old),
    RoomCause::new("synapse/database-away", away),
    RoomCause::new("synapse/key-changed", key_changed),
];

/// Why Synapse did not start, as its log has it.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Reason {
    /// Its config cannot be read: the key and the line, as far as it says.
    Config {
        key: Option<String>,
        line: Option<u32>,
    },
    /// Its signing key cannot be read.
    Key,
    Password,
    Locale,
    TooNew,
    TooOld,
    Away,
}

/// The last reason in a log and the lines that say it; what came before may be
/// mended already.
fn reason(log: &[String]) -> Option<(Reason, Vec<String>)> {
    for (at, line) in log.iter().enumerate().rev() {
        let text = line.trim();
        let found = if text.contains("password authentication failed for user") {
            Reason::Password
        } else if text.contains("IncorrectDatabaseSetup") {
            Reason::Locale
        } else if text.contains("Cannot use this database as it is too") {
            Reason::TooNew
        } else if text.starts_with("psycopg2.OperationalError") {
            Reason::Away
        } else if text.starts_with("Error in configuration") {
            let explained = log[at..].iter().filter(|l| !l.trim().is_empty());
            let lines: Vec<String> = explained.take(2).map(|l| shorten(l)).collect();
            let key = text.split('\'').nth(1).map(str::to_owned);
            return Some((Reason::Config { key, line: None }, lines));
        } else if text.starts_with("yaml.") {
            // The place is given in the lines that follow, the last one counts.
            let rest: Vec<&String> = log[at..].iter().take(10).collect();
            let line = rest.iter().rev().find_map(|l| line_number(l));
            let mut lines = vec![shorten(text)];
            lines.extend(rest.iter().rev().find(|l| line_number(l).is_some()).map(|l| shorten(l)));
            return Some((Reason::Config { key: None, line }, lines));
        } else if let Some(frames) = traceback_above(log, at) {
            let of = |path: &str| frames.iter().any(|frame| frame.contains(path));
            if of("in _upgrade_existing_database") {
                Reason::TooOld
            } else if of("/signedjson/key.py") || of("/synapse/config/key.py") {
                Reason::Key
            } else if of("/synapse/config/") {
                let key = frames.iter().rev().find_map(|frame| key_of(frame));
                Reason::Config { key, line: None }
            } else {
                continue;
            }
        } else {
            continue;
        };
        return Some((found, last_words(std::slice::from_ref(line))));
    }
    None
}

/// `  in "/data/homeserver.yaml", line 5, column 3`
fn line_number(text: &str) -> Option<u32> {
    let (_, rest) = text.split_once("homeserver.yaml\", line ")?;
    rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// The frames above the line at `at`, if that is the one with which a
/// traceback ends: `ValueError: …` below indented lines.
fn traceback_above(log: &[String], at: usize) -> Option<&[String]> {
    let last = &log[at];
    let is_error = !last.starts_with(' ')
        && last.split_once(':').is_some_and(|(name, _)| {
            // `psycopg2.errors.DuplicateColumn: …`
            let class = name.rsplit('.').next().unwrap_or_default();
            !name.contains(' ') && class.starts_with(|c: char| c.is_ascii_uppercase())
        });
    if !is_error {
        return None;
    }
    let start = log[..at].iter().rposition(|line| line.starts_with("Traceback (most recent call last)"))?;
    Some(&log[start + 1..at])
}

/// The key that a line of Synapse's source asks its config for.
fn key_of(source: &str) -> Option<String> {
    let (_, rest) = source.split_once("config.get(\"").or_else(|| source.split_once("config[\""))?;
    rest.split('"').next().map(str::to_owned)
}

/// Synapse's last words, when it is not well and its database is there.
fn diagnosis(case: &dyn RoomCase) -> Seen<Option<(Reason, Vec<String>)>> {
    let well = case.is_well(ID)?;
    if well || case.has("runtime/broken") || case.has("ports/") || case.has("synapse/") {
        return Ok(None);
    }
    Ok(reason(case.journal(ID)?))
}

fn config_file() -> AbsPath {
    layout::in_root("synapse/homeserver.yaml")
}

/// It waits on purpose, and whoever rolled back in Proxmox's web pages does not
/// know that.
fn held(case: &dyn RoomCase) -> Found {
    let there = |path| case.is_there(&path);
    // In the middle of a restore, the plan says what goes on with it.
    if !there(layout::hold())?
        || there(layout::switch())?
        || there(layout::restore_dump())?
        || case.is_well(ID)?
    {
        return Ok(None);
    }
    Ok(Some((
        "Synapse waits: the data went back in time, and one-time keys in them may have been given out already."
            .to_owned(),
        vec![format!("{} is there", layout::hold())],
        Mend::Up,
    )))
}

fn key_missing(case: &dyn RoomCase) -> Found {
    let path = layout::secret(Secret::SIGNING_KEY);
    // Before the first `up` there is nothing to be missed.
    if !case.has_lock()? || case.is_there(&path)? {
        return Ok(None);
    }
    Ok(Some((
        "The server's signing key is gone; without it other servers no longer believe that this is the same server."
            .to_owned(),
        vec![format!("{path} is not there")],
        Mend::Type("put the file back from a backup of the guest; a new one is never made over a server that exists".to_owned()),
    )))
}

fn key_broken(case: &dyn RoomCase) -> Found {
    Ok(match diagnosis(case)? {
        Some((Reason::Key, lines)) => Some((
            "Synapse does not start: its signing key cannot be read.".to_owned(),
            lines,
            Mend::Type(format!(
                "put {} back from a backup of the guest; a new key would make this another server to all others",
                layout::secret(Secret::SIGNING_KEY)
            )),
        )),
        _ => None,
    })
}

fn config(case: &dyn RoomCase) -> Found {
    let Some((Reason::Config { key, line }, mut lines)) = diagnosis(case)? else { return Ok(None) };
    let path = config_file();
    let content = case.file(&path)?.and_then(|file| file.content).unwrap_or_default();
    // What the log does not say, the file does.
    let line = line.or_else(|| {
        let top = key.as_deref()?.split('.').next()?.to_owned();
        let at = content.lines().position(|l| l.split(':').next() == Some(top.as_str()))?;
        u32::try_from(at + 1).ok()
    });
    let place = match (&key, line) {
        (Some(key), Some(line)) => format!("{key} in line {line}"),
        (Some(key), None) => key.clone(),
        (None, Some(line)) => format!("line {line}"),
        (None, None) => "what it says below".to_owned(),
    };
    if let Some(text) = line.and_then(|n| content.lines().nth(n as usize - 1)) {
        lines.insert(0, shorten(&format!("{path}:{}: {}", line.unwrap_or_default(), text.trim())));
    }
    let mend = if case.drifts(&ids::SYNAPSE_CONFIG) {
        Mend::Up
    } else {
        Mend::Type("change in matrix.toml what it names, then `matrix-podman up`".to_owned())
    };
    Ok(Some((format!("Synapse does not start: it refuses its config at {place}."), lines, mend)))
}

fn password(case: &dyn RoomCase) -> Found {
    Ok(match diagnosis(case)? {
        Some((Reason::Password, lines)) => Some((
            "Synapse does not start: PostgreSQL does not take its password.".to_owned(),
            lines,
            // It is made anew from the password that PostgreSQL was given.
            Mend::Type(format!(
                "{} && matrix-podman up",
                case.in_guest(&format!("rm {}", layout::secret(Secret::PGPASS)))
            )),
        )),
        _ => None,
    })
}

fn locale(case: &dyn RoomCase) -> Found {
    Ok(match diagnosis(case)? {
        Some((Reason::Locale, lines)) => Some((
            "Synapse does not start: its database has the wrong locale or encoding.".to_owned(),
            lines,
            Mend::Type(
                "dump the database, make it anew with UTF-8 and locale C, and load the dump: Synapse's docs/postgres.md says how"
                    .to_owned(),
            ),
        )),
        _ => None,
    })
}

fn too_new(case: &dyn RoomCase) -> Found {
    Ok(match diagnosis(case)? {
        Some((Reason::TooNew, lines)) => Some((
            "Synapse does not start: its database was changed by a newer Synapse than this one.".to_owned(),
            lines,
            Mend::Type(
                "use the newer image again ([images.synapse] in matrix.toml), or restore the backup from before it"
                    .to_owned(),
            ),
        )),
        _ => None,
    })
}

fn too_old(case: &dyn RoomCase) -> Found {
    Ok(match diagnosis(case)? {
        Some((Reason::TooOld, lines)) => Some((
            "Synapse does not start: it cannot bring its database, which is of an older Synapse, up to its own version.".to_owned(),
            lines,
            Mend::Type(
                "run the version before again, or one between the two first ([images.synapse] in matrix.toml)".to_owned(),
            ),
        )),
        _ => None,
    })
}

fn away(case: &dyn RoomCase) -> Found {
    if case.is_well(ID)? || case.has("runtime/broken") || case.has("synapse/") || case.has("database/") {
        return Ok(None);
    }
    let ready = case.is_well(postgres::ID)?;
    let (what, lines, mend) = match diagnosis(case)? {
        Some((Reason::Away, lines)) if ready => {
            ("Synapse does not start: it does not reach its database.", lines, Mend::Restart(postgres::ID))
        }
        _ if ready => return Ok(None),
        _ => {
            let lines = last_words(case.journal(postgres::ID)?);
            ("Synapse waits for its database, which is not ready.", lines, Mend::Up)
        }
    };
    Ok(Some((what.to_owned(), lines, mend)))
}

/// The key in the file is another one than that with which the newest event of
/// this server is signed.
fn key_changed(case: &dyn RoomCase) -> Found {
    if case.has("synapse/key") || !case.is_well(postgres::ID)? {
        return Ok(None);
    }
    let server = &case.config().server_name;
    let asked = (case.signing_keys_in_use(), case.signing_key_on_disk());
    let (used, on_disk) = (asked.0?, asked.1?);
    // Nothing was signed yet, or it is the same.
    if used.is_empty() || used.iter().any(|key| key.trim() == on_disk) {
        return Ok(None);
    }
    Ok(Some((
        "The server's signing key is not the one that its last messages were signed with.".to_owned(),
        vec![
            format!("{} holds {on_disk}", layout::secret(Secret::SIGNING_KEY)),
            format!("the newest message of {server} is signed with {}", used.join(", ")),
        ],
        Mend::Type(
            "put the old signing.key back from a backup of the guest, then `matrix-podman restart synapse`"
                .to_owned(),
        ),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn reasons_are_read_from_what_synapse_really_prints() {
        for (text, reason_wanted, evidence) in [
            (include_str!("logs/password.txt"), Reason::Password, "password authentication failed"),
            (include_str!("logs/locale.txt"), Reason::Locale, "collation"),
            (include_str!("logs/schema-new.txt"), Reason::TooNew, "too new"),
            (include_str!("logs/schema-old.txt"), Reason::TooOld, "syntax error"),
            (include_str!("logs/key-garbage.txt"), Reason::Key, "seed must be"),
            (
                include_str!("logs/config-key.txt"),
                Reason::Config { key: Some("max_upload_size".to_owned()), line: None },
                "invalid literal",
            ),
            (
                include_str!("logs/config-error.txt"),
                Reason::Config { key: None, line: None },
                "open registration",
            ),
            (include_str!("logs/config-yaml.txt"), Reason::Config { key: None, line: Some(5) }, "line 5"),
        ] {
            let (found, lines) = reason(&log(text)).unwrap_or_else(|| panic!("nothing in {text}"));
            assert_eq!(found, reason_wanted);
            assert!(lines.iter().any(|l| l.contains(evidence)), "{evidence:?} in {lines:?}");
        }
    }
}
