//! Rendering: every file that follows from the config, as typed documents.
//!
//! Everything here is a pure function of [`Config`], the [`Lock`] where images
//! matter and the few [`Facts`] where the machine matters. Documents are typed
//! values that a serialiser turns to text; no YAML, JSON, unit or nginx file is
//! glued from strings.

pub mod backups;
pub mod compose;
pub mod element;
pub mod homeserver;
pub mod ifupdown;
mod log_config;
pub mod lxc;
pub mod machine;
pub mod nginx;
pub mod ports;
pub mod postgres;
pub mod quadlet;
pub mod redis;
pub mod roles;
pub mod signatures;
pub mod stack;
pub mod system;
pub mod timer;
pub mod unit;
pub mod uploads;
mod yaml;

#[cfg(test)]
pub(crate) mod testing;

use crate::{
    config::Config,
    layout,
    lock::Lock,
    name::{AbsPath, Mode, Owner},
    service::Service,
    size::Bytes,
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

/// A file as it should be, in the guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredFile {
    /// Where it is.
    pub path: AbsPath,
    /// All of its text.
    pub content: String,
    /// Permission bits.
    pub mode: Mode,
    /// Owner.
    pub owner: Owner,
    /// One sentence for the plan: what it is for.
    pub why: &'static str,
}

impl DesiredFile {
    /// A file of root's that everybody may read.
    fn public(path: AbsPath, content: String, why: &'static str) -> Self {
        Self { path, content, mode: Mode(0o644), owner: Owner::ROOT, why }
    }

    /// A file of root's that besides root only `service` may read.
    fn read_by(service: Service, path: AbsPath, content: String, why: &'static str) -> Self {
        let owner = Owner { uid: 0, gid: service.owner().gid };
        Self { path, content, mode: Mode(0o440), owner, why }
    }
}

/// A folder as it should be, in the guest; what is in it is not looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredFolder {
    /// Where it is.
    pub path: AbsPath,
    /// Permission bits.
    pub mode: Mode,
    /// Owner.
    pub owner: Owner,
}

/// A service's image is not in the lock, or what the lock says does not suffice.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot write the unit of {service}: {why}")]
pub struct MissingImage {
    /// The service.
    pub service: Service,
    /// What is missing.
    pub why: String,
}

/// The folders that the containers' mounts and the files below need, each
/// after the one that it is in.
pub fn folders() -> Vec<DesiredFolder> {
    let folder = |path, mode, owner| DesiredFolder { path, mode: Mode(mode), owner };
    let synapse = Service::Synapse.owner();
    vec![
        folder(AbsPath::known(layout::ROOT), 0o755, Owner::ROOT),
        folder(AbsPath::known(layout::SECRETS), 0o700, Owner::ROOT),
        folder(layout::in_root("postgres"), 0o750, Owner { uid: 0, gid: Service::Postgres.owner().gid }),
        folder(layout::in_root("postgresdata"), 0o700, Service::Postgres.owner()),
        folder(layout::in_root("redis"), 0o755, Owner::ROOT),
        folder(layout::in_root("synapse"), 0o750, Owner { uid: 0, gid: synapse.gid }),
        folder(layout::in_root("synapse/media_store"), 0o750, synapse),
        folder(uploads::module_folder(), 0o750, Owner { uid: 0, gid: synapse.gid }),
        folder(uploads::folder(), 0o700, synapse),
        folder(AbsPath::known(layout::QUADLET), 0o755, Owner::ROOT),
    ]
}

/// The config files that `service` reads, apart from its unit.
pub fn service_files(service: Service, config: &Config, facts: &Facts) -> Vec<DesiredFile> {
    match service {
        Service::Postgres => roles::files(),
        Service::Redis => redis::files(),
        Service::Synapse => homeserver::files(config, facts),
        Service::Web => element::files(config),
    }
}

/// Every file of the stack: the services' config, their units, and the same
/// stack as a compose file.
pub fn stack_files(config: &Config, lock: &Lock, facts: &Facts) -> Result<Vec<DesiredFile>, MissingImage> {
    let mut files: Vec<DesiredFile> =
        Service::ALL.into_iter().flat_map(|service| service_files(service, config, facts)).collect();
    files.extend(quadlet::networks(facts));
    files.extend(quadlet::containers(config, lock, facts)?);
    files.push(quadlet::stack_unit());
    files.extend(compose::files(config, lock, facts)?);
    Ok(files)
}
