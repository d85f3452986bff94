//! `[update]`.

use crate::{config::types::List, service::ServiceId};

super::section! {
    /// Updates that nobody types.
    [update: Eq] pub struct Updates {
        /// Whether the server updates itself, on the 1st and the 15th of a month at half past five in the
        /// morning, within the hour. It takes the same care as `update`, rehearses on a copy of the data
        /// first where there is room for one, and leaves alone what it could not take back without losing
        /// what people wrote meanwhile: that waits for you, and you are told. The guest does it where all
        /// images come from a registry; otherwise the machine, which builds them.
        auto: bool {
            usual: true,
            example: "false",
            init: true,
        }
        /// Services that stay as they are when everything is updated, by you or by the timer. What is named,
        /// as in `update synapse`, is updated all the same. `status` and `update --check` say what is held
        /// back.
        hold: List<ServiceId> {
            usual: List(Vec::new()),
            example: r#"["synapse"]"#,
        }
        /// Whether an update of Synapse or PostgreSQL is tried on a copy of the data before it is begun, in
        /// containers without a network. If the rehearsal fails, the update is not applied, whoever asked for it.
        /// It takes as long as a dump and a restore of the database, and room for both.
        rehearse: bool {
            usual: false,
            example: "true",
        }
    }
}
