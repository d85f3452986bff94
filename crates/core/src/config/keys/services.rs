//! `[turn]`.

use super::{Fixed, Follows, Key};
use crate::{
    config::types::{List, SecretPath, Span, TurnUri},
    size::Seconds,
};

/// `turn.user_lifetime`: five minutes to a week.
pub(in crate::config) type TurnLifetime = Span<300, 604_800>;

super::keys! {
    TURN_URIS: Key<List<TurnUri>, Follows> = Key {
        path: "turn.uris",
        fallback: Follows("no TURN server"),
        of: |c| c.turn.as_ref().map(|turn| List(turn.uris.iter().cloned().map(TurnUri).collect())),
        example: r#"["turn:turn.home.arpa?transport=udp", "turns:turn.home.arpa:5349?transport=tcp"]"#,
        doc: "Addresses of the TURN server, best first.",
        init: true,
    };
    TURN_SECRET_FILE: Key<SecretPath, Follows> = Key {
        path: "turn.secret_file",
        fallback: Follows("none; needed with uris"),
        of: |c| c.turn.as_ref().map(|turn| SecretPath(turn.secret_file.clone())),
        example: r#""/root/turn-secret""#,
        doc: "File on the machine with the secret that the TURN server knows too (static-auth-secret in coturn). The \
              secret itself never stands in this file.",
        init: true,
    };
    TURN_USER_LIFETIME: Key<TurnLifetime> = Key {
        path: "turn.user_lifetime",
        fallback: Fixed(|| Span(Seconds(3600))),
        of: |c| c.turn.as_ref().map(|turn| Span(turn.user_lifetime)),
        example: r#""12h""#,
        doc: "How long a person's credentials for the TURN server are valid.",
        init: false,
    };
    TURN_ALLOW_GUESTS: Key<bool> = Key {
        path: "turn.allow_guests",
        fallback: Fixed(|| false),
        of: |c| c.turn.as_ref().map(|turn| turn.allow_guests),
        example: "true",
        doc: "Whether people without an account may use the TURN server.",
        init: false,
    };
}
