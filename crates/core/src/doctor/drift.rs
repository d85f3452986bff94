//! What differs from the config: the plan says it, for free.

use super::{Case, Found, Mend};
use crate::{
    ids::{self, ResourceId},
    resource::{Diff, lower_first},
    stack,
};

/// What `up` could not make right.
pub(super) fn blocked(case: &Case<'_>) -> Found {
    // Told by causes of their own.
    let told =
        |id: &ResourceId| *id == ids::DATABASE || (*id == ids::SECRETS && case.has("synapse/key-missing"));
    Ok(case.plan.blocked().find(|(id, _, _)| !told(id)).map(|(id, why, hint)| {
        (
            format!("`matrix-podman up` cannot go on: {why}."),
            vec![format!("{id} in `matrix-podman plan`")],
            Mend::Type(hint.to_owned()),
        )
    }))
}

/// What `up` would change, beside starting what other causes are about.
pub(super) fn drift(case: &Case<'_>) -> Found {
    let explained = |id: &ResourceId| {
        stack::ALL.iter().any(|room| {
            *id == ids::service(room.id())
                && (case.has(room.family())
                    || case.has("service/")
                    || case.has("ports/")
                    || case.has("runtime/")
                    || case.has("database/"))
        })
    };
    let changes: Vec<String> = case
        .plan
        .entries
        .iter()
        .filter(|entry| !explained(&entry.id))
        .filter(|entry| !(entry.id == ids::DATABASE_ONE_TIME_KEYS && case.has("synapse/held")))
        .filter(|entry| !(entry.id == ids::GUEST_STORAGE && case.has("images/")))
        .filter_map(|entry| match &entry.diff {
            Diff::Change(step) => Some(format!("{}: {}", lower_first(&step.what), step.why)),
            _ => None,
        })
        .collect();
    if changes.is_empty() {
        return Ok(None);
    }
    let what = match changes.len() {
        1 => "One thing is not as matrix.toml says.".to_owned(),
        more => format!("{more} things are not as matrix.toml says."),
    };
    Ok(Some((what, changes.into_iter().take(12).collect(), Mend::Up)))
}
