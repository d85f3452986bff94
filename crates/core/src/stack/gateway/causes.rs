//! Why the gateway lets nobody through.

use super::{ID, candidate, conf_file};
use crate::{
    frame::{self, Found, Mend, RoomCase, RoomCause},
    ids, layout,
};

/// For how long a restart may hold requests before that is worth a word, in seconds.
const PATIENCE: u64 = 120;

/// What HAProxy says, as part of a complaint about its config, where systemd handed it no socket.
const NOT_HANDED: &str = "cannot use file descriptor";

pub(super) const CAUSES: &[RoomCause] = &[
    RoomCause::new("gateway/config", config),
    RoomCause::new("gateway/port", port),
    RoomCause::new("gateway/refused", refused),
    RoomCause::new("gateway/held", held),
];

/// HAProxy does not start with its config.
fn config(case: &dyn RoomCase) -> Found {
    if !case.config().gateway.enabled || case.has("runtime/broken") || case.is_well(ID)? {
        return Ok(None);
    }
    let said: Vec<String> = case
        .journal(ID)?
        .iter()
        .filter(|line| line.contains("[ALERT]") && line.contains("config") && !line.contains(NOT_HANDED))
        .map(|line| frame::shorten(line))
        .collect();
    Ok((!said.is_empty()).then(|| {
        let what = format!("The gateway does not start: HAProxy refuses {}.", conf_file());
        (what, said, Mend::Up)
    }))
}

/// systemd could not open the ports for it.
fn port(case: &dyn RoomCase) -> Found {
    if !case.config().gateway.enabled || case.is_well(ID)? {
        return Ok(None);
    }
    let socket = layout::socket_unit(ID);
    let complaint = case.journal(ID)?.iter().rev().find(|line| line.contains(NOT_HANDED));
    let Some(complaint) = complaint else { return Ok(None) };
    let ports = case.config().ports.clone();
    Ok(Some((
        format!("The gateway was not handed its ports ({} and {}).", ports.synapse, ports.web),
        vec![frame::shorten(complaint)],
        Mend::Type(format!(
            "{} says why; a program that listens there has to be stopped, then `matrix-podman up`",
            case.in_guest(&format!("systemctl status {socket}"))
        )),
    )))
}

/// Requests are held for longer than anybody waits for them.
fn held(case: &dyn RoomCase) -> Found {
    if !case.config().gateway.enabled || !case.is_well(ID)? {
        return Ok(None);
    }
    let Some(held) = case.held_requests()?.iter().find(|held| held.seconds > PATIENCE) else {
        return Ok(None);
    };
    Ok(Some((
        format!("Requests to {} are held for {} s.", held.service.title(), held.seconds),
        vec![format!("{} wait; each is refused after 60 s", held.waiting)],
        Mend::Restart(ID),
    )))
}

/// A new config was refused, and the gateway goes on with the one that it has.
fn refused(case: &dyn RoomCase) -> Found {
    // One that is left over from a config that was taken back says nothing.
    if !case.config().gateway.enabled || !case.drifts(&ids::unit(ID)) || !case.is_there(&candidate())? {
        return Ok(None);
    }
    Ok(Some((
        "The gateway refused its new config, and goes on with the one that it has.".to_owned(),
        vec![format!("{} is still there", candidate())],
        Mend::Type("`matrix-podman up` tries again and shows what HAProxy says of it".to_owned()),
    )))
}
