//! The four services of the stack and what is fixed about each.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::name::Owner;

/// The name under which the services were known; to be replaced by [`ServiceId`].
pub use ServiceId as Service;

/// One service of the stack; its container and its unit are named after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ServiceId {
    /// PostgreSQL: everything that must not be lost but media and keys.
    #[serde(rename = "postgres_db")]
    Postgres,
    /// Redis: caches and messages between Synapse's parts; nothing to keep.
    #[serde(rename = "redis")]
    Redis,
    /// Synapse, the Matrix homeserver.
    #[serde(rename = "synapse")]
    Synapse,
    /// The web client behind its nginx.
    #[serde(rename = "element-web")]
    Web,
}

impl ServiceId {
    /// All services, in the order in which they start.
    pub const ALL: [ServiceId; 4] =
        [ServiceId::Postgres, ServiceId::Redis, ServiceId::Synapse, ServiceId::Web];

    /// Name of the container, of the Quadlet file and of the unit (without
    /// `.service`). A contract: people's notes and habits depend on it.
    pub const fn name(self) -> &'static str {
        match self {
            ServiceId::Postgres => "postgres_db",
            ServiceId::Redis => "redis",
            ServiceId::Synapse => "synapse",
            ServiceId::Web => "element-web",
        }
    }

    /// Its place in the order in which they start.
    pub const fn position(self) -> usize {
        self as usize
    }

    /// The unit that systemd's Quadlet generator makes for the service.
    pub fn unit(self) -> String {
        format!("{}.service", self.name())
    }

    /// What a person calls it.
    pub const fn title(self) -> &'static str {
        match self {
            ServiceId::Postgres => "PostgreSQL",
            ServiceId::Redis => "Redis",
            ServiceId::Synapse => "Synapse",
            ServiceId::Web => "the web client",
        }
    }

    /// The user that its image runs as.
    pub const fn owner(self) -> Owner {
        match self {
            ServiceId::Postgres => Owner::same(70),
            ServiceId::Redis => Owner { uid: 999, gid: 1000 },
            ServiceId::Synapse => Owner::same(991),
            ServiceId::Web => Owner::same(101),
        }
    }

    /// The service called `name`.
    pub fn by_name(name: &str) -> Option<ServiceId> {
        ServiceId::ALL.into_iter().find(|service| service.name() == name)
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
