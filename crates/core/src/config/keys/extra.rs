//! `extra` of `[synapse]`, `[postgres]` and `[web]`: what the rooms have no key for, and
//! what of their files the program decides itself.

use crate::config::types::{
    By::{self, Program},
    Decided, Decides,
};

/// `homeserver.yaml`.
#[derive(Debug, Clone, PartialEq)]
pub struct SynapseFile;

/// PostgreSQL's settings.
#[derive(Debug, Clone, PartialEq)]
pub struct PostgresSettings;

/// `config.json` of Element Web.
#[derive(Debug, Clone, PartialEq)]
pub struct WebFile;

const fn key(path: &'static str, key: &'static str) -> Decided {
    Decided { path, by: By::Key(key) }
}

const fn program(path: &'static str, why: &'static str) -> Decided {
    Decided { path, by: Program(why) }
}

const ONE_SECRET_ONE_FILE: &str = "secrets are made in the guest, each in a file of its own";
const ONE_PROCESS: &str = "Synapse runs as one process";
const WATCHED: &str = "systemd and Podman start it and watch it";
const IN_BACKUPS: &str = "backups look for media there";

impl Decides for SynapseFile {
    const FILE: &'static str = "homeserver.yaml";
    const NESTED: bool = true;
    const DECIDED: &'static [Decided] = &[
        key("server_name", "server_name"),
        key("public_baseurl", "matrix_url"),
        program("serve_server_wellknown", "it follows from server_name and matrix_url"),
        key("report_stats", "synapse.report_stats"),
        program(
            "listeners",
            "proxies, checks and backups find Synapse there, and the admin API is shut off there",
        ),
        program("database", "it is the one in the guest, with a role that owns nothing else"),
        program("databases", "it is the one in the guest, with a role that owns nothing else"),
        program("redis", "it is the one in the guest"),
        program("signing_key", ONE_SECRET_ONE_FILE),
        program("signing_key_path", ONE_SECRET_ONE_FILE),
        program("macaroon_secret_key", ONE_SECRET_ONE_FILE),
        program("macaroon_secret_key_path", ONE_SECRET_ONE_FILE),
        program("form_secret", ONE_SECRET_ONE_FILE),
        program("form_secret_path", ONE_SECRET_ONE_FILE),
        program("registration_shared_secret", ONE_SECRET_ONE_FILE),
        program("registration_shared_secret_path", ONE_SECRET_ONE_FILE),
        key("log_config", "synapse.log_level"),
        program("media_store_path", IN_BACKUPS),
        program("media_storage_providers", IN_BACKUPS),
        program("enable_media_repo", "this process serves the media"),
        key("max_upload_size", "synapse.max_upload_size"),
        key("media_retention.remote_media_lifetime", "synapse.remote_media_lifetime"),
        key("url_preview_enabled", "synapse.url_previews"),
        program("url_preview_ip_range_blacklist", "previews never ask private networks"),
        key("enable_registration", "synapse.registration"),
        key("registration_requires_token", "synapse.registration"),
        key("enable_registration_without_verification", "synapse.registration"),
        key("presence.enabled", "synapse.presence"),
        key("use_presence", "synapse.presence"),
        key("forgotten_room_retention_period", "synapse.forgotten_room_retention"),
        key("federation_domain_whitelist", "synapse.federation_allow"),
        key("federation_custom_ca_list", "synapse.federation_ca"),
        key("ip_range_whitelist", "synapse.private_networks"),
        program("federation_client_minimum_tls_version", "older versions of TLS are broken"),
        program("federation_verify_certificates", "without it anybody can speak for any server"),
        key("caches.global_factor", "synapse.cache_factor"),
        program("password_config.policy.enabled", "weak passwords are guessed"),
        key("password_config.policy.minimum_length", "synapse.password_min_length"),
        key("require_auth_for_profile_requests", "synapse.profiles_need_login"),
        key("limit_profile_requests_to_users_who_share_rooms", "synapse.profiles_of_shared_rooms"),
        key("turn_uris", "turn.uris"),
        key("turn_shared_secret", "turn.secret_file"),
        key("turn_shared_secret_path", "turn.secret_file"),
        key("turn_username", "turn.secret_file"),
        key("turn_user_lifetime", "turn.user_lifetime"),
        key("turn_allow_guests", "turn.allow_guests"),
        program("daemonize", WATCHED),
        program("pid_file", WATCHED),
        program("instance_map", ONE_PROCESS),
        program("stream_writers", ONE_PROCESS),
        program("worker_app", ONE_PROCESS),
        program("send_federation", ONE_PROCESS),
        program("start_pushers", ONE_PROCESS),
        program("run_background_tasks_on", ONE_PROCESS),
        program("update_user_directory_from_worker", ONE_PROCESS),
        program("notify_appservices_from_worker", ONE_PROCESS),
    ];

    fn secret_goes(path: &str, name: &str) -> String {
        format!(
            "put it into /opt/matrix/synapse/{name} in the guest (root's, its group 991, mode 0640), and write \
             {path}_path = \"/data/{name}\", where Synapse has such a setting"
        )
    }
}

const REACHED_THERE: &str = "Synapse, the checks and backups find it there";
const WHO_MAY_COME_IN: &str = "who may come in stands in the guest, by database and role";

impl Decides for PostgresSettings {
    const FILE: &'static str = "PostgreSQL's settings";
    const NESTED: bool = false;
    const DECIDED: &'static [Decided] = &[
        program("listen_addresses", REACHED_THERE),
        program("port", REACHED_THERE),
        program("unix_socket_directories", REACHED_THERE),
        program("data_directory", REACHED_THERE),
        program("config_file", REACHED_THERE),
        program("external_pid_file", WATCHED),
        program("hba_file", WHO_MAY_COME_IN),
        program("ident_file", WHO_MAY_COME_IN),
        program("password_encryption", WHO_MAY_COME_IN),
        key("max_connections", "postgres.max_connections"),
        key("shared_buffers", "postgres.shared_buffers"),
        program("fsync", "without it a power cut destroys the database"),
        program("full_page_writes", "without it a power cut destroys the database"),
        program("ignore_checksum_failure", "damage must be seen"),
        program("zero_damaged_pages", "damage must be seen, not wiped"),
        program("logging_collector", "the journal has its log"),
    ];

    fn secret_goes(path: &str, _: &str) -> String {
        format!("remove it: everybody on the machine could read {path} in the list of processes")
    }
}

impl Decides for WebFile {
    const FILE: &'static str = "Element Web's config.json";
    const NESTED: bool = true;
    const DECIDED: &'static [Decided] = &[
        key("default_server_config.m.homeserver", "matrix_url"),
        key("brand", "web.brand"),
        key("default_country_code", "web.default_country"),
        key("disable_custom_urls", "web.custom_servers"),
        key("setting_defaults.UIFeature.registration", "synapse.registration"),
    ];

    fn secret_goes(path: &str, _: &str) -> String {
        format!("remove it: whoever opens the web client could read {path}")
    }
}
