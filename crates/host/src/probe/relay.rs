//! Whether calls are relayed: two allocations at the TURN server, as two people who call
//! each other have, and a packet from one to the other.

use std::{
    net::{SocketAddr, ToSocketAddrs as _, UdpSocket},
    time::{Duration, Instant},
};

use matrix_podman_core::fact::{HttpQuestion, RelayTried, Relayed};
use serde_json::Value;
use turn_client_proto::{
    api::{TurnClientApi as _, TurnConfig, TurnEvent, TurnPollRet, TurnRecvRet},
    stun::{Instant as StunInstant, agent::Transmit},
    types::{TransportType, TurnCredentials},
    udp::TurnClientUdp,
};

use super::trial;
use crate::{failure::Failure, synapse};

/// How long a server may take over each step.
const PATIENCE: Duration = Duration::from_secs(4);
/// Between two looks at a socket.
const LOOK: Duration = Duration::from_millis(20);
const HELLO: &[u8] = b"matrix-podman verify";

/// Relays a packet through the first server for packets that people are told of.
pub(super) fn attempt() -> Result<RelayTried, Failure> {
    let doing = "ask Synapse for access to the TURN server";
    let token = synapse::own_token()?;
    let question =
        HttpQuestion::get(format!("{}/_matrix/client/v3/voip/turnServer", synapse::local_address()));
    let reply = trial::answered(&question, &token)?;
    let body = reply.and_then(|reply| reply.body).unwrap_or_default();
    let said: Value = serde_json::from_str(&body).unwrap_or_default();
    let text = |name: &str| said[name].as_str().map(str::to_owned);
    let uris: Vec<String> = said["uris"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(|uri| Some(uri.as_str()?.to_owned()))
        .collect();
    let (Some(user), Some(password)) = (text("username"), text("password")) else {
        return Err(Failure::new(doing, "it names none"));
    };
    let Some((uri, host)) = uris.iter().find_map(|uri| Some((uri, for_packets(uri)?))) else {
        return Ok(RelayTried { uri: String::new(), outcome: Relayed::NotByPackets });
    };
    let credentials = TurnCredentials::new(&user, &password);
    let addresses = host.to_socket_addrs().map_err(|why| Failure::new(format!("look up {host}"), why))?;
    let Some(server) = addresses.into_iter().find(SocketAddr::is_ipv4) else {
        return Err(Failure::new(format!("look up {host}"), "it has no IPv4 address"));
    };
    let outcome = relay(server, &credentials)?;
    Ok(RelayTried { uri: uri.clone(), outcome })
}

/// Host and port of a TURN address for packets without TLS (RFC 7065).
fn for_packets(uri: &str) -> Option<String> {
    let rest = uri.strip_prefix("turn:")?;
    let (host, options) = rest.split_once('?').unwrap_or((rest, ""));
    if options.contains("transport=tcp") {
        return None;
    }
    let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.chars().all(|c| c.is_ascii_digit()));
    Some(if has_port { host.to_owned() } else { format!("{host}:3478") })
}

/// One side of a call.
struct Caller {
    socket: UdpSocket,
    client: TurnClientUdp,
    /// Whether the server ever said anything.
    answered: bool,
    /// Its address at the server.
    relayed: Option<SocketAddr>,
    /// Whether the server refused something.
    refused: bool,
    /// Whether the other side may send to it.
    open: bool,
    /// Whether it heard the other side.
    heard: bool,
}

/// The clock that all times of one attempt are told by.
struct StunClock(StunInstant, Instant);

impl StunClock {
    fn now(&self) -> StunInstant {
        self.0 + self.1.elapsed()
    }
}

impl Caller {
    fn new(server: SocketAddr, credentials: &TurnCredentials) -> Result<Self, Failure> {
        let doing = || format!("open a socket to {server}");
        let open = || -> std::io::Result<(UdpSocket, SocketAddr)> {
            let socket = UdpSocket::bind("0.0.0.0:0")?;
            socket.connect(server)?;
            socket.set_read_timeout(Some(LOOK))?;
            let address = socket.local_addr()?;
            Ok((socket, address))
        };
        let (socket, here) = open().map_err(|why| Failure::new(doing(), why))?;
        let client = TurnClientUdp::allocate(here, server, TurnConfig::new(credentials.clone()));
        Ok(Self { socket, client, answered: false, relayed: None, refused: false, open: false, heard: false })
    }

    /// Sends what is to be sent and takes in what came.
    fn work(&mut self, clock: &StunClock) {
        let _: TurnPollRet = self.client.poll(clock.now());
        while let Some(transmit) = self.client.poll_transmit(clock.now()) {
            // Where nobody listens, sending fails; the wait for an answer tells of it.
            let _ = self.socket.send(transmit.data.as_ref());
        }
        let mut buffer = [0; 2048];
        if let Ok(length) = self.socket.recv(&mut buffer) {
            self.answered = true;
            let (from, to) = (self.client.remote_addr(), self.client.local_addr());
            let came = Transmit::new(buffer[..length].to_vec(), TransportType::Udp, from, to);
            if let TurnRecvRet::PeerData(data) = self.client.recv(came, clock.now()) {
                self.heard |= data.data() == HELLO;
            }
        }
        while let Some(data) = self.client.poll_recv(clock.now()) {
            self.heard |= data.data() == HELLO;
        }
        while let Some(event) = self.client.poll_event() {
            match event {
                TurnEvent::AllocationCreated(_, address) => self.relayed = Some(address),
                TurnEvent::PermissionCreated(..) => self.open = true,
                TurnEvent::AllocationCreateFailed(_) | TurnEvent::PermissionCreateFailed(..) => {
                    self.refused = true;
                }
                _ => {}
            }
        }
    }
}

/// Works with both until `done`, which is the answer, or until there was time enough.
fn both(peers: &mut [Caller; 2], clock: &StunClock, done: impl Fn(&[Caller; 2]) -> bool) -> bool {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        peers.iter_mut().for_each(|peer| peer.work(clock));
        if done(peers) {
            return true;
        }
        if peers.iter().any(|peer| peer.refused && peer.answered) {
            return false;
        }
    }
    false
}

fn relay(server: SocketAddr, credentials: &TurnCredentials) -> Result<Relayed, Failure> {
    let clock = StunClock(StunInstant::from_std(Instant::now()), Instant::now());
    let mut peers = [Caller::new(server, credentials)?, Caller::new(server, credentials)?];
    let started = Instant::now();
    if !both(&mut peers, &clock, |peers| peers.iter().all(|peer| peer.relayed.is_some())) {
        let answered = peers.iter().any(|peer| peer.answered);
        return Ok(if answered { Relayed::Refused } else { Relayed::Silent });
    }
    let addresses = [0, 1].map(|n: usize| peers[n].relayed);
    let [Some(first), Some(second)] = addresses else { return Ok(Relayed::Refused) };
    for (peer, other) in peers.iter_mut().zip([second, first]) {
        // One that is refused is told of by an event.
        let _ = peer.client.create_permission(TransportType::Udp, other.ip(), clock.now());
    }
    let outcome = if !both(&mut peers, &clock, |peers| peers.iter().all(|peer| peer.open)) {
        Relayed::PeerRefused { address: first.to_string() }
    } else {
        let heard = send_until_heard(&mut peers, second, &clock);
        if heard {
            let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            Relayed::Through { millis }
        } else {
            Relayed::Lost { address: second.to_string() }
        }
    };
    for peer in &mut peers {
        // The server forgets an allocation after ten minutes.
        let _ = peer.client.delete(clock.now());
        peer.work(&clock);
    }
    Ok(outcome)
}

/// Sends the packet again and again: any one of them may be lost on the way.
fn send_until_heard(peers: &mut [Caller; 2], to: SocketAddr, clock: &StunClock) -> bool {
    let until = Instant::now() + PATIENCE;
    while Instant::now() < until {
        let sent = peers[0].client.send_to(TransportType::Udp, to, HELLO, clock.now());
        if let Ok(Some(transmit)) = sent {
            let _ = peers[0].socket.send(&transmit.build().data);
        }
        let again = Instant::now() + Duration::from_millis(250);
        while Instant::now() < again {
            peers.iter_mut().for_each(|peer| peer.work(clock));
            if peers[1].heard {
                return true;
            }
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_for_packets() {
        for (uri, host) in [
            ("turn:203.0.113.7:3478?transport=udp", Some("203.0.113.7:3478")),
            ("turn:turn.home.arpa", Some("turn.home.arpa:3478")),
            ("turn:turn.home.arpa?transport=tcp", None),
            ("turns:turn.home.arpa:5349", None),
            ("stun:turn.home.arpa", None),
        ] {
            assert_eq!(for_packets(uri).as_deref(), host, "{uri}");
        }
    }

    #[test]
    fn a_server_that_says_nothing_is_silent() {
        let mute = UdpSocket::bind("127.0.0.1:0").unwrap();
        let credentials = TurnCredentials::new("user", "password");
        assert_eq!(relay(mute.local_addr().unwrap(), &credentials).unwrap(), Relayed::Silent);
    }
}
