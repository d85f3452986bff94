//! What Nginx Proxy Manager answers, and a proxy host as it should be there.

use serde::Deserialize;
use serde_json::{Map, Value as Json, json};

use super::{
    adopted_mark, mark,
    proxy::{self, Way},
};
use crate::config::{CertificateChoice, Npm};

/// Key of our mark in a host's `meta`.
pub const META_KEY: &str = "matrix_podman";

/// Which NPM it is.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Status {
    /// Whether it has its first user. Older ones do not say.
    #[serde(default = "yes")]
    pub setup: bool,
    /// Its version.
    pub version: Version,
}

fn yes() -> bool {
    true
}

/// A version of NPM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Version {
    /// 2
    pub major: u32,
    /// 12 to 15
    pub minor: u32,
    /// The rest.
    #[serde(default)]
    pub revision: u32,
}

impl Version {
    /// Whether it is at least 2.`minor`.`revision`. One that runs from its
    /// sources calls itself 2.0.0 and is taken as new.
    pub fn at_least(self, minor: u32, revision: u32) -> bool {
        let source = self.major == 2 && self.minor == 0;
        source || (self.major, self.minor, self.revision) >= (2, minor, revision)
    }
}

impl std::fmt::Display for Version {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}.{}", self.major, self.minor, self.revision)
    }
}

/// A certificate.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Certificate {
    /// Its id.
    pub id: u64,
    /// The names that it is for.
    #[serde(default)]
    pub domain_names: Vec<String>,
    /// Until when: it begins with the day.
    #[serde(default)]
    pub expires_on: String,
    /// `letsencrypt` or `other`.
    #[serde(default)]
    pub provider: String,
}

impl Certificate {
    /// Whether browsers take it for `host` on the day of `now`.
    pub fn covers(&self, host: &str, now: &str) -> bool {
        let day = |text: &str| text.get(..10).unwrap_or_default().to_owned();
        let named = |name: &String| match name.strip_prefix("*.") {
            Some(parent) => host.split_once('.').is_some_and(|(_, rest)| rest.eq_ignore_ascii_case(parent)),
            None => name.eq_ignore_ascii_case(host),
        };
        day(&self.expires_on) > day(now) && self.domain_names.iter().any(named)
    }
}

/// The certificate for `host` that is valid longest.
pub fn certificate_for<'a>(all: &'a [Certificate], host: &str, now: &str) -> Option<&'a Certificate> {
    all.iter().filter(|c| c.covers(host, now)).max_by(|a, b| a.expires_on.cmp(&b.expires_on))
}

/// What is beside the credential in a request for a certificate.
pub fn certificate_meta(version: Version, identity: &str) -> Json {
    let mut meta = json!({"dns_challenge": true, "dns_provider": "cloudflare", "propagation_seconds": 30});
    if version.at_least(13, 6) {
        meta["key_type"] = json!("ecdsa");
    }
    if !version.at_least(13, 0) {
        // Later ones refuse both: they take the user's own address.
        meta["letsencrypt_agree"] = json!(true);
        meta["letsencrypt_email"] = json!(identity);
    }
    meta
}

/// What a proxy host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The Matrix server.
    Matrix,
    /// The web client.
    Client,
    /// Well-known of the domain itself.
    Apex,
}

/// All fields of a proxy host that is written.
pub fn wanted(
    way: &Way,
    role: Role,
    npm: &Npm,
    version: Version,
    certificate: Option<u64>,
    plain_tunnel: bool,
) -> Json {
    let (name, to) = match role {
        Role::Matrix => (&way.matrix, &way.synapse),
        Role::Client => (&way.chat, &way.web),
        Role::Apex => (way.apex.as_ref().unwrap_or(&way.matrix), &way.synapse),
    };
    let tls = certificate.is_some() && npm.certificate != CertificateChoice::None;
    let forced = tls && way.scheme == "https";
    let mut fields = json!({
        "domain_names": [name],
        "forward_scheme": "http",
        "forward_host": to.host,
        "forward_port": to.port,
        "certificate_id": certificate.unwrap_or(0),
        "ssl_forced": forced,
        "http2_support": tls,
        "hsts_enabled": forced && npm.hsts,
        "hsts_subdomains": false,
        "block_exploits": false,
        "caching_enabled": false,
        "allow_websocket_upgrade": true,
        "access_list_id": 0,
        "enabled": true,
        "locations": [],
        "advanced_config": match role {
            Role::Matrix => proxy::npm_advanced(way),
            Role::Client => String::new(),
            Role::Apex => proxy::npm_apex_advanced(way),
        },
    });
    if version.at_least(14, 0) {
        fields["trust_forwarded_proto"] = json!(forced && plain_tunnel);
    }
    fields
}

/// Fields that can be written; with any other, a request is refused.
const WRITABLE: [&str; 18] = [
    "domain_names",
    "forward_scheme",
    "forward_host",
    "forward_port",
    "certificate_id",
    "ssl_forced",
    "http2_support",
    "hsts_enabled",
    "hsts_subdomains",
    "block_exploits",
    "caching_enabled",
    "allow_websocket_upgrade",
    "trust_forwarded_proto",
    "enabled",
    "access_list_id",
    "advanced_config",
    "locations",
    "meta",
];

/// The fields of `host` that can be written, as they are now.
pub fn writable(host: &Json) -> Json {
    let mut fields = Map::new();
    for key in WRITABLE {
        if let Some(value) = host.get(key) {
            fields.insert(key.to_owned(), tidy(key, value));
        }
    }
    if let Some(meta) = fields.get_mut("meta").and_then(Json::as_object_mut) {
        // What nginx said is not ours to write.
        meta.remove("nginx_online");
        meta.remove("nginx_err");
    }
    Json::Object(fields)
}

/// One spelling of a value that NPM spells in several.
fn tidy(key: &str, value: &Json) -> Json {
    match (key, value) {
        ("locations", Json::Null) => json!([]),
        ("locations", Json::Array(all)) => all
            .iter()
            .map(|location| {
                let mut location = location.clone();
                if let Some(fields) = location.as_object_mut() {
                    const KNOWN: [&str; 6] = [
                        "path",
                        "forward_scheme",
                        "forward_host",
                        "forward_port",
                        "forward_path",
                        "advanced_config",
                    ];
                    fields.retain(|key, value| KNOWN.contains(&key.as_str()) && !value.is_null());
                }
                location
            })
            .collect(),
        ("certificate_id" | "access_list_id" | "forward_port", Json::String(number)) => {
            number.parse::<u64>().map_or_else(|_| value.clone(), |number| json!(number))
        }
        ("certificate_id" | "access_list_id", Json::Null) => json!(0),
        ("advanced_config", Json::Null) => json!(""),
        ("meta", Json::Null) => json!({}),
        (
            "ssl_forced"
            | "http2_support"
            | "hsts_enabled"
            | "hsts_subdomains"
            | "block_exploits"
            | "caching_enabled"
            | "allow_websocket_upgrade"
            | "trust_forwarded_proto"
            | "enabled",
            Json::Number(number),
        ) => json!(number.as_u64() != Some(0)),
        _ => value.clone(),
    }
}

/// Those of the `wanted` fields as they are at `host`, in the same order.
pub fn as_wanted(host: &Json, wanted: &Json) -> Json {
    let now = writable(host);
    wanted
        .as_object()
        .map(|fields| {
            fields.keys().map(|key| (key.clone(), now.get(key).cloned().unwrap_or(Json::Null))).collect()
        })
        .unwrap_or_default()
}

/// Fields as lines that people can compare.
pub fn lines(fields: &Json) -> String {
    let mut text = String::new();
    for (key, value) in fields.as_object().into_iter().flatten() {
        match value.as_str() {
            Some(long) if long.contains('\n') => {
                text.push_str(&format!("{key}:\n"));
                for line in long.lines() {
                    text.push_str(&format!("  {line}\n"));
                }
            }
            Some(word) => text.push_str(&format!("{key}: {word}\n")),
            None => text.push_str(&format!("{key}: {value}\n")),
        }
    }
    text
}

/// A proxy host's names.
pub fn names(host: &Json) -> Vec<&str> {
    host["domain_names"].as_array().into_iter().flatten().filter_map(Json::as_str).collect()
}

/// Whether `host` answers to `name`.
pub fn has_name(host: &Json, name: &str) -> bool {
    names(host).iter().any(|other| other.eq_ignore_ascii_case(name))
}

/// Whether the host was made for `site`, not only taken over.
pub fn made_for(host: &Json, site: &str) -> bool {
    host["meta"][META_KEY].as_str() == Some(&mark(site))
}

/// Whether the host carries one of our marks for `site`.
pub fn is_marked(host: &Json, site: &str) -> bool {
    made_for(host, site) || host["meta"][META_KEY].as_str() == Some(&adopted_mark(site))
}

/// What nginx says against the host; none when it is up.
pub fn nginx_error(host: &Json) -> Option<&str> {
    (host["meta"]["nginx_online"] == false)
        .then(|| host["meta"]["nginx_err"].as_str().unwrap_or("nginx gave no reason"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate(names: &[&str], until: &str) -> Certificate {
        Certificate {
            id: 1,
            domain_names: names.iter().map(|n| (*n).to_owned()).collect(),
            expires_on: until.to_owned(),
            provider: "letsencrypt".to_owned(),
        }
    }

    #[test]
    fn a_certificate_covers_its_names_until_it_ends() {
        let now = "2026-05-01 10:00:00";
        assert!(certificate(&["*.a.de"], "2026-05-02 00:00:00").covers("matrix.a.de", now));
        assert!(!certificate(&["*.a.de"], "2026-05-01 23:00:00").covers("matrix.a.de", now));
        assert!(!certificate(&["*.a.de"], "2027-01-01").covers("x.matrix.a.de", now));
        assert!(!certificate(&["*.a.de"], "2027-01-01").covers("a.de", now));
        assert!(certificate(&["b.de", "A.de"], "2027-01-01T00:00:00.000Z").covers("a.de", now));
    }

    #[test]
    fn what_cannot_be_written_is_left_out() {
        let now = json!({"id": 3, "created_on": "x", "modified_on": "y", "owner_user_id": 1, "owner": {},
            "domain_names": ["a.de"], "certificate_id": "0", "ssl_forced": 1, "locations": null,
            "meta": {"nginx_online": true, "nginx_err": null, "own": 1}});
        assert_eq!(
            writable(&now),
            json!({"domain_names": ["a.de"], "certificate_id": 0, "ssl_forced": true, "locations": [], "meta": {"own": 1}})
        );
    }

    #[test]
    fn versions_are_compared() {
        let version = |minor, revision| Version { major: 2, minor, revision };
        assert!(
            version(13, 6).at_least(13, 6)
                && !version(13, 5).at_least(13, 6)
                && version(0, 0).at_least(15, 0)
        );
        assert_eq!(certificate_meta(version(12, 6), "a@b")["letsencrypt_agree"], true);
        assert_eq!(certificate_meta(version(13, 0), "a@b").get("letsencrypt_agree"), None);
    }
}
