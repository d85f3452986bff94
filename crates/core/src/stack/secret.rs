//! Who reads which secret, and where it comes from: the rooms say.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::ALL;
use crate::{
    config::Config,
    layout::Secret,
    name::{AbsPath, Owner},
    service::ServiceId,
};

/// A secret of a room, which one service reads. No other service can.
#[derive(Debug)]
pub struct RoomSecret {
    /// Which one.
    pub secret: Secret,
    /// Who reads it, where that is not the room's own service.
    pub reader: Option<ServiceId>,
    /// Where it comes from.
    pub origin: SecretOrigin,
}

/// Where a secret comes from.
#[derive(Debug)]
pub enum SecretOrigin {
    /// The program makes it in the guest by chance.
    Made(SecretForm),
    /// The same, but a new one would harm a server that exists, as is said here.
    MadeOnce {
        /// What it looks like.
        form: SecretForm,
        /// What is so when it is lost.
        loss: &'static str,
    },
    /// The program makes it in the guest out of another one.
    Derived {
        /// The other one.
        from: Secret,
        /// What its file holds, of what the other one's holds.
        how: fn(&str) -> String,
    },
    /// The operator gives it, in the file that the config names, if any.
    Given(fn(&Config) -> Option<&AbsPath>),
    /// The operator gives it, or else it is made where the config wants one.
    GivenOrMade {
        /// The file that the config names.
        given: fn(&Config) -> Option<&AbsPath>,
        /// Whether it is made.
        made: fn(&Config) -> bool,
    },
}

/// What a secret looks like that is made by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SecretForm {
    /// A long word of letters and digits, which no file format can mistake.
    Word,
    /// A signing key in Synapse's form: algorithm, version, seed.
    SigningKey,
}

impl RoomSecret {
    /// A word that is made.
    pub(super) const fn made(secret: Secret) -> Self {
        Self { secret, reader: None, origin: SecretOrigin::Made(SecretForm::Word) }
    }

    /// One that is made once.
    pub(super) const fn made_once(secret: Secret, form: SecretForm, loss: &'static str) -> Self {
        Self { secret, reader: None, origin: SecretOrigin::MadeOnce { form, loss } }
    }

    /// One that is made out of another.
    pub(super) const fn derived(secret: Secret, from: Secret, how: fn(&str) -> String) -> Self {
        Self { secret, reader: None, origin: SecretOrigin::Derived { from, how } }
    }

    /// The same, read by that service.
    pub(super) const fn read_by(self, reader: ServiceId) -> Self {
        Self { reader: Some(reader), secret: self.secret, origin: self.origin }
    }

    /// Whether there is one with this config.
    fn is_there(&self, config: &Config) -> bool {
        self.is_made(config) || self.given(config).is_some()
    }

    /// Whether the program makes it with this config.
    fn is_made(&self, config: &Config) -> bool {
        match self.origin {
            SecretOrigin::Made(_) | SecretOrigin::MadeOnce { .. } | SecretOrigin::Derived { .. } => true,
            SecretOrigin::Given(_) => false,
            SecretOrigin::GivenOrMade { made, .. } => made(config),
        }
    }

    /// The file on the machine that the operator gives it in.
    fn given<'a>(&self, config: &'a Config) -> Option<&'a AbsPath> {
        match self.origin {
            SecretOrigin::Given(file) | SecretOrigin::GivenOrMade { given: file, .. } => file(config),
            SecretOrigin::Made(_) | SecretOrigin::MadeOnce { .. } | SecretOrigin::Derived { .. } => None,
        }
    }
}

/// All secrets, each with the service that reads it.
fn with_readers() -> impl Iterator<Item = (ServiceId, &'static RoomSecret)> {
    ALL.into_iter().flat_map(|room| {
        room.secrets().iter().map(|secret| (secret.reader.unwrap_or_else(|| room.id()), secret))
    })
}

fn all() -> impl Iterator<Item = &'static RoomSecret> {
    with_readers().map(|(_, secret)| secret)
}

/// The secrets that the program makes, each before those derived from it.
pub fn made_secrets(config: &Config) -> Vec<&'static RoomSecret> {
    let by_chance = |secret: &RoomSecret| {
        secret.is_made(config) && !matches!(secret.origin, SecretOrigin::Derived { .. })
    };
    let out_of = |other: Secret| {
        all().filter(
            move |secret| matches!(secret.origin, SecretOrigin::Derived { from, .. } if from == other),
        )
    };
    all()
        .filter(|secret| by_chance(secret))
        .flat_map(|made| std::iter::once(made).chain(out_of(made.secret)))
        .collect()
}

/// The secrets that the operator gives to services, with their files on the machine.
pub fn given_secrets(config: &Config) -> Vec<(Secret, &AbsPath)> {
    all().filter_map(|secret| Some((secret.secret, secret.given(config)?))).collect()
}

/// Where `secret` comes from; nothing where only the program reads it.
pub fn secret_origin(secret: Secret) -> Option<&'static SecretOrigin> {
    all().find(|known| known.secret == secret).map(|known| &known.origin)
}

impl Serialize for Secret {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.file_name())
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = all().map(|secret| secret.secret).chain([Secret::WEBHOOK]);
        known
            .into_iter()
            .find(|secret| secret.file_name() == name)
            .ok_or_else(|| de::Error::custom(format!("there is no secret {name:?}")))
    }
}

/// The secrets that `service` may read, whatever the config says.
pub fn read_secrets(service: ServiceId) -> impl Iterator<Item = &'static RoomSecret> {
    with_readers().filter(move |(reader, _)| *reader == service).map(|(_, secret)| secret)
}

/// The secrets that `service` reads, with this config.
pub fn secrets_of(service: ServiceId, config: &Config) -> Vec<Secret> {
    read_secrets(service).filter(|secret| secret.is_there(config)).map(|secret| secret.secret).collect()
}

/// The service that reads it; none where only the program does.
pub fn reader(secret: Secret) -> Option<ServiceId> {
    with_readers().find(|(_, read)| read.secret == secret).map(|(reader, _)| reader)
}

/// Whose the file of `secret` is: nobody else can read it.
pub fn secret_owner(secret: Secret) -> Owner {
    reader(secret).map_or(Owner::ROOT, ServiceId::owner)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::testing::default_config;

    #[test]
    fn every_secret_has_one_reader() {
        let distinct: BTreeSet<Secret> = all().map(|secret| secret.secret).collect();
        assert_eq!(distinct.len(), all().count());
        for service in ServiceId::ALL {
            for RoomSecret { secret, .. } in read_secrets(service) {
                assert_eq!(reader(*secret), Some(service));
                assert_eq!(secret_owner(*secret), service.owner());
            }
        }
        assert_eq!(
            reader(Secret::POSTGRES),
            Some(crate::stack::postgres::ID),
            "though Synapse's room says it"
        );
        assert_eq!(secret_owner(Secret::WEBHOOK), Owner::ROOT, "the program alone reads it");
    }

    #[test]
    fn what_is_derived_comes_after_what_it_is_derived_from() {
        let made: Vec<Secret> = made_secrets(&default_config()).into_iter().map(|made| made.secret).collect();
        let place = |secret| made.iter().position(|made| *made == secret).unwrap();
        let derived = made_secrets(&default_config()).into_iter().filter_map(|secret| match secret.origin {
            SecretOrigin::Derived { from, .. } => Some((from, secret.secret)),
            _ => None,
        });
        let derived: Vec<(Secret, Secret)> = derived.collect();
        let given = all().filter(|secret| !secret.is_made(&default_config())).count();
        assert_eq!(made.len() + given, all().count(), "what is derived is derived of one that is made");
        assert!(derived.contains(&(Secret::POSTGRES, Secret::PGPASS)), "{derived:?}");
        for (from, secret) in derived {
            assert!(place(from) < place(secret), "{secret:?}");
        }
    }

    #[test]
    fn a_secret_is_read_by_its_name() {
        for secret in all().map(|secret| secret.secret).chain([Secret::WEBHOOK]) {
            let written = serde_json::to_string(&secret).unwrap();
            assert_eq!(serde_json::from_str::<Secret>(&written).unwrap(), secret);
        }
        assert!(serde_json::from_str::<Secret>("\"../shadow\"").is_err());
    }

    #[test]
    fn what_is_derived_is_what_its_reader_understands() {
        let of = |secret, word: &str| match secret_origin(secret) {
            Some(SecretOrigin::Derived { how, .. }) => how(word),
            other => panic!("{other:?}"),
        };
        assert_eq!(of(Secret::PGPASS, "word"), "postgres_db:*:synapse:synapse:word\n");
        let acl = of(Secret::REDIS_ACL, "word");
        let digest = "98c1eb4ee93476743763878fcb96a25fbc9a175074d64004779ecb5242f645e6";
        assert!(acl.starts_with(&format!("user default on #{digest} ~* ")), "{acl}");
        assert!(secret_origin(Secret::WEBHOOK).is_none());
    }

    #[test]
    fn what_the_operator_does_not_give_is_not_there() {
        let mut config = default_config();
        config.turn = None;
        assert_eq!(given_secrets(&config), []);
        let read: Vec<Secret> = ServiceId::ALL.into_iter().flat_map(|s| secrets_of(s, &config)).collect();
        assert_eq!(read.len(), made_secrets(&config).len());
    }
}
