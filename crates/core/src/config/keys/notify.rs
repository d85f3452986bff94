//! `[notify]`.

use crate::{
    config::{
        NotifyOn,
        types::{Room, SecretPath},
    },
    name::AbsPath,
};

super::section! {
    /// Who is told what came of updates, backups and drills that nobody watched. Without a `room`,
    /// `webhook_file` or `file` nobody is.
    [notify: Eq, Default] pub struct Notify {
        /// What is told: failure for what did not go well or waits for you, always for the rest too.
        on: NotifyOn {
            usual: NotifyOn::Failure,
            example: r#""always""#,
        }
        /// A room of this server that is told, by its address or id. Make one without encryption, and invite
        /// the program's own account, which `matrix-podman notify test` names. When Synapse itself is what
        /// does not run, nothing arrives there, so name a webhook or a file beside it.
        room: Room {
            follows: "no room",
            example: r##""#server:matrix.chat.home.arpa""##,
        }
        /// File on the machine with the address of a webhook, which gets what is told as JSON. Whoever knows
        /// the address can write there, so it never stands in this file; only you may be able to read that
        /// one (chmod 600).
        webhook_file: SecretPath {
            follows: "no webhook",
            example: r#""/root/matrix-webhook""#,
        }
        /// A file that gets a line for each notice, for other programs to watch: in the guest for updates, on
        /// the machine for backups and drills.
        file: AbsPath {
            follows: "no file",
            example: r#""/var/log/matrix-notices""#,
        }
    }
}

impl Notify {
    /// Whether there is nobody to be told.
    pub fn is_nobody(&self) -> bool {
        self.room.is_none() && self.webhook_file.is_none() && self.file.is_none()
    }
}
