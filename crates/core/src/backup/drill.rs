//! A drill: a snapshot brought back into containers that nobody can reach and
//! that are thrown away, to see whether it would have helped.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    config::Config,
    layout,
    lock::Lock,
    name::{AbsPath, Mode, Owner},
    render::{Facts, MissingImage, homeserver, quadlet, stack},
    service::Service,
    size::Bytes,
};

/// Begins the names of a drill's containers.
const PREFIX: &str = "matrix-drill-";

/// What a drill runs in the guest, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drill {
    /// Folders that are made for it.
    pub folders: Vec<(AbsPath, Mode, Owner)>,
    /// The names that its containers know, as a file.
    pub hosts: (AbsPath, String),
    /// Starts PostgreSQL, with an empty database.
    pub database: Vec<String>,
    /// Ends with 0 as soon as it answers.
    pub database_answers: Vec<String>,
    /// Fills it from the dump on standard input.
    pub fill: Vec<String>,
    /// Starts Synapse.
    pub synapse: Vec<String>,
    /// Ends with 0 as soon as it answers.
    pub synapse_answers: Vec<String>,
    /// Prints the keys that Synapse signs with, as other servers would see them.
    pub keys: Vec<String>,
    /// Remove its containers, one after the other, those of a drill that was cut
    /// off too.
    pub remove: Vec<Vec<String>>,
}

/// The name of the drill's container of `service`.
pub fn container(service: Service) -> String {
    format!("{PREFIX}{}", service.name())
}

/// What a drill with this config and these images runs. It has to leave the
/// server beside it its memory, so it is given a quarter of the guest's.
pub fn drill(config: &Config, lock: &Lock, facts: &Facts) -> Result<Drill, MissingImage> {
    let facts = Facts { guest_memory: Bytes::mib((facts.guest_memory.as_mib() / 4).max(512)), ..*facts };
    let database = stack::container(Service::Postgres, config, lock, &facts)?;
    let synapse = stack::container(Service::Synapse, config, lock, &facts)?;
    // Both see one network, which has nothing but themselves in it; Podman tells
    // a container on it no names.
    let hosts = AbsPath::known(format!("{}/hosts", layout::DRILL));
    let names = format!("127.0.0.1 localhost {} {}\n", Service::Postgres, Service::Redis);
    let alone = ["--network=none".to_owned()];
    let together = [
        format!("--network=container:{}", container(Service::Postgres)),
        format!("--volume={hosts}:/etc/hosts:ro"),
    ];
    let owner = Service::Postgres.owner();
    let exec = |service: Service, words: &[&str]| -> Vec<String> {
        ["podman", "exec", "--interactive"]
            .into_iter()
            .map(str::to_owned)
            .chain([container(service)])
            .chain(words.iter().map(|word| (*word).to_owned()))
            .collect()
    };
    let health = |spec: &stack::ContainerSpec| {
        let words: Vec<&str> = spec.health.command.iter().map(String::as_str).collect();
        exec(spec.service, &words)
    };
    let remove = |service: Service| -> Vec<String> {
        ["podman", "rm", "--force", "--ignore", "--time=10", "--volumes", "--"]
            .into_iter()
            .map(str::to_owned)
            .chain([container(service)])
            .collect()
    };
    let restore = format!("--username={}", homeserver::DATABASE);
    let into = format!("--dbname={}", homeserver::DATABASE);
    Ok(Drill {
        folders: vec![(moved(&layout::in_root("postgresdata")), Mode(0o700), owner)],
        hosts: (hosts, names),
        database: run(&database, &alone),
        database_answers: health(&database),
        fill: exec(Service::Postgres, &["pg_restore", "--exit-on-error", "--no-owner", &restore, &into]),
        synapse: run(&synapse, &together),
        synapse_answers: health(&synapse),
        keys: exec(
            Service::Synapse,
            &["curl", "-fsS", &format!("http://127.0.0.1:{}/_matrix/key/v2/server", homeserver::PORT)],
        ),
        // Synapse first: it is in the other's network.
        remove: [Service::Synapse, Service::Postgres].map(remove).to_vec(),
    })
}

/// Where a drill has what otherwise is in `/opt/matrix`.
fn moved(path: &AbsPath) -> AbsPath {
    let rest = path.as_str().strip_prefix(layout::ROOT).unwrap_or(path.as_str());
    AbsPath::known(format!("{}{rest}", layout::DRILL))
}

fn run(spec: &stack::ContainerSpec, network: &[String]) -> Vec<String> {
    let owner = spec.service.owner();
    let mut words: Vec<String> = [
        "nice",
        "-n",
        "19",
        "podman",
        "run",
        "--detach",
        "--pull=never",
        "--read-only",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--log-driver=k8s-file",
        "--log-opt=max-size=1mb",
        "--no-healthcheck",
    ]
    .map(str::to_owned)
    .to_vec();
    words.push(format!("--name={}", container(spec.service)));
    words.push(format!("--user={}:{}", owner.uid, owner.gid));
    words.extend(network.iter().cloned());
    words.extend(spec.shm_size.map(|size| format!("--shm-size={}", quadlet::podman_size(size))));
    words.extend(spec.environment.iter().map(|(name, value)| format!("--env={name}={value}")));
    for mount in &spec.mounts {
        let mount = stack::Mount { source: moved(&mount.source), ..mount.clone() };
        words.push(format!("--volume={}", quadlet::volume(&mount)));
    }
    words.extend(spec.tmpfs.iter().map(|tmpfs| format!("--tmpfs={}", quadlet::tmpfs(tmpfs))));
    words.extend(spec.entrypoint.map(|entrypoint| format!("--entrypoint={entrypoint}")));
    words.push(spec.image.clone());
    words.extend(spec.command.iter().cloned());
    words
}

/// What a drill found in what came back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CameBack {
    /// Rows of each table.
    pub tables: BTreeMap<String, u64>,
    /// The digests of the media files, in the order in which they were asked for.
    pub media: Vec<String>,
    /// The keys that Synapse signs with: id and public half.
    pub keys: Vec<(String, String)>,
}

/// Reads the answer to [`Drill::keys`].
pub fn parse_keys(text: &str) -> Option<Vec<(String, String)>> {
    let answer: serde_json::Value = serde_json::from_str(text).ok()?;
    let keys = answer.get("verify_keys")?.as_object()?;
    keys.iter().map(|(id, key)| Some((id.clone(), key.get("key")?.as_str()?.to_owned()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::testing::{default_config, facts, lock};

    #[test]
    fn nothing_of_a_drill_reaches_the_server_or_a_network() {
        let drill = drill(&default_config(), &lock(), &facts()).unwrap();
        insta::assert_snapshot!(
            [&drill.database, &drill.synapse]
                .into_iter()
                .map(|argv| argv.join("\n  "))
                .collect::<Vec<_>>()
                .join("\n\n")
        );
        for argv in [&drill.database, &drill.synapse] {
            for word in argv.iter().filter(|word| word.starts_with("--volume=")) {
                assert!(word.starts_with(&format!("--volume={}/", layout::DRILL)), "{word}");
            }
            assert!(!argv.iter().any(|word| word.starts_with("--publish")), "{argv:?}");
        }
    }

    #[test]
    fn the_keys_of_a_server_are_read() {
        let text = r#"{"server_name":"m","verify_keys":{"ed25519:a_x":{"key":"KEY"}},"old_verify_keys":{}}"#;
        assert_eq!(parse_keys(text), Some(vec![("ed25519:a_x".to_owned(), "KEY".to_owned())]));
        assert_eq!(parse_keys("{}"), None);
        assert_eq!(parse_keys("nginx"), None);
    }
}
