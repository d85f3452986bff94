//! What the operator wrote: `matrix.toml`, read, checked and given defaults.
//!
//! [`Config`] holds only what is valid; the fields' types say what that is.

mod applied;
mod assemble;
mod document;
mod edge;
pub mod edit;
mod extra;
pub mod init;
mod keys;
mod mistake;
mod network;
mod read;
pub mod reference;
pub mod renamed;
pub mod restored;
pub mod schema;
#[cfg(test)]
mod tests;
mod turn;
mod types;
mod whose;

use std::{
    net::Ipv4Addr,
    ops::{Index, IndexMut},
};

pub use self::{
    edge::{host_of, is_uuid},
    extra::Extra,
    keys::well_known::WellKnown,
    keys::{
        gateway::Gateway,
        guest::Guest,
        notify::Notify,
        ports::Ports,
        postgres::Postgres,
        proxmox::{Address6, Proxmox, RootPassword},
        synapse::Synapse,
        update::Updates,
        web::Web,
    },
    mistake::{Mistake, Mistakes},
    read::{Defaults, Override},
    turn::{Turn, TurnCertificate, TurnRelay, TurnServer},
    types::{
        Certificates, Country, Email, ExtraSettings, Factor, Int, KeptFor, List, PortRange, PrivateNetwork,
        PublicUrl, Room, SecretPath, ServiceUrl, Size, UserId, Words,
    },
    whose::{Whose, distrust},
};

use crate::{
    backup::Backup,
    name::{AbsPath, Cidr, Cidr4, Domain, ImageRef, InterfaceName, ServerName, SshHost, Timezone},
    service::ServiceId,
};

/// A site's whole config. Every field has a value; the operator had to write
/// only `domain`.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// The operator's domain; `matrix.` and `chat.` below it are the public names.
    pub domain: Domain,
    /// The part after the colon of every user id, forever.
    pub server_name: ServerName,
    /// Time zone of guest and containers.
    pub timezone: Timezone,
    /// The machine that everything is done on, when it is not the one that
    /// commands are typed on.
    pub host: Option<SshHost>,
    /// Public address of Synapse, without a path: `https://matrix.…`.
    pub matrix_url: String,
    /// Public address of the web client, without a path.
    pub chat_url: String,
    /// `[ports]`
    pub ports: Ports,
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[guest]`
    pub guest: Guest,
    /// `[proxmox]`, for the backend of that name.
    pub proxmox: Proxmox,
    /// `[images]`
    pub images: Images,
    /// `[synapse]`
    pub synapse: Synapse,
    /// `[postgres]`
    pub postgres: Postgres,
    /// `[turn]`, absent where nothing relays calls.
    pub turn: Option<Turn>,
    /// `[web]`
    pub web: Web,
    /// `[update]`
    pub update: Updates,
    /// `[edge]`: what stands between the internet and the guest.
    pub edge: Edge,
    /// `[well_known]`
    pub well_known: WellKnown,
    /// `[backup]`
    pub backup: Backup,
    /// `[notify]`
    pub notify: Notify,
}

/// Which kind of machine the guest is made by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BackendChoice {
    /// Chosen from what the machine is.
    Auto,
    /// A container of Proxmox VE.
    Proxmox,
    /// A plain LXC container.
    Lxc,
    /// The machine itself is the guest.
    ThisMachine,
}

/// How the guest is connected (`[guest.network]`).
#[derive(Debug, Clone, PartialEq)]
pub enum Network {
    /// A bridge that the program makes, with outbound NAT.
    Own {
        /// Its name.
        bridge: InterfaceName,
        /// The machine's address on it, with the network.
        subnet: Cidr4,
        /// How the guest gets its address.
        address: Address,
    },
    /// A bridge that is there already, such as one into the home network.
    Existing {
        /// Its name.
        bridge: InterfaceName,
        /// How the guest gets its address.
        address: Address,
        /// Name servers, when `address` is static.
        dns: Vec<Ipv4Addr>,
    },
}

/// How the guest gets its address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Address {
    /// The first free one of the program's own network.
    Auto,
    /// From the DHCP server on the bridge.
    Dhcp,
    /// A fixed one, with the gateway (the machine, on the program's own bridge).
    Static {
        /// Address and network.
        address: Cidr4,
        /// The way out.
        gateway: Ipv4Addr,
    },
}

/// Where the containers' images come from (`[images]`): each service has a choice.
#[derive(Debug, Clone, PartialEq)]
pub struct Images {
    /// The source for images that have none of their own.
    pub source: SourceChoice,
    /// By the services' places in the table.
    choices: [ImageChoice; ServiceId::ALL.len()],
}

impl Index<ServiceId> for Images {
    type Output = ImageChoice;

    fn index(&self, service: ServiceId) -> &ImageChoice {
        &self.choices[service.position()]
    }
}

impl IndexMut<ServiceId> for Images {
    fn index_mut(&mut self, service: ServiceId) -> &mut ImageChoice {
        &mut self.choices[service.position()]
    }
}

/// `images.source`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceChoice {
    /// The registry where it can be reached, else built.
    Auto,
    /// Pulled by the guest from a registry.
    Registry,
    /// Built on the machine from Debian, PyPI and npm packages.
    Build,
}

/// Where one image comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct ImageChoice {
    /// What the registry calls it.
    pub reference: ImageRef,
    /// An OCI archive on the machine, used instead of everything else.
    pub archive: Option<AbsPath>,
    /// Version of the packaged program for images that are built; the newest
    /// when absent.
    pub build_version: Option<String>,
    /// The public key (PEM) that it has to be signed with in the registry; it is not looked at
    /// when absent.
    pub signature_key: Option<String>,
}

/// Who may make an account (`synapse.registration`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Registration {
    /// Only the operator makes accounts.
    Closed,
    /// Whoever holds an invite token.
    Token,
    /// Anybody; the operator has written down why.
    Open {
        /// `synapse.open_registration_reason`
        reason: String,
    },
}

/// `synapse.log_level`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogLevel {
    /// Everything.
    Debug,
    /// Requests and events.
    Info,
    /// What may need attention.
    Warning,
    /// What failed.
    Error,
}

/// `notify.on`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NotifyOn {
    /// What failed, and what waits for a person.
    #[default]
    Failure,
    /// What went well, too.
    Always,
}

/// `[edge]`: each part is there only when the operator named it.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Edge {
    /// `[edge.cloudflare]`
    pub cloudflare: Option<Cloudflare>,
    /// `[edge.npm]`
    pub npm: Option<Npm>,
    /// Networks that a tunnel's cloudflared comes from, where there is a tunnel:
    /// the one of `cloudflare`, or one that is set up by hand.
    pub connectors: Option<Vec<Cidr>>,
    /// Where a tunnel delivers that is set up by hand, where somebody said it.
    pub by_hand: Option<String>,
    /// Where the reverse proxies speak from: besides the machine, they alone
    /// reach the published ports.
    pub proxies: Vec<Cidr4>,
}

impl Edge {
    /// Where the tunnel delivers, the one of `cloudflare` or the one by hand;
    /// none where there is no tunnel, or nobody said it.
    pub fn service(&self) -> Option<&str> {
        match &self.cloudflare {
            Some(cloudflare) => Some(&cloudflare.service),
            None => self.by_hand.as_deref(),
        }
    }
}

/// Where a credential is found when it is needed; never the credential.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub struct Credential {
    /// A file on the machine that only its owner may read.
    pub file: Option<AbsPath>,
    /// The environment variable that is taken where no file is named.
    pub variable: String,
}

/// `[edge.cloudflare]`
#[derive(Debug, Clone, PartialEq)]
pub struct Cloudflare {
    /// The tunnel's name or id.
    pub tunnel: String,
    /// Whether it is made when there is none of that name.
    pub create_tunnel: bool,
    /// The zone that the public names are in.
    pub zone: ZoneChoice,
    /// The API token.
    pub token: Credential,
    /// Where the tunnel delivers, without a path.
    pub service: String,
    /// Whether cloudflared checks the certificate there.
    pub verify_origin: bool,
    /// Whether a rule keeps Cloudflare from caching the Matrix host.
    pub cache_rule: bool,
    /// Zone-wide settings that may be changed.
    pub zone_settings: Vec<ZoneSetting>,
}

/// How a zone at Cloudflare is told from others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum ZoneChoice {
    /// By its name.
    Named(Domain),
    /// By its id, where several accounts have one of that name.
    Id(String),
}

impl ZoneChoice {
    /// Whether `text` is the id of a zone: 32 hexadecimal digits.
    pub fn is_id(text: &str) -> bool {
        text.len() == 32 && text.chars().all(|c| matches!(c, '0'..='9' | 'a'..='f'))
    }
}

impl std::fmt::Display for ZoneChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ZoneChoice::Named(name) => f.write_str(&crate::name::idn::both(name.as_str())),
            ZoneChoice::Id(id) => f.write_str(id),
        }
    }
}

/// A setting of a whole zone at Cloudflare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
pub enum ZoneSetting {
    /// `ssl`
    Ssl,
    /// `always_use_https`
    AlwaysUseHttps,
    /// `min_tls_version`
    MinTlsVersion,
}

/// `[edge.npm]`: Nginx Proxy Manager.
#[derive(Debug, Clone, PartialEq)]
pub struct Npm {
    /// Where it is administered.
    pub address: String,
    /// Who logs in.
    pub identity: String,
    /// The password.
    pub secret: Credential,
    /// Where the hosts' certificate comes from.
    pub certificate: CertificateChoice,
    /// Name or number of the certificate in NPM, where one is named.
    pub certificate_name: Option<String>,
    /// A Cloudflare token for NPM's own use, to ask for certificates.
    pub dns_token: Credential,
    /// The guest as NPM reaches it, where that differs.
    pub forward_host: Option<String>,
    /// Where it takes people in, where that is named.
    pub serves_at: Option<String>,
    /// Whether browsers are told to remember HTTPS.
    pub hsts: bool,
}

/// `edge.npm.certificate`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CertificateChoice {
    /// One that is there, else one from Let's Encrypt.
    Request,
    /// One that is there.
    Existing,
    /// None.
    None,
}

/// `well_known.apex`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApexChoice {
    /// The edge sends the domain's well-known paths to this server.
    Here,
    /// The domain's own web server answers them.
    Elsewhere,
}

/// Whether the text of a config names a host, whatever else is wrong in it.
pub fn names_host(text: &str) -> bool {
    text.parse::<toml::Table>().is_ok_and(|table| table.contains_key("host"))
}

impl Config {
    /// The host of `matrix_url`.
    pub fn matrix_host(&self) -> &str {
        edge::host_of(&self.matrix_url)
    }

    /// The host of `chat_url`.
    pub fn chat_host(&self) -> &str {
        edge::host_of(&self.chat_url)
    }

    /// The stack's own TURN server, where there is one.
    pub fn turn_server(&self) -> Option<&TurnServer> {
        self.turn.as_ref()?.server()
    }

    /// The domain, where its own web address has to answer for the server: user
    /// ids end with it, and the edge is to answer.
    pub fn apex_host(&self) -> Option<&str> {
        let name = self.server_name.host();
        let asked = name != self.matrix_host() && !self.server_name.as_str().contains(':');
        (asked && self.well_known.apex == ApexChoice::Here).then_some(name)
    }

    /// The site's name, which `destroy` wants typed: its domain.
    pub fn site(&self) -> &str {
        self.domain.as_str()
    }

    /// What the user id of `localpart` looks like.
    pub fn user_id(&self, localpart: &str) -> String {
        format!("@{localpart}:{}", self.server_name)
    }
}
