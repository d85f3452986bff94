//! coturn: the TURN server, which relays calls between devices that cannot reach each
//! other. It is off unless `turn.server` is set.
//!
//! Format: turnserver.conf of coturn 4.6, Debian 13's: one option a line. An option that
//! coturn does not know is a line in its log and no more, so an end-to-end test reads that.
//! The shared secret can stand nowhere but in this file, so the
//! whole file is put together in the guest.

mod causes;
mod checks;

use std::net::Ipv4Addr;

use serde_json::{Value as Json, json};

use super::{
    BuildRecipe, ContainerSpec, Facts, Health, Mount, Protocol, Publish, RoomNetwork, RoomSecret,
    SecretOrigin, Service, ServiceImage,
};
use crate::{
    config::{Config, TurnRelay, TurnServer},
    desired::{DesiredFile, DesiredFolder, DesiredSecretFile, SecretTemplate},
    frame::{RoomCause, RoomCheck},
    layout::{self, Secret},
    lock::LockedImage,
    name::{AbsPath, Cidr4, Owner, Port},
    service::ServiceId,
    size::Bytes,
};

/// Its id.
pub const ID: ServiceId = ServiceId::known("coturn");

/// The port of TURN and STUN (RFC 8656), with TCP and UDP.
pub const PORT: Port = Port::known(3478);
/// The same with TLS.
pub const TLS_PORT: Port = Port::known(5349);

/// Its network, where it is alone: nothing that is sent through it finds another container. It
/// must know its own address: two people who call each other are both at that one. RFC 2544
/// keeps these networks for tests of networks, so that no home has them.
const NETWORK: RoomNetwork = RoomNetwork {
    name: "matrix-turn",
    subnet: Cidr4::known(198, 18, 77, 0, 29),
    address: Ipv4Addr::new(198, 18, 77, 2),
    internal: false,
};

/// Where the container finds its config.
const CONF: &str = "/etc/coturn/turnserver.conf";

/// Networks that nobody may reach by way of the relay: those of the guest, of its
/// containers and of the home that they stand in. RFC 1918, 6598, 6890 and 4193; and the
/// IPv6 addresses that stand for IPv4 ones: mapped, NAT64, Teredo and 6to4.
const DENIED_PEERS: [&str; 17] = [
    "0.0.0.0-0.255.255.255",
    "10.0.0.0-10.255.255.255",
    "100.64.0.0-100.127.255.255",
    "127.0.0.0-127.255.255.255",
    "169.254.0.0-169.254.255.255",
    "172.16.0.0-172.31.255.255",
    "192.0.0.0-192.0.0.255",
    "192.168.0.0-192.168.255.255",
    "198.18.0.0-198.19.255.255",
    "240.0.0.0-255.255.255.255",
    "::1",
    "::ffff:0.0.0.0-::ffff:255.255.255.255",
    "64:ff9b::-64:ff9b::ffff:ffff",
    "2001::-2001:0:ffff:ffff:ffff:ffff:ffff:ffff",
    "2002::-2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fc00::-fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
    "fe80::-febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
];

/// Its certificate; comes from the operator.
const CERTIFICATE: Secret = Secret::public("turn.crt", "the TURN server's certificate");
/// The key of that; comes from the operator.
const KEY: Secret = Secret::of("turn.key", "the key of the TURN server's certificate");

const SECRETS: &[RoomSecret] = &[
    RoomSecret {
        reader: None,
        secret: CERTIFICATE,
        origin: SecretOrigin::Given(|config| Some(&config.turn_server()?.certificate.as_ref()?.chain)),
    },
    RoomSecret {
        reader: None,
        secret: KEY,
        origin: SecretOrigin::Given(|config| Some(&config.turn_server()?.certificate.as_ref()?.key)),
    },
];

fn conf_file() -> AbsPath {
    layout::in_root("coturn/turnserver.conf")
}

/// The options of `turnserver.conf`, apart from the secret.
fn options(config: &Config, server: &TurnServer) -> Vec<(&'static str, Option<String>)> {
    let with = |key, value: String| (key, Some(value));
    let mut options = vec![
        with("listening-port", PORT.to_string()),
        with("min-port", server.ports.first().to_string()),
        with("max-port", server.ports.last().to_string()),
        // What devices are told in place of the container's own address.
        with("external-ip", server.address.to_string()),
        with("realm", config.domain.to_string()),
        ("use-auth-secret", None),
        ("fingerprint", None),
        // Two people who call each other are both at this address, which is the container's.
        with("allowed-peer-ip", server.address.to_string()),
        with("allowed-peer-ip", NETWORK.address.to_string()),
    ];
    options.extend(DENIED_PEERS.map(|range| ("denied-peer-ip", Some(range.to_owned()))));
    options.extend([
        ("no-multicast-peers", None),
        ("no-tcp-relay", None),
        ("no-cli", None),
        ("no-rfc5780", None),
        ("no-stun-backward-compatibility", None),
        ("response-origin-only-with-rfc5780", None),
        ("no-software-attribute", None),
        with("stale-nonce", "600".to_owned()),
        with("user-quota", "12".to_owned()),
        with("total-quota", "1200".to_owned()),
        with("userdb", "/tmp/turndb".to_owned()),
        with("pidfile", "/tmp/turnserver.pid".to_owned()),
        with("log-file", "stdout".to_owned()),
        ("simple-log", None),
    ]);
    if server.certificate.is_some() {
        options.extend([
            with("tls-listening-port", TLS_PORT.to_string()),
            with("cert", CERTIFICATE.in_container()),
            with("pkey", KEY.in_container()),
            ("no-tlsv1", None),
            ("no-tlsv1_1", None),
        ]);
    } else {
        options.extend([("no-tls", None), ("no-dtls", None)]);
    }
    options
}

fn conf(config: &Config, server: &TurnServer) -> SecretTemplate {
    let mut text = String::from("# Written by matrix-podman; changes here are overwritten.\n");
    for (key, value) in options(config, server) {
        match value {
            Some(value) => text.push_str(&format!("{key}={value}\n")),
            None => text.push_str(&format!("{key}\n")),
        }
    }
    text.push_str("static-auth-secret=");
    SecretTemplate::new(text).secret(Secret::TURN).text("\n")
}

/// Where devices find the server, best first: packets, then connections, then TLS.
pub fn uris(server: &TurnServer) -> Vec<String> {
    let host = server.name.as_ref().map_or_else(|| server.address.to_string(), ToString::to_string);
    let mut uris =
        vec![format!("turn:{host}:{PORT}?transport=udp"), format!("turn:{host}:{PORT}?transport=tcp")];
    if server.certificate.is_some() {
        uris.push(format!("turns:{host}:{TLS_PORT}?transport=tcp"));
    }
    uris
}

/// coturn, the TURN server.
#[derive(Debug)]
pub struct CoturnService;

impl Service for CoturnService {
    fn id(&self) -> ServiceId {
        ID
    }

    fn is_on(&self, config: &Config) -> bool {
        config.turn_server().is_some()
    }

    fn container(
        &self,
        spec: &mut ContainerSpec,
        _: &Config,
        _: &LockedImage,
        _: &Facts,
    ) -> Result<(), String> {
        // The entry point of the official image asks a stranger for the address.
        spec.entrypoint = Some("turnserver");
        spec.command = ["-c", CONF].map(str::to_owned).to_vec();
        spec.mounts.push(Mount::read(conf_file(), CONF));
        spec.health = Health::of(
            ["turnutils_stunclient", "-p", &PORT.to_string(), &Ipv4Addr::LOCALHOST.to_string()]
                .map(str::to_owned)
                .to_vec(),
        );
        spec.limit(256, Bytes::mib(256));
        Ok(())
    }

    fn files(&self, _: &Config, _: &Facts) -> Vec<DesiredFile> {
        Vec::new()
    }

    fn secret_files(&self, config: &Config) -> Vec<DesiredSecretFile> {
        let Some(server) = config.turn_server() else { return Vec::new() };
        vec![DesiredSecretFile {
            path: conf_file(),
            template: conf(config, server),
            owner: ID.owner(),
            why: "The TURN server's configuration",
        }]
    }

    fn ports(&self, config: &Config) -> Vec<Publish> {
        let Some(server) = config.turn_server() else { return Vec::new() };
        let both =
            |port| [Protocol::Udp, Protocol::Tcp].map(|protocol| Publish::open(config, protocol, port, 1));
        let tls = server.certificate.iter().flat_map(|_| both(TLS_PORT));
        let relayed = Publish::open(config, Protocol::Udp, server.ports.first(), server.ports.count());
        both(PORT).into_iter().chain(tls).chain([relayed]).collect()
    }

    fn network(&self) -> Option<&'static RoomNetwork> {
        Some(&NETWORK)
    }

    fn homeserver(&self, config: &Config) -> Vec<(&'static str, Json)> {
        let Some(turn) = &config.turn else { return Vec::new() };
        let uris = match &turn.relay {
            TurnRelay::Elsewhere { uris, .. } => uris.clone(),
            TurnRelay::Here(server) => uris(server),
        };
        vec![
            ("turn_uris", json!(uris)),
            ("turn_shared_secret_path", json!(Secret::TURN.in_container())),
            ("turn_user_lifetime", json!(turn.user_lifetime)),
            ("turn_allow_guests", json!(turn.allow_guests)),
        ]
    }

    fn folders(&self) -> Vec<DesiredFolder> {
        vec![DesiredFolder::new(layout::in_root("coturn"), 0o755, Owner::ROOT)]
    }

    fn leftovers(&self) -> Vec<AbsPath> {
        let network = layout::network_file(NETWORK.name);
        vec![conf_file(), layout::secret(CERTIFICATE), layout::secret(KEY), network]
    }

    fn secrets(&self) -> &'static [RoomSecret] {
        SECRETS
    }

    fn image(&self) -> ServiceImage {
        ServiceImage { recipe: Some(BuildRecipe { name: "coturn", origins: "Debian" }), within_major: true }
    }

    fn also_called(&self) -> &'static [&'static str] {
        &["turn"]
    }

    fn family(&self) -> &'static str {
        "turn/"
    }

    fn causes(&self) -> &'static [RoomCause] {
        causes::CAUSES
    }

    fn checks(&self, config: &Config) -> &'static [RoomCheck] {
        if config.turn.is_some() { checks::CHECKS } else { &[] }
    }

    fn unit_is(&self) -> &'static str {
        "How systemd and Podman run the TURN server"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{facts, lock};

    fn config(more: &str) -> Config {
        let text =
            format!("domain = \"chat.home.arpa\"\n[turn]\nserver = true\naddress = \"203.0.113.7\"\n{more}");
        Config::parse(&text, "matrix.toml").unwrap_or_else(|mistakes| panic!("{mistakes}"))
    }

    const TLS: &str = "name = \"turn.home.arpa\"\nports = \"50000-50009\"\n\
                       certificate_file = \"/root/turn.crt\"\nkey_file = \"/root/turn.key\"";

    fn shown(config: &Config) -> String {
        conf(config, config.turn_server().unwrap()).shown()
    }

    #[test]
    fn turnserver_conf() {
        insta::assert_snapshot!(shown(&config("")));
        insta::assert_snapshot!(crate::testing::diff(&shown(&config("")), &shown(&config(TLS))));
    }

    #[test]
    fn addresses_that_devices_are_told() {
        let of = |more| uris(config(more).turn_server().unwrap());
        assert_eq!(of("")[0], "turn:203.0.113.7:3478?transport=udp");
        assert_eq!(of(TLS).last().unwrap(), "turns:turn.home.arpa:5349?transport=tcp");
    }

    #[test]
    fn synapse_is_told_of_it_and_of_somebody_elses_alike() {
        let keys = |config: &Config| {
            CoturnService.homeserver(config).into_iter().map(|(key, _)| key).collect::<Vec<_>>()
        };
        let elsewhere = crate::testing::changed_config();
        assert!(!CoturnService.is_on(&elsewhere));
        assert_eq!(keys(&elsewhere), keys(&config("")));
        assert_eq!(keys(&crate::testing::default_config()), [""; 0]);
    }

    #[test]
    fn its_container_is_alone_in_its_network() {
        let spec = crate::stack::container(ID, &config(TLS), &lock(), &facts()).unwrap();
        assert!(spec.networks.is_empty());
        assert!(NETWORK.subnet.has_host(NETWORK.address));
        let ports: Vec<String> = spec.ports.iter().map(ToString::to_string).collect();
        assert_eq!(
            ports,
            [
                "0.0.0.0:3478:3478/udp",
                "0.0.0.0:3478:3478",
                "0.0.0.0:5349:5349/udp",
                "0.0.0.0:5349:5349",
                "0.0.0.0:50000-50009:50000-50009/udp",
            ]
        );
        assert!(spec.mounts.iter().any(|mount| mount.target == "/run/secrets/turn.key"));
    }
}
