//! Who reads which secret, and where it comes from: the rooms say.

use super::{ALL, room};
use crate::{
    config::Config,
    layout::Secret,
    name::{AbsPath, Owner},
    service::ServiceId,
};

/// A secret that a service reads. No other service can.
#[derive(Debug)]
pub struct RoomSecret {
    /// Which one.
    pub secret: Secret,
    /// Where it comes from.
    pub origin: SecretOrigin,
}

/// Where a secret comes from.
#[derive(Debug)]
pub enum SecretOrigin {
    /// The program makes it in the guest, out of another one or by chance.
    Made,
    /// The same, but a new one would harm a server that exists, as is said here.
    MadeOnce {
        /// What is so when it is lost.
        loss: &'static str,
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

impl RoomSecret {
    /// One that is made.
    pub(super) const fn made(secret: Secret) -> Self {
        Self { secret, origin: SecretOrigin::Made }
    }

    /// One that is made once.
    pub(super) const fn made_once(secret: Secret, loss: &'static str) -> Self {
        Self { secret, origin: SecretOrigin::MadeOnce { loss } }
    }

    /// Whether there is one with this config.
    fn is_there(&self, config: &Config) -> bool {
        self.is_made(config) || self.given(config).is_some()
    }

    /// Whether the program makes it with this config.
    fn is_made(&self, config: &Config) -> bool {
        match self.origin {
            SecretOrigin::Made | SecretOrigin::MadeOnce { .. } => true,
            SecretOrigin::Given(_) => false,
            SecretOrigin::GivenOrMade { made, .. } => made(config),
        }
    }

    /// The file on the machine that the operator gives it in.
    fn given<'a>(&self, config: &'a Config) -> Option<&'a AbsPath> {
        match self.origin {
            SecretOrigin::Given(file) | SecretOrigin::GivenOrMade { given: file, .. } => file(config),
            SecretOrigin::Made | SecretOrigin::MadeOnce { .. } => None,
        }
    }
}

fn all() -> impl Iterator<Item = &'static RoomSecret> {
    ALL.into_iter().flat_map(|room| room.secrets())
}

/// The secrets that the program makes, each before those derived from it.
pub fn made_secrets(config: &Config) -> Vec<&'static RoomSecret> {
    let mut made: Vec<&RoomSecret> = all().filter(|secret| secret.is_made(config)).collect();
    made.sort_by_key(|secret| secret.secret);
    made
}

/// The secrets that the operator gives to services, with their files on the machine.
pub fn given_secrets(config: &Config) -> Vec<(Secret, &AbsPath)> {
    all().filter_map(|secret| Some((secret.secret, secret.given(config)?))).collect()
}

/// The secrets that `service` reads, with this config.
pub fn secrets_of(service: ServiceId, config: &Config) -> Vec<Secret> {
    let secrets = room(service).secrets().iter();
    secrets.filter(|secret| secret.is_there(config)).map(|secret| secret.secret).collect()
}

/// The service that reads it; none where only the program does.
pub fn reader(secret: Secret) -> Option<ServiceId> {
    let reads = |room: &&dyn super::Service| room.secrets().iter().any(|read| read.secret == secret);
    ALL.into_iter().find(reads).map(super::Service::id)
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
        for room in ALL {
            for RoomSecret { secret, .. } in room.secrets() {
                assert_eq!(reader(*secret), Some(room.id()));
                assert_eq!(secret_owner(*secret), room.id().owner());
            }
        }
        assert_eq!(secret_owner(Secret::Webhook), Owner::ROOT, "the program alone reads it");
    }

    #[test]
    fn what_is_derived_comes_after_what_it_is_derived_from() {
        let made: Vec<Secret> = made_secrets(&default_config()).into_iter().map(|made| made.secret).collect();
        let place = |secret| made.iter().position(|made| *made == secret).unwrap();
        assert!(place(Secret::Postgres) < place(Secret::Pgpass));
        assert!(place(Secret::Redis) < place(Secret::RedisAcl));
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
