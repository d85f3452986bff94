//! `[postgres]`.

use super::{extra::PostgresSettings, guest};
use crate::config::{
    Guest,
    read::Reader,
    types::{ExtraSettings, Flaw, Int, Size},
};

/// Memory that PostgreSQL can keep for itself; its own lower limit is 128 KiB.
pub type SharedBuffers = Size<16, { 1 << 20 }>;

super::section! {
    /// PostgreSQL, the database.
    [postgres] pub struct Postgres {
        /// Memory that PostgreSQL keeps for itself. At most half of guest.memory.
        shared_buffers: SharedBuffers {
            follows: "follows guest.memory",
            example: r#""512M""#,
        }
        /// How many connections PostgreSQL accepts. Synapse opens about ten.
        max_connections: Int<20, 1000> {
            usual: Int(100),
            example: "50",
        }
        /// Settings of PostgreSQL that have no key here. They take the place of what matrix-podman chose for
        /// speed; what the server's safety hangs on is refused. PostgreSQL itself reads them before they
        /// count.
        extra: ExtraSettings<PostgresSettings> {
            empty: "none",
            example: r#"{ log_min_duration_statement = "2s" }"#,
        }
    }
}

impl Postgres {
    /// Reads it, and sees that the guest has room for it.
    pub(in crate::config) fn checked(r: &mut Reader<'_>, guest: &Guest) -> Self {
        let postgres = Self::read(r);
        if let Some(size) = postgres.shared_buffers
            && r.sound(&guest::KEYS.memory)
            && size.0.0 > guest.memory.0.0 / 2
        {
            r.complain(
                &KEYS.shared_buffers,
                Flaw::new(format!(
                    "this is more than half of guest.memory ({}), and Synapse could not start beside it",
                    guest.memory.0
                ))
                .hint("leave it out: it then follows guest.memory"),
            );
        }
        postgres
    }
}
