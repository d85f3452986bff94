//! The four containers, said once. The Quadlet units and the compose file are
//! two printings of [`ContainerSpec`], so that they cannot drift apart.

mod services;

use std::net::Ipv4Addr;

use sha2::{Digest as _, Sha256};

use super::{DesiredFile, Facts, MissingImage, postgres, service_files};
use crate::{
    config::Config,
    layout::{self, Secret},
    lock::{Lock, LockedImage},
    name::{AbsPath, Digest, Port},
    service::Service,
    size::{Bytes, Seconds},
};

/// One container, independent of what starts it.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerSpec {
    /// Which service; its name is the container's. It runs as
    /// [`Service::owner`], on a read-only root, without capabilities or new
    /// privileges.
    pub service: Service,
    /// What Podman is told to run: a digest or an id, never a tag.
    pub image: String,
    /// Instead of the image's entry point.
    pub entrypoint: Option<&'static str>,
    /// Instead of the image's command; empty leaves that.
    pub command: Vec<String>,
    /// Environment; never a secret.
    pub environment: Vec<(&'static str, String)>,
    /// Files and folders of the guest.
    pub mounts: Vec<Mount>,
    /// Scratch space in memory.
    pub tmpfs: Vec<Tmpfs>,
    /// Networks that it is on.
    pub networks: Vec<&'static str>,
    /// The port that is published, if any.
    pub port: Option<Publish>,
    /// Command that is run in the guest before each start; none when empty.
    pub before_start: Vec<String>,
    /// How its health is asked for.
    pub health: Health,
    /// Services that it wants started before it.
    pub after: Vec<Service>,
    /// Signal that stops it, where the image's own must not be relied upon.
    pub stop_signal: Option<&'static str>,
    /// Time from that signal to SIGKILL.
    pub stop_timeout: Seconds,
    /// Time that it may take until healthy: above the worst migration.
    pub start_timeout: Seconds,
    /// Size of `/dev/shm`, where the default is too small.
    pub shm_size: Option<Bytes>,
    /// Most processes and threads; absent where control groups are disabled.
    pub pids_limit: Option<u32>,
    /// Most memory; absent where the machine cannot enforce it.
    pub memory_max: Option<Bytes>,
    /// Digest of what it reads that is not in this struct.
    pub config_digest: Digest,
}

/// A file or folder of the guest in a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// In the guest.
    pub source: AbsPath,
    /// In the container.
    pub target: String,
    /// Whether the container may write to it.
    pub writable: bool,
}

/// Scratch space in memory, for all users in the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tmpfs {
    /// In the container.
    pub target: &'static str,
    /// At most this much.
    pub size: Bytes,
}

/// A published port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    /// Address in the guest.
    pub bind: Ipv4Addr,
    /// Port in the guest.
    pub host: Port,
    /// Port in the container.
    pub container: u16,
}

/// How a container's health is asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// Argument vector; 0 is healthy.
    pub command: Vec<String>,
    /// Between two tries until the first success, in milliseconds.
    pub startup_interval_ms: u32,
    /// Between two tries after that.
    pub interval: Seconds,
    /// Of one try.
    pub timeout: Seconds,
    /// Failures in a row that make it unhealthy.
    pub retries: u32,
}

impl Health {
    fn of(command: Vec<String>) -> Self {
        // Podman's own time limit does not end a check that hangs.
        let timeout = Seconds(10);
        let limited = ["timeout".to_owned(), timeout.0.to_string()];
        Self {
            command: limited.into_iter().chain(command).collect(),
            startup_interval_ms: 500,
            interval: Seconds(30),
            timeout: Seconds(timeout.0 + 2),
            retries: 3,
        }
    }
}

impl Mount {
    fn read(source: AbsPath, target: impl Into<String>) -> Self {
        Self { source, target: target.into(), writable: false }
    }

    fn write(source: AbsPath, target: impl Into<String>) -> Self {
        Self { source, target: target.into(), writable: true }
    }
}

/// The secrets that `service` reads, with this config.
pub fn secrets_of(service: Service, config: &Config) -> Vec<Secret> {
    let turn = config.turn.as_ref().map(|_| Secret::Turn);
    Secret::MADE.into_iter().chain(turn).filter(|secret| secret.reader() == Some(service)).collect()
}

/// Digest over everything that `service` reads and its unit does not say: its
/// config files and its image. It stands in the unit as a label, so a change of
/// any of them changes the unit of exactly the services that it concerns.
pub fn service_config_digest(
    service: Service,
    config: &Config,
    image: &LockedImage,
    facts: &Facts,
) -> Digest {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    add(image.id.as_str());
    for DesiredFile { path, content, .. } in &service_files(service, config, facts) {
        add(path.as_str());
        add(content);
    }
    Digest::of_sha256(hash.finalize().as_slice())
}

/// The container of `service`.
pub fn container(
    service: Service,
    config: &Config,
    lock: &Lock,
    facts: &Facts,
) -> Result<ContainerSpec, MissingImage> {
    let missing = |why: &str| MissingImage { service, why: why.to_owned() };
    let image = lock.images.get(&service).ok_or_else(|| missing("the lock has no image for it"))?;
    let mut spec = ContainerSpec {
        service,
        image: image.run.clone(),
        entrypoint: None,
        command: Vec::new(),
        environment: vec![("TZ", config.timezone.to_string())],
        mounts: Vec::new(),
        tmpfs: vec![Tmpfs { target: "/tmp", size: Bytes::mib(64) }],
        networks: Vec::new(),
        port: None,
        before_start: Vec::new(),
        health: Health::of(Vec::new()),
        after: Vec::new(),
        stop_signal: None,
        stop_timeout: Seconds(10),
        start_timeout: Seconds(120),
        shm_size: None,
        pids_limit: facts.pids_limits.then_some(services::pids_limit(service)),
        memory_max: facts.memory_limits.then(|| services::memory_max(service, facts.guest_memory)),
        config_digest: service_config_digest(service, config, image, facts),
    };
    match service {
        Service::Postgres => {
            let pgdata = postgres::pgdata(image).ok_or_else(|| {
                missing(&format!("its version {:?} does not begin with a number", image.version))
            })?;
            services::postgres(&mut spec, config, facts, pgdata);
        }
        Service::Redis => services::redis(&mut spec),
        Service::Synapse => services::synapse(&mut spec, config, facts),
        Service::Web => services::web(&mut spec, config, facts),
    }
    for secret in secrets_of(service, config) {
        spec.mounts.push(Mount::read(layout::secret(secret), secret.in_container()));
    }
    Ok(spec)
}

/// All four, in the order in which they start.
pub fn containers(config: &Config, lock: &Lock, facts: &Facts) -> Result<Vec<ContainerSpec>, MissingImage> {
    Service::ALL.into_iter().map(|service| container(service, config, lock, facts)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::testing::{default_config, facts, lock};

    fn digests(config: &Config) -> Vec<Digest> {
        containers(config, &lock(), &facts()).unwrap().into_iter().map(|spec| spec.config_digest).collect()
    }

    #[test]
    fn a_change_concerns_only_its_reader() {
        let before = digests(&default_config());
        let changed = |change: fn(&mut Config)| {
            let mut config = default_config();
            change(&mut config);
            let after = digests(&config);
            Service::ALL
                .into_iter()
                .zip(before.iter().zip(after))
                .filter(|(_, (a, b))| *a != b)
                .map(|(s, _)| s)
                .collect::<Vec<_>>()
        };
        assert_eq!(changed(|_| ()), []);
        assert_eq!(changed(|c| c.synapse.presence = false), [Service::Synapse]);
        assert_eq!(changed(|c| c.web.brand = "X".into()), [Service::Web]);
        assert_eq!(changed(|c| c.web.custom_servers = true), [Service::Web]);
    }

    #[test]
    fn another_image_is_another_digest() {
        let mut lock = lock();
        let image = lock.images.get_mut(&Service::Redis).unwrap();
        let digest =
            |image: &LockedImage| service_config_digest(Service::Redis, &default_config(), image, &facts());
        let before = digest(image);
        image.id = Digest::of_sha256(&[9; 32]);
        assert_ne!(before, digest(image));
    }

    #[test]
    fn what_the_lock_lacks() {
        let mut lock = lock();
        lock.images.get_mut(&Service::Postgres).unwrap().version = "devel".into();
        let error = container(Service::Postgres, &default_config(), &lock, &facts()).unwrap_err();
        insta::assert_snapshot!(error.to_string(), @r#"cannot write the unit of postgres_db: its version "devel" does not begin with a number"#);
        lock.images.clear();
        let error = container(Service::Web, &default_config(), &lock, &facts()).unwrap_err();
        insta::assert_snapshot!(error.to_string(), @"cannot write the unit of element-web: the lock has no image for it");
    }

    #[test]
    fn every_secret_has_one_reader() {
        let config = default_config();
        let read: Vec<Secret> = Service::ALL.into_iter().flat_map(|s| secrets_of(s, &config)).collect();
        assert_eq!(read.len(), Secret::MADE.len());
    }
}
