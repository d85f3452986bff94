//! The web client.

use super::{Case, Found, Mend};
use crate::{
    fact::{FileState, Side},
    layout,
    observed::Seen,
    stack,
};

/// Port that its nginx listens on in the container.
const PORT: u16 = 8080;

fn is_away(case: &Case<'_>) -> Seen<bool> {
    Ok(!case.has("runtime/broken") && !case.has("ports/") && !case.is_well(stack::element::ID)?)
}

fn files() -> [(&'static str, crate::name::AbsPath, &'static str); 2] {
    [
        ("config", layout::in_root("element-config.json"), "/app/config.json"),
        ("web server's settings", layout::in_root("element-nginx.conf"), "/etc/nginx/conf.d/default.conf"),
    ]
}

/// Whether the web client's user may read a file.
fn readable(file: &FileState) -> bool {
    let (own, mode) = (stack::element::ID.owner(), file.mode.0);
    match () {
        () if file.owner.uid == own.uid => mode & 0o400 != 0,
        () if file.owner.gid == own.gid => mode & 0o040 != 0,
        () => mode & 0o004 != 0,
    }
}

/// A container keeps the file that it was started with, also when another one
/// is put in its place: it has to be stopped first.
fn renewed(case: &Case<'_>) -> Mend {
    Mend::Type(format!(
        "{} && matrix-podman up",
        case.in_guest(&format!("systemctl stop {}", stack::element::ID))
    ))
}

/// Its files are not there or nobody but their owner may read them.
pub(super) fn config(case: &Case<'_>) -> Found {
    if !is_away(case)? {
        return Ok(None);
    }
    let asked = files().map(|(what, path, _)| (what, case.seen.file(Side::Guest, &path), path));
    for (what, state, path) in asked {
        let owner = stack::element::ID.owner();
        let problem = match state? {
            None => format!("{path} is not there"),
            Some(file) if !readable(file) => {
                format!(
                    "{path} has the mode {:04o}, and the client's user {} cannot read it",
                    file.mode.0, owner.uid
                )
            }
            Some(file)
                if what == "config"
                    && serde_json::from_str::<serde_json::Value>(
                        file.content.as_deref().unwrap_or_default(),
                    )
                    .is_err() =>
            {
                format!("{path} is no JSON")
            }
            Some(_) => continue,
        };
        return Ok(Some((format!("The web client cannot read its {what}."), vec![problem], renewed(case))));
    }
    Ok(None)
}

/// It runs with something else than its files.
pub(super) fn mounts(case: &Case<'_>) -> Found {
    if case.has("web/") {
        return Ok(None);
    }
    let Some(inside) = case.seen.mounts(stack::element::ID.name())? else { return Ok(None) };
    for (what, _, target) in files() {
        if !inside.mounts.contains_key(target) {
            return Ok(Some((
                format!("The web client runs without its {what}: the file is not mounted."),
                vec![format!("the container has nothing at {target}")],
                renewed(case),
            )));
        }
    }
    Ok(None)
}

/// Its nginx listens elsewhere than where it is looked for.
pub(super) fn port(case: &Case<'_>) -> Found {
    if !is_away(case)? || case.has("web/") {
        return Ok(None);
    }
    let path = layout::in_root("element-nginx.conf");
    let Some(file) = case.seen.file(Side::Guest, &path)? else { return Ok(None) };
    let listens: Vec<&str> = file
        .content
        .as_deref()
        .unwrap_or_default()
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("listen "))
        .collect();
    let right = |line: &&str| line.split(|c: char| !c.is_ascii_digit()).any(|n| n.parse() == Ok(PORT));
    if listens.iter().any(right) {
        return Ok(None);
    }
    Ok(Some((
        format!("The web client does not listen on port {PORT}, so whoever asks there gets a 502."),
        vec![match listens.first() {
            Some(line) => format!("{path} says: {line}"),
            None => format!("{path} has no listen line"),
        }],
        renewed(case),
    )))
}
