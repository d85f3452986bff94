//! Why the web client does not answer.

use super::{CONFIG, ID, NGINX, PORT};
use crate::{
    frame::{Found, GuestFile, Mend, RoomCase, RoomCause, Seen},
    layout,
};

pub(super) const CAUSES: &[RoomCause] = &[
    RoomCause::new("web/config", config),
    RoomCause::new("web/mounts", mounts),
    RoomCause::new("web/port", port),
];

fn is_away(case: &dyn RoomCase) -> Seen<bool> {
    Ok(!case.has("runtime/broken") && !case.has("ports/") && !case.is_well(ID)?)
}

fn files() -> [(&'static str, crate::name::AbsPath, &'static str); 2] {
    [
        ("config", layout::in_root("element-config.json"), CONFIG),
        ("web server's settings", layout::in_root("element-nginx.conf"), NGINX),
    ]
}

/// Whether the web client's user may read a file.
fn readable(file: &GuestFile<'_>) -> bool {
    let (own, mode) = (ID.owner(), file.mode.0);
    match () {
        () if file.owner.uid == own.uid => mode & 0o400 != 0,
        () if file.owner.gid == own.gid => mode & 0o040 != 0,
        () => mode & 0o004 != 0,
    }
}

/// A container keeps the file that it was started with, also when another one
/// is put in its place: it has to be stopped first.
fn renewed(case: &dyn RoomCase) -> Mend {
    Mend::Type(format!("{} && matrix-podman up", case.in_guest(&format!("systemctl stop {}", ID))))
}

/// Its files are not there or nobody but their owner may read them.
fn config(case: &dyn RoomCase) -> Found {
    if !is_away(case)? {
        return Ok(None);
    }
    let asked = files().map(|(what, path, _)| (what, case.file(&path), path));
    for (what, state, path) in asked {
        let owner = ID.owner();
        let problem = match state? {
            None => format!("{path} is not there"),
            Some(file) if !readable(&file) => {
                format!(
                    "{path} has the mode {:04o}, and the client's user {} cannot read it",
                    file.mode.0, owner.uid
                )
            }
            Some(file)
                if what == "config"
                    && serde_json::from_str::<serde_json::Value>(file.content.unwrap_or_default())
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
fn mounts(case: &dyn RoomCase) -> Found {
    if case.has("web/") {
        return Ok(None);
    }
    for (what, _, target) in files() {
        if case.is_mounted(ID, target)? == Some(false) {
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
fn port(case: &dyn RoomCase) -> Found {
    if !is_away(case)? || case.has("web/") {
        return Ok(None);
    }
    let path = layout::in_root("element-nginx.conf");
    let Some(file) = case.file(&path)? else { return Ok(None) };
    let listens: Vec<&str> = file
        .content
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
