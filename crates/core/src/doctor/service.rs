//! What any service may suffer from.

use super::{Case, Found, Mend};
use crate::{
    endpoint::Endpoint,
    fact::Health,
    observed::Seen,
    service::{ServiceId, capitalized},
    stack,
};

/// How many lines of a log are shown.
const LINES: usize = 3;
/// Longest line that is shown.
const WIDTH: usize = 240;

/// A published port that another program listens on while the service is away.
pub(super) fn ports(case: &Case<'_>) -> Found {
    for Endpoint { service, port, key, .. } in stack::endpoints(&case.site.config) {
        let port = port.get();
        if case.is_well(service)?
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
                vec![format!("{holder} listens on {port}"), shorten(complaint)],
                Mend::Type(format!(
                    "{} names it: stop it, or choose another ports.{key} in matrix.toml and `matrix-podman up`",
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
    for room in stack::ALL {
        let service = room.id();
        let mut explained = case.has(room.causes());
        // Without a cache a service goes on; without its data it does not.
        for need in room.needs().iter().filter(|need| stack::room(**need).data().is_precious()) {
            explained = explained || case.has(stack::room(*need).causes()) || !case.is_well(*need)?;
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
                Mend::Type(format!("matrix-podman logs {service}   (its last lines say why)")),
            ),
            _ => (format!("{} does not run.", capitalized(title)), Mend::Up),
        };
        return Ok(Some((what, last_words(log), mend)));
    }
    Ok(None)
}

/// What a service's log has of the tries since it last came up: what stands
/// before that was overcome.
pub(super) fn latest(log: &[String], service: ServiceId) -> &[String] {
    let up = format!("Started {}", service.unit());
    match log.iter().rposition(|line| line.starts_with(&up)) {
        Some(at) => &log[at + 1..],
        None => log,
    }
}

/// The log of `service` since it last came up.
pub(super) fn journal<'a>(case: &Case<'a>, service: ServiceId) -> Seen<&'a [String]> {
    Ok(latest(case.seen.journal(&service.unit())?, service))
}

/// The last lines of a log that say something about the program itself, not
/// about systemd's and Podman's work around it.
pub(super) fn last_words(log: &[String]) -> Vec<String> {
    let mut lines: Vec<String> =
        log.iter().rev().filter(|line| is_said(line)).take(LINES).map(|line| shorten(line)).collect();
    lines.reverse();
    lines
}

/// Whether a line is what the program said.
fn is_said(line: &str) -> bool {
    let text = line.trim();
    let hash = |word: &str| word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit());
    !(text.is_empty()
        || text.starts_with("***")
        || text.starts_with("conmon ")
        || text.contains(".service: ")
        || ["Starting ", "Started ", "Stopping ", "Stopped ", "Failed to start "]
            .iter()
            .any(|word| text.starts_with(word) && text.contains(".service"))
        || text.split_whitespace().any(hash))
}

/// A line that fits a terminal.
pub(super) fn shorten(line: &str) -> String {
    let line = line.trim();
    match line.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_overcome_is_left_out() {
        let log = ["FATAL: old", "Started redis.service - Matrix: Redis.", "FATAL: new"].map(str::to_owned);
        assert_eq!(latest(&log, stack::redis::ID), ["FATAL: new"]);
        assert_eq!(latest(&log, stack::element::ID).len(), 3);
    }

    #[test]
    fn a_log_is_cleared_of_what_systemd_and_podman_say() {
        let log = [
            "Starting synapse.service - Matrix: Synapse...",
            "2026-11-23 08:09:31.69 +0000 UTC m=+0.09 container remove fda24fb663cf66f682a0d928ab8f23032bcc5acdcb87feaf144f02c49896c98f (image=localhost/x)",
            "psycopg2.OperationalError: connection refused",
            "",
            "conmon dd5ff1007e42a415d102 <nwarn>: Failed to add inotify watch",
            "synapse.service: Main process exited, code=exited, status=1/FAILURE",
            "Failed to start synapse.service - Matrix: Synapse.",
            "fda24fb663cf66f682a0d928ab8f23032bcc5acdcb87feaf144f02c49896c98f",
        ]
        .map(str::to_owned);
        assert_eq!(last_words(&log), ["psycopg2.OperationalError: connection refused"]);
    }
}
