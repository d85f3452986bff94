//! `open`: where the server is.

use std::path::Path;

use matrix_podman_core::{
    endpoint::Endpoint, missing::StillMissing, observed::Observed, service::capitalized, stack,
};
use matrix_podman_host::failure::Failure;
use serde::{Serialize, Serializer};

use super::{
    runs,
    up::{self, HereUrl, as_json},
};
use crate::{
    error::Error,
    output::{Printable, Reporter, Wording},
};

/// Where the server and its web client are.
#[derive(Serialize)]
struct Addresses {
    /// Seen from this machine; none when the guest does not run.
    #[serde(serialize_with = "as_json")]
    here: Option<Vec<HereUrl>>,
    /// Seen from outside.
    #[serde(serialize_with = "public_as_json")]
    public: Vec<Endpoint>,
    /// What keeps people out.
    missing: Option<StillMissing>,
}

fn public_as_json<S: Serializer>(public: &[Endpoint], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(public.iter().map(|at| (at.word, &at.url)))
}

pub fn run(config: Option<&Path>, out: &Reporter) -> Result<u8, Error> {
    let (world, _) = super::world(config, out)?;
    let site = world.site();
    let here = world.look(&mut Observed::default(), |seen| up::addresses(site, seen))?;
    let config = &site.config;
    let found = Addresses { here, public: stack::endpoints(config), missing: runs::missing_access(&world) };
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
        if let Some(missing) = self.missing {
            words.say(missing.words());
            words.say(format!("next: {}", missing.command()));
        }
        for HereUrl { endpoint, url } in here.iter().rev() {
            words.data(format!("{:<12} {url}", capitalized(endpoint.label)));
            words.data(format!("             {} from outside", endpoint.url));
        }
        words
    }
}
