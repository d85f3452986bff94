//! `[proxmox]`: what only a container of Proxmox VE has.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use super::{
    Address, BackendChoice, Guest, Network,
    keys::{
        AnyKey, Fallback, Key,
        proxmox::{
            ADDRESS6, DATA_STORAGE, DATA_VOLUME, FIREWALL, GATEWAY6, ID, MAC, MTU, POOL, ROOT_PASSWORD,
            SSH_KEYS, START_ORDER, STORAGE, SWAP, TAGS, TEMPLATE, TEMPLATE_STORAGE, VLAN,
        },
    },
    read::Reader,
    types::{Flaw, TomlType},
};
use crate::{
    name::{AbsPath, Cidr6, ContainerId, MacAddress, PoolName, StorageName, Tag, TemplateName},
    size::Bytes,
};

/// The smallest packet that IPv6 must be able to send (RFC 8200, section 5).
const SMALLEST_MTU6: u32 = 1280;

/// `[proxmox]`
#[derive(Debug, Clone, PartialEq)]
pub struct Proxmox {
    /// The container's number; a free one when absent.
    pub id: Option<ContainerId>,
    /// Storage of the container's disk.
    pub storage: StorageName,
    /// Storage of templates.
    pub template_storage: StorageName,
    /// The template; the newest of Debian 13 when absent.
    pub template: Option<TemplateName>,
    /// Its tags, beside the site's own.
    pub tags: Vec<Tag>,
    /// Pool that it is put into.
    pub pool: Option<PoolName>,
    /// Swap that it may use.
    pub swap: Bytes,
    /// VLAN tag.
    pub vlan: Option<u32>,
    /// Hardware address.
    pub mac: Option<MacAddress>,
    /// Largest packet.
    pub mtu: Option<u32>,
    /// Whether Proxmox's firewall is in front of it.
    pub firewall: bool,
    /// How it gets an IPv6 address.
    pub address6: Option<Address6>,
    /// The IPv6 router.
    pub gateway6: Option<Ipv6Addr>,
    /// Place in the order of starting.
    pub start_order: Option<u32>,
    /// Size of a volume of its own for `/opt/matrix`.
    pub data_volume: Option<Bytes>,
    /// Storage of that volume, when it is another one.
    pub data_storage: Option<StorageName>,
    /// File with public ssh keys for root.
    pub ssh_keys: Option<AbsPath>,
    /// Password of root in the guest.
    pub root_password: RootPassword,
}

impl Default for Proxmox {
    fn default() -> Self {
        Self {
            id: None,
            storage: (STORAGE.fallback.0)(),
            template_storage: (TEMPLATE_STORAGE.fallback.0)(),
            template: None,
            tags: (TAGS.fallback.0)().0,
            pool: None,
            swap: (SWAP.fallback.0)().0,
            vlan: None,
            mac: None,
            mtu: None,
            firewall: (FIREWALL.fallback.0)(),
            address6: None,
            gateway6: None,
            start_order: None,
            data_volume: None,
            data_storage: None,
            ssh_keys: None,
            root_password: (ROOT_PASSWORD.fallback.0)().0,
        }
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

/// Reads values and remembers which keys were written.
struct Section<'r, 'a> {
    r: &'r mut Reader<'a>,
    written: Vec<&'static dyn AnyKey>,
}

impl Section<'_, '_> {
    fn get<T: TomlType, F: Fallback<T>>(&mut self, key: &'static Key<T, F>) -> Option<T> {
        let got = self.r.optional(key);
        if got.written() {
            self.written.push(key);
        }
        got.value.or_else(|| key.fallback.value())
    }
}

pub(super) fn proxmox(r: &mut Reader<'_>, guest: &Guest) -> Proxmox {
    let (backend, ipv6) = (guest.backend, guest.ipv6);
    let mut s = Section { r, written: Vec::new() };
    let proxmox = Proxmox {
        id: s.get(&ID).map(|id| ContainerId(id.0)),
        storage: s.get(&STORAGE).unwrap_or_else(STORAGE.fallback.0),
        template_storage: s.get(&TEMPLATE_STORAGE).unwrap_or_else(TEMPLATE_STORAGE.fallback.0),
        template: s.get(&TEMPLATE),
        tags: s.get(&TAGS).unwrap_or_else(TAGS.fallback.0).0,
        pool: s.get(&POOL),
        swap: s.get(&SWAP).unwrap_or_else(SWAP.fallback.0).0,
        vlan: s.get(&VLAN).map(|n| n.0),
        mac: s.get(&MAC),
        mtu: s.get(&MTU).map(|n| n.0),
        firewall: s.get(&FIREWALL).unwrap_or_default(),
        address6: s.get(&ADDRESS6).map(|choice| choice.0),
        gateway6: s.get(&GATEWAY6),
        start_order: s.get(&START_ORDER).map(|n| n.0),
        data_volume: s.get(&DATA_VOLUME).map(|size| size.0),
        data_storage: s.get(&DATA_STORAGE),
        ssh_keys: s.get(&SSH_KEYS),
        root_password: s.get(&ROOT_PASSWORD).unwrap_or_else(ROOT_PASSWORD.fallback.0).0,
    };
    let written = s.written;
    if matches!(backend, BackendChoice::Lxc | BackendChoice::ThisMachine) {
        for key in written {
            let flaw =
                Flaw::new(format!("guest.backend is {:?}, so this would have no effect", backend.as_str()));
            r.complain(key, flaw.hint("remove it, or write guest.backend = \"proxmox\""));
        }
        return proxmox;
    }
    let has = |key: &dyn AnyKey| written.iter().any(|w| w.path() == key.path());
    if has(&ADDRESS6) && !ipv6 {
        r.complain(
            &ADDRESS6,
            Flaw::new("guest.ipv6 is off, so this would have no effect").hint("write guest.ipv6 = true"),
        );
    }
    let (Network::Own { address, .. } | Network::Existing { address, .. }) = &guest.network;
    if matches!(proxmox.address6, Some(Address6::Static(_))) && !matches!(address, Address::Static { .. }) {
        r.complain(
            &ADDRESS6,
            Flaw::new(
                "a fixed IPv6 address needs a fixed IPv4 address beside it: with DHCP for IPv4, the start of Proxmox's \
                 Debian template hangs at times, or ends without the IPv6 address",
            )
            .hint("write guest.network.address and gateway too, or address6 = \"auto\""),
        );
    }
    if let (Some(_), Some(mtu @ ..SMALLEST_MTU6)) = (proxmox.address6, proxmox.mtu) {
        r.complain(
            &MTU,
            Flaw::new(format!("IPv6 needs packets of at least {SMALLEST_MTU6} bytes, and this is {mtu}"))
                .hint("write a larger one, or leave address6 out"),
        );
    }
    if has(&GATEWAY6) && !matches!(proxmox.address6, Some(Address6::Static(_))) {
        r.complain(
            &GATEWAY6,
            Flaw::new("only a fixed address6 needs a router, so this would have no effect")
                .hint("remove it, or give the guest a fixed address6"),
        );
    }
    if has(&DATA_STORAGE) && proxmox.data_volume.is_none() {
        r.complain(
            &DATA_STORAGE,
            Flaw::new("there is no data volume, so this would have no effect")
                .hint(format!("ask for one: data_volume = {}", DATA_VOLUME.example)),
        );
    }
    proxmox
}
