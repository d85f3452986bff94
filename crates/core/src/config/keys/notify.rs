//! `[notify]`.

use super::{Fixed, Follows, Key};
use crate::{
    config::{
        NotifyOn,
        types::{Room, SecretPath},
    },
    name::AbsPath,
};

super::keys! {
    ON: Key<NotifyOn> = Key {
        path: "notify.on",
        fallback: Fixed(|| NotifyOn::Failure),
        of: |c| Some(c.notify.on),
        example: r#""always""#,
        doc: "What is told: failure for what did not go well or waits for you, always for the rest too.",
        init: false,
    };
    ROOM: Key<Room, Follows> = Key {
        path: "notify.room",
        fallback: Follows("no room"),
        of: |c| c.notify.room.clone().map(Room),
        example: r##""#server:matrix.chat.home.arpa""##,
        doc: "A room of this server that is told, by its address or id. Make one without encryption, and invite the \
              program's own account, which `matrix-podman notify test` names. When Synapse itself is what does not run, \
              nothing arrives there, so name a webhook or a file beside it.",
        init: false,
    };
    WEBHOOK_FILE: Key<SecretPath, Follows> = Key {
        path: "notify.webhook_file",
        fallback: Follows("no webhook"),
        of: |c| c.notify.webhook_file.clone().map(SecretPath),
        example: r#""/root/matrix-webhook""#,
        doc: "File on the machine with the address of a webhook, which gets what is told as JSON. Whoever knows the \
              address can write there, so it never stands in this file; only you may be able to read that one \
              (chmod 600).",
        init: false,
    };
    FILE: Key<AbsPath, Follows> = Key {
        path: "notify.file",
        fallback: Follows("no file"),
        of: |c| c.notify.file.clone(),
        example: r#""/var/log/matrix-notices""#,
        doc: "A file that gets a line for each notice, for other programs to watch: in the guest for updates, on the \
              machine for backups and drills.",
        init: false,
    };
}
