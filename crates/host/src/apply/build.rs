//! Images built on the machine from packages.

use std::{path::PathBuf, time::Duration};

use matrix_podman_core::{service::Service, stack};
use matrix_podman_images::{BuildOptions, Recipe};

use super::apt;
use crate::{
    failure::Failure,
    process::Program,
    progress::{Saying, Sink},
};

/// Folder of images built earlier.
const CACHE: &str = "/var/cache/matrix-podman/images";

/// Whether this machine's own apt takes package lists that are past their date;
/// whoever administers it has said so.
fn accepts_expired() -> bool {
    let asked = ["apt-config", "shell", "CHECKED", "Acquire::Check-Valid-Until/b"];
    let said = Program::new(asked).deadline(Duration::from_secs(30)).output();
    String::from_utf8_lossy(&said.stdout).trim() == "CHECKED='false'"
}

/// Builds the image of `service`, or takes the one built before from the same
/// packages; the OCI archive of it.
pub fn image(service: Service, version: Option<&str>, sink: &Sink) -> Result<PathBuf, Failure> {
    let recipe = stack::room(service).image().recipe.and_then(|known| Recipe::by_name(known.name));
    let recipe = recipe.ok_or_else(|| {
        Failure::new(format!("build the image {service}"), "it is not one that is built on the machine")
            .hint("name its registry or an archive of it in [images]")
    })?;
    let missing: Vec<String> = matrix_podman_images::missing_tools(&[recipe])
        .into_iter()
        .map(|(_, package)| package.to_owned())
        .collect();
    if !missing.is_empty() {
        sink(Saying::WaitsFor(format!("{} to be installed on this machine", missing.join(", "))));
        apt::install(&missing, sink)?;
    }
    let options = BuildOptions { accept_expired: accepts_expired(), ..BuildOptions::new(CACHE) };
    let options = match (recipe, version) {
        (Recipe::Postgres, Some(major)) => {
            major.parse().ok().and_then(|major| options.with_postgres(major)).ok_or_else(|| {
                Failure::new(
                    format!("build the image {service}"),
                    format!("no release of Debian is known here that has PostgreSQL {major}"),
                )
                .hint("name another, or give an archive or a registry in [images.postgres]")
            })?
        }
        (_, version) => BuildOptions { synapse_version: version.map(str::to_owned), ..options },
    };
    matrix_podman_images::build(recipe, &options, &|line| sink(Saying::Line(line.to_owned())))
        .map(|built| built.archive)
        .map_err(|error| {
            Failure::new(format!("build the image {service}"), error)
                .in_their_words()
                .hint("run the same again to go on")
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_recipe_that_a_service_names_is_known() {
        for room in stack::ALL {
            if let Some(recipe) = room.image().recipe {
                assert!(Recipe::by_name(recipe.name).is_some(), "{}", recipe.name);
            }
        }
    }
}
