//! `[proxmox]`: what only a container of Proxmox VE has.

use std::net::Ipv6Addr;

use super::{Fixed, Follows, Key};
use crate::{
    config::{
        BackendChoice, Config, Proxmox, RootPassword,
        types::{Address6Choice, Int, List, RootPasswordChoice, Size},
    },
    name::{AbsPath, MacAddress, PoolName, StorageName, Tag, TemplateName},
    size::Bytes,
};

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

super::keys! {
    ID: Key<Int<100, 999_999_999>, Follows> = Key {
        path: "proxmox.id",
        fallback: Follows("the first that is free in the cluster"),
        of: |c| used(c)?.id.map(|id| Int(id.0)),
        example: "120",
        doc: "Number of the container. A container that exists is found by its mark, whatever its number.",
        init: false,
    };
    STORAGE: Key<StorageName> = Key {
        path: "proxmox.storage",
        fallback: Fixed(|| StorageName::known("local-lvm")),
        of: |c| Some(used(c)?.storage.clone()),
        example: r#""local-zfs""#,
        doc: "Storage of the container's disk. It counts when the container is made; Proxmox moves disks afterwards.",
        init: false,
    };
    TEMPLATE_STORAGE: Key<StorageName> = Key {
        path: "proxmox.template_storage",
        fallback: Fixed(|| StorageName::known("local")),
        of: |c| Some(used(c)?.template_storage.clone()),
        example: r#""nas""#,
        doc: "Storage of the template that the container is made from.",
        init: false,
    };
    TEMPLATE: Key<TemplateName, Follows> = Key {
        path: "proxmox.template",
        fallback: Follows("the newest Debian 13 standard template"),
        of: |c| used(c)?.template.clone(),
        example: r#""debian-13-standard_13.1-2_amd64.tar.zst""#,
        doc: "File name of the template. It is downloaded when the storage does not have it.",
        init: false,
    };
    TAGS: Key<List<Tag>> = Key {
        path: "proxmox.tags",
        fallback: Fixed(|| List(["matrix", "podman", "lxc"].map(Tag::known).to_vec())),
        of: |c| Some(List(used(c)?.tags.clone())),
        example: r#"["matrix", "family"]"#,
        doc: "Tags of the container. The site's own tag, by which the container is found again, comes besides.",
        init: false,
    };
    POOL: Key<PoolName, Follows> = Key {
        path: "proxmox.pool",
        fallback: Follows("none"),
        of: |c| used(c)?.pool.clone(),
        example: r#""home""#,
        doc: "Pool that the container is put into when it is made.",
        init: false,
    };
    SWAP: Key<Size<0, { 1024 * GIB }>> = Key {
        path: "proxmox.swap",
        fallback: Fixed(|| Size(Bytes::mib(512))),
        of: |c| Some(Size(used(c)?.swap)),
        example: r#""1G""#,
        doc: "Swap that the container may use.",
        init: false,
    };
    VLAN: Key<Int<1, 4094>, Follows> = Key {
        path: "proxmox.vlan",
        fallback: Follows("none"),
        of: |c| used(c)?.vlan.map(Int),
        example: "20",
        doc: "VLAN tag of the container's interface.",
        init: false,
    };
    MAC: Key<MacAddress, Follows> = Key {
        path: "proxmox.mac",
        fallback: Follows("chosen by Proxmox, and kept"),
        of: |c| used(c)?.mac.clone(),
        example: r#""BC:24:11:01:02:03""#,
        doc: "Hardware address of the container's interface.",
        init: false,
    };
    MTU: Key<Int<576, 65535>, Follows> = Key {
        path: "proxmox.mtu",
        fallback: Follows("the bridge's"),
        of: |c| used(c)?.mtu.map(Int),
        example: "1400",
        doc: "Largest packet of the container's interface; no larger than the bridge's.",
        init: false,
    };
    FIREWALL: Key<bool> = Key {
        path: "proxmox.firewall",
        fallback: Fixed(|| false),
        of: |c| Some(used(c)?.firewall),
        example: "true",
        doc: "Whether Proxmox's firewall stands in front of the container's interface. Its rules are yours.",
        init: false,
    };
    ADDRESS6: Key<Address6Choice, Follows> = Key {
        path: "proxmox.address6",
        fallback: Follows("none"),
        of: |c| used(c)?.address6.map(Address6Choice),
        example: r#""auto""#,
        doc: "How the container gets an IPv6 address: auto from the router's advertisements, or a fixed one with its \
              prefix length, beside a fixed guest.network.address. It needs guest.ipv6.",
        init: false,
    };
    GATEWAY6: Key<Ipv6Addr, Follows> = Key {
        path: "proxmox.gateway6",
        fallback: Follows("none; the router says"),
        of: |c| used(c)?.gateway6,
        example: r#""fe80::1""#,
        doc: "The router's IPv6 address, with a fixed one in address6.",
        init: false,
    };
    START_ORDER: Key<Int<0, 100_000>, Follows> = Key {
        path: "proxmox.start_order",
        fallback: Follows("none"),
        of: |c| used(c)?.start_order.map(Int),
        example: "3",
        doc: "Place in the order in which guests start with the node.",
        init: false,
    };
    DATA_VOLUME: Key<Size<{ 6 * GIB }, { GIB * GIB * GIB }>, Follows> = Key {
        path: "proxmox.data_volume",
        fallback: Follows("none: everything is on the container's disk"),
        of: |c| used(c)?.data_volume.map(Size),
        example: r#""100G""#,
        doc: "Size of a volume of its own for /opt/matrix, the server's data; backups include it. It can be asked for \
              when the container is made, and grow afterwards.",
        init: false,
    };
    DATA_STORAGE: Key<StorageName, Follows> = Key {
        path: "proxmox.data_storage",
        fallback: Follows("that of the container's disk"),
        of: |c| used(c)?.data_storage.clone(),
        example: r#""tank""#,
        doc: "Storage of the data volume.",
        init: false,
    };
    SSH_KEYS: Key<AbsPath, Follows> = Key {
        path: "proxmox.ssh_keys",
        fallback: Follows("none: there is no ssh server in the guest"),
        of: |c| used(c)?.ssh_keys.clone(),
        example: r#""/root/.ssh/authorized_keys""#,
        doc: "File with public ssh keys that let people into the guest as root; comments in it are left out. It counts when the container is made; \
              with it, the guest keeps its ssh server.",
        init: false,
    };
    ROOT_PASSWORD: Key<RootPasswordChoice> = Key {
        path: "proxmox.root_password",
        fallback: Fixed(|| RootPasswordChoice(RootPassword::Locked)),
        of: |c| Some(RootPasswordChoice(used(c)?.root_password.clone())),
        example: r#""ask""#,
        doc: "Password of root in the guest: locked means none, ask asks for it when the container is made, and a path \
              names a file with it in the first line.",
        init: false,
    };
}
