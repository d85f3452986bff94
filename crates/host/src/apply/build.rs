//! Images built on the machine from packages.

use std::path::PathBuf;

use matrix_podman_core::service::Service;
use matrix_podman_images::{BuildOptions, Recipe};

use super::{Sink, apt};
use crate::{failure::Failure, guest::wire::Saying};

/// Folder of images built earlier.
const CACHE: &str = "/var/cache/matrix-podman/images";

/// Builds the image of `service`, or takes the one built before from the same
/// packages; the OCI archive of it.
pub fn image(service: Service, version: Option<&str>, sink: &Sink) -> Result<PathBuf, Failure> {
    let recipe = match service {
        Service::Postgres => Recipe::Postgres,
        Service::Redis => Recipe::Redis,
        Service::Synapse => Recipe::Synapse,
        Service::Web => Recipe::WebClient,
    };
    let missing: Vec<String> = matrix_podman_images::missing_tools(&[recipe])
        .into_iter()
        .map(|(_, package)| package.to_owned())
        .collect();
    if !missing.is_empty() {
        sink(Saying::WaitsFor(format!("{} to be installed on this machine", missing.join(", "))));
        apt::install(&missing, sink)?;
    }
    let options = BuildOptions { synapse_version: version.map(str::to_owned), ..BuildOptions::new(CACHE) };
    matrix_podman_images::build(recipe, &options, &|line| sink(Saying::Line(line.to_owned())))
        .map(|built| built.archive)
        .map_err(|error| {
            Failure::new(format!("build the image {service}"), error).hint("run the same again to go on")
        })
}
