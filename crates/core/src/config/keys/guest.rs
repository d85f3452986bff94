//! `[guest]` and `[guest.network]`.

use std::net::Ipv4Addr;

use super::{Fixed, Follows, Key};
use crate::{
    config::{
        Address, BackendChoice, Network, network,
        read::Reader,
        types::{AddressChoice, Int, List, Size, Subnet},
    },
    name::{Cidr4, GuestName, InterfaceName, PackageName},
    size::Bytes,
};

/// A mebibyte times this is a gibibyte.
const GIB: u64 = 1024;

/// 1 GiB is where Synapse and PostgreSQL begin to work; 16 TiB is more than
/// any machine has.
pub type Memory = Size<GIB, { 16 * GIB * GIB }>;

/// 6 GiB hold Debian, the images and a small database.
pub type Disk = Size<{ 6 * GIB }, { GIB * GIB * GIB }>;

super::section! {
    /// The Debian system container that everything runs in.
    [guest] pub struct Guest {
        together {
            /// How it is connected.
            network: Network = |reader| network::network(reader, on_proxmox(reader, backend));
        }
        /// What the guest is: auto chooses from what the machine is, proxmox makes a container of Proxmox VE,
        /// lxc a plain LXC container, this-machine puts everything on the machine itself, which then must be
        /// a Debian 13 of its own.
        backend: BackendChoice {
            usual: BackendChoice::Auto,
            example: r#""lxc""#,
            init: true,
        }
        /// Name and host name of the guest. Two sites on one machine need two names.
        name: GuestName {
            usual: GuestName::known("matrix"),
            example: r#""matrix-family""#,
            init: true,
        }
        /// Processor cores that the guest may use. More than the machine has does no harm.
        cores: Int<1, 512> {
            usual: Int(4),
            example: "2",
            init: true,
        }
        /// Memory that the guest may use. PostgreSQL's settings follow it. 2G is enough for a family, 4G for
        /// a club that joins large rooms.
        memory: Memory {
            usual: Size(Bytes::gib(4)),
            example: r#""8G""#,
            init: true,
        }
        /// Room on disk that the guest has. Pictures and files take most of it over the years. Written before
        /// a plain LXC guest is made, it gives the guest a disk of its own; a guest that was made without
        /// stays a folder. On Proxmox it is the size of the container's disk, in whole gibibytes. A disk can
        /// grow and never shrink.
        disk: Disk {
            follows: "16G are expected; a plain LXC guest is then a folder without a limit",
            example: r#""64G""#,
            init: true,
        }
        /// Debian packages that are installed in the guest besides what the server needs.
        extra_packages: List<PackageName> {
            usual: List(Vec::new()),
            example: r#"["htop", "ncdu"]"#,
        }
        /// Whether the guest speaks IPv6. Off is safer where nobody looks after an IPv6 firewall.
        ipv6: bool {
            usual: false,
            example: "true",
        }
        /// Whether the guest starts together with the machine.
        start_at_boot: bool {
            usual: true,
            example: "false",
        }
    }
}

impl Guest {
    /// Room that it is expected to need on disk.
    pub fn expected_disk(&self) -> Bytes {
        self.disk.map_or(Bytes::gib(16), |size| size.0)
    }
}

fn on_proxmox(r: &Reader<'_>, backend: BackendChoice) -> bool {
    match backend {
        BackendChoice::Proxmox => true,
        BackendChoice::Auto => r.defaults.proxmox,
        BackendChoice::Lxc | BackendChoice::ThisMachine => false,
    }
}

super::keys! {
    BRIDGE: Key<InterfaceName> = Key {
        path: "guest.network.bridge",
        fallback: Fixed(|| InterfaceName::known("matrixbr0")),
        of: |c| match &c.guest.network {
            Network::Own { bridge, .. } | Network::Existing { bridge, .. } => Some(bridge.clone()),
        },
        example: r#""vmbr0""#,
        doc: "The bridge that the guest is connected to. Without existing = true the program makes it. On Proxmox it \
              is one that Proxmox has, and vmbr0 is the default.",
        init: true,
    };
    EXISTING: Key<bool> = Key {
        path: "guest.network.existing",
        fallback: Fixed(|| false),
        of: |c| Some(matches!(c.guest.network, Network::Existing { .. })),
        example: "true",
        doc: "Whether the bridge is there already, such as one into the home network. Otherwise the program makes \
              the bridge, gives out addresses on it and lets the guest reach the internet through the machine. On \
              Proxmox this is always so.",
        init: true,
    };
    SUBNET: Key<Subnet> = Key {
        path: "guest.network.subnet",
        fallback: Fixed(|| Subnet(Cidr4::known(10, 86, 42, 1, 24))),
        of: |c| match &c.guest.network {
            Network::Own { subnet, .. } => Some(Subnet(*subnet)),
            Network::Existing { .. } => None,
        },
        example: r#""192.168.77.1/24""#,
        doc: "The machine's address on the program's own bridge, with the network's prefix length. Not used with \
              existing = true.",
        init: false,
    };
    ADDRESS: Key<AddressChoice, Follows> = Key {
        path: "guest.network.address",
        fallback: Follows("auto, and dhcp on an existing bridge and on Proxmox"),
        of: |c| match &c.guest.network {
            Network::Own { address, .. } | Network::Existing { address, .. } => Some(match address {
                Address::Auto => AddressChoice::Auto,
                Address::Dhcp => AddressChoice::Dhcp,
                Address::Static { address, .. } => AddressChoice::Static(*address),
            }),
        },
        example: r#""10.86.42.20/24""#,
        doc: "How the guest gets its address: auto takes a free one of the program's own network, dhcp asks the \
              bridge's DHCP server, and an address with its prefix length is fixed. The reverse proxy has to find \
              the guest at it, so with dhcp let the router always give out the same one.",
        init: true,
    };
    GATEWAY: Key<Ipv4Addr, Follows> = Key {
        path: "guest.network.gateway",
        fallback: Follows("none; on the program's own bridge, the machine"),
        of: |c| match &c.guest.network {
            Network::Own { address, .. } | Network::Existing { address, .. } => match address {
                Address::Static { gateway, .. } => Some(*gateway),
                Address::Auto | Address::Dhcp => None,
            },
        },
        example: r#""192.168.1.1""#,
        doc: "The router's address. Needed with a fixed address on an existing bridge, and only there.",
        init: false,
    };
    DNS: Key<List<Ipv4Addr>, Follows> = Key {
        path: "guest.network.dns",
        fallback: Follows("the gateway"),
        of: |c| match &c.guest.network {
            Network::Existing { address: Address::Static { .. }, dns, .. } => Some(List(dns.clone())),
            Network::Own { .. } | Network::Existing { .. } => None,
        },
        example: r#"["192.168.1.1", "9.9.9.9"]"#,
        doc: "Name servers, with a fixed address on an existing bridge.",
        init: false,
    };
}
