//! What dpkg, systemd and the kernel say.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::{name::Invalid, size::Bytes};

/// The state of one systemd unit, in systemd's own words.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitState {
    /// `loaded`, `not-found`, `bad-setting`, …
    pub load: String,
    /// `active`, `activating`, `failed`, …
    pub active: String,
    /// `running`, `exited`, `auto-restart`, …
    pub sub: String,
    /// `enabled`, `generated`, …
    pub file: String,
    /// Whether its file changed since systemd read it.
    pub stale: bool,
    /// How often systemd restarted it.
    pub restarts: u32,
}

/// What the machine or the guest is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MachineInfo {
    /// `debian`
    pub os: String,
    /// `12`, `13`
    pub release: String,
    /// The kernel's release.
    pub kernel: String,
    /// `x86_64`, `aarch64`
    pub arch: String,
    /// Host name.
    pub hostname: String,
    /// Whether the program runs as root.
    pub root: bool,
    /// Whether PID 1 is systemd.
    pub systemd: bool,
    /// Controllers of the unified cgroup hierarchy; `None` where the machine
    /// has cgroup v1.
    pub cgroup2: Option<Vec<String>>,
    /// Controllers of version 1, where the machine has that.
    pub cgroup1: Vec<String>,
    /// Whether the kernel can limit the swap of a control group.
    #[serde(default)]
    pub swap_limits: bool,
    /// Whether AppArmor is on.
    pub apparmor: bool,
    /// Whether the kernel lets root make user namespaces.
    pub user_namespaces: bool,
    /// Whether the kernel knows overlay file systems.
    pub overlay: bool,
    /// All memory.
    pub memory: Bytes,
    /// Memory that is free or can be freed.
    pub memory_free: Bytes,
    /// Room left where guests and images are kept.
    pub disk_free: Bytes,
    /// Processor cores.
    pub cores: u32,
    /// The default route's own address.
    pub address: Option<Ipv4Addr>,
    /// Name servers from /etc/resolv.conf.
    pub resolvers: Vec<String>,
    /// Whether Proxmox's commands are here.
    pub proxmox: bool,
    /// Whether this is itself a container.
    pub container: bool,
    /// Time zone of the machine, when it is known.
    pub timezone: Option<String>,
    /// Whether the program's own file needs no dynamic linker.
    pub binary_is_static: bool,
}

/// The state of an LXC container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestState {
    /// There is none of that name.
    Absent,
    /// It exists and does not run.
    Stopped {
        /// The site whose mark it carries.
        site: Option<String>,
    },
    /// It runs.
    Running {
        /// The site whose mark it carries.
        site: Option<String>,
        /// Its IPv4 address, once it has one.
        address: Option<Ipv4Addr>,
    },
    /// It runs, and nothing in it goes on until somebody lets it.
    Suspended {
        /// The site whose mark it carries.
        site: Option<String>,
        /// By what.
        by: Suspension,
    },
}

/// What holds a guest that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Suspension {
    /// All its processes are frozen: `lxc-freeze`, or a backup of the whole
    /// container that was cut off.
    Frozen,
    /// Its first process, and with it its systemd, was stopped by a signal.
    Stopped {
        /// Its number on the machine.
        pid: u32,
    },
}

impl Suspension {
    /// In a word, where the state of a guest is told.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Frozen => "frozen",
            Self::Stopped { .. } => "stopped by a signal",
        }
    }

    /// What is so, in a sentence about the guest `name`.
    pub fn why(self, name: &str) -> String {
        match self {
            Self::Frozen => format!("the guest {name} is frozen (LXC: FROZEN): nothing in it goes on"),
            Self::Stopped { pid } => {
                format!("the first process of the guest {name} is stopped by a signal (SIGSTOP to {pid})")
            }
        }
    }

    /// What lets the guest that LXC calls `name` go on.
    pub fn fix(self, name: &str) -> String {
        match self {
            Self::Frozen => format!("lxc-unfreeze --name {name}"),
            Self::Stopped { pid } => format!("kill -CONT {pid}"),
        }
    }
}

impl GuestState {
    /// The site whose mark it carries.
    pub fn site(&self) -> Option<&str> {
        match self {
            GuestState::Absent => None,
            GuestState::Stopped { site }
            | GuestState::Running { site, .. }
            | GuestState::Suspended { site, .. } => site.as_deref(),
        }
    }

    /// What holds it, where something does.
    pub fn suspension(&self) -> Option<Suspension> {
        match self {
            GuestState::Suspended { by, .. } => Some(*by),
            GuestState::Absent | GuestState::Stopped { .. } | GuestState::Running { .. } => None,
        }
    }
}

/// Reads `ii |name|version` lines; anything that is not fully installed is absent.
pub(super) fn parse_packages(stdout: &[u8]) -> BTreeMap<String, String> {
    String::from_utf8_lossy(stdout)
        .lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, '|');
            let (status, name, version) = (fields.next()?, fields.next()?, fields.next()?);
            (status.trim() == "ii" || status.trim() == "hi").then(|| (name.to_owned(), version.to_owned()))
        })
        .collect()
}

/// Reads `systemctl show` of several units: blocks of `Key=value`, an empty
/// line between two.
pub(super) fn parse_units(stdout: &[u8]) -> Result<BTreeMap<String, UnitState>, Invalid> {
    let text = std::str::from_utf8(stdout).map_err(|_| Invalid::new("systemctl printed no text"))?;
    let mut units = BTreeMap::new();
    for block in text.split("\n\n") {
        let mut unit = UnitState::default();
        let mut id = None;
        for line in block.lines() {
            let Some((key, value)) = line.split_once('=') else { continue };
            match key {
                "Id" => id = Some(value.to_owned()),
                "LoadState" => unit.load = value.to_owned(),
                "ActiveState" => unit.active = value.to_owned(),
                "SubState" => unit.sub = value.to_owned(),
                "UnitFileState" => unit.file = value.to_owned(),
                "NeedDaemonReload" => unit.stale = value == "yes",
                "NRestarts" => unit.restarts = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
        if let Some(id) = id {
            units.insert(id, unit);
        }
    }
    Ok(units)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_are_not_fully_installed_are_absent() {
        let printed =
            b"ii |podman|5.4.2+ds1-2+b2\nrc |exim4|4.98\nun |crun|\nhi |crun|1.21-1\niU |nftables|1.1\n";
        let found = parse_packages(printed);
        assert_eq!(found.keys().collect::<Vec<_>>(), ["crun", "podman"]);
    }

    #[test]
    fn units() {
        let printed = b"Id=synapse.service\nLoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=generated\nNeedDaemonReload=no\nNRestarts=2\n\nId=redis.service\nLoadState=not-found\nActiveState=inactive\nSubState=dead\nUnitFileState=\nNeedDaemonReload=no\n";
        let units = parse_units(printed).unwrap();
        assert_eq!(units["synapse.service"].restarts, 2);
        assert_eq!(units["redis.service"].load, "not-found");
    }
}
