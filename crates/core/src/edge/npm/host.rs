//! A proxy host: as it should be, as it is, and whether nginx serves it.

use serde_json::{Map, Value as Json, json};

use super::Version;
use crate::{
    config::{CertificateChoice, Npm},
    edge::{
        adopted_mark, mark,
        proxy::{self, Way},
    },
};

/// Key of our mark in a host's `meta`.
pub const META_KEY: &str = "matrix_podman";

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
    let (name, leads_as) = match role {
        Role::Matrix => (&way.matrix, &way.matrix),
        Role::Client => (&way.chat, &way.chat),
        Role::Apex => (way.apex.as_ref().unwrap_or(&way.matrix), &way.matrix),
    };
    let port = way.at(leads_as).next().map(|to| to.port);
    let tls = certificate.is_some() && npm.certificate != CertificateChoice::None;
    let forced = tls && way.scheme == "https";
    let mut fields = json!({
        "domain_names": [name],
        "forward_scheme": "http",
        "forward_host": way.guest,
        "forward_port": port,
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
        // What nginx said is not ours to write, and a credential that NPM left
        // there is not ours to carry about.
        for key in ["nginx_online", "nginx_err", "dns_provider_credentials"] {
            meta.remove(key);
        }
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

/// The id of a host's certificate; none where it has none.
pub fn certificate_of(host: &Json) -> Option<u64> {
    writable(host)["certificate_id"].as_u64().filter(|id| *id != 0)
}

/// `meta` as it is to be written: NPM replaces it as a whole, so what others
/// keep there goes along; what nginx said is not ours to write. `mark` is our
/// mark; none takes it away.
pub fn meta_with(meta: &Json, mark: Option<&str>) -> Json {
    let mut meta = meta.as_object().cloned().unwrap_or_default();
    for key in ["nginx_online", "nginx_err", META_KEY] {
        meta.remove(key);
    }
    if let Some(mark) = mark {
        meta.insert(META_KEY.to_owned(), json!(mark));
    }
    Json::Object(meta)
}

/// Whether the host was made for `site`, not only taken over.
pub fn made_for(host: &Json, site: &str) -> bool {
    host["meta"][META_KEY].as_str() == Some(&mark(site))
}

/// Whether the host carries one of our marks for `site`.
pub fn is_marked(host: &Json, site: &str) -> bool {
    made_for(host, site) || host["meta"][META_KEY].as_str() == Some(&adopted_mark(site))
}

/// Whether NPM's nginx serves a host, as NPM's database has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serving {
    /// It does.
    Online,
    /// It did not take it; its own words.
    Refused(String),
    /// It never got it, or not yet: NPM saves a host before it tries it.
    Unknown,
}

/// What NPM says of the host: well is what is said to be well, and nothing else.
pub fn serving(host: &Json) -> Serving {
    match host["meta"]["nginx_online"].as_bool() {
        Some(true) => Serving::Online,
        Some(false) => {
            Serving::Refused(host["meta"]["nginx_err"].as_str().unwrap_or("nginx gave no reason").to_owned())
        }
        None => Serving::Unknown,
    }
}

/// The line of nginx' words that says what is wrong: the last one only says
/// that the test failed.
pub fn reason(words: &str) -> &str {
    let lines = || words.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .find(|line| line.contains("[emerg]"))
        .or_else(|| lines().find(|line| !line.ends_with("test failed")))
        .unwrap_or(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_written_is_left_out() {
        let now = json!({"id": 3, "created_on": "x", "modified_on": "y", "owner_user_id": 1, "owner": {},
            "domain_names": ["a.de"], "certificate_id": "0", "ssl_forced": 1, "locations": null,
            "meta": {"nginx_online": true, "nginx_err": null, "own": 1, "dns_provider_credentials": "secret"}});
        assert_eq!(
            writable(&now),
            json!({"domain_names": ["a.de"], "certificate_id": 0, "ssl_forced": true, "locations": [], "meta": {"own": 1}})
        );
        assert_eq!(certificate_of(&now), None);
    }

    #[test]
    fn a_mark_leaves_what_others_keep_there() {
        let meta = json!({"nginx_online": true, "nginx_err": null, "own": 1, META_KEY: "old"});
        assert_eq!(meta_with(&meta, Some("new")), json!({"own": 1, META_KEY: "new"}));
        assert_eq!(meta_with(&meta, None), json!({"own": 1}));
        assert_eq!(meta_with(&Json::Null, None), json!({}));
    }

    #[test]
    fn only_online_is_well() {
        assert_eq!(serving(&json!({"meta": {"nginx_online": true}})), Serving::Online);
        assert_eq!(serving(&json!({"meta": {}})), Serving::Unknown);
        assert_eq!(serving(&json!({"meta": {"nginx_online": null}})), Serving::Unknown);
        let words = "nginx: [emerg] unknown directive \"x\" in /data/x.conf:3\nnginx: configuration file /etc/nginx/nginx.conf test failed\n";
        let Serving::Refused(said) = serving(&json!({"meta": {"nginx_online": false, "nginx_err": words}}))
        else {
            panic!()
        };
        assert!(reason(&said).contains("unknown directive"), "{said}");
        assert_eq!(reason("odd"), "odd");
    }
}
