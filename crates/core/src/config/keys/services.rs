//! `[synapse]`, `[postgres]` and `[web]`.

use super::{Fixed, Follows, Key};
use crate::{
    config::{
        LogLevel, Registration,
        types::{
            Certificates, Country, Factor, Int, KeptFor, List, PrivateNetwork, RegistrationChoice, Size,
            Span, Words,
        },
    },
    name::ServerName,
    size::{Bytes, Seconds},
};

/// `turn.user_lifetime`: five minutes to a week.
pub(in crate::config) type TurnLifetime = Span<300, 604_800>;

/// Memory that PostgreSQL can keep for itself; its own lower limit is 128 KiB.
pub(in crate::config) type SharedBuffers = Size<16, { 1 << 20 }>;

super::keys! {
    REGISTRATION: Key<RegistrationChoice> = Key {
        path: "synapse.registration",
        fallback: Fixed(|| RegistrationChoice::Token),
        of: |c| Some(match c.synapse.registration {
            Registration::Closed => RegistrationChoice::Closed,
            Registration::Token => RegistrationChoice::Token,
            Registration::Open { .. } => RegistrationChoice::Open,
        }),
        example: r#""closed""#,
        doc: "Who may make an account: closed is only you, token is whoever has an invite token from you, open is \
              anybody, which spammers find within days. open wants open_registration_reason beside it.",
        init: true,
    };
    OPEN_REGISTRATION_REASON: Key<Words, Follows> = Key {
        path: "synapse.open_registration_reason",
        fallback: Follows("none"),
        of: |c| match &c.synapse.registration {
            Registration::Open { reason } => Some(Words(reason.clone())),
            Registration::Closed | Registration::Token => None,
        },
        example: r#""a closed network: only our school can reach it""#,
        doc: "Why anybody may make an account, in your own words. Needed with registration = \"open\", and only \
              there.",
        init: false,
    };
    MAX_UPLOAD_SIZE: Key<Size<1, 4096>> = Key {
        path: "synapse.max_upload_size",
        fallback: Fixed(|| Size(Bytes::mib(200))),
        of: |c| Some(Size(c.synapse.max_upload_size)),
        example: r#""50M""#,
        doc: "The largest file that people can send. What stands in front of the server may allow less: Cloudflare's \
              free plan passes 100M.",
        init: true,
    };
    PRESENCE: Key<bool> = Key {
        path: "synapse.presence",
        fallback: Fixed(|| true),
        of: |c| Some(c.synapse.presence),
        example: "false",
        doc: "Whether people see who is online. Off saves work on a slow machine.",
        init: true,
    };
    REMOTE_MEDIA_LIFETIME: Key<KeptFor> = Key {
        path: "synapse.remote_media_lifetime",
        fallback: Fixed(|| KeptFor(Some(Seconds::days(90)))),
        of: |c| Some(KeptFor(c.synapse.remote_media_lifetime)),
        example: r#""30d""#,
        doc: "How long copies of other servers' pictures and files are kept after somebody last looked at them. They \
              are fetched again when needed. \"forever\" keeps them all. What your own people sent is always kept.",
        init: true,
    };
    FORGOTTEN_ROOM_RETENTION: Key<KeptFor> = Key {
        path: "synapse.forgotten_room_retention",
        fallback: Fixed(|| KeptFor(Some(Seconds::days(7)))),
        of: |c| Some(KeptFor(c.synapse.forgotten_room_retention)),
        example: r#""28d""#,
        doc: "How long a room is kept that everybody here has left and forgotten. \"forever\" keeps them all.",
        init: false,
    };
    URL_PREVIEWS: Key<bool> = Key {
        path: "synapse.url_previews",
        fallback: Fixed(|| true),
        of: |c| Some(c.synapse.url_previews),
        example: "false",
        doc: "Whether links in messages are shown with title and picture. The server fetches them; private networks \
              are never asked.",
        init: true,
    };
    CACHE_FACTOR: Key<Factor> = Key {
        path: "synapse.cache_factor",
        fallback: Fixed(|| Factor(0.5)),
        of: |c| Some(Factor(c.synapse.cache_factor)),
        example: "1.0",
        doc: "How large Synapse's caches are, as a multiple of its own measure. More makes large rooms faster and \
              takes memory.",
        init: false,
    };
    FEDERATION_ALLOW: Key<List<ServerName>, Follows> = Key {
        path: "synapse.federation_allow",
        fallback: Follows("every server"),
        of: |c| c.synapse.federation_allow.clone().map(List),
        example: r#"["matrix.org", "grandma.home.arpa"]"#,
        doc: "The only Matrix servers that yours exchanges messages with. An empty list, [], is none at all.",
        init: false,
    };
    FEDERATION_CA: Key<Certificates, Follows> = Key {
        path: "synapse.federation_ca",
        fallback: Follows("those that the system trusts"),
        of: |c| c.synapse.federation_ca.clone().map(Certificates),
        example: r#""-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n""#,
        doc: "The only certificates (PEM) that other servers' certificates may be signed with, for a network with a CA \
              of its own. They take the place of those that the system trusts, so name these as well if you also want \
              to reach servers on the internet.",
        init: false,
    };
    PRIVATE_NETWORKS: Key<List<PrivateNetwork>, Follows> = Key {
        path: "synapse.private_networks",
        fallback: Follows("none"),
        of: |c| c.synapse.private_networks.clone().map(|all| List(all.into_iter().map(PrivateNetwork).collect())),
        example: r#"["192.168.1.0/24"]"#,
        doc: "Private networks in which other servers may be. Synapse otherwise connects to no private address, so that \
              nobody on the internet can make it knock at the doors of your own network.",
        init: false,
    };
    REPORT_STATS: Key<bool> = Key {
        path: "synapse.report_stats",
        fallback: Fixed(|| false),
        of: |c| Some(c.synapse.report_stats),
        example: "true",
        doc: "Whether Synapse tells its makers how many people use the server.",
        init: false,
    };
    PASSWORD_MIN_LENGTH: Key<Int<8, 128>> = Key {
        path: "synapse.password_min_length",
        fallback: Fixed(|| Int(10)),
        of: |c| Some(Int(c.synapse.password_min_length)),
        example: "14",
        doc: "The fewest characters that a new password may have, whoever sets it. Passwords that there are stay as \
              they are.",
        init: false,
    };
    PROFILES_NEED_LOGIN: Key<bool> = Key {
        path: "synapse.profiles_need_login",
        fallback: Fixed(|| true),
        of: |c| Some(c.synapse.profiles_need_login),
        example: "false",
        doc: "Whether names and pictures of your people are shown only to whoever is logged in. Other servers are \
              answered either way.",
        init: false,
    };
    PROFILES_OF_SHARED_ROOMS: Key<bool> = Key {
        path: "synapse.profiles_of_shared_rooms",
        fallback: Fixed(|| true),
        of: |c| Some(c.synapse.profiles_of_shared_rooms),
        example: "false",
        doc: "Whether your people see names and pictures only of those with whom they share a room. A client may then \
              ask whether to invite somebody whom it cannot look up. It needs profiles_need_login.",
        init: false,
    };
    LOG_LEVEL: Key<LogLevel> = Key {
        path: "synapse.log_level",
        fallback: Fixed(|| LogLevel::Warning),
        of: |c| Some(c.synapse.log_level),
        example: r#""info""#,
        doc: "How much Synapse writes to its log. info is Synapse's own choice and writes a line for every request, \
              which wears out small disks; take it while looking for a fault. debug holds messages' contents.",
        init: false,
    };
    SHARED_BUFFERS: Key<SharedBuffers, Follows> = Key {
        path: "postgres.shared_buffers",
        fallback: Follows("follows guest.memory"),
        of: |c| c.postgres.shared_buffers.map(Size),
        example: r#""512M""#,
        doc: "Memory that PostgreSQL keeps for itself. At most half of guest.memory.",
        init: false,
    };
    MAX_CONNECTIONS: Key<Int<20, 1000>> = Key {
        path: "postgres.max_connections",
        fallback: Fixed(|| Int(100)),
        of: |c| Some(Int(c.postgres.max_connections)),
        example: "50",
        doc: "How many connections PostgreSQL accepts. Synapse opens about ten.",
        init: false,
    };
    BRAND: Key<Words> = Key {
        path: "web.brand",
        fallback: Fixed(|| Words("Element".to_owned())),
        of: |c| Some(Words(c.web.brand.clone())),
        example: r#""Family chat""#,
        doc: "The name that the web client shows, in the browser's tab too.",
        init: true,
    };
    DEFAULT_COUNTRY: Key<Country, Follows> = Key {
        path: "web.default_country",
        fallback: Follows("none"),
        of: |c| c.web.default_country.clone().map(Country),
        example: r#""DE""#,
        doc: "Country whose code telephone numbers begin with, in two letters.",
        init: false,
    };
    CUSTOM_SERVERS: Key<bool> = Key {
        path: "web.custom_servers",
        fallback: Fixed(|| false),
        of: |c| Some(c.web.custom_servers),
        example: "true",
        doc: "Whether people may log in to other Matrix servers with this web client.",
        init: false,
    };
}
