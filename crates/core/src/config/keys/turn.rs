//! `[turn]`.

use std::net::Ipv4Addr;

use super::{Fixed, Follows, Key};
use crate::{
    config::{
        TurnRelay,
        types::{List, PortRange, SecretPath, Span, TurnUri},
    },
    name::{AbsPath, Domain},
    size::Seconds,
};

/// `turn.user_lifetime`: five minutes to a week.
pub(in crate::config) type TurnLifetime = Span<300, 604_800>;

super::keys! {
    SERVER: Key<bool> = Key {
        path: "turn.server",
        fallback: Fixed(|| false),
        of: |c| c.turn_server().map(|_| true),
        example: "true",
        doc: "Whether a TURN server (coturn) runs here. It makes calls work where two devices cannot reach each other. \
              It needs address, and your router has to forward its ports, which `edge guide` names.",
        init: true,
    };
    ADDRESS: Key<Ipv4Addr, Follows> = Key {
        path: "turn.address",
        fallback: Follows("none; needed with server"),
        of: |c| c.turn_server().map(|server| server.address),
        example: r#""203.0.113.7""#,
        doc: "The IPv4 address that devices reach the TURN server at: your router's in the internet, which has to stay \
              the same. Where nobody comes from outside, the machine's own.",
        init: false,
    };
    NAME: Key<Domain, Follows> = Key {
        path: "turn.name",
        fallback: Follows("devices are told the address"),
        of: |c| c.turn_server().and_then(|server| server.name.clone()),
        example: r#""turn.home.arpa""#,
        doc: "A name of that address, which devices are told instead. Its DNS record must not be proxied by Cloudflare.",
        init: false,
    };
    PORTS: Key<PortRange> = Key {
        path: "turn.ports",
        fallback: Fixed(PortRange::usual),
        of: |c| c.turn_server().map(|server| server.ports),
        example: r#""49152-49452""#,
        doc: "The UDP ports that calls are relayed at. A call between two people takes two to four of them.",
        init: false,
    };
    CERTIFICATE_FILE: Key<AbsPath, Follows> = Key {
        path: "turn.certificate_file",
        fallback: Follows("none: no TLS"),
        of: |c| c.turn_server()?.certificate.as_ref().map(|certificate| certificate.chain.clone()),
        example: r#""/etc/letsencrypt/live/turn.home.arpa/fullchain.pem""#,
        doc: "File on the machine with a certificate for turn.name, and those that vouch for it (PEM). With it the TURN \
              server speaks TLS too, at port 5349, for networks that let nothing else out. Devices find a renewed one \
              after the next `up`.",
        init: false,
    };
    KEY_FILE: Key<SecretPath, Follows> = Key {
        path: "turn.key_file",
        fallback: Follows("none; needed with certificate_file"),
        of: |c| c.turn_server()?.certificate.as_ref().map(|certificate| SecretPath(certificate.key.clone())),
        example: r#""/etc/letsencrypt/live/turn.home.arpa/privkey.pem""#,
        doc: "File on the machine with the certificate's private key (PEM).",
        init: false,
    };
    URIS: Key<List<TurnUri>, Follows> = Key {
        path: "turn.uris",
        fallback: Follows("no TURN server"),
        of: |c| match &c.turn.as_ref()?.relay {
            TurnRelay::Elsewhere { uris, .. } => Some(List(uris.iter().cloned().map(TurnUri).collect())),
            TurnRelay::Here(_) => None,
        },
        example: r#"["turn:turn.home.arpa?transport=udp", "turns:turn.home.arpa:5349?transport=tcp"]"#,
        doc: "Addresses of a TURN server that somebody else runs, best first.",
        init: false,
    };
    SECRET_FILE: Key<SecretPath, Follows> = Key {
        path: "turn.secret_file",
        fallback: Follows("none; needed with uris"),
        of: |c| match &c.turn.as_ref()?.relay {
            TurnRelay::Elsewhere { secret_file, .. } => Some(SecretPath(secret_file.clone())),
            TurnRelay::Here(_) => None,
        },
        example: r#""/root/turn-secret""#,
        doc: "File on the machine with the secret that the TURN server knows too (static-auth-secret in coturn). The \
              secret itself never stands in this file.",
        init: false,
    };
    USER_LIFETIME: Key<TurnLifetime> = Key {
        path: "turn.user_lifetime",
        fallback: Fixed(|| Span(Seconds(3600))),
        of: |c| c.turn.as_ref().map(|turn| Span(turn.user_lifetime)),
        example: r#""12h""#,
        doc: "How long a person's credentials for the TURN server are valid.",
        init: false,
    };
    ALLOW_GUESTS: Key<bool> = Key {
        path: "turn.allow_guests",
        fallback: Fixed(|| false),
        of: |c| c.turn.as_ref().map(|turn| turn.allow_guests),
        example: "true",
        doc: "Whether people without an account may use the TURN server.",
        init: false,
    };
}
