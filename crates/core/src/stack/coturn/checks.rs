//! Whether calls find a way where two devices cannot reach each other.

use crate::frame::{Check, Group, Relayed, RoomCheck, RoomView, Seen};

pub(super) const CHECKS: &[RoomCheck] = &[RoomCheck::new(Group::Client, "client/calls", relay)];

fn relay(view: &dyn RoomView) -> Seen<Check> {
    let id = "client/calls";
    let Some(turn) = &view.config().turn else {
        return Ok(Check::left_out(id, "no TURN server is set in [turn]"));
    };
    let tried = view.relayed()?;
    let uri = &tried.uri;
    let here = turn.server().is_some();
    Ok(match &tried.outcome {
        Relayed::Through { millis } => Check::pass(id, format!("{uri} relays calls, in {millis} ms")),
        Relayed::NotByPackets => {
            Check::left_out(id, "people are told of no address without TLS that takes packets")
        }
        Relayed::Silent if here => Check::weaker(
            id,
            format!("{uri} does not answer when it is asked from the guest"),
            format!(
                "your router has to forward {} to this machine; some routers lead nobody back in from inside: then a call \
                 from a phone without Wi-Fi shows it",
                view.open_ports(),
            ),
        ),
        Relayed::Silent => Check::fail(
            id,
            format!("{uri} does not answer"),
            "see whether that server runs, and whether turn.uris says where",
        ),
        Relayed::Refused => Check::fail(
            id,
            format!("{uri} does not accept the credentials that Synapse gives people"),
            if here {
                "`matrix-podman up`, then `matrix-podman restart coturn`"
            } else {
                "its static-auth-secret has to be what turn.secret_file holds, and its clock has to be right"
            },
        ),
        Relayed::PeerRefused { address } => Check::fail(
            id,
            format!("{uri} relays nothing to {address}, its own address"),
            if here { "matrix-podman up" } else { "allow that address there (allowed-peer-ip in coturn)" },
        ),
        Relayed::Lost { address } => Check::weaker(
            id,
            format!("{uri} answers, and nothing arrives at {address}, where it relays"),
            if here {
                format!(
                    "turn.address has to be the address that devices reach, and your router has to forward {} to this \
                     machine; some routers lead nobody back in from inside",
                    view.open_ports(),
                )
            } else {
                "external-ip and the ports min-port to max-port of that server have to be those that devices reach"
                    .to_owned()
            },
        ),
    })
}
