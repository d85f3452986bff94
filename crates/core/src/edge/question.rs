//! Questions to the edge's APIs, and the acts that change something there.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::{cloudflare::request::quoted, npm::Outside};
use crate::{
    config::ZoneChoice,
    name::{AbsPath, idn},
};

/// An API of the edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Api {
    /// Cloudflare, version 4.
    Cloudflare,
    /// Nginx Proxy Manager.
    Npm,
}

/// A question to the edge. Each is a GET, or several for a list of pages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Question {
    /// The zones of that name, or the one of that id.
    Zone(ZoneChoice),
    /// Whether a user's token is valid.
    Token,
    /// Whether an account's own token is valid.
    AccountToken {
        /// The account.
        account: String,
    },
    /// All tunnels of an account.
    Tunnels {
        /// The account.
        account: String,
    },
    /// The routes of a tunnel.
    TunnelConfig {
        /// The account.
        account: String,
        /// The tunnel.
        tunnel: String,
    },
    /// The DNS records of one name.
    Records {
        /// The zone.
        zone: String,
        /// The name.
        host: String,
    },
    /// A setting of a zone.
    Setting {
        /// The zone.
        zone: String,
        /// The setting.
        setting: String,
    },
    /// The cache rules of a zone.
    CacheRules {
        /// The zone.
        zone: String,
    },
    /// What a zone does about bots.
    Bots {
        /// The zone.
        zone: String,
    },
    /// Which NPM this is; anybody may ask.
    NpmStatus,
    /// Who is logged in at NPM, and what they may do.
    NpmUser,
    /// All proxy hosts.
    NpmHosts,
    /// All hosts that only redirect.
    NpmRedirections,
    /// All hosts that answer 404.
    NpmDeadHosts,
    /// All streams.
    NpmStreams,
    /// All certificates.
    NpmCertificates,
    /// All certificates with every host that uses one, whoever owns it. Only
    /// NPM 2.13 and later know that.
    NpmCertificateUses,
    /// Whether the token for NPM's own use can be read; asked of this machine.
    NpmDnsToken,
}

impl Question {
    /// The API that is asked.
    pub fn api(&self) -> Api {
        match self {
            Question::NpmStatus
            | Question::NpmUser
            | Question::NpmHosts
            | Question::NpmRedirections
            | Question::NpmDeadHosts
            | Question::NpmStreams
            | Question::NpmCertificates
            | Question::NpmCertificateUses
            | Question::NpmDnsToken => Api::Npm,
            _ => Api::Cloudflare,
        }
    }

    /// Path and query of the GET, below the API's base.
    pub fn path(&self) -> String {
        match self {
            // Zones are known there as people write them.
            Question::Zone(ZoneChoice::Named(name)) => {
                format!("/zones?name={}", quoted(&idn::unicode(name.as_str())))
            }
            Question::Zone(ZoneChoice::Id(id)) => format!("/zones/{id}"),
            Question::AccountToken { account } => format!("/accounts/{account}/tokens/verify"),
            Question::Token => "/user/tokens/verify".to_owned(),
            Question::Tunnels { account } => format!("/accounts/{account}/cfd_tunnel?is_deleted=false"),
            Question::TunnelConfig { account, tunnel } => {
                format!("/accounts/{account}/cfd_tunnel/{tunnel}/configurations")
            }
            Question::Records { zone, host } => format!("/zones/{zone}/dns_records?name={host}"),
            Question::Setting { zone, setting } => format!("/zones/{zone}/settings/{setting}"),
            Question::CacheRules { zone } => {
                format!("/zones/{zone}/rulesets/phases/http_request_cache_settings/entrypoint")
            }
            Question::Bots { zone } => format!("/zones/{zone}/bot_management"),
            Question::NpmStatus => "/".to_owned(),
            Question::NpmHosts => "/nginx/proxy-hosts".to_owned(),
            Question::NpmRedirections => "/nginx/redirection-hosts".to_owned(),
            Question::NpmDeadHosts => "/nginx/dead-hosts".to_owned(),
            Question::NpmUser => "/users/me?expand=permissions".to_owned(),
            Question::NpmStreams => "/nginx/streams".to_owned(),
            Question::NpmCertificates => "/nginx/certificates".to_owned(),
            Question::NpmCertificateUses => {
                "/nginx/certificates?expand=proxy_hosts,redirection_hosts,dead_hosts".to_owned()
            }
            Question::NpmDnsToken => String::new(),
        }
    }

    /// How many entries a page of the answer has, when it comes in pages.
    pub fn page_size(&self) -> Option<u32> {
        match self {
            Question::Zone(ZoneChoice::Named(_)) => Some(50),
            Question::Tunnels { .. } | Question::Records { .. } => Some(100),
            _ => None,
        }
    }

    /// Whether a credential goes along.
    pub fn is_public(&self) -> bool {
        matches!(self, Question::NpmStatus)
    }

    /// The permission that the token needs for it, in the words of Cloudflare's console.
    pub fn permission(&self) -> &'static str {
        match self {
            Question::Zone(_) => "Zone / Zone: Read",
            Question::Tunnels { .. } | Question::TunnelConfig { .. } => "Account / Cloudflare Tunnel: Edit",
            Question::Records { .. } => "Zone / DNS: Edit",
            Question::Setting { .. } => "Zone / Zone Settings: Edit",
            Question::CacheRules { .. } => "Zone / Cache Rules: Edit",
            Question::Bots { .. } => "Zone / Bot Management: Read",
            _ => "",
        }
    }

    /// What is looked at, for messages: "… could not be read".
    pub fn subject(&self) -> String {
        match self {
            Question::Zone(name) => format!("the zone {name} at Cloudflare"),
            Question::Token | Question::AccountToken { .. } => "the token for Cloudflare".to_owned(),
            Question::Tunnels { .. } => "the tunnels at Cloudflare".to_owned(),
            Question::TunnelConfig { .. } => "the tunnel's routes".to_owned(),
            Question::Records { host, .. } => format!("the DNS records of {host}"),
            Question::Setting { setting, .. } => format!("the zone's setting {setting}"),
            Question::CacheRules { .. } => "the zone's cache rules".to_owned(),
            Question::Bots { .. } => "what the zone does about bots".to_owned(),
            Question::NpmStatus => "Nginx Proxy Manager".to_owned(),
            Question::NpmHosts => "the proxy hosts of Nginx Proxy Manager".to_owned(),
            Question::NpmRedirections => "the redirection hosts of Nginx Proxy Manager".to_owned(),
            Question::NpmDeadHosts => "the 404 hosts of Nginx Proxy Manager".to_owned(),
            Question::NpmUser => "its own user at Nginx Proxy Manager".to_owned(),
            Question::NpmStreams => "the streams of Nginx Proxy Manager".to_owned(),
            Question::NpmCertificates | Question::NpmCertificateUses => {
                "the certificates of Nginx Proxy Manager".to_owned()
            }
            Question::NpmDnsToken => "the token that NPM proves the names with".to_owned(),
        }
    }
}

/// A DNS record as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub host: String,
    /// The name that it leads to.
    pub target: String,
    /// What stands beside it, when the record is made.
    pub comment: String,
}

impl Record {
    /// The record as Cloudflare takes it.
    pub fn body(&self) -> Json {
        json!({
            "type": "CNAME",
            "name": self.host,
            "content": self.target,
            "proxied": true,
            "ttl": 1,
            "comment": self.comment,
        })
    }
}

/// A proxy host as it should be written.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Host {
    /// Its one name.
    pub name: String,
    /// Every field that is written.
    pub fields: Json,
    /// Its id and the same fields as they are, where it exists: they are put
    /// back if nginx refuses the new ones.
    pub before: Option<(u64, Json)>,
    /// Where it is looked at afterwards.
    pub outside: Option<Outside>,
    /// Whether its certificate has to name it, as far as NPM knows.
    pub named: bool,
}

/// Something that is changed at the edge. Each is idempotent: it looks first,
/// writes what is missing, and looks again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Act {
    /// Makes a tunnel and writes the token for its cloudflared to a file.
    CreateTunnel {
        /// The account.
        account: String,
        /// Its name.
        name: String,
        /// Where the token goes, for root alone.
        token_file: AbsPath,
        /// Where its id is written down.
        record: AbsPath,
    },
    /// Writes a tunnel's whole config, unless somebody changed it meanwhile.
    WriteRoutes {
        /// The account.
        account: String,
        /// The tunnel.
        tunnel: String,
        /// The config that the change was computed from.
        before: Json,
        /// The config to be written.
        after: Json,
    },
    /// Makes a DNS record, or corrects it.
    WriteRecord {
        /// The zone.
        zone: String,
        /// The record to correct; a new one when absent.
        id: Option<String>,
        /// What it should be.
        record: Record,
    },
    /// Removes a DNS record.
    RemoveRecord {
        /// The zone.
        zone: String,
        /// Its name, for messages.
        host: String,
        /// The record.
        id: String,
    },
    /// Changes a setting of a whole zone.
    WriteSetting {
        /// The zone.
        zone: String,
        /// The setting.
        setting: String,
        /// Its value.
        value: String,
    },
    /// Adds a cache rule behind the others, or corrects our own.
    WriteCacheRule {
        /// The zone.
        zone: String,
        /// The set of rules, where there is one, and our rule in it.
        place: Option<(String, Option<String>)>,
        /// The rule that it has to stand behind, where it stands before one that
        /// would win.
        behind: Option<String>,
        /// The rule.
        rule: Json,
    },
    /// Removes our cache rule.
    RemoveCacheRule {
        /// The zone.
        zone: String,
        /// The set of rules.
        ruleset: String,
        /// The rule.
        rule: String,
    },
    /// Removes a tunnel and the file with its token.
    RemoveTunnel {
        /// The account.
        account: String,
        /// The tunnel.
        tunnel: String,
        /// Its name, for messages.
        name: String,
        /// The file.
        token_file: AbsPath,
    },
    /// Has NPM ask Let's Encrypt for a certificate through Cloudflare's DNS.
    RequestCertificate {
        /// The names, in order.
        names: Vec<String>,
        /// Fields of the request beside the credential.
        meta: Json,
        /// Where its id is written down, so that it can be removed again.
        record: AbsPath,
    },
    /// Removes a certificate, which NPM revokes.
    RemoveCertificate {
        /// Its id.
        id: u64,
        /// Its names, for messages.
        names: Vec<String>,
    },
    /// Makes or changes a proxy host; one that nginx does not take is put back.
    WriteHost(Host),
    /// Gives a proxy host back to whom it belongs: writes these fields and
    /// takes our mark away.
    RestoreHost {
        /// Its id.
        id: u64,
        /// Its name, for messages.
        name: String,
        /// What is written.
        fields: Json,
    },
    /// Removes a proxy host.
    RemoveHost {
        /// Its id.
        id: u64,
        /// Its name, for messages.
        name: String,
    },
}

impl Act {
    /// The API that is spoken to.
    pub fn api(&self) -> Api {
        match self {
            Act::RequestCertificate { .. }
            | Act::RemoveCertificate { .. }
            | Act::WriteHost(_)
            | Act::RestoreHost { .. }
            | Act::RemoveHost { .. } => Api::Npm,
            _ => Api::Cloudflare,
        }
    }

    /// The permission that the token needs for it.
    pub fn permission(&self) -> &'static str {
        match self {
            Act::CreateTunnel { .. } | Act::WriteRoutes { .. } | Act::RemoveTunnel { .. } => {
                "Account / Cloudflare Tunnel: Edit"
            }
            Act::WriteRecord { .. } | Act::RemoveRecord { .. } => "Zone / DNS: Edit",
            Act::WriteSetting { .. } => "Zone / Zone Settings: Edit",
            Act::WriteCacheRule { .. } | Act::RemoveCacheRule { .. } => "Zone / Cache Rules: Edit",
            _ => "",
        }
    }

    /// One line for journal and progress.
    pub fn describe(&self) -> String {
        match self {
            Act::CreateTunnel { name, .. } => format!("make the tunnel {name} at Cloudflare"),
            Act::WriteRoutes { .. } => "write the tunnel's routes".to_owned(),
            Act::WriteRecord { record, .. } => format!("write the DNS record of {}", record.host),
            Act::RemoveRecord { host, .. } => format!("remove the DNS record of {host}"),
            Act::WriteSetting { setting, value, .. } => format!("set {setting} of the zone to {value}"),
            Act::WriteCacheRule { .. } => "write the cache rule".to_owned(),
            Act::RemoveCacheRule { .. } => "remove the cache rule".to_owned(),
            Act::RemoveTunnel { name, .. } => format!("remove the tunnel {name} at Cloudflare"),
            Act::RequestCertificate { names, .. } => {
                format!("request a certificate for {}", names.join(" and "))
            }
            Act::RemoveCertificate { names, .. } => {
                format!("remove the certificate of {}", names.join(" and "))
            }
            Act::WriteHost(host) => format!("write the proxy host {}", host.name),
            Act::RestoreHost { name, .. } => format!("give the proxy host {name} back"),
            Act::RemoveHost { name, .. } => format!("remove the proxy host {name}"),
        }
    }
}
