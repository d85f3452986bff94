//! The ids of the services: what the lock, the units and the command line call them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::name::Owner;

/// The name under which the services were known; to be replaced by [`ServiceId`].
pub use ServiceId as Service;

/// What is fixed about a service, whatever the config says.
#[derive(Debug)]
pub struct ServiceIdentity {
    /// Name of the container, of the Quadlet file and of the unit (without
    /// `.service`). A contract: people's notes and habits depend on it.
    pub name: &'static str,
    /// What a person calls it.
    pub title: &'static str,
    /// The user that its image runs as.
    pub owner: Owner,
    /// Its image.
    pub image: ImageIdentity,
}

/// What is fixed about a service's image, as far as the config speaks of it: the keys of
/// `[images.KEY]` follow from it.
#[derive(Debug)]
pub struct ImageIdentity {
    /// Its section below `[images]`.
    pub key: &'static str,
    /// What it is the image of, and what that is for.
    pub of: &'static str,
    /// What the registry calls it, where nobody says otherwise.
    pub reference: &'static str,
    /// The tag of another one, as an example.
    pub other_tag: &'static str,
    /// A sentence about what to bear in mind before another one is chosen, or nothing.
    pub caution: &'static str,
    /// A version that can be asked for where the image is built, as an example; none
    /// where the newest is built, always.
    pub build_version: Option<&'static str>,
    /// Whether it takes much longer to get than the others.
    pub takes_long: bool,
}

/// All services, in the order in which they start. Their rooms are in
/// [`crate::stack`]; the ids are here because the config and the lock, which the rooms
/// read, name services.
static TABLE: [ServiceIdentity; 6] = [
    ServiceIdentity {
        name: "postgres_db",
        title: "PostgreSQL",
        owner: Owner::same(70),
        image: ImageIdentity {
            key: "postgres",
            of: "PostgreSQL, the database",
            reference: "docker.io/library/postgres:18-alpine",
            other_tag: "18.1-alpine",
            caution: "Another major version than the one that made the database cannot open it.",
            build_version: None,
            takes_long: false,
        },
    },
    ServiceIdentity {
        name: "redis",
        title: "Redis",
        owner: Owner { uid: 999, gid: 1000 },
        image: ImageIdentity {
            key: "redis",
            of: "Redis, the cache",
            reference: "docker.io/library/redis:8-alpine",
            other_tag: "8.6-alpine",
            caution: "",
            build_version: None,
            takes_long: false,
        },
    },
    ServiceIdentity {
        name: "synapse",
        title: "Synapse",
        owner: Owner::same(991),
        image: ImageIdentity {
            key: "synapse",
            of: "Synapse, the Matrix server",
            reference: "ghcr.io/element-hq/synapse:v1.157.1",
            other_tag: "v1.158.0",
            caution: "",
            build_version: Some("1.157.1"),
            takes_long: true,
        },
    },
    ServiceIdentity {
        name: "element-web",
        title: "the web client",
        owner: Owner::same(101),
        image: ImageIdentity {
            key: "web",
            of: "the web client",
            reference: "docker.io/vectorim/element-web:v1.12.6",
            other_tag: "v1.12.7",
            caution: "Where images are built, the web client is Hydrogen, since Element Web is in no package registry.",
            build_version: None,
            takes_long: false,
        },
    },
    ServiceIdentity {
        name: "coturn",
        title: "the TURN server",
        owner: Owner::same(3478),
        image: ImageIdentity {
            key: "coturn",
            of: "the TURN server",
            reference: "docker.io/coturn/coturn:4",
            other_tag: "4.6.2",
            caution: "",
            build_version: None,
            takes_long: false,
        },
    },
    ServiceIdentity {
        name: "gateway",
        title: "the gateway",
        owner: Owner::same(99),
        image: ImageIdentity {
            key: "gateway",
            of: "HAProxy, the gateway",
            reference: "docker.io/library/haproxy:3.0-alpine",
            other_tag: "3.2-alpine",
            caution: "",
            build_version: None,
            takes_long: false,
        },
    },
];

/// One service of the stack; its container and its unit are named after it.
///
/// Only the table has values of it: a service's own is the constant `ID` of its room.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceId(usize);

impl ServiceId {
    /// All services, in the order in which they start.
    pub const ALL: [ServiceId; TABLE.len()] = {
        let mut all = [ServiceId(0); TABLE.len()];
        let mut at = 1;
        while at < all.len() {
            all[at] = ServiceId(at);
            at += 1;
        }
        all
    };

    /// The service called `name`, for a constant: it does not compile with a name that
    /// the table lacks.
    pub(crate) const fn known(name: &str) -> ServiceId {
        let mut at = 0;
        while !equal(TABLE[at].name, name) {
            at += 1;
        }
        ServiceId(at)
    }

    /// Name of the container, of the Quadlet file and of the unit (without
    /// `.service`).
    pub const fn name(self) -> &'static str {
        TABLE[self.0].name
    }

    /// Its place in the order in which they start.
    pub const fn position(self) -> usize {
        self.0
    }

    /// The unit that systemd's Quadlet generator makes for the service.
    pub fn unit(self) -> String {
        format!("{}.service", self.name())
    }

    /// What a person calls it.
    pub const fn title(self) -> &'static str {
        TABLE[self.0].title
    }

    /// The user that its image runs as.
    pub const fn owner(self) -> Owner {
        TABLE[self.0].owner
    }

    /// What is fixed about its image.
    pub const fn image(self) -> &'static ImageIdentity {
        &TABLE[self.0].image
    }

    /// All services, those first whose images take longest to get: everything else has
    /// time until they are there.
    pub fn by_image() -> [ServiceId; TABLE.len()] {
        let mut all = ServiceId::ALL;
        all.sort_by_key(|service| !service.image().takes_long);
        all
    }

    /// The service called `name`.
    pub fn by_name(name: &str) -> Option<ServiceId> {
        ServiceId::ALL.into_iter().find(|service| service.name() == name)
    }
}

/// `text` as a sentence or a heading begins with it.
pub fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// `==` of strings, where constants are made.
const fn equal(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

impl Serialize for ServiceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for ServiceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        ServiceId::by_name(&name).ok_or_else(|| de::Error::custom(format!("there is no service {name:?}")))
    }
}

impl fmt::Debug for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl fmt::Display for ServiceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_by_the_table() {
        for id in ServiceId::ALL {
            assert_eq!(ServiceId::by_name(id.name()), Some(id));
            let json = serde_json::to_string(&id).unwrap();
            assert_eq!(json, format!("{:?}", id.name()));
            assert_eq!(serde_json::from_str::<ServiceId>(&json).unwrap(), id);
        }
        assert!(ServiceId::ALL.is_sorted());
        let error = serde_json::from_str::<ServiceId>("\"bridge\"").unwrap_err();
        assert_eq!(error.to_string(), "there is no service \"bridge\"");
    }
}
