//! `[well_known]`.

use super::super::{
    ApexChoice,
    read::Reader,
    types::{Email, Flaw, List, PublicUrl, ServiceUrl, UserId},
};
use crate::name::{Domain, ServerName};

super::section! {
    /// What clients and other servers are told of this server.
    [well_known] pub struct WellKnown {
        /// Who answers https://DOMAIN/.well-known/matrix/ where server_name is the domain itself: here has
        /// Cloudflare and NPM send these paths to this server, elsewhere leaves them to the web server that
        /// the domain has.
        apex: ApexChoice {
            usual: ApexChoice::Here,
            example: r#""elsewhere""#,
        }
        /// Identity server that clients are told of, which finds people by e-mail address or telephone
        /// number.
        identity_server: PublicUrl {
            follows: "none",
            example: r#""https://identity.home.arpa""#,
        }
        /// A sliding sync proxy that old clients are told of. Today's clients ask Synapse itself and need
        /// none.
        sliding_sync_proxy: PublicUrl {
            follows: "none",
            example: r#""https://sync.chat.home.arpa""#,
        }
        /// Addresses of LiveKit services that calls of several people go through.
        rtc_foci: List<ServiceUrl> {
            usual: List(Vec::new()),
            example: r#"["https://rtc.chat.home.arpa/livekit/jwt"]"#,
        }
        /// Page for people who need help with this server.
        support_page: ServiceUrl {
            follows: "none",
            example: r#""https://chat.home.arpa/help""#,
        }
        /// E-mail address of who runs this server, for people and for other servers. Everybody can read it.
        support_email: Email {
            follows: "none",
            example: r#""admin@chat.home.arpa""#,
        }
        /// Matrix user who runs this server, for people and for other servers. Everybody can read it.
        support_user: UserId {
            follows: "none",
            example: r#""@anna:chat.home.arpa""#,
        }
    }
}

impl WellKnown {
    /// Reads it, and sees that what it says of the domain has an effect.
    pub(in crate::config) fn checked(
        r: &mut Reader<'_>,
        domain: Option<&Domain>,
        server_name: Option<&ServerName>,
    ) -> Self {
        let well_known = Self::read(r);
        if r.written(&KEYS.apex)
            && well_known.apex == ApexChoice::Elsewhere
            && let (Some(domain), Some(name)) = (domain, server_name)
            && name.host() != domain.as_str()
        {
            r.complain(
                &KEYS.apex,
                Flaw::new(format!(
                    "server_name is {name}, so nothing is asked of {domain} and this would have no effect"
                ))
                .hint("remove it"),
            );
        }
        well_known
    }
}
