//! PostgreSQL.

use super::{Case, Found, Mend};
use crate::{
    disk,
    doctor::service::{journal, last_words},
    ids,
    resource::Diff,
    stack,
};

/// The data and the image are of different major versions: the plan knows.
pub(super) fn version(case: &Case<'_>) -> Found {
    Ok(case.plan.entries.iter().find_map(|entry| match &entry.diff {
        Diff::Blocked { why, hint } if entry.id == ids::DATABASE => Some((
            "PostgreSQL and its data do not fit.".to_owned(),
            vec![why.clone()],
            Mend::Type(hint.clone()),
        )),
        _ => None,
    }))
}

pub(super) fn broken(case: &Case<'_>) -> Found {
    if case.has("database/") || case.is_well(stack::postgres::ID)? {
        return Ok(None);
    }
    let log = journal(case, stack::postgres::ID)?;
    if let Some(line) = log.iter().rev().find(|line| disk::says_full(line)) {
        return Ok(Some((
            "PostgreSQL has no room to write.".to_owned(),
            last_words(std::slice::from_ref(line)),
            Mend::Type(format!("{} shows which disk is full", case.in_guest("df -h"))),
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
            "The data are of another PostgreSQL than the one that runs.",
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

pub(super) fn stopped(case: &Case<'_>) -> Found {
    let runs = case.seen.container(stack::postgres::ID.name())?.is_some_and(|c| c.state == "running");
    if runs || case.has("database/") || case.has("runtime/broken") {
        return Ok(None);
    }
    let log = journal(case, stack::postgres::ID)?;
    let what = "PostgreSQL does not run, so Synapse has no database.";
    Ok(Some((what.to_owned(), last_words(log), Mend::Up)))
}
