//! `[proxmox]`.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use crate::{
    config::{
        Address, BackendChoice, Config, Guest, Network,
        read::Reader,
        types::{Flaw, Int, List, Size},
    },
    name::{AbsPath, Cidr6, ContainerId, MacAddress, PoolName, StorageName, Tag, TemplateName},
    size::Bytes,
};

/// The smallest packet that IPv6 must be able to send (RFC 8200, section 5).
const SMALLEST_MTU6: u32 = 1280;

const GIB: u64 = 1024;

/// The section, where it has a meaning: it stands in the config as applied when
/// the backend is Proxmox, or when something in it was written that may count.
fn used(config: &Config) -> Option<&Proxmox> {
    match config.guest.backend {
        BackendChoice::Proxmox => Some(&config.proxmox),
        BackendChoice::Auto => Some(&config.proxmox).filter(|proxmox| **proxmox != Proxmox::default()),
        BackendChoice::Lxc | BackendChoice::ThisMachine => None,
    }
}

super::section! {
    /// What only a container of Proxmox VE has.
    [proxmox in used] pub struct Proxmox {
        /// Number of the container. A container that exists is found by its mark, whatever its number.
        id: Int<100, 999_999_999> {
            follows: "the first that is free in the cluster",
            example: "120",
        }
        /// Storage of the container's disk. It counts when the container is made; Proxmox moves disks
        /// afterwards.
        storage: StorageName {
            usual: StorageName::known("local-lvm"),
            example: r#""local-zfs""#,
        }
        /// Storage of the template that the container is made from.
        template_storage: StorageName {
            usual: StorageName::known("local"),
            example: r#""nas""#,
        }
        /// File name of the template. It is downloaded when the storage does not have it.
        template: TemplateName {
            follows: "the newest Debian 13 standard template",
            example: r#""debian-13-standard_13.1-2_amd64.tar.zst""#,
        }
        /// Tags of the container. The site's own tag, by which the container is found again, comes besides.
        tags: List<Tag> {
            usual: List(["matrix", "podman", "lxc"].map(Tag::known).to_vec()),
            example: r#"["matrix", "family"]"#,
        }
        /// Pool that the container is put into when it is made.
        pool: PoolName {
            follows: "none",
            example: r#""home""#,
        }
        /// Swap that the container may use.
        swap: Size<0, { 1024 * GIB }> {
            usual: Size(Bytes::mib(512)),
            example: r#""1G""#,
        }
        /// VLAN tag of the container's interface.
        vlan: Int<1, 4094> {
            follows: "none",
            example: "20",
        }
        /// Hardware address of the container's interface.
        mac: MacAddress {
            follows: "chosen by Proxmox, and kept",
            example: r#""BC:24:11:01:02:03""#,
        }
        /// Largest packet of the container's interface; no larger than the bridge's.
        mtu: Int<576, 65535> {
            follows: "the bridge's",
            example: "1400",
        }
        /// Whether Proxmox's firewall stands in front of the container's interface. Its rules are yours.
        firewall: bool {
            usual: false,
            example: "true",
        }
        /// How the container gets an IPv6 address: auto from the router's advertisements, or a fixed one with
        /// its prefix length, beside a fixed guest.network.address. It needs guest.ipv6.
        address6: Address6 {
            follows: "none",
            example: r#""auto""#,
        }
        /// The router's IPv6 address, with a fixed one in address6.
        gateway6: Ipv6Addr {
            follows: "none; the router says",
            example: r#""fe80::1""#,
        }
        /// Place in the order in which guests start with the node.
        start_order: Int<0, 100_000> {
            follows: "none",
            example: "3",
        }
        /// Size of a volume of its own for /opt/matrix, the server's data; backups include it. It can be
        /// asked for when the container is made, and grow afterwards.
        data_volume: Size<{ 6 * GIB }, { GIB * GIB * GIB }> {
            follows: "none: everything is on the container's disk",
            example: r#""100G""#,
        }
        /// Storage of the data volume.
        data_storage: StorageName {
            follows: "that of the container's disk",
            example: r#""tank""#,
        }
        /// File with public ssh keys that let people into the guest as root; comments in it are left out. It
        /// counts when the container is made; with it, the guest keeps its ssh server.
        ssh_keys: AbsPath {
            follows: "none: there is no ssh server in the guest",
            example: r#""/root/.ssh/authorized_keys""#,
        }
        /// Password of root in the guest: locked means none, ask asks for it when the container is made, and
        /// a path names a file with it in the first line.
        root_password: RootPassword {
            usual: RootPassword::Locked,
            example: r#""ask""#,
        }
    }
}

impl Default for Proxmox {
    fn default() -> Self {
        Reader::of_nothing(Self::read)
    }
}

impl Proxmox {
    /// The number that the container is to have, where one is named.
    pub fn container_id(&self) -> Option<ContainerId> {
        self.id.map(|id| ContainerId(id.get()))
    }

    /// Reads it, and sees that what is written has an effect.
    pub(in crate::config) fn checked(r: &mut Reader<'_>, guest: &Guest) -> Self {
        let proxmox = Self::read(r);
        let (backend, ipv6) = (guest.backend, guest.ipv6);
        if matches!(backend, BackendChoice::Lxc | BackendChoice::ThisMachine) {
            for key in SECTION.keys.iter().filter(|key| r.written(**key)).collect::<Vec<_>>() {
                let flaw = Flaw::new(format!(
                    "guest.backend is {:?}, so this would have no effect",
                    backend.as_str()
                ));
                r.complain(*key, flaw.hint("remove it, or write guest.backend = \"proxmox\""));
            }
            return proxmox;
        }
        if r.written(&KEYS.address6) && !ipv6 {
            r.complain(
                &KEYS.address6,
                Flaw::new("guest.ipv6 is off, so this would have no effect").hint("write guest.ipv6 = true"),
            );
        }
        let (Network::Own { address, .. } | Network::Existing { address, .. }) = &guest.network;
        if matches!(proxmox.address6, Some(Address6::Static(_))) && !matches!(address, Address::Static { .. })
        {
            r.complain(
                &KEYS.address6,
                Flaw::new(
                    "a fixed IPv6 address needs a fixed IPv4 address beside it: with DHCP for IPv4, the start of Proxmox's \
                     Debian template hangs at times, or ends without the IPv6 address",
                )
                .hint("write guest.network.address and gateway too, or address6 = \"auto\""),
            );
        }
        if let (Some(_), Some(Int(mtu @ ..SMALLEST_MTU6))) = (proxmox.address6, proxmox.mtu) {
            r.complain(
                &KEYS.mtu,
                Flaw::new(format!("IPv6 needs packets of at least {SMALLEST_MTU6} bytes, and this is {mtu}"))
                    .hint("write a larger one, or leave address6 out"),
            );
        }
        if r.written(&KEYS.gateway6) && !matches!(proxmox.address6, Some(Address6::Static(_))) {
            r.complain(
                &KEYS.gateway6,
                Flaw::new("only a fixed address6 needs a router, so this would have no effect")
                    .hint("remove it, or give the guest a fixed address6"),
            );
        }
        if r.written(&KEYS.data_storage) && proxmox.data_volume.is_none() {
            r.complain(
                &KEYS.data_storage,
                Flaw::new("there is no data volume, so this would have no effect")
                    .hint(format!("ask for one: data_volume = {}", KEYS.data_volume.example)),
            );
        }
        proxmox
    }
}

/// How the container gets an IPv6 address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address6 {
    /// From the router's advertisements.
    Auto,
    /// A fixed one.
    Static(Cidr6),
}

/// Where root's password in the guest comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootPassword {
    /// There is none, and nobody can log in with one.
    Locked,
    /// Somebody is asked on the terminal.
    Ask,
    /// The first line of a file.
    File(AbsPath),
}
