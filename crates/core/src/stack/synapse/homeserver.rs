//! Synapse's `homeserver.yaml`.
//!
//! Format: Synapse's configuration manual (`docs/usage/configuration/
//! config_documentation.md`). No secret stands in the file: each is named by
//! the path under which the container finds it.

use indexmap::IndexMap;
use serde::Serialize;
use serde_json::Value as Json;

use super::{
    super::{Facts, homeserver_settings, postgres, redis},
    log_config, uploads,
};
use crate::{
    config::{Config, Registration},
    desired::DesiredFile,
    document::yaml,
    layout::{self, Secret},
    name::{Cidr4, ServerName},
    size::{Bytes, Seconds},
};

/// Port that Synapse listens on in its container; the published one may differ.
pub const PORT: u16 = 8008;
/// Port of the admin API: on the container's own loopback, which only root in the
/// guest can enter from outside it.
pub const ADMIN_PORT: u16 = 8009;
/// Where the container sees `/opt/matrix/synapse`.
pub const DATA: &str = "/data";
/// The certificates for other servers, beside `homeserver.yaml`.
const FEDERATION_CA: &str = "federation-ca.pem";

/// Addresses that Synapse may not fetch link previews from: all the defaults of
/// `ip_range_blacklist` (`synapse/config/server.py`), which are not defaults
/// here. That setting itself is left to Synapse, whose list grows with time.
const PRIVATE_RANGES: [&str; 19] = [
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "192.0.0.0/24",
    "169.254.0.0/16",
    "192.88.99.0/24",
    "198.18.0.0/15",
    "192.0.2.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "::1/128",
    "fe80::/10",
    "fc00::/7",
    "2001:db8::/32",
    "ff00::/8",
    "fec0::/10",
];

/// `homeserver.yaml`, in the order in which a person would look for things.
#[derive(Debug, Serialize)]
struct Homeserver<'a> {
    server_name: &'a ServerName,
    public_baseurl: String,
    serve_server_wellknown: bool,
    report_stats: bool,
    listeners: [Listener; 2],
    database: Database,
    redis: Redis,
    signing_key_path: String,
    macaroon_secret_key_path: String,
    form_secret_path: String,
    registration_shared_secret_path: String,
    log_config: String,
    media_store_path: String,
    max_upload_size: Bytes,
    media_retention: MediaRetention,
    url_preview_enabled: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    url_preview_ip_range_blacklist: Option<[&'static str; 19]>,
    enable_registration: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    registration_requires_token: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    enable_registration_without_verification: bool,
    presence: Presence,
    #[serde(skip_serializing_if = "Option::is_none")]
    forgotten_room_retention_period: Option<Seconds>,
    #[serde(skip_serializing_if = "Option::is_none")]
    federation_domain_whitelist: Option<&'a [ServerName]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    federation_custom_ca_list: Option<[String; 1]>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ip_range_whitelist: Option<Vec<Cidr4>>,
    federation_client_minimum_tls_version: &'static str,
    trusted_key_servers: [KeyServer; 1],
    suppress_key_server_warning: bool,
    event_cache_size: String,
    caches: Caches,
    password_config: Passwords,
    require_auth_for_profile_requests: bool,
    limit_profile_requests_to_users_who_share_rooms: bool,
    rc_message: Rate,
    rc_login: LoginRates,
    /// What other rooms need in it.
    #[serde(flatten)]
    others: IndexMap<&'static str, Json>,
}

#[derive(Debug, Serialize)]
struct Listener {
    port: u16,
    r#type: &'static str,
    tls: bool,
    bind_addresses: [&'static str; 1],
    x_forwarded: bool,
    resources: [Resource; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    additional_resources: Option<Instead>,
}

#[derive(Debug, Serialize)]
struct Resource {
    names: &'static [&'static str],
    compress: bool,
}

/// What a listener answers with in place of a resource that comes with `client`.
#[derive(Debug, Serialize)]
struct Instead {
    #[serde(rename = "/_synapse/admin")]
    admin: Module,
}

/// A class that Synapse loads, and the first argument of its constructor.
#[derive(Debug, Serialize)]
struct Module {
    module: &'static str,
    config: &'static str,
}

/// Stands where the admin API would: Twisted's resource for a folder, and there
/// is no such folder, so whatever is asked below it is not found. Synapse puts it
/// into its own tree of paths (`SynapseHomeServer._listener_http`): no spelling of
/// a path reaches the API that this does not take the place of.
const NOTHING_THERE: Instead =
    Instead { admin: Module { module: "twisted.web.static.File", config: "/nonexistent" } };

impl Listener {
    /// What proxies lead people and other servers to.
    fn public() -> Self {
        Self {
            port: PORT,
            r#type: "http",
            tls: false,
            // The containers' networks are IPv4 inside; `::` is refused
            // where the kernel has no IPv6, and then Synapse does not start.
            bind_addresses: ["0.0.0.0"],
            x_forwarded: true,
            resources: [Resource { names: &["client", "federation"], compress: false }],
            additional_resources: Some(NOTHING_THERE),
        }
    }

    /// What this program speaks to.
    fn admin() -> Self {
        Self {
            port: ADMIN_PORT,
            bind_addresses: ["127.0.0.1"],
            x_forwarded: false,
            resources: [Resource { names: &["client"], compress: false }],
            additional_resources: None,
            ..Self::public()
        }
    }
}

#[derive(Debug, Serialize)]
struct Database {
    name: &'static str,
    args: DatabaseArgs,
}

/// Handed to libpq, apart from `cp_*`, which size Synapse's pool.
#[derive(Debug, Serialize)]
struct DatabaseArgs {
    user: &'static str,
    dbname: &'static str,
    host: &'static str,
    passfile: String,
    cp_min: u32,
    cp_max: u32,
    keepalives_idle: u32,
    keepalives_interval: u32,
    keepalives_count: u32,
}

#[derive(Debug, Serialize)]
struct Redis {
    enabled: bool,
    host: &'static str,
    port: u16,
    password_path: String,
}

#[derive(Debug, Serialize)]
struct MediaRetention {
    #[serde(skip_serializing_if = "Option::is_none")]
    remote_media_lifetime: Option<Seconds>,
}

#[derive(Debug, Serialize)]
struct Presence {
    enabled: bool,
}

#[derive(Debug, Serialize)]
struct KeyServer {
    server_name: &'static str,
}

#[derive(Debug, Serialize)]
struct Caches {
    global_factor: f64,
    cache_autotuning: Autotuning,
}

#[derive(Debug, Serialize)]
struct Autotuning {
    max_cache_memory_usage: Bytes,
    target_cache_memory_usage: Bytes,
    min_cache_ttl: Seconds,
}

#[derive(Debug, Serialize)]
struct Rate {
    per_second: f64,
    burst_count: u32,
}

/// How often somebody may log in.
#[derive(Debug, Serialize)]
struct LoginRates {
    address: Rate,
    account: Rate,
    failed_attempts: Rate,
}

/// What passwords have to be like that people choose.
#[derive(Debug, Serialize)]
struct Passwords {
    policy: PasswordPolicy,
}

#[derive(Debug, Serialize)]
struct PasswordPolicy {
    enabled: bool,
    minimum_length: u32,
}

impl<'a> Homeserver<'a> {
    fn of(config: &'a Config, facts: &Facts) -> Self {
        let synapse = &config.synapse;
        let open = matches!(synapse.registration, Registration::Open { .. });
        let token = synapse.registration == Registration::Token;
        Self {
            server_name: &config.server_name,
            public_baseurl: format!("{}/", config.matrix_url),
            serve_server_wellknown: answers_for_its_name(config),
            report_stats: synapse.report_stats,
            listeners: [Listener::public(), Listener::admin()],
            database: Database {
                name: "psycopg2",
                args: DatabaseArgs {
                    user: super::DATABASE.role.as_str(),
                    dbname: super::DATABASE.name.as_str(),
                    host: postgres::ID.name(),
                    passfile: Secret::PGPASS.in_container(),
                    cp_min: 5,
                    cp_max: 10,
                    // A restarted database is noticed within 40 s, not 2 hours.
                    keepalives_idle: 10,
                    keepalives_interval: 10,
                    keepalives_count: 3,
                },
            },
            redis: Redis {
                enabled: true,
                host: redis::ID.name(),
                port: crate::stack::redis::PORT,
                password_path: Secret::REDIS.in_container(),
            },
            signing_key_path: Secret::SIGNING_KEY.in_container(),
            macaroon_secret_key_path: Secret::MACAROON.in_container(),
            form_secret_path: Secret::FORM.in_container(),
            registration_shared_secret_path: Secret::REGISTRATION.in_container(),
            log_config: format!("{DATA}/log.config"),
            media_store_path: format!("{DATA}/media_store"),
            max_upload_size: *synapse.max_upload_size,
            media_retention: MediaRetention { remote_media_lifetime: *synapse.remote_media_lifetime },
            url_preview_enabled: synapse.url_previews,
            url_preview_ip_range_blacklist: synapse.url_previews.then_some(PRIVATE_RANGES),
            enable_registration: open || token,
            registration_requires_token: token,
            enable_registration_without_verification: open,
            presence: Presence { enabled: synapse.presence },
            forgotten_room_retention_period: *synapse.forgotten_room_retention,
            federation_domain_whitelist: synapse.federation_allow.as_deref(),
            federation_custom_ca_list: synapse
                .federation_ca
                .as_ref()
                .map(|_| [format!("{DATA}/{FEDERATION_CA}")]),
            ip_range_whitelist: synapse
                .private_networks
                .as_ref()
                .map(|networks| networks.iter().map(|network| **network).collect()),
            federation_client_minimum_tls_version: "1.2",
            trusted_key_servers: [KeyServer { server_name: "matrix.org" }],
            suppress_key_server_warning: true,
            event_cache_size: event_cache_size(facts.guest_memory),
            caches: Caches {
                global_factor: synapse.cache_factor.get(),
                cache_autotuning: autotuning(facts.guest_memory),
            },
            // Length is what counts; rules about kinds of characters make people choose worse ones.
            password_config: Passwords {
                policy: PasswordPolicy { enabled: true, minimum_length: synapse.password_min_length.get() },
            },
            require_auth_for_profile_requests: synapse.profiles_need_login,
            limit_profile_requests_to_users_who_share_rooms: synapse.profiles_of_shared_rooms,
            // A person who types fast runs into Synapse's default.
            rc_message: Rate { per_second: 1.0, burst_count: 30 },
            rc_login: LoginRates {
                // A family behind one address with all of its devices.
                address: Rate { per_second: 0.15, burst_count: 20 },
                // Synapse's own defaults: whoever guesses does so for one account.
                account: Rate { per_second: 0.003, burst_count: 5 },
                failed_attempts: Rate { per_second: 0.17, burst_count: 3 },
            },
            others: homeserver_settings(config),
        }
    }
}

/// Whether `https://SERVER_NAME` is Synapse itself, so that its own
/// `/.well-known/matrix/server` (which says `SERVER_NAME:443`) is true. A name
/// with a port is never looked up that way.
fn answers_for_its_name(config: &Config) -> bool {
    config.matrix_url.strip_prefix("https://") == Some(config.server_name.as_str())
}

/// An eighth of memory at most for caches, back to a sixteenth; takes effect
/// where the image has jemalloc, as the official one does.
fn autotuning(memory: Bytes) -> Autotuning {
    Autotuning {
        max_cache_memory_usage: Bytes::mib(memory.as_mib() / 8),
        target_cache_memory_usage: Bytes::mib(memory.as_mib() / 16),
        min_cache_ttl: Seconds(30),
    }
}

/// 5000 events for each GiB of memory, from Synapse's default of 10 K up.
fn event_cache_size(memory: Bytes) -> String {
    format!("{}K", (memory.as_mib() * 5 / 1024).clamp(10, 100))
}

/// It and the log config, readable by Synapse's user and by nobody else besides root.
pub fn files(config: &Config, facts: &Facts) -> Vec<DesiredFile> {
    const HEADER: &str = "Written by matrix-podman from matrix.toml; changes here are overwritten.";
    let mut files = vec![
        DesiredFile::read_by(
            super::ID.owner(),
            layout::in_root("synapse/homeserver.yaml"),
            homeserver_yaml(HEADER, config, facts),
            "Synapse's configuration",
        ),
        DesiredFile::read_by(
            super::ID.owner(),
            layout::in_root("synapse/log.config"),
            yaml::to_string(HEADER, &log_config::of(config.synapse.log_level)),
            "What Synapse logs, to the journal",
        ),
    ];
    files.push(uploads::module(config));
    if let Some(certificates) = &config.synapse.federation_ca {
        files.push(DesiredFile::read_by(
            super::ID.owner(),
            layout::in_root(&format!("synapse/{FEDERATION_CA}")),
            certificates.to_string(),
            "Certificates that other servers' are signed with",
        ));
    }
    files
}

/// `homeserver.yaml`, with what the operator wants in it besides.
fn homeserver_yaml(header: &str, config: &Config, facts: &Facts) -> String {
    let ours = Homeserver::of(config, facts);
    let extra = &config.synapse.extra;
    if extra.is_empty() {
        return yaml::to_string(header, &ours);
    }
    // Text, numbers and maps with text for keys: JSON can say them all.
    let document = serde_json::to_value(&ours).unwrap_or_default();
    yaml::to_string(header, &extra.merged_into(document))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{changed_config, default_config, facts, show, weak_facts};

    #[test]
    fn default() {
        insta::assert_snapshot!(show(&files(&default_config(), &facts())));
    }

    #[test]
    fn changed() {
        insta::assert_snapshot!(show(&files(&changed_config(), &weak_facts())));
    }

    #[test]
    fn registration_by_token() {
        let mut config = default_config();
        config.synapse.registration = Registration::Token;
        let server = Homeserver::of(&config, &facts());
        assert!(server.enable_registration && server.registration_requires_token);
        assert!(!server.enable_registration_without_verification);
    }

    /// What an operator may replace, since nothing but speed and taste hangs on it.
    const REPLACEABLE: [&str; 6] = [
        "trusted_key_servers",
        "suppress_key_server_warning",
        "event_cache_size",
        "caches.cache_autotuning",
        "rc_message",
        "rc_login",
    ];

    fn with(extra: &str) -> Result<Config, crate::config::Mistakes> {
        Config::parse(&format!("domain = \"chat.home.arpa\"\n[synapse.extra]\n{extra}"), "matrix.toml")
    }

    #[test]
    fn settings_besides_are_merged_by_key() {
        let extra = "caches.per_cache_factors.get_users_in_room = 2.0\nrc_login.account.burst_count = 9\n\
                     allow_public_rooms_over_federation = true";
        let config = with(extra).unwrap();
        let plain = with("").unwrap();
        let (before, after) = (homeserver_yaml("", &plain, &facts()), homeserver_yaml("", &config, &facts()));
        insta::assert_snapshot!(crate::testing::diff(&before, &after));
    }

    #[test]
    fn each_setting_of_ours_is_replaceable_or_refused() {
        let document = serde_json::to_value(Homeserver::of(&changed_config(), &facts())).unwrap();
        let mut leaves = Vec::new();
        crate::testing::leaves("", &document, &mut leaves);
        for path in leaves {
            let refused = with(&format!("{path} = \"x\"")).is_err();
            let path = path.replace('"', "");
            let replaceable = REPLACEABLE.iter().any(|name| {
                path.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
            });
            assert!(refused || replaceable, "{path}");
        }
    }

    #[test]
    fn answers_for_its_own_name_only() {
        let mut config = default_config();
        assert!(answers_for_its_name(&config));
        for other in ["home.arpa", "matrix.chat.home.arpa:8448"] {
            config.server_name = ServerName::parse(other).unwrap();
            assert!(!answers_for_its_name(&config), "{other}");
        }
    }

    #[test]
    fn event_caches() {
        for (gib, size) in [(1, "10K"), (2, "10K"), (4, "20K"), (16, "80K"), (64, "100K")] {
            assert_eq!(event_cache_size(Bytes::gib(gib)), size);
        }
    }
}
