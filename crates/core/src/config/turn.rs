//! `[turn]`: the server that relays calls, here or elsewhere.

use std::net::Ipv4Addr;

use super::{
    Address, Network,
    keys::{AnyKey, turn as keys},
    read::Reader,
    types::{Flaw, PortRange},
};
use crate::{
    name::{AbsPath, Domain},
    size::Seconds,
};

/// A TURN server for calls.
#[derive(Debug, Clone, PartialEq)]
pub struct Turn {
    /// Which server relays.
    pub relay: TurnRelay,
    /// How long credentials are valid.
    pub user_lifetime: Seconds,
    /// Whether guests may use it.
    pub allow_guests: bool,
}

/// Which server relays calls.
#[derive(Debug, Clone, PartialEq)]
pub enum TurnRelay {
    /// One that somebody else runs.
    Elsewhere {
        /// Its `turn:` and `turns:` addresses, best first.
        uris: Vec<String>,
        /// File on the machine with the secret that it knows too.
        secret_file: AbsPath,
    },
    /// The stack's own.
    Here(TurnServer),
}

/// The stack's own TURN server.
#[derive(Debug, Clone, PartialEq)]
pub struct TurnServer {
    /// The public address that people's devices reach it at.
    pub address: Ipv4Addr,
    /// A name of that address.
    pub name: Option<Domain>,
    /// The ports that it relays at.
    pub ports: PortRange,
    /// What it proves its name with, for TLS.
    pub certificate: Option<TurnCertificate>,
}

/// The files of a certificate, on the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TurnCertificate {
    /// The certificate and those that vouch for it (PEM).
    pub chain: AbsPath,
    /// Its private key (PEM).
    pub key: AbsPath,
}

impl Turn {
    /// The files on the machine that it names.
    pub fn files(&self) -> Vec<&AbsPath> {
        match &self.relay {
            TurnRelay::Elsewhere { secret_file, .. } => vec![secret_file],
            TurnRelay::Here(server) => server.certificate.iter().flat_map(|c| [&c.chain, &c.key]).collect(),
        }
    }

    /// The same, for paths that are to lead elsewhere.
    pub fn files_mut(&mut self) -> Vec<&mut AbsPath> {
        match &mut self.relay {
            TurnRelay::Elsewhere { secret_file, .. } => vec![secret_file],
            TurnRelay::Here(server) => {
                server.certificate.iter_mut().flat_map(|c| [&mut c.chain, &mut c.key]).collect()
            }
        }
    }

    /// The stack's own server, where there is one.
    pub fn server(&self) -> Option<&TurnServer> {
        match &self.relay {
            TurnRelay::Here(server) => Some(server),
            TurnRelay::Elsewhere { .. } => None,
        }
    }
}

pub(super) fn turn(r: &mut Reader<'_>, network: &Network) -> Option<Turn> {
    let here = r.value(&keys::SERVER);
    let user_lifetime = r.value(&keys::USER_LIFETIME);
    let allow_guests = r.value(&keys::ALLOW_GUESTS);
    let relay = if here.value {
        if let Network::Own { address: Address::Dhcp, .. } = network {
            r.complain(
                &keys::SERVER,
                Flaw::new("the machine leads calls to the guest's address, which a lease may change")
                    .hint("write guest.network.address = \"auto\": the guest then keeps one"),
            );
        }
        server(r).map(TurnRelay::Here)
    } else {
        if here.sound() {
            refuse_keys_of_the_server(r);
        }
        let others: [(&dyn AnyKey, bool); 2] =
            [(&keys::USER_LIFETIME, user_lifetime.written()), (&keys::ALLOW_GUESTS, allow_guests.written())];
        elsewhere(r, others)
    };
    Some(Turn { relay: relay?, user_lifetime: user_lifetime.value.0, allow_guests: allow_guests.value })
}

/// What has no effect without a server of one's own.
fn refuse_keys_of_the_server(r: &mut Reader<'_>) {
    let keys: [(&dyn AnyKey, bool); 5] = [
        (&keys::ADDRESS, r.optional(&keys::ADDRESS).written()),
        (&keys::NAME, r.optional(&keys::NAME).written()),
        (&keys::PORTS, r.optional(&keys::PORTS).written()),
        (&keys::CERTIFICATE_FILE, r.optional(&keys::CERTIFICATE_FILE).written()),
        (&keys::KEY_FILE, r.optional(&keys::KEY_FILE).written()),
    ];
    for (key, _) in keys.into_iter().filter(|(_, written)| *written) {
        r.complain(
            key,
            Flaw::new("no TURN server runs here, so this would have no effect").hint("write server = true"),
        );
    }
}

/// A server that somebody else runs; `others` are keys that mean nothing without one.
fn elsewhere(r: &mut Reader<'_>, others: [(&dyn AnyKey, bool); 2]) -> Option<TurnRelay> {
    let uris = r.optional(&keys::URIS);
    let secret_file = r.optional(&keys::SECRET_FILE);
    let sound = uris.sound();
    let list: Vec<String> =
        uris.value.map(|list| list.0.into_iter().map(|uri| uri.0).collect()).unwrap_or_default();
    if list.is_empty() {
        let secret: (&dyn AnyKey, bool) = (&keys::SECRET_FILE, secret_file.written());
        for (key, _) in [secret].into_iter().chain(others).filter(|(_, written)| *written && sound) {
            r.complain(
                key,
                Flaw::new("no TURN server is named, so this would have no effect")
                    .hint(format!("name it: uris = {}", keys::URIS.example)),
            );
        }
        return None;
    }
    if secret_file.value.is_none() && secret_file.sound() {
        r.complain(
            &keys::URIS,
            Flaw::new("a TURN server lets nobody in without the secret that it shares with this server")
                .hint(format!(
                    "put the secret into a file and write secret_file = {}",
                    keys::SECRET_FILE.example
                )),
        );
    }
    Some(TurnRelay::Elsewhere { uris: list, secret_file: secret_file.value?.0 })
}

fn server(r: &mut Reader<'_>) -> Option<TurnServer> {
    let uris = r.optional(&keys::URIS).written();
    let secret_file = r.optional(&keys::SECRET_FILE).written();
    let of_others: [(&dyn AnyKey, bool, &str); 2] = [
        (&keys::URIS, uris, "its addresses follow from turn.address and turn.name"),
        (&keys::SECRET_FILE, secret_file, "its secret is made in the guest"),
    ];
    for (key, _, why) in of_others.into_iter().filter(|(_, written, _)| *written) {
        r.complain(
            key,
            Flaw::new(format!(
                "this is about somebody else's TURN server, and server = true runs one here: {why}"
            ))
            .hint("remove this line, or server = true"),
        );
    }
    let address = r.optional(&keys::ADDRESS);
    if address.value.is_none() && address.sound() {
        r.complain(
            &keys::SERVER,
            Flaw::new("devices cannot find a TURN server without its address").hint(format!(
                "write the address that your router has in the internet: address = {}",
                keys::ADDRESS.example
            )),
        );
    }
    let name = r.optional(&keys::NAME);
    let (chain, key) = (r.optional(&keys::CERTIFICATE_FILE), r.optional(&keys::KEY_FILE));
    let both = "a certificate is of use together with its key";
    if chain.written() && !key.written() && key.sound() {
        r.complain(
            &keys::CERTIFICATE_FILE,
            Flaw::new(both).hint(format!("write key_file = {}", keys::KEY_FILE.example)),
        );
    }
    if key.written() && !chain.written() && chain.sound() {
        r.complain(
            &keys::KEY_FILE,
            Flaw::new(both).hint(format!("write certificate_file = {}", keys::CERTIFICATE_FILE.example)),
        );
    }
    if chain.written() && name.value.is_none() && name.sound() {
        r.complain(
            &keys::CERTIFICATE_FILE,
            Flaw::new("a certificate proves a name, and devices are told an address alone")
                .hint(format!("write name = {}", keys::NAME.example)),
        );
    }
    let certificate = match (chain.value, key.value) {
        (Some(chain), Some(key)) => Some(TurnCertificate { chain, key: key.0 }),
        _ => None,
    };
    Some(TurnServer {
        address: address.value?,
        name: name.value,
        ports: r.value(&keys::PORTS).value,
        certificate,
    })
}
