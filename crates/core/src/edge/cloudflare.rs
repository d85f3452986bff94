//! What Cloudflare answers, as far as it matters here.

pub mod request;
pub mod zone;

use serde::{Deserialize, Deserializer};
use serde_json::{Value as Json, json};

use crate::{config::ZoneSetting, name::idn, size::Bytes};

/// A zone.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Zone {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
    /// `active`, or why it is not.
    #[serde(default, deserialize_with = "or_usual")]
    pub status: String,
    /// Whether Cloudflare answers DNS for it and does nothing else.
    #[serde(default, deserialize_with = "or_usual")]
    pub paused: bool,
    /// `full`, `partial` or `secondary`.
    #[serde(default, rename = "type")]
    pub kind: Option<String>,
    /// The account that it belongs to.
    pub account: Account,
    /// What is paid for.
    #[serde(default, deserialize_with = "or_usual")]
    pub plan: ZonePlan,
}

impl Zone {
    /// Whether Cloudflare serves it.
    pub fn is_active(&self) -> bool {
        self.status == "active"
    }

    /// Its name as DNS carries it; the API gives it as people write it.
    pub fn ascii_name(&self) -> String {
        idn::ascii(&self.name).unwrap_or_else(|_| self.name.clone())
    }
}

/// An answer that holds zones: a list where a name was asked for, one where an
/// id was.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(untagged)]
pub enum Zones {
    /// Those of a name.
    Named(Vec<Zone>),
    /// The one of an id.
    One(Box<Zone>),
}

impl Zones {
    /// All of them.
    pub fn all(self) -> Vec<Zone> {
        match self {
            Zones::Named(all) => all,
            Zones::One(zone) => vec![*zone],
        }
    }
}

/// The value, or what is usual where it is null.
fn or_usual<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(value: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

/// An account.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Account {
    /// Its id.
    pub id: String,
    /// Its name, where the token shows it.
    #[serde(default)]
    pub name: Option<String>,
}

impl Account {
    /// Its name, else its id.
    pub fn called(&self) -> &str {
        self.name.as_deref().unwrap_or(&self.id)
    }
}

/// What is paid for a zone.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
pub struct ZonePlan {
    /// `free`, `pro`, `business`, `enterprise`.
    #[serde(default, deserialize_with = "or_usual")]
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
    #[serde(default, deserialize_with = "or_usual")]
    pub name: String,
    /// `inactive`, `degraded`, `healthy` or `down`.
    #[serde(default, deserialize_with = "or_usual")]
    pub status: String,
    /// `cloudflare`, or `local` when a file beside cloudflared holds its routes;
    /// it may be left out.
    #[serde(default)]
    pub config_src: Option<String>,
    /// What older tunnels have in its place: whether Cloudflare holds the routes.
    #[serde(default)]
    pub remote_config: Option<bool>,
    /// When it was removed.
    #[serde(default)]
    pub deleted_at: Option<String>,
}

impl Tunnel {
    /// Whether its routes are clearly in a file beside its cloudflared. What is
    /// not said is not taken for it: the routes themselves will tell.
    pub fn is_local(&self) -> bool {
        match (self.config_src.as_deref(), self.remote_config) {
            (Some(source), _) => source == "local",
            (None, remote) => remote == Some(false),
        }
    }
}

/// A tunnel's config.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct TunnelConfig {
    /// Routes and all else; null when there never was one.
    #[serde(default)]
    pub config: Json,
    /// How often it was written.
    #[serde(default)]
    pub version: Option<i64>,
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
    #[serde(default, deserialize_with = "or_usual")]
    pub fight_mode: bool,
    /// Super Bot Fight Mode: what happens to what is surely a bot.
    #[serde(default)]
    pub sbfm_definitely_automated: Option<String>,
    /// The same for what may be one.
    #[serde(default)]
    pub sbfm_likely_automated: Option<String>,
    /// Whether what gathers texts for language models is kept out.
    #[serde(default)]
    pub ai_bots_protection: Option<String>,
}

impl ZoneSetting {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Ssl, Self::AlwaysUseHttps, Self::MinTlsVersion];

    /// Cloudflare's id of it.
    pub fn id(self) -> &'static str {
        self.as_str()
    }

    /// Whether `now` is worse than it should be for anybody; what is not known is not.
    pub fn is_weak(self, now: &str) -> bool {
        match self {
            ZoneSetting::Ssl => matches!(now, "off" | "flexible"),
            ZoneSetting::AlwaysUseHttps => now == "off",
            ZoneSetting::MinTlsVersion => matches!(now, "1.0" | "1.1"),
        }
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

/// The rule that may win over the one with `ours` as its ref: of those that fit
/// a request the last one does. Rules that keep things out of the cache, too,
/// and those for one other host only are in nobody's way.
pub fn rule_in_the_way<'a>(rules: &'a [Json], ours: &str, host: &str) -> Option<&'a Json> {
    let at = rules.iter().position(|rule| rule["ref"] == ours)?;
    let other_host = |rule: &Json| {
        let expression = rule["expression"].as_str().unwrap_or_default().trim();
        let bare = expression.strip_prefix('(').and_then(|e| e.strip_suffix(')')).unwrap_or(expression);
        let named = bare.strip_prefix("http.host eq \"").and_then(|rest| rest.strip_suffix('"'));
        named.is_some_and(|named| !named.contains('"') && named != host)
    };
    rules[at + 1..].iter().find(|rule| {
        rule["action"] == "set_cache_settings"
            && rule["enabled"] != false
            && rule["action_parameters"]["cache"] != false
            && !other_host(rule)
    })
}

/// The longest comment that a DNS record may have on every plan.
const COMMENT: usize = 100;

/// What stands beside a DNS record; `mark` is what says whose it is. A long one
/// is cut, and told from others by a digest.
pub fn comment(mark: &str) -> String {
    if mark.len() <= COMMENT {
        return mark.to_owned();
    }
    use sha2::{Digest as _, Sha256};
    let digest: String = Sha256::digest(mark.as_bytes()).iter().take(8).map(|b| format!("{b:02x}")).collect();
    // A mark is ASCII: the domain in it is as DNS carries it.
    format!("{}… {digest}", mark.get(..COMMENT - 20).unwrap_or(mark))
}

/// Whether what stands beside a record says `mark`, whole or cut.
pub fn says(found: Option<&str>, mark: &str) -> bool {
    found.is_some_and(|found| found == mark || found == comment(mark))
}

/// The name that a tunnel has in DNS.
pub fn tunnel_target(tunnel: &str) -> String {
    format!("{tunnel}.cfargotunnel.com")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tunnel(more: &Json) -> Tunnel {
        let mut tunnel = json!({"id": "t", "name": "home"});
        for (key, value) in more.as_object().into_iter().flatten() {
            tunnel[key] = value.clone();
        }
        serde_json::from_value(tunnel).unwrap()
    }

    #[test]
    fn only_a_clear_word_makes_a_tunnel_local() {
        for (more, local) in [
            (json!({}), false),
            (json!({"config_src": null, "status": null, "name": null}), false),
            (json!({"config_src": "cloudflare"}), false),
            (json!({"config_src": "cloudflare", "remote_config": false}), false),
            (json!({"config_src": "local"}), true),
            (json!({"remote_config": true}), false),
            (json!({"remote_config": false}), true),
        ] {
            assert_eq!(tunnel(&more).is_local(), local, "{more}");
        }
    }

    #[test]
    fn a_comment_fits_on_every_plan_and_is_known_again() {
        let long = crate::edge::mark(&format!("{}.home.arpa", "a".repeat(60)).replace("aaaaa", "bcdef."));
        let longer = crate::edge::mark(&"abcdefghi.".repeat(12));
        for mark in [long, longer, crate::edge::mark("home.arpa")] {
            let comment = comment(&mark);
            assert!(comment.chars().count() <= 100, "{comment}");
            assert!(says(Some(&comment), &mark) && says(Some(&mark), &mark) && !says(None, &mark));
        }
        let [a, b] = ["a", "b"].map(|end| comment(&crate::edge::mark(&format!("{}{end}", "x.".repeat(60)))));
        assert_ne!(a, b);
    }

    #[test]
    fn the_last_cache_rule_that_fits_wins() {
        let rule = |reference: &str, expression: &str, cache: bool| {
            json!({"ref": reference, "expression": expression, "action": "set_cache_settings", "enabled": true,
                "action_parameters": {"cache": cache}})
        };
        let ours = rule("ours", "(http.host eq \"m.a.de\")", false);
        let found = |behind: Json| {
            let rules = [rule("first", "true", true), ours.clone(), behind];
            rule_in_the_way(&rules, "ours", "m.a.de").map(|rule| rule["ref"].clone())
        };
        assert_eq!(found(rule("all", "true", true)), Some(json!("all")));
        assert_eq!(found(rule("all", "(http.host eq \"m.a.de\" or true)", true)), Some(json!("all")));
        assert_eq!(
            found(rule("other", "(http.host eq \"x.a.de\" or http.host contains \"\")", true)),
            Some(json!("other"))
        );
        assert_eq!(found(rule("other", "(http.host eq \"x.a.de\")", true)), None);
        assert_eq!(found(rule("site", "(http.host eq \"m.a.de\")", false)), None);
        assert_eq!(
            found(
                json!({"ref": "off", "expression": "true", "action": "set_cache_settings", "enabled": false})
            ),
            None
        );
        assert_eq!(rule_in_the_way(&[rule("first", "true", true)], "ours", "m.a.de"), None);
    }
}
