//! `[synapse]`.

use super::extra::SynapseFile;
use crate::{
    config::{
        LogLevel, Registration,
        read::Reader,
        types::{
            Certificates, ExtraSettings, Factor, Flaw, Int, KeptFor, List, PrivateNetwork,
            RegistrationChoice, Size, Words,
        },
    },
    name::ServerName,
    size::{Bytes, Seconds},
};

super::section! {
    /// Synapse, the Matrix server.
    [synapse] pub struct Synapse {
        together {
            /// Who may make an account.
            registration: Registration = |reader| registration(reader);
        }
        keys {
            /// Who may make an account: closed is only you, token is whoever has an invite token from you,
            /// open is anybody, which spammers find within days. open wants open_registration_reason beside
            /// it.
            registration: RegistrationChoice {
                of: |section| Some(match section.registration {
                    Registration::Closed => RegistrationChoice::Closed,
                    Registration::Token => RegistrationChoice::Token,
                    Registration::Open { .. } => RegistrationChoice::Open,
                }),
                usual: RegistrationChoice::Token,
                example: r#""closed""#,
                init: true,
            }
            /// Why anybody may make an account, in your own words. Needed with registration = "open", and
            /// only there.
            open_registration_reason: Words {
                of: |section| match &section.registration {
                    Registration::Open { reason } => Some(Words(reason.clone())),
                    Registration::Closed | Registration::Token => None,
                },
                follows: "none",
                example: r#""a closed network: only our school can reach it""#,
            }
        }
        /// The largest file that people can send. What stands in front of the server may allow less:
        /// Cloudflare's free plan passes 100M.
        max_upload_size: Size<1, 4096> {
            usual: Size(Bytes::mib(200)),
            example: r#""50M""#,
            init: true,
        }
        /// Whether people see who is online. Off saves work on a slow machine.
        presence: bool {
            usual: true,
            example: "false",
            init: true,
        }
        /// How long copies of other servers' pictures and files are kept after somebody last looked at them.
        /// They are fetched again when needed. "forever" keeps them all. What your own people sent is always
        /// kept.
        remote_media_lifetime: KeptFor {
            usual: KeptFor(Some(Seconds::days(90))),
            example: r#""30d""#,
            init: true,
        }
        /// How long a room is kept that everybody here has left and forgotten. "forever" keeps them all.
        forgotten_room_retention: KeptFor {
            usual: KeptFor(Some(Seconds::days(7))),
            example: r#""28d""#,
        }
        /// Whether links in messages are shown with title and picture. The server fetches them; private
        /// networks are never asked.
        url_previews: bool {
            usual: true,
            example: "false",
            init: true,
        }
        /// How large Synapse's caches are, as a multiple of its own measure. More makes large rooms faster
        /// and takes memory.
        cache_factor: Factor {
            usual: Factor(0.5),
            example: "1.0",
        }
        /// The only Matrix servers that yours exchanges messages with. An empty list, [], is none at all.
        federation_allow: List<ServerName> {
            follows: "every server",
            example: r#"["matrix.org", "grandma.home.arpa"]"#,
        }
        /// The only certificates (PEM) that other servers' certificates may be signed with, for a network
        /// with a CA of its own. They take the place of those that the system trusts, so name these as well
        /// if you also want to reach servers on the internet.
        federation_ca: Certificates {
            follows: "those that the system trusts",
            example: r#""-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n""#,
        }
        /// Private networks in which other servers may be. Synapse otherwise connects to no private address,
        /// so that nobody on the internet can make it knock at the doors of your own network.
        private_networks: List<PrivateNetwork> {
            follows: "none",
            example: r#"["192.168.1.0/24"]"#,
        }
        /// Whether Synapse tells its makers how many people use the server.
        report_stats: bool {
            usual: false,
            example: "true",
        }
        /// The fewest characters that a new password may have, whoever sets it. Passwords that there are stay
        /// as they are.
        password_min_length: Int<8, 128> {
            usual: Int(10),
            example: "14",
        }
        /// Whether names and pictures of your people are shown only to whoever is logged in. Other servers
        /// are answered either way.
        profiles_need_login: bool {
            usual: true,
            example: "false",
        }
        /// Whether your people see names and pictures only of those with whom they share a room. A client may
        /// then ask whether to invite somebody whom it cannot look up. It needs profiles_need_login.
        profiles_of_shared_rooms: bool {
            usual: true,
            example: "false",
        }
        /// How much Synapse writes to its log. info is Synapse's own choice and writes a line for every
        /// request, which wears out small disks; take it while looking for a fault. debug holds messages'
        /// contents.
        log_level: LogLevel {
            usual: LogLevel::Warning,
            example: r#""info""#,
        }
        /// Settings of Synapse that have no key here, as they are called in its manual; [synapse.extra] with
        /// a line for each reads best. They are merged into homeserver.yaml, whose result Synapse's own
        /// parser reads before it counts. What matrix-podman decides itself is refused, with the key that
        /// sets it.
        extra: ExtraSettings<SynapseFile> {
            empty: "none",
            example: "{ limit_remote_rooms = { enabled = true, complexity = 1.0 } }",
        }
    }
}

fn registration(r: &mut Reader<'_>) -> Registration {
    let choice = r.value(&KEYS.registration);
    let reason = r.optional(&KEYS.open_registration_reason);
    match choice.value {
        RegistrationChoice::Open => {
            if reason.value.is_none() && reason.sound() {
                r.complain(
                    &KEYS.registration,
                    Flaw::new("anybody on the internet could make accounts, and spammers do within days")
                        .hint(
                            "take \"token\"; or, if it must be, write down why in open_registration_reason",
                        ),
                );
            }
            return Registration::Open { reason: reason.value.map(|words| words.0).unwrap_or_default() };
        }
        _ if reason.written() && choice.sound() => r.complain(
            &KEYS.open_registration_reason,
            Flaw::new(format!("registration is {:?}, so this would have no effect", choice.value.as_str()))
                .hint("remove it, or write registration = \"open\""),
        ),
        _ => {}
    }
    if choice.value == RegistrationChoice::Closed { Registration::Closed } else { Registration::Token }
}
