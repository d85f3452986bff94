//! What any service may suffer from.

use super::{Case, Found, Mend};
use crate::{
    endpoint::Endpoint,
    fact::Health,
    frame,
    observed::Seen,
    service::{ServiceId, capitalized},
    size::Seconds,
    stack,
};

/// What the operator stopped: no log says why.
pub(super) fn stopped(case: &Case<'_>) -> Found {
    let [(first, seconds), rest @ ..] = case.stopped else { return Ok(None) };
    let when = Seconds(*seconds).ago();
    Ok(Some(match rest {
        [] => (
            format!("{} was stopped by you {when}.", capitalized(first.title())),
            Vec::new(),
            Mend::Type(format!("matrix-podman start {first}")),
        ),
        _ => {
            let names: Vec<&str> = case.stopped.iter().map(|(id, _)| id.name()).collect();
            (
                format!("{} services were stopped by you {when}: {}.", names.len(), names.join(", ")),
                Vec::new(),
                Mend::Type(format!("matrix-podman start {}", names.join(" "))),
            )
        }
    }))
}

/// A published port that another program listens on while the service is away.
pub(super) fn ports(case: &Case<'_>) -> Found {
    for Endpoint { service, port, key, .. } in stack::endpoints(&case.site.config) {
        let port = port.get();
        if case.has(stack::room(service).family())
            || case.is_well(service)?
            || case.seen.container(service.name())?.is_some_and(|c| c.state == "running")
        {
            continue;
        }
        let log = journal(case, service)?;
        let holder = case.seen.listeners()?.get(&port);
        let complaint = log.iter().rev().find(|line| line.contains("address already in use"));
        if let (Some(holder), Some(complaint)) = (holder, complaint) {
            return Ok(Some((
                format!("Port {port} of {} is taken by another program.", service.title()),
                vec![format!("{holder} listens on {port}"), frame::shorten(complaint)],
                Mend::Type(format!(
                    "{}   # names it: stop it, or choose another ports.{key} in matrix.toml and `matrix-podman up`",
                    case.in_guest(&format!("ss -ltnp sport = :{port}"))
                )),
            )));
        }
    }
    Ok(None)
}

/// A service that is away for a reason that nobody foresaw.
pub(super) fn fails(case: &Case<'_>) -> Found {
    if case.has("runtime/broken") {
        return Ok(None);
    }
    for room in stack::rooms(&case.site.config) {
        let service = room.id();
        let mut explained = case.has(room.family());
        // Without a cache a service goes on; without its data it does not.
        for need in room.needs().iter().filter(|need| stack::room(**need).data().is_precious()) {
            explained = explained || case.has(stack::room(*need).family()) || !case.is_well(*need)?;
        }
        let container = case.seen.container(service.name())?;
        if explained || case.is_well(service)? {
            continue;
        }
        // What is only about to start needs nothing.
        let unit = case
            .seen
            .units(crate::fact::Side::Guest, [service.unit().as_str()])?
            .get(&service.unit())
            .cloned();
        let unit = unit.unwrap_or_default();
        if case.has("ports/") && container.is_none_or(|c| c.state != "running") {
            continue;
        }
        let log = journal(case, service)?;
        let title = service.title();
        let (what, mend) = match container.map(|c| (c.state.as_str(), c.health)) {
            Some(("running", Health::Starting)) if unit.restarts == 0 => (
                format!("{} is still starting.", capitalized(title)),
                Mend::Type("wait a little, then `matrix-podman doctor`".to_owned()),
            ),
            Some(("running", Health::Unhealthy)) => {
                (format!("{} runs but does not answer.", capitalized(title)), Mend::Restart(service))
            }
            _ if unit.restarts > 0 => (
                format!("{} does not stay up: it was restarted {} times.", capitalized(title), unit.restarts),
                Mend::Type(format!("matrix-podman logs {service}   # its last lines say why")),
            ),
            _ => (format!("{} does not run.", capitalized(title)), Mend::Up),
        };
        return Ok(Some((what, frame::last_words(log), mend)));
    }
    Ok(None)
}

/// The log of `service` since it last came up.
pub(super) fn journal<'a>(case: &Case<'a>, service: ServiceId) -> Seen<&'a [String]> {
    Ok(frame::latest(case.seen.journal(&service.unit())?, service))
}
