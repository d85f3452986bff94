//! Which images have to be signed, and with which key, for Podman to pull them.
//!
//! Formats: containers-policy.json(5) and containers-registries.d(5) of Podman 5.4, Debian 13's.
//! What it can check is a signature made with a key of one's own, kept beside the image as
//! cosign keeps it. It cannot check what publishers sign without a key, through the service that they
//! build with: for that it knows addresses of people only.
//!
//! The policy stands beside the system's own, and holds for what this program pulls.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde::Serialize;

use crate::{config::Config, desired::DesiredFile, document::yaml, name::AbsPath, stack};

/// The policy; not there where no image has to be signed.
pub const POLICY: &str = "/etc/containers/matrix-podman-policy.json";
/// Where signatures are looked for.
const PLACES: &str = "/etc/containers/registries.d/matrix-podman.yaml";

#[derive(Serialize)]
struct Policy<'a> {
    default: [Rule<'a>; 1],
    transports: BTreeMap<&'a str, BTreeMap<&'a str, [Rule<'a>; 1]>>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all_fields = "camelCase")]
enum Rule<'a> {
    #[serde(rename = "insecureAcceptAnything")]
    AcceptAnything,
    #[serde(rename = "sigstoreSigned")]
    Signed { key_data: String, signed_identity: Identity<'a> },
}

/// cosign signs a repository and a digest, no tag.
#[derive(Serialize)]
struct Identity<'a> {
    r#type: &'a str,
}

#[derive(Serialize)]
struct Places<'a> {
    docker: BTreeMap<&'a str, Place>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Place {
    use_sigstore_attachments: bool,
}

/// Both files, which are there only where an image has to be signed.
pub fn places() -> [AbsPath; 2] {
    [POLICY, PLACES].map(AbsPath::known)
}

/// What they hold.
pub fn files(config: &Config) -> Vec<DesiredFile> {
    let signed: BTreeMap<String, &str> = stack::services(config)
        .into_iter()
        .map(|service| &config.images[service])
        .filter_map(|image| Some((image.reference.repository(), image.signature_key.as_deref()?)))
        .collect();
    if signed.is_empty() {
        return Vec::new();
    }
    let rule = |key: &str| Rule::Signed {
        key_data: STANDARD.encode(key),
        signed_identity: Identity { r#type: "matchRepository" },
    };
    let rules = signed.iter().map(|(repository, key)| (repository.as_str(), [rule(key)])).collect();
    let policy = Policy { default: [Rule::AcceptAnything], transports: BTreeMap::from([("docker", rules)]) };
    let looked_for =
        signed.keys().map(|repository| (repository.as_str(), Place { use_sigstore_attachments: true }));
    let [policy_file, places_file] = places();
    vec![
        DesiredFile::public(
            policy_file,
            // Nothing in it cannot be written; were it otherwise, Podman would refuse to pull.
            serde_json::to_string_pretty(&policy).unwrap_or_default() + "\n",
            "Which images have to be signed, and with which key",
        ),
        DesiredFile::public(
            places_file,
            yaml::to_string(
                "Written by matrix-podman; changes here are overwritten.",
                &Places { docker: looked_for.collect() },
            ),
            "Where signatures of images are looked for",
        ),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{default_config, show};

    #[test]
    fn a_policy_names_the_repository_and_its_key() {
        let mut config = default_config();
        assert_eq!(files(&config), Vec::new());
        let key = "-----BEGIN PUBLIC KEY-----\nTUZrd0V3\n-----END PUBLIC KEY-----\n";
        config.images[crate::stack::synapse::ID].signature_key = Some(key.to_owned());
        insta::assert_snapshot!(show(&files(&config)));
    }
}
