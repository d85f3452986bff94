//! The config as applied reads back to itself; no input makes the reader panic.

use proptest::{prelude::*, sample::select};

use super::pages::check;
use crate::config::{
    Config, Defaults, Override, keys,
    schema::{example_value, json_schema, to_json},
};
use crate::service::ServiceId;

const RICH: &str = r#"
domain = "chat.home.arpa"
server_name = "chat.home.arpa:8448"
timezone = "America/Argentina/Buenos_Aires"
matrix_url = "http://10.86.42.20:8008/"
chat_url = "https://chat.home.arpa:8443"

[ports]
bind = "127.0.0.1"

[guest]
memory = "1536M"
disk = "40G"
extra_packages = ["htop", "g++"]

[images]
source = "build"
synapse.build_version = "1.158.0rc1"
web.archive = "/srv/web.tar"
redis.reference = "registry.home.arpa:5000/redis@sha256:0000000000000000000000000000000000000000000000000000000000000000"

[synapse]
registration = "open"
open_registration_reason = 'a "closed" \ network'
remote_media_lifetime = "forever"
forgotten_room_retention = "forever"
cache_factor = 1
federation_allow = []
federation_ca = """
-----BEGIN CERTIFICATE-----
MIIB
-----END CERTIFICATE-----
"""
private_networks = ["192.168.1.0/24"]
log_level = "debug"
extra.media_retention.local_media_lifetime = "5y"
extra.retention = { enabled = true, purge_jobs = [{ interval = "12h" }] }
extra.rc_joins.local.per_second = 0.5

[postgres]
shared_buffers = "512M"
extra = { log_min_duration_statement = "2s", autovacuum_max_workers = 2 }

[backup]
repository = "/mnt/disk2/backup"
keep_daily = 14
drill = "never"
upload_limit = "2M/s"
download_limit = "10M/s"
s3_credentials = "/root/s3-keys"
s3_region = "eu-central-1"

[[backup.repositories]]
name = "nas"
repository = "sftp:backup@nas:/srv/matrix"
schedule = "Sun 04:00"
keep_daily = 3
upload_limit = "none"
download_limit = "512K/s"

[[backup.repositories]]
name = "away"
repository = "s3:https://s3.example.com/bucket/matrix"
s3_region = "x"

[notify]
on = "always"
room = "!abc:chat.home.arpa"
webhook_file = "/root/webhook"
file = "/var/log/notices"

[turn]
uris = ["turn:turn.home.arpa?transport=udp", "turns:turn.home.arpa:5349"]
secret_file = "/root/turn"
user_lifetime = "1d"

[web]
brand = "Chat 🏠"
default_country = "DE"

[web.extra]
default_theme = "dark"
setting_defaults.showTypingNotifications = false

[well_known]
apex = "elsewhere"
identity_server = "https://identity.home.arpa"
sliding_sync_proxy = "https://sync.chat.home.arpa"
rtc_foci = ["https://rtc.home.arpa/livekit/jwt"]
support_page = "https://chat.home.arpa/help"
support_email = "anna@chat.home.arpa"
support_user = "@anna:chat.home.arpa"
"#;

const PROXMOX: &str = r#"
domain = "chat.home.arpa"
host = "ssh://root@pve.lan:2222"
[guest]
backend = "proxmox"
ipv6 = true
network.address = "10.0.0.20/24"
network.gateway = "10.0.0.1"
[proxmox]
id = 120
storage = "tank"
template_storage = "nas"
template = "debian-13-standard_13.1-2_amd64.tar.zst"
tags = ["a"]
pool = "home"
swap = "1G"
vlan = 20
mac = "bc:24:11:01:02:03"
mtu = 1400
firewall = true
address6 = "2001:db8::20/64"
gateway6 = "fe80::1"
start_order = 3
data_volume = "100G"
data_storage = "rust"
ssh_keys = "/root/keys"
root_password = "/root/password"
[turn]
server = true
address = "203.0.113.7"
name = "turn.home.arpa"
ports = "50000-50100"
certificate_file = "/root/turn.crt"
key_file = "/root/turn.key"
"#;

const EDGE: &str = r#"
domain = "chat.home.arpa"
[edge.cloudflare]
tunnel = "home"
zone = "home.arpa"
token_file = "/root/cloudflare-token"
connectors = ["192.168.1.7/32", "fd00::/8"]
zone_settings = ["ssl"]
[edge.npm]
address = "http://192.168.1.5:81"
identity = "admin@home.arpa"
secret_file = "/root/npm"
dns_token_file = "/root/dns"
forward_host = "192.168.1.20"
certificate_name = "Cloudflare Origin"
serves_at = "https://192.168.1.5:8443"
"#;

const BY_HAND: &str = r#"
domain = "chat.home.arpa"
[edge.cloudflare]
connectors = ["192.168.1.7/32"]
service = "http://192.168.1.5"
"#;

const NETWORKS: [&str; 5] = [
    "address = \"10.86.42.20/24\"",
    "address = \"dhcp\"\nsubnet = \"192.168.77.1/25\"",
    "existing = true\nbridge = \"vmbr0\"",
    "existing = true\nbridge = \"vmbr0\"\naddress = \"192.168.1.20/24\"\ngateway = \"192.168.1.1\"",
    "existing = true\nbridge = \"vmbr0\"\naddress = \"192.168.1.20/24\"\ngateway = \"192.168.1.1\"\ndns = [\"9.9.9.9\"]",
];

/// Every image from an archive, and every image signed.
fn images() -> [String; 2] {
    let lines = |line: fn(ServiceId) -> String| {
        let lines: String = ServiceId::ALL.into_iter().map(line).collect();
        format!("domain = \"chat.home.arpa\"\n[images]\n{lines}")
    };
    [
        lines(|service| format!("{0}.archive = \"/srv/{0}.tar\"\n", service.image().key)),
        lines(|service| {
            let (key, signature) = (service.image().key, service.position());
            format!(
                "{key}.signature_key = \"-----BEGIN PUBLIC KEY-----\\nTUZrd0V{signature}\\n-----END PUBLIC KEY-----\"\n"
            )
        }),
    ]
}

/// Configs that between them use every key.
pub(super) fn configs() -> Vec<Config> {
    let networks = NETWORKS.map(|lines| format!("domain = \"chat.home.arpa\"\n[guest.network]\n{lines}"));
    let images = images();
    let texts = ["domain = \"chat.home.arpa\"", RICH, EDGE, BY_HAND, PROXMOX]
        .into_iter()
        .chain(networks.iter().chain(&images).map(String::as_str));
    texts
        .map(|text| Config::parse(text, "matrix.toml").unwrap_or_else(|mistakes| panic!("{mistakes}")))
        .collect()
}

fn reads_back(config: &Config) {
    let applied = config.to_applied_toml();
    let again = Config::parse(&applied, "applied").unwrap_or_else(|mistakes| panic!("{mistakes}\n{applied}"));
    // The edge, but for whom it lets in, and where commands are typed are none of
    // the guest's business.
    let edge = crate::config::Edge { proxies: config.edge.proxies.clone(), ..Default::default() };
    let inside = Config { edge, host: None, ..config.clone() };
    assert_eq!(again, inside, "{applied}");
    assert_eq!(again.to_applied_toml(), applied);
}

#[test]
fn applied_configs_read_back() {
    configs().iter().for_each(reads_back);
}

#[test]
fn the_applied_config() {
    insta::assert_snapshot!(
        Config::from_domain("chat.home.arpa", &Defaults::default()).unwrap().to_applied_toml()
    );
}

#[test]
fn the_machines_zone_is_a_default() {
    let zone =
        |defaults: &Defaults| Config::from_domain("chat.home.arpa", defaults).unwrap().timezone.to_string();
    assert_eq!(zone(&Defaults::with_timezone(Some("Asia/Tokyo"))), "Asia/Tokyo");
    assert_eq!(zone(&Defaults::with_timezone(Some("Moon/Base"))), "UTC");
    assert_eq!(zone(&Defaults::with_timezone(None)), "UTC");
}

/// Values of many kinds, to be tried at every key.
fn anything() -> impl Strategy<Value = String> {
    prop_oneof![
        select(vec![
            "true",
            "0",
            "-1",
            "1",
            "4096",
            "1.5",
            "nan",
            "inf",
            "\"\"",
            "\"auto\"",
            "\"dhcp\"",
            "\"forever\"",
            "\"4G\"",
            "\"10.0.0.1/30\"",
            "\"255.255.255.255/30\"",
            "\"0.0.0.0/8\"",
            "\"10.86.42.2/24\"",
            "[]",
            "[[]]",
            "{}",
            "{ a = 1 }",
            "1979-05-27",
            "\"https://x.home.arpa\"",
            "\"turn:\"",
            "\"ü\"",
            "0xffffffffff",
            "'''\n'''",
            "99999999999999999999999999999999999999999",
        ])
        .prop_map(str::to_owned),
        "[ -~]{0,12}",
        "\"[ !#-\\[\\]-~ü]{0,12}\"",
    ]
}

fn some_key() -> impl Strategy<Value = &'static str> {
    select(keys::all().map(keys::AnyKey::path).collect::<Vec<_>>())
}

fn judged(text: &str, overrides: &[Override]) {
    match Config::parse_with(text, "matrix.toml", overrides, &Defaults::default()) {
        Ok(config) => {
            reads_back(&config);
            // The schema refuses nothing that the program takes.
            if overrides.is_empty() {
                let table: toml::Table = text.parse().unwrap();
                check(&json_schema(), &to_json(&toml::Value::Table(table)), "");
            }
        }
        Err(mistakes) => {
            assert!(!mistakes.list().is_empty());
            assert!(!mistakes.to_string().is_empty());
            for mistake in mistakes.list() {
                assert!(mistake.line.is_none_or(|line| line <= text.split('\n').count()), "{mistake}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(400) })]

    #[test]
    fn any_text_is_judged(text in any::<String>()) {
        judged(&text, &[]);
    }

    #[test]
    fn any_damage_is_judged(at in 0..RICH.len(), cut in 0..20usize, paste in "[ -~\n\u{e9}\u{0}]{0,6}") {
        let start = (0..=at).rev().find(|at| RICH.is_char_boundary(*at)).unwrap_or(0);
        let end = (at + cut..=RICH.len()).find(|at| RICH.is_char_boundary(*at)).unwrap_or(RICH.len());
        judged(&format!("{}{paste}{}", &RICH[..start], &RICH[end.max(start)..]), &[]);
    }

    #[test]
    fn any_values_are_judged(values in proptest::collection::btree_map(some_key(), anything(), 0..6)) {
        let lines: String = values
            .iter()
            .filter(|(key, _)| **key != "domain")
            .map(|(key, value)| format!("{key} = {value}\n"))
            .collect();
        judged(&format!("domain = \"chat.home.arpa\"\n{lines}"), &[]);
        let overrides: Vec<_> = values.iter().map(|(key, value)| Override::new(*key, value, "--flag")).collect();
        judged("domain = \"chat.home.arpa\"", &overrides);
    }

    #[test]
    fn any_good_values_read_back(choice in proptest::collection::btree_set(some_key(), 0..12)) {
        let lines: String = keys::all()
            .filter(|key| choice.contains(key.path()) && key.path() != "domain")
            .filter_map(|key| Some(format!("{} = {}\n", key.path(), example_value(key)?)))
            .collect();
        judged(&format!("domain = \"chat.home.arpa\"\n{lines}"), &[]);
    }
}
