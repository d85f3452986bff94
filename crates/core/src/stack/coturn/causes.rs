//! Why calls are not relayed.

use super::ID;
use crate::{
    frame::{Found, Mend, Relayed, RoomCase, RoomCause, Seen},
    stack,
};

pub(super) const CAUSES: &[RoomCause] = &[
    RoomCause::new("turn/refused", refused),
    RoomCause::new("turn/silent", silent),
    RoomCause::new("turn/lost", lost),
];

/// What came of a packet, where there is a TURN server to send it through.
fn tried(case: &dyn RoomCase) -> Seen<Option<(&str, &Relayed)>> {
    let homeserver = case.is_well(stack::HOMESERVER)?;
    let Some(turn) = case.config().turn.as_ref().filter(|_| homeserver) else { return Ok(None) };
    if turn.server().is_some() && !case.is_well(ID)? {
        return Ok(None);
    }
    let tried = case.relayed()?;
    Ok(Some((&tried.uri, &tried.outcome)))
}

/// Credentials that Synapse gives are not those that the server takes.
fn refused(case: &dyn RoomCase) -> Found {
    let Some((uri, Relayed::Refused)) = tried(case)? else { return Ok(None) };
    let here = case.config().turn_server().is_some();
    Ok(Some((
        format!("The TURN server {uri} does not accept the credentials that Synapse gives people."),
        vec!["a packet was to be relayed, as `matrix-podman verify` does".to_owned()],
        if here {
            Mend::Restart(ID)
        } else {
            Mend::Type(
                "give that server the secret that turn.secret_file holds (static-auth-secret in coturn), and set \
                 its clock: credentials carry the time until which they are valid"
                    .to_owned(),
            )
        },
    )))
}

/// Nobody answers at the address that people are told.
fn silent(case: &dyn RoomCase) -> Found {
    let Some((uri, Relayed::Silent)) = tried(case)? else { return Ok(None) };
    let here = case.config().turn_server().is_some();
    Ok(Some((
        format!("Nobody answers at {uri}, so that calls between some networks do not come about."),
        vec!["asked from the guest".to_owned()],
        Mend::Type(if here {
            "see that turn.address is your router's in the internet and that it forwards the ports that `edge guide` \
             names; if a call works from a phone without Wi-Fi, only the way back in from inside is missing, and \
             all is well"
                .to_owned()
        } else {
            "see whether that server runs, and whether turn.uris says where".to_owned()
        }),
    )))
}

/// The server answers; what it relays does not arrive.
fn lost(case: &dyn RoomCase) -> Found {
    let (uri, address) = match tried(case)? {
        Some((uri, Relayed::Lost { address } | Relayed::PeerRefused { address })) => (uri, address),
        _ => return Ok(None),
    };
    let here = case.config().turn_server().is_some();
    Ok(Some((
        format!("The TURN server {uri} answers, and what it relays does not arrive at {address}."),
        vec!["a packet from one side of a call to the other was lost".to_owned()],
        Mend::Type(if here {
            "see that turn.address is the address that devices reach (it may have changed) and that the router \
             forwards the UDP ports of turn.ports; some routers lead nobody back in from inside"
                .to_owned()
        } else {
            "see external-ip, min-port and max-port of that server, and its firewall".to_owned()
        }),
    )))
}
