//! The words that a service's container is described in.

use std::{fmt, net::Ipv4Addr};

use serde::Serialize;

use crate::{
    config::Config,
    endpoint::Reach,
    name::{AbsPath, Cidr4, Digest, Port},
    service::ServiceId,
    size::{Bytes, Seconds},
};

/// What rendering must know about the machine and the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    /// Memory that the guest may use: what it was given, or what the machine has.
    pub guest_memory: Bytes,
    /// Processor cores that the guest may use.
    pub cores: u32,
    /// Whether systemd in the guest can limit a service's memory (cgroup v2
    /// with the memory controller delegated).
    pub memory_limits: bool,
    /// Whether Podman in the guest can limit a container's processes.
    pub pids_limits: bool,
    /// Whether Podman in the guest can say what a container gets of the processors.
    pub cpu_weights: bool,
    /// Whether the guest speaks IPv6 and its kernel has it.
    pub ipv6: bool,
}

/// A service's image is not in the lock, or what the lock says does not suffice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot write the unit of {service}: {why}")]
pub struct MissingImage {
    /// The service.
    pub service: ServiceId,
    /// What is missing.
    pub why: String,
}

/// One container, independent of what starts it.
#[derive(Debug, Clone, PartialEq)]
pub struct ContainerSpec {
    /// Which service; its name is the container's. It runs as
    /// [`ServiceId::owner`], on a read-only root, without capabilities or new
    /// privileges.
    pub service: ServiceId,
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
    /// Networks that it is on, with others.
    pub networks: Vec<&'static str>,
    /// A network of its own.
    pub own_network: Option<&'static RoomNetwork>,
    /// Networks of other services that it joins, with its address on each.
    pub joined: Vec<(&'static RoomNetwork, Ipv4Addr)>,
    /// The ports that are published.
    pub ports: Vec<Publish>,
    /// Ports that systemd holds and hands to it, the first as descriptor 3.
    pub handed: Vec<Publish>,
    /// Command that is run in the guest before each start; none when empty.
    pub before_start: Vec<String>,
    /// A file of the guest that keeps it from being started while it is there.
    pub unless: Option<&'static str>,
    /// How its health is asked for.
    pub health: Health,
    /// Services that it wants started before it.
    pub after: &'static [ServiceId],
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

/// A network of a service's own, with addresses that have to be known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoomNetwork {
    /// What Podman calls it.
    pub name: &'static str,
    /// Its addresses.
    pub subnet: Cidr4,
    /// The container's.
    pub address: Ipv4Addr,
    /// Whether it has no way out.
    pub internal: bool,
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

/// Published ports: one, or a range of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Publish {
    /// What is spoken there.
    pub protocol: Protocol,
    /// Address in the guest.
    pub bind: Ipv4Addr,
    /// The first port in the guest.
    pub host: Port,
    /// The first port in the container.
    pub container: u16,
    /// How many there are.
    pub count: u16,
    /// Who may speak to them.
    pub reach: Reach,
    /// Who listens there in the guest.
    pub held_by: PortHolder,
}

/// Who listens at a published port, in the guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PortHolder {
    /// Podman, which leads connections to the container that publishes it.
    Podman,
    /// systemd, which hands the socket to the service that stands before the others.
    Systemd,
}

/// What is spoken at a port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Connections.
    Tcp,
    /// Packets.
    Udp,
}

impl fmt::Display for Publish {
    /// As Podman and compose files write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = |first: u16| match self.count {
            0 | 1 => first.to_string(),
            count => format!("{first}-{}", first.saturating_add(count - 1)),
        };
        write!(f, "{}:{}:{}", self.bind, range(self.host.get()), range(self.container))?;
        match self.protocol {
            Protocol::Tcp => Ok(()),
            Protocol::Udp => f.write_str("/udp"),
        }
    }
}

/// How a service's image comes about and is kept new; what the config needs to know of it is in
/// [`ServiceId::image`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServiceImage {
    /// How it is built; without one it comes from a registry or an archive alone.
    pub recipe: Option<BuildRecipe>,
    /// Whether a newer one is looked for within its major version alone.
    pub within_major: bool,
}

/// How an image is built on the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BuildRecipe {
    /// The name that the builder knows it by.
    pub name: &'static str,
    /// Where its packages come from.
    pub origins: &'static str,
}

/// A notable change that came with a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Note {
    /// The release that it came with.
    pub version: String,
    /// What it is.
    pub what: &'static str,
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
    pub(super) fn of(command: Vec<String>) -> Self {
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
    pub(super) fn read(source: AbsPath, target: impl Into<String>) -> Self {
        Self { source, target: target.into(), writable: false }
    }

    pub(super) fn write(source: AbsPath, target: impl Into<String>) -> Self {
        Self { source, target: target.into(), writable: true }
    }
}

impl Publish {
    /// One port for connections, at the address that the config says.
    pub(super) const fn tcp(config: &Config, host: Port, container: u16) -> Self {
        Self {
            protocol: Protocol::Tcp,
            bind: config.ports.bind,
            host,
            container,
            count: 1,
            reach: Reach::Proxies,
            held_by: PortHolder::Podman,
        }
    }

    /// Ports from `host` on that anybody may speak to, with the same numbers inside.
    pub(super) const fn open(config: &Config, protocol: Protocol, host: Port, count: u16) -> Self {
        Self {
            protocol,
            bind: config.ports.bind,
            host,
            container: host.get(),
            count,
            reach: Reach::Anybody,
            held_by: PortHolder::Podman,
        }
    }
}

impl ContainerSpec {
    /// Most processes and memory, where the guest can limit them: far above what is
    /// normal, far below what would stop the guest.
    pub(super) fn limit(&mut self, pids: u32, memory: Bytes) {
        self.pids_limit = self.pids_limit.map(|_| pids);
        self.memory_max = self.memory_max.map(|_| memory);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::default_config;

    #[test]
    fn ports_are_written_as_podman_reads_them() {
        let one = Publish::tcp(&default_config(), Port::known(8008), 80);
        assert_eq!(one.to_string(), "0.0.0.0:8008:80");
        let many = Publish { protocol: Protocol::Udp, container: 49152, count: 100, ..one };
        assert_eq!(many.to_string(), "0.0.0.0:8008-8107:49152-49251/udp");
    }
}
