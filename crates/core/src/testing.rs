//! Two configs for the snapshots: the default one, and one with every setting
//! different.

use crate::{
    backup::{Backup, Keep, Limits, Location, Repository, RepositoryName, Schedule, Terms},
    config::{
        Address, BackendChoice, Config, Defaults, Edge, Extra, Guest, Images, LogLevel, Network, Notify,
        NotifyOn, Ports, Postgres, Proxmox, Registration, Synapse, Turn, Updates, Web, WellKnown,
    },
    lock::{Lock, LockedImage},
    name::{
        AbsPath, Cidr4, Digest, Domain, GuestName, ImageRef, InterfaceName, Port, ServerName, SshHost,
        Timezone,
    },
    service::ServiceId,
    size::{Bytes, Rate, Seconds},
    stack::{self, Facts},
};

fn default_images() -> Images {
    let mut images = Config::from_domain("chat.home.arpa", &Defaults::default()).unwrap().images;
    images[stack::element::ID].reference = ImageRef::parse("docker.io/vectorim/element-web:v1.12.0").unwrap();
    images
}

/// What only `domain` gives, on a guest with 4 GiB.
pub(crate) fn default_config() -> Config {
    Config {
        domain: Domain::parse("chat.home.arpa").unwrap(),
        server_name: ServerName::parse("matrix.chat.home.arpa").unwrap(),
        timezone: Timezone::parse("UTC").unwrap(),
        host: None,
        matrix_url: "https://matrix.chat.home.arpa".into(),
        chat_url: "https://chat.chat.home.arpa".into(),
        ports: Ports { bind: [0, 0, 0, 0].into(), synapse: Port::known(8008), web: Port::known(8080) },
        guest: Guest {
            backend: BackendChoice::Auto,
            name: GuestName::parse("matrix").unwrap(),
            cores: 2,
            memory: Bytes::gib(4),
            disk: None,
            network: Network::Own {
                bridge: InterfaceName::parse("mpbr0").unwrap(),
                subnet: Cidr4::known(10, 86, 0, 1, 24),
                address: Address::Auto,
            },
            extra_packages: Vec::new(),
            ipv6: false,
            start_at_boot: true,
        },
        proxmox: Proxmox::default(),
        images: default_images(),
        synapse: Synapse {
            registration: Registration::Closed,
            max_upload_size: Bytes::mib(200),
            presence: true,
            remote_media_lifetime: Some(Seconds::days(90)),
            forgotten_room_retention: Some(Seconds::days(7)),
            url_previews: true,
            cache_factor: 1.0,
            federation_allow: None,
            federation_ca: None,
            private_networks: None,
            report_stats: false,
            password_min_length: 10,
            profiles_need_login: true,
            profiles_of_shared_rooms: true,
            log_level: LogLevel::Info,
            extra: Extra::default(),
        },
        postgres: Postgres { shared_buffers: None, max_connections: 100, extra: Extra::default() },
        turn: None,
        web: Web {
            brand: "Element".into(),
            default_country: None,
            custom_servers: false,
            extra: Extra::default(),
        },
        update: Updates { auto: true, hold: Vec::new(), rehearse: false },
        edge: Edge::default(),
        well_known: WellKnown::default(),
        backup: Backup::default(),
        notify: Notify::default(),
    }
}

/// Everything differs from the default.
pub(crate) fn changed_config() -> Config {
    let default = default_config();
    Config {
        domain: Domain::parse("verein.ch").unwrap(),
        server_name: ServerName::parse("verein.ch").unwrap(),
        timezone: Timezone::parse("Europe/Zurich").unwrap(),
        host: Some(SshHost::parse("ssh://root@pve.lan").unwrap()),
        matrix_url: "https://m.verein.ch".into(),
        chat_url: "https://c.verein.ch".into(),
        ports: Ports { bind: [10, 1, 2, 3].into(), synapse: Port::known(18008), web: Port::known(18080) },
        guest: Guest {
            cores: 8,
            memory: Bytes::gib(16),
            disk: Some(Bytes::gib(200)),
            ipv6: true,
            ..default.guest
        },
        synapse: Synapse {
            registration: Registration::Open { reason: "a club's demo".into() },
            max_upload_size: Bytes::gib(1),
            presence: false,
            remote_media_lifetime: None,
            forgotten_room_retention: None,
            url_previews: false,
            cache_factor: 2.5,
            federation_allow: Some(vec![
                ServerName::parse("matrix.org").unwrap(),
                ServerName::parse("a.de:8448").unwrap(),
            ]),
            federation_ca: Some("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n".into()),
            private_networks: Some(vec![Cidr4::known(192, 168, 1, 0, 24)]),
            report_stats: true,
            password_min_length: 14,
            profiles_need_login: false,
            profiles_of_shared_rooms: false,
            log_level: LogLevel::Debug,
            extra: Extra::default(),
        },
        postgres: Postgres {
            shared_buffers: Some(Bytes::mib(777)),
            max_connections: 50,
            extra: Extra::default(),
        },
        turn: Some(Turn {
            uris: vec!["turn:turn.verein.ch:3478?transport=udp".into(), "turns:turn.verein.ch:5349".into()],
            secret_file: AbsPath::parse("/root/turn").unwrap(),
            user_lifetime: Seconds(7200),
            allow_guests: true,
        }),
        web: Web {
            brand: "Verein \"#1\": ${x}".into(),
            default_country: Some("CH".into()),
            custom_servers: true,
            extra: Extra::default(),
        },
        images: changed_images(default.images),
        update: Updates { auto: false, hold: vec![stack::redis::ID], rehearse: true },
        backup: changed_backup(),
        notify: Notify {
            on: NotifyOn::Always,
            room: Some("#server:verein.ch".into()),
            webhook_file: Some(AbsPath::parse("/root/webhook").unwrap()),
            file: Some(AbsPath::parse("/var/log/notices").unwrap()),
        },
        ..default
    }
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

fn changed_images(mut images: Images) -> Images {
    let key = "-----BEGIN PUBLIC KEY-----\nTUZrd0V3\n-----END PUBLIC KEY-----\n";
    for service in ServiceId::ALL {
        images[service].signature_key = Some(key.to_owned());
    }
    images
}

/// A lock with all images.
pub(crate) fn lock() -> Lock {
    let mut lock = Lock::new(ServerName::parse("matrix.chat.home.arpa").unwrap());
    for (n, (service, name, version)) in [
        (stack::postgres::ID, "docker.io/library/postgres", "18.1"),
        (stack::redis::ID, "docker.io/library/redis", "8.6.4"),
        (stack::synapse::ID, "ghcr.io/element-hq/synapse", "1.157.1"),
        (stack::element::ID, "docker.io/vectorim/element-web", "1.12.0"),
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

fn changed_backup() -> Backup {
    let terms = Terms {
        schedule: Schedule::parse("Mon,Thu 02:15").unwrap(),
        drill: Schedule::NEVER,
        keep: Keep { daily: 1, weekly: 2, monthly: 3, yearly: 4 },
        limits: Limits { upload: Rate::parse("2M/s").ok(), download: Rate::parse("10M/s").ok() },
        s3_credentials: Some(AbsPath::parse("/root/s3-keys").unwrap()),
        s3_region: Some("eu-central-1".to_owned()),
    };
    let repository = |name: &str, location: &str| Repository {
        name: RepositoryName::parse(name).unwrap(),
        location: Location::parse(location).unwrap(),
        terms: terms.clone(),
    };
    Backup {
        repositories: vec![
            repository("main", "/mnt/disk2/backup"),
            repository("away", "sftp:backup@nas:/srv/matrix"),
        ],
        terms,
    }
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
