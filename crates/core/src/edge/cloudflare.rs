//! What Cloudflare answers, as far as it matters here.

use serde::Deserialize;
use serde_json::{Value as Json, json};

use crate::{config::ZoneSetting, size::Bytes};

/// A zone.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Zone {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `active`, or why it is not.
    pub status: String,
    /// The account that it belongs to.
    pub account: Account,
    /// What is paid for.
    #[serde(default)]
    pub plan: ZonePlan,
}

/// An account.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: String,
}

/// What is paid for a zone.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct ZonePlan {
    /// `free`, `pro`, `business`, `enterprise`.
    #[serde(default)]
    pub legacy_id: String,
}

impl ZonePlan {
    /// The largest request that passes. What is not known is taken as Free.
    pub fn body_limit(&self) -> Bytes {
        Bytes(match self.legacy_id.as_str() {
            "business" => 200_000_000,
            "enterprise" => 500_000_000,
            _ => 100_000_000,
        })
    }
}

/// Whether a token is valid.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TokenState {
    /// `active`, `disabled` or `expired`.
    pub status: String,
}

/// A tunnel.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Tunnel {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `inactive`, `degraded`, `healthy` or `down`.
    #[serde(default)]
    pub status: String,
    /// `cloudflare`, or `local` when a file beside cloudflared holds its routes.
    #[serde(default)]
    pub config_src: String,
}

/// A tunnel's config.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TunnelConfig {
    /// Routes and all else; null when there never was one.
    #[serde(default)]
    pub config: Json,
}

/// A DNS record.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct DnsRecord {
    /// Its id.
    pub id: String,
    /// `A`, `CNAME`, …
    #[serde(rename = "type")]
    pub kind: String,
    /// Its name.
    pub name: String,
    /// What it says.
    pub content: String,
    /// Whether Cloudflare stands before it.
    #[serde(default)]
    pub proxied: bool,
    /// What stands beside it.
    #[serde(default)]
    pub comment: Option<String>,
}

/// A setting of a zone.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Setting {
    /// Its value.
    #[serde(default)]
    pub value: Json,
    /// Whether it can be changed.
    #[serde(default = "yes")]
    pub editable: bool,
}

fn yes() -> bool {
    true
}

/// The cache rules of a zone.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Ruleset {
    /// Its id.
    pub id: String,
    /// The rules, in order.
    #[serde(default)]
    pub rules: Vec<Json>,
}

/// What a zone does about bots.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct Bots {
    /// Bot Fight Mode, which no rule can make an exception from.
    #[serde(default)]
    pub fight_mode: bool,
    /// Super Bot Fight Mode: what happens to what is surely a bot.
    #[serde(default)]
    pub sbfm_definitely_automated: Option<String>,
}

impl ZoneSetting {
    /// Cloudflare's id of it.
    pub fn id(self) -> &'static str {
        self.as_str()
    }

    /// The value that is wanted, unless `now` is as good.
    pub fn correction(self, now: &str) -> Option<&'static str> {
        let (good, wanted): (&[&str], _) = match self {
            ZoneSetting::Ssl => (&["full", "strict", "origin_pull"], "full"),
            ZoneSetting::AlwaysUseHttps => (&["on"], "on"),
            ZoneSetting::MinTlsVersion => (&["1.2", "1.3"], "1.2"),
        };
        (!good.contains(&now)).then_some(wanted)
    }
}

/// The lasting name of the cache rule for `host`.
pub fn cache_rule_ref(host: &str) -> String {
    let name: String = host.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
    format!("matrix_podman_{name}")
}

/// The rule that keeps Cloudflare from storing what `host` sends.
pub fn cache_rule(host: &str, site: &str) -> Json {
    json!({
        "ref": cache_rule_ref(host),
        "description": super::mark(site),
        "expression": format!("(http.host eq \"{host}\")"),
        "action": "set_cache_settings",
        "action_parameters": {"cache": false},
        "enabled": true,
    })
}

/// Whether `now` does what `wanted` says; what Cloudflare adds does not count.
pub fn rule_is(now: &Json, wanted: &Json) -> bool {
    ["ref", "expression", "action", "enabled"].iter().all(|key| now[key] == wanted[key])
        && now["action_parameters"]["cache"] == wanted["action_parameters"]["cache"]
}

/// The name that a tunnel has in DNS.
pub fn tunnel_target(tunnel: &str) -> String {
    format!("{tunnel}.cfargotunnel.com")
}
