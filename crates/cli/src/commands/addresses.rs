//! `open`: where the server is.

use std::path::Path;

use matrix_podman_core::observed::Observed;
use matrix_podman_host::failure::Failure;
use serde_json::json;

use super::up;
use crate::{args, error::Error, output};

pub fn run(config: Option<&Path>, args: &args::Json) -> Result<u8, Error> {
    let (world, _) = super::world(config)?;
    let site = world.site();
    let here = world.look(&mut Observed::default(), |seen| up::addresses(site, seen))?;
    let config = &site.config;
    if args.json {
        let here = here.map(|(synapse, web)| json!({"synapse": synapse, "client": web}));
        let public = json!({"synapse": config.matrix_url, "client": config.chat_url});
        output::data(&json!({"here": here, "public": public}).to_string());
        return super::OK;
    }
    let Some((synapse, web)) = here else {
        return Err(Failure::new(
            "tell the addresses",
            format!("the guest {} does not run", config.guest.name),
        )
        .hint("`matrix-podman up` starts it")
        .into());
    };
    output::data(&format!("Web client   {web}"));
    output::data(&format!("             {} from outside", config.chat_url));
    output::data(&format!("Homeserver   {synapse}"));
    output::data(&format!("             {} from outside", config.matrix_url));
    super::OK
}
