//! Two configs for the snapshots: the default one, and one with every setting
//! different.

use crate::{
    config::{Config, Defaults, Override},
    layout::Secret,
    lock::{Lock, LockedImage},
    name::{Digest, ServerName},
    service::ServiceId,
    size::Bytes,
    stack::{self, DatabaseName, Facts, RoomDatabase},
};

/// What only `domain` gives, but for what many snapshots have had since before the defaults
/// were what they are.
const USUAL: &str = r##"
domain = "chat.home.arpa"

[guest]
cores = 2
network.bridge = "mpbr0"
network.subnet = "10.86.0.1/24"

[images.web]
reference = "docker.io/vectorim/element-web:v1.12.0"

[synapse]
registration = "closed"
cache_factor = 1.0
log_level = "info"
"##;

/// Everything that the rooms read differs from [`USUAL`].
const UNUSUAL: &str = r##"
domain = "verein.ch"
server_name = "verein.ch"
timezone = "Europe/Zurich"
host = "ssh://root@pve.lan"
matrix_url = "https://m.verein.ch"
chat_url = "https://c.verein.ch"

[ports]
bind = "10.1.2.3"
synapse = 18008
web = 18080

[guest]
cores = 8
memory = "16G"
disk = "200G"
ipv6 = true
network.bridge = "mpbr0"
network.subnet = "10.86.0.1/24"

[images]
web.reference = "docker.io/vectorim/element-web:v1.12.0"

[synapse]
registration = "open"
open_registration_reason = "a club's demo"
max_upload_size = "1G"
presence = false
remote_media_lifetime = "forever"
forgotten_room_retention = "forever"
url_previews = false
cache_factor = 2.5
federation_allow = ["matrix.org", "a.de:8448"]
federation_ca = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
private_networks = ["192.168.1.0/24"]
report_stats = true
password_min_length = 14
profiles_need_login = false
profiles_of_shared_rooms = false
log_level = "debug"

[postgres]
shared_buffers = "777M"
max_connections = 50

[turn]
uris = ["turn:turn.verein.ch:3478?transport=udp", "turns:turn.verein.ch:5349"]
secret_file = "/root/turn"
user_lifetime = "2h"
allow_guests = true

[web]
brand = 'Verein "#1": ${x}'
default_country = "CH"
custom_servers = true

[update]
auto = false
hold = ["redis"]
rehearse = true

[backup]
repository = "/mnt/disk2/backup"
schedule = "Mon,Thu 02:15"
drill = "never"
keep_daily = 1
keep_weekly = 2
keep_monthly = 3
keep_yearly = 4
upload_limit = "2M/s"
download_limit = "10M/s"
s3_credentials = "/root/s3-keys"
s3_region = "eu-central-1"

[[backup.repositories]]
name = "away"
repository = "sftp:backup@nas:/srv/matrix"

[notify]
on = "always"
room = "#server:verein.ch"
webhook_file = "/root/webhook"
file = "/var/log/notices"
"##;

/// The config that most tests begin with.
pub(crate) fn default_config() -> Config {
    config_with(&[])
}

/// The same with other values of some keys.
pub(crate) fn config_with(values: &[(&str, &str)]) -> Config {
    let overrides: Vec<_> = values.iter().map(|(key, value)| Override::new(*key, *value, "--test")).collect();
    Config::parse_with(USUAL, "usual", &overrides, &Defaults::default())
        .unwrap_or_else(|mistakes| panic!("{mistakes}"))
}

/// Synapse's database, and one as another room would have it.
pub(crate) fn two_databases() -> [RoomDatabase; 2] {
    let name = DatabaseName::known("accounts");
    let other = RoomDatabase {
        name,
        role: name,
        password: Secret::FORM,
        passfile: Secret::REGISTRATION,
        left_out: &[],
        ..stack::synapse::DATABASE
    };
    [stack::synapse::DATABASE, other]
}

/// Everything differs from the default.
pub(crate) fn changed_config() -> Config {
    let mut config = Config::parse(UNUSUAL, "unusual").unwrap_or_else(|mistakes| panic!("{mistakes}"));
    let key = "-----BEGIN PUBLIC KEY-----\nTUZrd0V3\n-----END PUBLIC KEY-----\n";
    for service in ServiceId::ALL {
        config.images[service].signature_key = Some(key.to_owned());
    }
    config
}

/// A guest like the default config's, on a machine that can do everything.
pub(crate) fn facts() -> Facts {
    Facts {
        guest_memory: Bytes::gib(4),
        cores: 2,
        memory_limits: true,
        pids_limits: true,
        cpu_weights: true,
        ipv6: false,
    }
}

/// A large guest on a machine that hands down no controllers.
pub(super) fn weak_facts() -> Facts {
    Facts {
        guest_memory: Bytes::gib(16),
        cores: 8,
        memory_limits: false,
        pids_limits: false,
        cpu_weights: false,
        ipv6: true,
    }
}

/// A lock with all images.
pub(crate) fn lock() -> Lock {
    let mut lock = Lock::new(ServerName::parse("matrix.chat.home.arpa").unwrap());
    for (n, (service, name, version)) in [
        (stack::postgres::ID, "docker.io/library/postgres", "18.1"),
        (stack::redis::ID, "docker.io/library/redis", "8.6.4"),
        (stack::synapse::ID, "ghcr.io/element-hq/synapse", "1.157.1"),
        (stack::element::ID, "docker.io/vectorim/element-web", "1.12.0"),
        (stack::coturn::ID, "docker.io/coturn/coturn", "4.6.2"),
        (stack::gateway::ID, "docker.io/library/haproxy", "3.0.11"),
    ]
    .into_iter()
    .enumerate()
    {
        let digest = |offset: u8| Digest::of_sha256(&[u8::try_from(n).unwrap() * 16 + offset; 32]);
        lock.images.insert(
            service,
            LockedImage {
                wanted: format!("{name}:tag"),
                run: format!("{name}@{}", digest(1)),
                digest: digest(1),
                id: digest(2),
                version: version.into(),
            },
        );
    }
    lock
}

/// Files one after the other, each under a line with its path, mode and owner.
pub(crate) fn show(files: &[crate::desired::DesiredFile]) -> String {
    files
        .iter()
        .map(|f| {
            format!("=== {} {} {}:{} ({})\n{}", f.path, f.mode, f.owner.uid, f.owner.gid, f.why, f.content)
        })
        .collect()
}

/// The lines that differ between two texts.
pub(crate) fn diff(before: &str, after: &str) -> String {
    similar::TextDiff::from_lines(before, after).unified_diff().context_radius(1).to_string()
}

/// The paths of all values in a document that are no tables.
pub(crate) fn leaves(prefix: &str, value: &serde_json::Value, found: &mut Vec<String>) {
    let serde_json::Value::Object(table) = value else {
        found.push(prefix.to_owned());
        return;
    };
    for (name, value) in table {
        let name = format!("{name:?}");
        leaves(&if prefix.is_empty() { name } else { format!("{prefix}.{name}") }, value, found);
    }
}
