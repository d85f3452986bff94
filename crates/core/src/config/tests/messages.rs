//! A snapshot for every kind of mistake: what the operator reads.

use super::{told, told_about};
use crate::config::{Config, Defaults, Override};

/// Each input with what is said about it.
fn report(inputs: &[&str], tell: fn(&str) -> String) -> String {
    inputs.iter().map(|input| format!("{input}\n--> {}\n", tell(input))).collect::<Vec<_>>().join("\n")
}

macro_rules! snapshots {
    ($($(#[$doc:meta])* $name:ident, $tell:ident: [$($input:expr),* $(,)?];)*) => {
        $($(#[$doc])* #[test]
        fn $name() {
            insta::assert_snapshot!(report(&[$($input),*], $tell));
        })*
    };
}

snapshots! {
    not_toml, told: [
        "domain = chat.home.arpa",
        "domain = \"chat.home.arpa",
        "domain = \"chat.home.arpa\"\n[guest\nmemory = 4G\n\n[web]\nbrand = Our chat # ours",
        "domain = \"a.home.arpa\"\ndomain = \"b.home.arpa\"",
        "domain: \"chat.home.arpa\"",
        "domain = \"chat.home.arpa\"\n[guest]\ncores = 2\n[guest]\ncores = 3",
        "domain = \"chat.home.arpa\"\n[turn]\nsecret_file = hunter2",
        "domain = \"C:\\dir\"",
        "domain = ",
        "\u{0}",
    ];
    domain_missing, told: ["", "# nothing yet", "[guest]\ncores = 2"];
    domain_wrong, told: [
        "domain = \"example.com\"",
        "domain = \"matrix.example.org\"",
        "domain = \"https://chat.home.arpa/\"",
        "domain = \"Chat.Home.arpa\"",
        "domain = \"localhost\"",
        "domain = \"192.168.1.5\"",
        "domain = \"-chat.home.arpa\"",
        "domain = \"\"",
        "domain = true",
        "domain = [\"a.home.arpa\"]",
    ];
    server_name_wrong, told_about: [
        "server_name = \"other.home.arpa\"",
        "server_name = \"xchat.home.arpa\"",
        "server_name = \"matrix.chat.home.arpa:99999\"",
        "server_name = \"@anna:chat.home.arpa\"",
    ];
    unknown_keys, told_about: [
        "domian = \"x.home.arpa\"",
        "memory = \"4G\"",
        "colour = \"blue\"",
        "[guest]\nmemroy = \"4G\"",
        "[guest]\ndomain = \"x.home.arpa\"",
        "[guest]\nweight = 4",
        "[ports]\nhttps = 443",
        "[gest]\nmemory = \"4G\"",
        "[guest.networks]\nbridge = \"vmbr0\"",
        "[mail]\nhost = \"x\"",
        "[images.postgres]\nbuild_version = \"18\"",
        "\"guest.memory\" = \"4G\"",
        "\"a\\nb\" = 1",
        "guest.network.brigde = \"vmbr0\"",
    ];
    sections_and_keys_mixed_up, told_about: [
        "guest = 4",
        "[[guest]]\ncores = 2",
        "[timezone]\nname = \"UTC\"",
        "[images]\nsynapse = \"ghcr.io/element-hq/synapse:v1.157.1\"",
    ];
    repositories, told_about: [
        "[backup]\nrepository = \"backups\"",
        "[backup]\nrepository = \"s3:https://key:hunter2@s3.example.com/bucket\"",
        "[backup]\nschedule = \"daily\"\ndrill = \"31 05:00\"",
        "[backup]\ns3_credentials = \"hunter2\"",
        "[backup.repositories]\nname = \"away\"",
        "[backup]\nrepositories = [\"sftp:nas:/srv/matrix\"]",
        "[[backup.repositories]]\nname = \"Away\"\nrepository = \"sftp:nas\"\nkeep_dayly = 3\ns3_credentials = \"hunter2\"\nschedule = 3",
        "[[backup.repositories]]\nname = \"main\"\n\n[[backup.repositories]]\nrepository = \"/srv/b\"\nkeep_daily = 2000",
        "[[backup.repositories]]\nname = \"a\"\nrepository = \"/srv/b\"\n\n[[backup.repositories]]\nname = \"a\"\nrepository = \"/srv/b\"",
        "[backup]\nrepository = \"/srv/b\"\n\n[[backup.repositories]]\nname = \"a\"\nrepository = \"/srv/b\"",
    ];
    wrong_types, told_about: [
        "[guest]\ncores = \"4\"",
        "[guest]\ncores = 2.5",
        "[guest]\nmemory = 4096",
        "[guest]\nmemory = 8",
        "[guest]\nipv6 = \"yes\"",
        "[guest]\nipv6 = 1",
        "[guest]\nextra_packages = \"htop\"",
        "[guest]\nextra_packages = [1]",
        "[guest]\nname = 2026-11-01",
        "[synapse]\nregistration = false",
        "[synapse]\nremote_media_lifetime = 90",
        "[synapse]\ncache_factor = \"0.5\"",
        "[ports]\nsynapse = { port = 8008 }",
    ];
    sizes_and_numbers, told_about: [
        "[guest]\nmemory = \"512M\"\ndisk = \"5G\"\ncores = 0",
        "[guest]\nmemory = \"4096\"\ndisk = \"99999T\"\ncores = 513",
        "[guest]\nmemory = \"4 GB\"",
        "[synapse]\nmax_upload_size = \"100K\"",
        "[synapse]\nmax_upload_size = \"5G\"",
        "[synapse]\ncache_factor = 0",
        "[synapse]\ncache_factor = nan",
        "[synapse]\nremote_media_lifetime = \"never\"",
        "[synapse]\nforgotten_room_retention = \"5m\"",
        "[postgres]\nshared_buffers = \"3G\"\nmax_connections = 5",
        "[guest]\ncores = 99999999999999999999999",
        "[guest]\ncores = -1",
    ];
    ports, told_about: [
        "[ports]\nsynapse = 0\nweb = 65536",
        "[ports]\nsynapse = 8080",
        "[ports]\nsynapse = 9000\nweb = 9000",
        "[ports]\nbind = \"localhost\"",
        "[ports]\nbind = \"224.0.0.1\"",
    ];
    timezones, told_about: [
        "timezone = \"Europe/Berlni\"",
        "timezone = \"berlin\"",
        "timezone = \"europe/berlin\"",
        "timezone = \"Mars/Olympus_Mons\"",
        "timezone = \"America/New York\"",
        "timezone = \"Factory\"",
    ];
    urls, told_about: [
        "matrix_url = \"matrix.chat.home.arpa\"",
        "matrix_url = \"ftp://matrix.chat.home.arpa\"",
        "matrix_url = \"https://matrix.chat.home.arpa/_matrix\"",
        "matrix_url = \"https://\"",
        "matrix_url = \"https://matrix.chat.home.arpa:port\"",
        "chat_url = \"https://matrix.chat.home.arpa/\"",
    ];
    names_and_lists, told_about: [
        "[guest]\nname = \"my server\"\nextra_packages = [\"htop\", \"Vim\", \"htop\"]",
        "[guest]\nextra_packages = [\n  \"htop\",\n  \"htop\",\n]",
        "[guest]\nbackend = \"lcx\"",
        "[guest]\nbackend = \"docker\"",
        "[guest.network]\nbridge = \"a-very-long-bridge-name\"",
        "[synapse]\nfederation_allow = [\"matrix.org\", \"matrix.org\", \"example.com\"]",
        "[synapse]\nlog_level = \"warn\"",
        "[web]\nbrand = \" \"\ndefault_country = \"de\"",
        "[web]\nbrand = \"a\\nb\"\ndefault_country = \"Germany\"",
    ];
    images, told_about: [
        "[images.synapse]\nreference = \"ghcr.io/element-hq/synapse:latest\"",
        "[images.synapse]\nreference = \"ghcr.io/element-hq/synapse\"",
        "[images.redis]\nreference = \"redis:8\"",
        "[images.redis]\nreference = \"docker.io/library/Redis:8\"",
        "[images.web]\nreference = \"docker.io/vectorim/element-web@sha256:12\"",
        "[images.postgres]\narchive = \"postgres.tar\"",
        "[images.synapse]\nbuild_version = \"v1.157.1\"",
        "[images]\nsource = \"registry\"\nsynapse.build_version = \"1.157.1\"",
        "[images.synapse]\narchive = \"/srv/synapse.tar\"\nbuild_version = \"1.157.1\"",
        "[images]\nsource = \"regsitry\"",
    ];
    images_of_unknown_services, told_about: [
        "[images.grafana]\nreference = \"docker.io/grafana/grafana:12\"",
        "[images.synpase]\narchive = \"/srv/synapse.tar\"",
        "[images.redis]\nrefrence = \"docker.io/library/redis:8\"",
        "[images.redis]\nbuild_version = \"8\"",
        "[images]\npostgres_db = \"docker.io/library/postgres:18\"",
    ];
    registration, told_about: [
        "[synapse]\nregistration = \"open\"",
        "[synapse]\nregistration = \"open\"\nopen_registration_reason = \"\"",
        "[synapse]\nopen_registration_reason = \"a school\"",
        "[synapse]\nregistration = \"tokens\"",
        "[synapse]\nregistration = \"everybody\"",
    ];
    own_network, told_about: [
        "[guest.network]\nsubnet = \"10.86.42.0/24\"",
        "[guest.network]\nsubnet = \"10.86.42.1\"",
        "[guest.network]\nsubnet = \"8.8.8.1/24\"",
        "[guest.network]\nsubnet = \"10.86.42.1/33\"",
        "[guest.network]\naddress = \"192.168.1.20/24\"",
        "[guest.network]\naddress = \"10.86.42.1/24\"",
        "[guest.network]\naddress = \"10.86.42.20/16\"",
        "[guest.network]\naddress = \"10.86.42.255/24\"",
        "[guest.network]\naddress = \"10.86.42.20\"",
        "[guest.network]\naddress = \"dhpc\"",
        "[guest.network]\ngateway = \"10.86.42.1\"\ndns = [\"9.9.9.9\"]",
        "[guest.network]\naddress = \"10.86.42.20/24\"\ngateway = \"10.86.42.9\"",
    ];
    existing_network, told_about: [
        "[guest.network]\nexisting = true",
        "[guest.network]\nexisting = true\nbridge = \"vmbr0\"\nsubnet = \"192.168.1.1/24\"\naddress = \"auto\"",
        "[guest.network]\nexisting = true\nbridge = \"vmbr0\"\naddress = \"192.168.1.20/24\"",
        "[guest.network]\nexisting = true\nbridge = \"vmbr0\"\naddress = \"192.168.1.20/24\"\ngateway = \"192.168.1.20\"",
        "[guest.network]\nexisting = true\nbridge = \"vmbr0\"\naddress = \"192.168.1.20/24\"\ngateway = \"192.168.2.1\"",
        "[guest.network]\nexisting = true\nbridge = \"vmbr0\"\ngateway = \"192.168.2.1\"",
        "[guest.network]\nexisting = true\nbridge = \"vmbr0\"\naddress = \"192.168.1.20/24\"\n\
         gateway = \"192.168.1.1\"\ndns = []",
        "[guest.network]\nexisting = \"vmbr0\"\ngateway = \"192.168.1.1\"",
    ];
    proxmox_interface, told_about: [
        "[guest]\nbackend = \"proxmox\"\nipv6 = true\n[proxmox]\naddress6 = \"dhcp\"",
        "[guest]\nbackend = \"proxmox\"\nipv6 = true\n[proxmox]\naddress6 = \"2001:db8::5/64\"",
        "[guest]\nbackend = \"proxmox\"\nipv6 = true\n[proxmox]\naddress6 = \"auto\"\nmtu = 1200",
        "[guest]\nbackend = \"proxmox\"\n[proxmox]\naddress6 = \"auto\"",
    ];
    turn, told_about: [
        "[turn]\nuris = [\"turn:turn.home.arpa\"]",
        "[turn]\nsecret_file = \"/root/turn-secret\"\nallow_guests = true",
        "[turn]\nuris = [\"turn:turn.home.arpa\"]\nsecret_file = \"hunter2 is my secret\"",
        "[turn]\nsecret_file = 12345678",
        "[turn]\nuris = [\"https://turn.home.arpa\", \"turn://turn.home.arpa\", \"stun:turn.home.arpa\", \
         \"turn:turn.home.arpa?transport=sctp\"]\nsecret_file = \"/root/turn-secret\"",
        "[turn]\nuris = \"turn:turn.home.arpa\"\nsecret_file = \"/root/turn-secret\"",
        "[turn]\nserver = true",
        "[turn]\naddress = \"203.0.113.7\"\nports = \"49152-49200\"",
        "[turn]\nserver = true\naddress = \"203.0.113.7\"\nsecret_file = \"/root/turn\"\nports = \"9-8\"",
        "[turn]\nserver = true\naddress = \"203.0.113.7\"\ncertificate_file = \"/root/turn.crt\"",
        "[turn]\nserver = true\naddress = \"203.0.113.7\"\n[guest.network]\naddress = \"dhcp\"",
        "[turn]\nserver = true\naddress = \"turn.home.arpa\"\nports = \"1024-65535\"",
    ];
    extra, told_about: [
        "[synapse.extra]\npresence.enabled = false\nlisteners = []\ncaches.global_factor = 2.0",
        "[synapse.extra]\npassword_config = true\nmedia_retention = \"30d\"",
        "[synapse.extra]\nemail = { smtp_host = \"mail\", smtp_pass = \"hunter2\" }",
        "[[synapse.extra.oidc_providers]]\nidp_id = \"x\"\nclient_secret = \"hunter2\"",
        "[web.extra]\nmap_token = \"hunter2\"",
        "[synapse.extra]\nfrom = 2026-01-01\nrate = nan",
        "[synapse]\nextra = 3",
        "[postgres.extra]\nfsync = false\nmax_connections = 3\nWork_mem = \"1GB\"\nx = { y = 1 }",
        "[web.extra]\nbrand = \"x\"\ndefault_server_config = { \"m.homeserver\" = {} }",
    ];
    everything_at_once_in_file_order, told: [
        "domain = \"example.com\"\ntimezone = \"Berlin\"\n\n[guest]\nmemroy = \"4G\"\ncores = 0\n\n\
         [synapse]\nregistration = \"open\"\n\n[ports]\nweb = 70000\n",
    ];
}

#[test]
fn flags_are_named() {
    let overrides = [
        Override::new("domain", "example.com", "--domain"),
        Override::new("guest.cores", "many", "--cores"),
        Override::new("guest.memory", "4096", "--memory"),
        Override::new("guest.backend", "docker", "--backend"),
        Override::new("guest.extra_packages", "htop,Vim", "--package"),
        Override::new("turn.secret_file", "hunter2", "--turn-secret"),
        Override::new("guest.colour", "blue", "--colour"),
    ];
    let mistakes = Config::parse_with(
        "domain = 4\n[guest]\ncors = 3\n",
        "matrix.toml",
        &overrides,
        &Defaults::default(),
    )
    .unwrap_err();
    insta::assert_snapshot!(mistakes);
}

#[test]
fn a_flag_takes_the_place_of_the_file() {
    let overrides = [
        Override::new("domain", "chat.home.arpa", "--domain"),
        Override::new("guest.cores", "2", "--cores"),
        Override::new("guest.ipv6", "true", "--ipv6"),
        Override::new("guest.extra_packages", "htop, ncdu", "--package"),
    ];
    let text = "domain = \"other.home.arpa\"\n[guest]\ncores = 8\n";
    let config = Config::parse_with(text, "matrix.toml", &overrides, &Defaults::default()).unwrap();
    assert_eq!(config.domain.as_str(), "chat.home.arpa");
    assert_eq!(
        (config.guest.cores.get(), config.guest.ipv6, config.guest.extra_packages.len()),
        (2, true, 2)
    );
}

#[test]
fn mistakes_know_their_place() {
    let mistakes =
        Config::parse("domain = \"chat.home.arpa\"\n[guest]\n  cores = 0\n", "m.toml").unwrap_err();
    let mistake = &mistakes.list()[0];
    assert_eq!((mistake.line, mistake.column), (Some(3), Some(3)));
    assert_eq!((mistake.key.as_str(), mistake.value.as_deref()), ("guest.cores", Some("0")));
}
