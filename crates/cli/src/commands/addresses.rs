//! `open`: where the server is.

use std::path::Path;

use matrix_podman_core::observed::Observed;
use matrix_podman_host::failure::Failure;
use serde::Serialize;

use super::up;
use crate::{
    error::Error,
    output::{Printable, Reporter, Wording},
};

/// Where the server and its web client are.
#[derive(Serialize)]
struct Addresses {
    /// Seen from this machine; none when the guest does not run.
    here: Option<Pair>,
    /// Seen from outside.
    public: Pair,
}

#[derive(Serialize)]
struct Pair {
    synapse: String,
    client: String,
}

pub fn run(config: Option<&Path>, out: &Reporter) -> Result<u8, Error> {
    let (world, _) = super::world(config, out)?;
    let site = world.site();
    let here = world.look(&mut Observed::default(), |seen| up::addresses(site, seen))?;
    let config = &site.config;
    let found = Addresses {
        here: here.map(|(synapse, client)| Pair { synapse, client }),
        public: Pair { synapse: config.matrix_url.clone(), client: config.chat_url.clone() },
    };
    if found.here.is_none() && out.is_for_person() {
        return Err(Failure::new(
            "tell the addresses",
            format!("the guest {} does not run", config.guest.name),
        )
        .hint("`matrix-podman up` starts it")
        .into());
    }
    out.report(&found)?;
    super::OK
}

impl Printable for Addresses {
    fn words(&self) -> Wording {
        let mut words = Wording::default();
        let Some(here) = &self.here else { return words };
        words.data(format!("Web client   {}", here.client));
        words.data(format!("             {} from outside", self.public.client));
        words.data(format!("Homeserver   {}", here.synapse));
        words.data(format!("             {} from outside", self.public.synapse));
        words
    }
}
