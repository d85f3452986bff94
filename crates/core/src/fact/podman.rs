//! What Podman says about containers and images.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::{Output, last_line};
use crate::name::{Digest, Invalid};

/// One container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContainerState {
    /// Its name.
    pub name: String,
    /// `running`, `exited`, `created`, …
    pub state: String,
    /// What its health check says.
    pub health: Health,
    /// What it was told to run.
    pub image: String,
    /// Id of the image that it runs.
    pub image_id: Option<Digest>,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
}

/// What a container's health check says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Health {
    /// It answers.
    Healthy,
    /// It does not answer.
    Unhealthy,
    /// It has not answered yet.
    Starting,
    /// Nobody asks, or it does not run.
    None,
}

impl Health {
    /// In Podman's words.
    pub const fn as_str(self) -> &'static str {
        match self {
            Health::Healthy => "healthy",
            Health::Unhealthy => "unhealthy",
            Health::Starting => "starting",
            Health::None => "none",
        }
    }
}

/// One image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageState {
    /// Podman's id: the digest of the image's config.
    pub id: Digest,
    /// Digest of its manifest.
    pub digest: Digest,
    /// `name@sha256:…`, as far as registries gave them.
    pub repo_digests: Vec<String>,
    /// Version of the program inside, as label or environment state it.
    pub version: String,
}

/// Reads `podman ps --all --format=json`.
pub(super) fn parse_containers(stdout: &[u8]) -> Result<Vec<ContainerState>, Invalid> {
    let rows: Vec<Json> =
        serde_json::from_slice(stdout).map_err(|e| Invalid::new(format!("podman ps: {e}")))?;
    Ok(rows
        .iter()
        .map(|row| {
            let text = |key: &str| row.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
            let status = text("Status");
            let state = text("State");
            ContainerState {
                name: row
                    .get("Names")
                    .and_then(|names| names.get(0))
                    .and_then(Json::as_str)
                    .unwrap_or_default()
                    .to_owned(),
                health: if state == "running" { health_of_status(&status) } else { Health::None },
                state,
                image: text("Image"),
                image_id: Digest::parse(&format!("sha256:{}", text("ImageID").trim_start_matches("sha256:")))
                    .ok(),
                labels: row
                    .get("Labels")
                    .and_then(Json::as_object)
                    .map(|labels| {
                        labels
                            .iter()
                            .filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned())))
                            .collect()
                    })
                    .unwrap_or_default(),
            }
        })
        .collect())
}

/// `podman ps` has the health only in brackets behind the age:
/// `Up 3 minutes (healthy)`.
fn health_of_status(status: &str) -> Health {
    match status.rsplit_once('(').map(|(_, rest)| rest.trim_end_matches(')')) {
        Some("healthy") => Health::Healthy,
        Some("unhealthy") => Health::Unhealthy,
        Some("starting") => Health::Starting,
        _ => Health::None,
    }
}

/// Reads `podman image inspect` of `names`: an array of those that it found, in
/// the order asked; those that it lacks it only complains about.
pub(super) fn parse_images(stdout: &[u8], names: &BTreeSet<String>) -> BTreeMap<String, ImageState> {
    let images: Vec<Json> = serde_json::from_slice(stdout).unwrap_or_default();
    let mut found = BTreeMap::new();
    for image in &images {
        let Some(state) = parse_image(image) else { continue };
        let known_as = |key: &str| -> Vec<&str> {
            image
                .get(key)
                .and_then(Json::as_array)
                .map(|a| a.iter().filter_map(Json::as_str).collect())
                .unwrap_or_default()
        };
        let (tags, digests) = (known_as("RepoTags"), known_as("RepoDigests"));
        for name in names {
            let bare = name.trim_start_matches("sha256:");
            if tags.contains(&name.as_str()) || digests.contains(&name.as_str()) || state.id.hex() == bare {
                found.insert(name.clone(), state.clone());
            }
        }
    }
    found
}

fn parse_image(image: &Json) -> Option<ImageState> {
    let digest_of = |key: &str| {
        let text = image.get(key)?.as_str()?;
        Digest::parse(&format!("sha256:{}", text.trim_start_matches("sha256:"))).ok()
    };
    let env = image.pointer("/Config/Env").and_then(Json::as_array);
    let from_env = |key: &str| {
        env?.iter()
            .filter_map(Json::as_str)
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='))
            .map(str::to_owned)
    };
    let label = image
        .pointer("/Config/Labels/org.opencontainers.image.version")
        .and_then(Json::as_str)
        .filter(|v| !v.is_empty())
        .map(str::to_owned);
    // The official images of PostgreSQL and Redis state their version only in
    // the environment; their labels, where there are any, speak of the base.
    let version = from_env("PG_VERSION").or_else(|| from_env("REDIS_VERSION")).or(label).unwrap_or_default();
    Some(ImageState {
        id: digest_of("Id")?,
        digest: digest_of("Digest")?,
        repo_digests: image
            .get("RepoDigests")
            .and_then(Json::as_array)
            .map(|a| a.iter().filter_map(Json::as_str).map(str::to_owned).collect())
            .unwrap_or_default(),
        version: version.trim_start_matches('v').to_owned(),
    })
}

/// `podman search --list-tags`: one entry for each repository, which is one.
pub(super) fn parse_tags(output: &Output) -> Result<Vec<String>, Invalid> {
    #[derive(Deserialize)]
    struct Found {
        #[serde(rename = "Tags")]
        tags: Vec<String>,
    }
    match output.status {
        Some(0) => serde_json::from_slice::<Vec<Found>>(&output.stdout)
            .map(|all| all.into_iter().flat_map(|found| found.tags).collect())
            .map_err(|e| Invalid::new(format!("the registry's tags could not be read: {e}"))),
        Some(_) => Err(Invalid::new(last_line(&output.stderr))),
        None => Err(Invalid::new("podman search did not come to an end")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn health_stands_behind_the_age() {
        for (status, health) in [
            ("Up 3 minutes (healthy)", Health::Healthy),
            ("Up About a minute (unhealthy)", Health::Unhealthy),
            ("Up 1 second (starting)", Health::Starting),
            ("Up 2 hours", Health::None),
            ("", Health::None),
        ] {
            assert_eq!(health_of_status(status), health, "{status}");
        }
    }

    #[test]
    fn containers() {
        let printed = br#"[{"Names":["synapse"],"State":"running","Status":"Up 2 seconds (healthy)","Image":"localhost/x:1",
            "ImageID":"1111111111111111111111111111111111111111111111111111111111111111","Labels":{"a":"b"}},
            {"Names":["redis"],"State":"exited","Status":"Exited (137) 2 seconds ago","Labels":null}]"#;
        let containers = parse_containers(printed).unwrap();
        assert_eq!(containers[0].health, Health::Healthy);
        assert_eq!(containers[0].labels["a"], "b");
        assert_eq!((containers[1].state.as_str(), containers[1].health), ("exited", Health::None));
    }

    #[test]
    fn images_are_found_by_tag_digest_and_id() {
        let id = "2222222222222222222222222222222222222222222222222222222222222222";
        let printed = format!(
            r#"[{{"Id":"{id}","Digest":"sha256:{id}","RepoTags":["localhost/m/synapse:1"],"RepoDigests":["localhost/m/synapse@sha256:{id}"],
            "Config":{{"Env":["PG_VERSION=17.6-0+deb13u1","PATH=/"],"Labels":{{"org.opencontainers.image.version":"v1.2"}}}}}}]"#
        );
        let names = BTreeSet::from([
            "localhost/m/synapse:1".to_owned(),
            format!("sha256:{id}"),
            "other:1".to_owned(),
        ]);
        let found = parse_images(printed.as_bytes(), &names);
        assert_eq!(found.len(), 2);
        assert_eq!(found["localhost/m/synapse:1"].version, "17.6-0+deb13u1");
    }
}
