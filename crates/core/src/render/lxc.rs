//! The config of the LXC guest, `/var/lib/lxc/NAME/config`, on the machine.
//!
//! Format: lxc.container.conf(5): `key = value` lines, of which a key may have
//! several; includes first, since what follows adds to or replaces them.

use std::net::Ipv4Addr;

use crate::{
    desired::DesiredFile,
    name::{AbsPath, Cidr4, GuestName, InterfaceName},
    size::Bytes,
};

/// Folder of LXC's guests.
pub const GUESTS: &str = "/var/lib/lxc";
/// The files of LXC's own that an unprivileged guest with containers in it
/// includes, in order.
pub const INCLUDES: [&str; 3] = [
    "/usr/share/lxc/config/common.conf",
    "/usr/share/lxc/config/userns.conf",
    "/usr/share/lxc/config/nesting.conf",
];

/// Begins the line that says which site a guest belongs to: the mark by which
/// the program knows its own.
pub const SITE_MARK: &str = "# matrix-podman site:";

/// Everything that the config of a guest follows from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LxcSpec {
    /// The site that it belongs to.
    pub site: String,
    /// Its name and host name.
    pub name: GuestName,
    /// Folder with its root file system. Its files have the ids that they have
    /// in the guest: the kernel shifts them where it is mounted.
    pub rootfs: AbsPath,
    /// The machine's id that is root in the guest.
    pub id_base: u32,
    /// How many ids the guest has, from 0.
    pub id_count: u32,
    /// Bridge that it is on.
    pub bridge: InterfaceName,
    /// Hardware address, so that a DHCP lease lasts; LXC picks one otherwise.
    pub mac: Option<String>,
    /// How it gets its address.
    pub address: LxcAddress,
    /// Which control groups limit it.
    pub cgroups: LxcCgroups,
    /// Memory that it may use.
    pub memory: Bytes,
    /// Processor cores' worth of time that it may use.
    pub cores: u32,
    /// Whether the machine has AppArmor.
    pub apparmor: bool,
    /// Whether it starts with the machine.
    pub start_at_boot: bool,
}

/// How a guest gets its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LxcAddress {
    /// The guest asks for one.
    Dhcp,
    /// LXC sets it before the guest starts, so that it is there at once.
    Static {
        /// Address and network.
        address: Cidr4,
        /// The way out.
        gateway: Ipv4Addr,
    },
}

/// Which control groups the machine can limit a guest with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LxcCgroups {
    /// Version 2.
    V2 {
        /// Whether swap can be limited.
        swap: bool,
    },
    /// Version 1, as far as the controllers are there.
    V1 {
        /// Whether memory can be limited.
        memory: bool,
        /// Whether swap can be limited.
        swap: bool,
        /// Whether processor time can be limited.
        cpu: bool,
        /// Whether processes can be limited.
        pids: bool,
    },
    /// Nothing can be limited.
    None,
}

/// Swap that a guest may use besides its memory: what Proxmox gives its own.
pub const SWAP: Bytes = Bytes::mib(512);
/// Processes and threads that a guest may have: more than all its containers
/// together may, and few enough that the machine stays in hand.
pub const PROCESSES: u32 = 8192;
/// Processor time is dealt out in slices of this many microseconds.
const CPU_PERIOD: u64 = 100_000;

/// The keys and values of a guest's config, in order.
pub fn entries(spec: &LxcSpec) -> Vec<(&'static str, String)> {
    let mut entries: Vec<(&'static str, String)> = Vec::new();
    let mut set = |key, value: &dyn ToString| entries.push((key, value.to_string()));
    for file in INCLUDES {
        set("lxc.include", &file);
    }
    set("lxc.uts.name", &spec.name);
    set("lxc.rootfs.path", &format!("dir:{}", spec.rootfs));
    set("lxc.rootfs.options", &"idmap=container");
    for kind in ["u", "g"] {
        set("lxc.idmap", &format!("{kind} 0 {} {}", spec.id_base, spec.id_count));
    }
    set("lxc.net.0.type", &"veth");
    set("lxc.net.0.link", &spec.bridge);
    set("lxc.net.0.flags", &"up");
    set("lxc.net.0.name", &"eth0");
    if let Some(mac) = &spec.mac {
        set("lxc.net.0.hwaddr", mac);
    }
    if let LxcAddress::Static { address, gateway } = spec.address {
        set("lxc.net.0.ipv4.address", &address);
        set("lxc.net.0.ipv4.gateway", &gateway);
    }
    if spec.apparmor {
        set("lxc.apparmor.profile", &"generated");
        set("lxc.apparmor.allow_nesting", &1);
    } else {
        set("lxc.apparmor.profile", &"unconfined");
    }
    let quota = u64::from(spec.cores) * CPU_PERIOD;
    match spec.cgroups {
        LxcCgroups::V2 { swap } => {
            set("lxc.cgroup2.memory.max", &spec.memory.0);
            if swap {
                set("lxc.cgroup2.memory.swap.max", &SWAP.0);
            }
            set("lxc.cgroup2.pids.max", &PROCESSES);
            set("lxc.cgroup2.cpu.max", &format!("{quota} {CPU_PERIOD}"));
        }
        LxcCgroups::V1 { memory, swap, cpu, pids } => {
            // The guest's systemd refuses version 1, so it gets a unified
            // hierarchy of its own instead, which has no controllers then.
            set("lxc.mount.auto", &"");
            set("lxc.mount.auto", &"proc:mixed sys:mixed");
            set("lxc.mount.entry", &"cgroup2 sys/fs/cgroup cgroup2 rw,nosuid,nodev,noexec,create=dir 0 0");
            if memory {
                set("lxc.cgroup.memory.limit_in_bytes", &spec.memory.0);
            }
            if memory && swap {
                // Of version 1, this counts memory and swap together.
                set("lxc.cgroup.memory.memsw.limit_in_bytes", &(spec.memory.0 + SWAP.0));
            }
            if pids {
                set("lxc.cgroup.pids.max", &PROCESSES);
            }
            if cpu {
                set("lxc.cgroup.cpu.cfs_period_us", &CPU_PERIOD);
                set("lxc.cgroup.cpu.cfs_quota_us", &quota);
            }
        }
        LxcCgroups::None => {}
    }
    set("lxc.start.auto", &u8::from(spec.start_at_boot));
    entries
}

/// The config file of the guest, on the machine.
pub fn file(spec: &LxcSpec) -> DesiredFile {
    let mut content = String::from("# Written by matrix-podman; changes here are overwritten.\n");
    content.push_str(&format!("{SITE_MARK} {}\n", spec.site));
    for (key, value) in entries(spec) {
        content.push_str(&format!("{key} = {value}\n"));
    }
    DesiredFile::public(
        AbsPath::known(format!("{GUESTS}/{}/config", spec.name)),
        content,
        "The guest: unprivileged, with its own ids, network and limits",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::show;

    fn spec() -> LxcSpec {
        LxcSpec {
            site: "chat.home.arpa".to_owned(),
            name: GuestName::parse("matrix").unwrap(),
            rootfs: AbsPath::parse("/var/lib/lxc/matrix/rootfs").unwrap(),
            id_base: 100_000,
            id_count: 65_536,
            bridge: InterfaceName::parse("mpbr0").unwrap(),
            mac: None,
            address: LxcAddress::Static {
                address: Cidr4::known(10, 86, 0, 10, 24),
                gateway: [10, 86, 0, 1].into(),
            },
            cgroups: LxcCgroups::V2 { swap: true },
            memory: Bytes::gib(4),
            cores: 2,
            apparmor: true,
            start_at_boot: true,
        }
    }

    #[test]
    fn default() {
        insta::assert_snapshot!(show(&[file(&spec())]));
    }

    /// A file that the kernel does not have would keep the guest from starting.
    #[test]
    fn only_what_the_kernel_can_limit_is_named() {
        let keys = |cgroups| {
            let keys = entries(&LxcSpec { cgroups, ..spec() }).into_iter().map(|(key, _)| key);
            keys.filter(|key| key.contains("cgroup")).collect::<Vec<_>>()
        };
        let v2 = ["lxc.cgroup2.memory.max", "lxc.cgroup2.pids.max", "lxc.cgroup2.cpu.max"];
        assert_eq!(keys(LxcCgroups::V2 { swap: false }), v2);
        let none = LxcCgroups::V1 { memory: false, swap: true, cpu: false, pids: false };
        assert_eq!(keys(none), Vec::<&str>::new());
    }

    #[test]
    fn changed() {
        let spec = LxcSpec {
            mac: Some("00:16:3e:01:02:03".into()),
            address: LxcAddress::Dhcp,
            cgroups: LxcCgroups::V1 { memory: true, swap: true, cpu: true, pids: true },
            apparmor: false,
            start_at_boot: false,
            ..spec()
        };
        insta::assert_snapshot!(show(&[file(&spec)]));
    }
}
