//! Why PostgreSQL is away.

use super::ID;
use crate::{
    frame::{Found, Mend, RoomCase, RoomCause, last_words, says_full},
    ids,
};

pub(super) const CAUSES: &[RoomCause] = &[
    RoomCause::new("database/version", version),
    RoomCause::new("database/broken", broken),
    RoomCause::new("database/stopped", stopped),
];

/// The data and the image are of different major versions: the plan knows.
fn version(case: &dyn RoomCase) -> Found {
    Ok(case.blocked(&ids::DATABASE).map(|(why, hint)| {
        let what = "PostgreSQL and its data do not fit.".to_owned();
        (what, vec![why.to_owned()], Mend::Type(hint.to_owned()))
    }))
}

fn broken(case: &dyn RoomCase) -> Found {
    if case.has("database/") || case.is_well(ID)? {
        return Ok(None);
    }
    let log = case.journal(ID)?;
    if let Some(line) = log.iter().rev().find(|line| says_full(line)) {
        return Ok(Some((
            "PostgreSQL has no room to write.".to_owned(),
            last_words(std::slice::from_ref(line)),
            Mend::Type(format!("{}   # which disk is full", case.in_guest("df -h"))),
        )));
    }
    let words: [(&str, &str, Mend); 3] = [
        (
            "invalid permissions",
            "The folder with PostgreSQL's data can be read by others, which it refuses.",
            Mend::Type(case.in_guest("sh -c 'chmod 0700 /opt/matrix/postgresdata/*/docker'")),
        ),
        (
            "Permission denied",
            "PostgreSQL cannot read its data.",
            Mend::Type(case.in_guest("chown --recursive 70:70 /opt/matrix/postgresdata")),
        ),
        (
            "database files are incompatible with server",
            "The data was written by another PostgreSQL than the one that runs.",
            Mend::Type("choose an image of the data's version: [images.postgres] in matrix.toml".to_owned()),
        ),
    ];
    for line in log.iter().rev() {
        if let Some((_, what, mend)) = words.iter().find(|(word, _, _)| line.contains(word)) {
            return Ok(Some(((*what).to_owned(), last_words(std::slice::from_ref(line)), mend.clone())));
        }
    }
    Ok(None)
}

fn stopped(case: &dyn RoomCase) -> Found {
    if case.runs(ID)? || case.has("database/") || case.has("runtime/broken") {
        return Ok(None);
    }
    let log = case.journal(ID)?;
    let what = "PostgreSQL does not run, so Synapse has no database.";
    Ok(Some((what.to_owned(), last_words(log), Mend::Up)))
}
