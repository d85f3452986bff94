//! The keys at the top of the file.

use super::{Fixed, Follows, Key, Required};
use crate::{
    config::types::PublicUrl,
    name::{Domain, ServerName, SshHost, Timezone},
};

super::keys! {
    DOMAIN: Key<Domain, Required> = Key {
        path: "domain",
        fallback: Required,
        of: |c| Some(c.domain.clone()),
        example: r#""chat.home.arpa""#,
        doc: "The domain that the server belongs to. The server is reached at matrix. and the web client at chat. \
              below it.",
        init: true,
    };
    SERVER_NAME: Key<ServerName, Follows> = Key {
        path: "server_name",
        fallback: Follows("matrix. in front of the domain"),
        of: |c| Some(c.server_name.clone()),
        example: r#""chat.home.arpa""#,
        doc: "What stands after the colon in every user id: @anna:matrix.chat.home.arpa. It can never be changed \
              once the server exists. It is the domain itself or a name under it; with the domain itself, the \
              domain's web server has to send /.well-known/matrix to this server.",
        init: true,
    };
    TIMEZONE: Key<Timezone> = Key {
        path: "timezone",
        fallback: Fixed(|| Timezone::known("UTC")),
        of: |c| Some(c.timezone.clone()),
        example: r#""Europe/Berlin""#,
        doc: "Time zone of the guest and its containers. Where the machine has one of its own, that one is the \
              default.",
        init: true,
    };
    HOST: Key<SshHost, Follows> = Key {
        path: "host",
        fallback: Follows("the machine that commands are typed on"),
        of: |c| c.host.clone(),
        example: r#""ssh://root@pve.lan""#,
        doc: "The machine that the guest is made on, when commands are typed elsewhere, such as on a laptop. It is \
              reached with your own ssh, its config, keys and known hosts. Paths of image archives and the like \
              are paths on that machine.",
        init: false,
    };
    MATRIX_URL: Key<PublicUrl, Follows> = Key {
        path: "matrix_url",
        fallback: Follows("https://matrix. in front of the domain"),
        of: |c| Some(PublicUrl(c.matrix_url.clone())),
        example: r#""https://matrix.chat.home.arpa""#,
        doc: "Where people's clients reach the server. http:// is for closed networks only: passwords travel in it \
              for everybody to read.",
        init: false,
    };
    CHAT_URL: Key<PublicUrl, Follows> = Key {
        path: "chat_url",
        fallback: Follows("https://chat. in front of the domain"),
        of: |c| Some(PublicUrl(c.chat_url.clone())),
        example: r#""https://chat.chat.home.arpa""#,
        doc: "Where people open the web client. It must differ from matrix_url, so that a file which somebody sends \
              cannot act as the web client.",
        init: false,
    };
}
