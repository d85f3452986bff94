//! The same stack as a compose file, for people and tools that want one.
//!
//! Format: the Compose specification, as far as Debian 13's podman-compose
//! 1.3.0 follows it. It knows no start-up probes, so the health interval is
//! short; it starts dependents too early, so they restart until all is there;
//! it puts everything in a pod unless told not to.

use std::net::Ipv4Addr;

use indexmap::IndexMap;
use serde::Serialize;

use super::quadlet;
use crate::{
    config::Config,
    desired::DesiredFile,
    document::yaml,
    layout,
    lock::Lock,
    name::{Mode, Owner},
    service::ServiceId,
    size::Seconds,
    stack::{self, ContainerSpec, Facts, MissingImage},
};

/// Name of the project.
pub const PROJECT: &str = "matrix";

const HEADER: &str = "\
Written by matrix-podman; changes here are overwritten.
The same containers as the systemd units run, on the same data, for tools that
want a compose file. One of the two at a time:
    systemctl stop matrix-stack.service
    cd /opt/matrix && podman-compose up -d
and back:
    cd /opt/matrix && podman-compose down
    systemctl start matrix-stack.service
The images are there already; .env beside this file names them.";

#[derive(Debug, Serialize)]
struct Compose {
    name: &'static str,
    services: IndexMap<&'static str, ComposeService>,
    networks: IndexMap<&'static str, Network>,
    #[serde(rename = "x-podman")]
    podman: PodmanExtension,
}

#[derive(Debug, Serialize)]
struct PodmanExtension {
    in_pod: bool,
}

#[derive(Debug, Serialize)]
struct Network {
    name: &'static str,
    driver: &'static str,
    internal: bool,
    enable_ipv6: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    ipam: Option<Ipam>,
}

#[derive(Debug, Serialize)]
struct Ipam {
    config: [IpamSubnet; 1],
}

#[derive(Debug, Serialize)]
struct IpamSubnet {
    subnet: String,
}

#[derive(Debug, Serialize)]
struct ComposeService {
    container_name: &'static str,
    image: String,
    pull_policy: &'static str,
    user: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    entrypoint: Option<[&'static str; 1]>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    command: Vec<String>,
    environment: IndexMap<&'static str, String>,
    read_only: bool,
    cap_drop: [&'static str; 1],
    security_opt: [&'static str; 1],
    volumes: Vec<String>,
    tmpfs: Vec<String>,
    networks: ComposeNetworks,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    ports: Vec<String>,
    #[serde(skip_serializing_if = "IndexMap::is_empty")]
    depends_on: IndexMap<&'static str, Condition>,
    healthcheck: HealthCheck,
    restart: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    stop_signal: Option<&'static str>,
    stop_grace_period: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    shm_size: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pids_limit: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    mem_limit: Option<String>,
    logging: Logging,
}

#[derive(Debug, Serialize)]
struct Condition {
    condition: &'static str,
}

/// The networks of a container: by name, or with its address in one.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum ComposeNetworks {
    Named(Vec<&'static str>),
    Placed(IndexMap<&'static str, FixedAddress>),
}

#[derive(Debug, Serialize)]
struct FixedAddress {
    ipv4_address: Ipv4Addr,
}

#[derive(Debug, Serialize)]
struct HealthCheck {
    test: Vec<String>,
    interval: String,
    timeout: String,
    retries: u32,
}

#[derive(Debug, Serialize)]
struct Logging {
    driver: &'static str,
}

/// The variable of `.env` with a service's image.
fn image_variable(service: ServiceId) -> String {
    format!("MATRIX_{}_IMAGE", service.image().key.to_ascii_uppercase())
}

/// `text` with nothing in it that compose files replace.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

/// Compose files have durations in seconds at most as `1h2m3s`.
fn seconds(span: Seconds) -> String {
    format!("{}s", span.0)
}

impl ComposeService {
    fn of(spec: &ContainerSpec) -> Self {
        let owner = spec.service.owner();
        let health = &spec.health;
        Self {
            container_name: spec.service.name(),
            image: format!("${{{}:?see .env}}", image_variable(spec.service)),
            pull_policy: "never",
            user: format!("{}:{}", owner.uid, owner.gid),
            entrypoint: spec.entrypoint.map(|program| [program]),
            command: spec.command.iter().map(|word| literal(word)).collect(),
            environment: spec.environment.iter().map(|(name, value)| (*name, literal(value))).collect(),
            read_only: true,
            cap_drop: ["ALL"],
            security_opt: ["no-new-privileges"],
            volumes: spec.mounts.iter().map(quadlet::volume).collect(),
            tmpfs: spec.tmpfs.iter().map(quadlet::tmpfs).collect(),
            networks: match spec.own_network {
                Some(own) => ComposeNetworks::Placed(IndexMap::from([(
                    own.name,
                    FixedAddress { ipv4_address: own.address },
                )])),
                None => ComposeNetworks::Named(spec.networks.clone()),
            },
            ports: spec.ports.iter().map(ToString::to_string).collect(),
            depends_on: spec
                .after
                .iter()
                .map(|service| (service.name(), Condition { condition: "service_healthy" }))
                .collect(),
            healthcheck: HealthCheck {
                test: std::iter::once("CMD".to_owned())
                    .chain(health.command.iter().map(|w| literal(w)))
                    .collect(),
                interval: "5s".to_owned(),
                timeout: seconds(health.timeout),
                // As long until unhealthy as under systemd, with probes six
                // times as frequent.
                retries: health.retries * 6,
            },
            restart: "always",
            stop_signal: spec.stop_signal,
            stop_grace_period: seconds(spec.stop_timeout),
            shm_size: spec.shm_size.map(quadlet::podman_size),
            pids_limit: spec.pids_limit,
            mem_limit: spec.memory_max.map(quadlet::podman_size),
            logging: Logging { driver: "journald" },
        }
    }
}

/// `docker-compose.yml` and `.env`.
pub fn files(config: &Config, lock: &Lock, facts: &Facts) -> Result<[DesiredFile; 2], MissingImage> {
    // Nothing here could hand a socket to what stands before the others: they publish their ports themselves.
    let mut specs = stack::containers(config, lock, facts)?;
    specs.retain(|spec| spec.handed.is_empty());
    let network = |name, internal| {
        (name, Network { name, driver: "bridge", internal, enable_ipv6: !internal && facts.ipv6, ipam: None })
    };
    let own = specs.iter().filter_map(|spec| spec.own_network).map(|own| {
        let subnet = format!("{}/{}", own.subnet.network(), own.subnet.prefix());
        let ipam = Some(Ipam { config: [IpamSubnet { subnet }] });
        (own.name, Network { name: own.name, driver: "bridge", internal: false, enable_ipv6: false, ipam })
    });
    let compose = Compose {
        name: PROJECT,
        services: specs.iter().map(|spec| (spec.service.name(), ComposeService::of(spec))).collect(),
        networks: [network(layout::DB_NETWORK, true), network(layout::edge_network(facts.ipv6), false)]
            .into_iter()
            .chain(own)
            .collect(),
        podman: PodmanExtension { in_pod: false },
    };
    let mut env = format!(
        "# Written by matrix-podman for docker-compose.yml; holds no secret.\nCOMPOSE_PROJECT_NAME={PROJECT}\n"
    );
    for spec in &specs {
        env.push_str(&format!("{}={}\n", image_variable(spec.service), spec.image));
    }
    let file = |name, content, why| DesiredFile {
        path: layout::in_root(name),
        content,
        mode: Mode(0o644),
        owner: Owner::ROOT,
        why,
    };
    Ok([
        file("docker-compose.yml", yaml::to_string(HEADER, &compose), "The same stack as a compose file"),
        file(".env", env, "The images that the compose file runs"),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{changed_config, config_with, default_config, facts, lock, show, weak_facts};

    #[test]
    fn default() {
        insta::assert_snapshot!(show(&files(&default_config(), &lock(), &facts()).unwrap()));
    }

    #[test]
    fn a_gateway_changes_nothing() {
        let of = |config: &Config| show(&files(config, &lock(), &facts()).unwrap());
        let on = config_with(&[("gateway.enabled", "true")]);
        assert_eq!(of(&on), of(&default_config()));
    }

    #[test]
    fn changed() {
        insta::assert_snapshot!(show(&files(&changed_config(), &lock(), &weak_facts()).unwrap()));
    }
}
