//! What a site's container should be like, in Proxmox's own words.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use super::Settings;
use crate::{
    config::{Address, Address6, Config, Network},
    layout,
    name::Tag,
    size::Bytes,
};

/// Begins the line of a container's description that says which site it
/// belongs to: the mark by which the program knows its own.
pub const SITE_MARK: &str = "matrix-podman site:";

/// What is changed only by a reboot; everything else that the program sets
/// takes hold at once.
const AT_REBOOT: [&str; 2] = ["features", "nameserver"];

/// What of `net0` the config decides; the rest is Proxmox's or the operator's.
const OWN_NET: [&str; 9] = ["name", "bridge", "ip", "gw", "ip6", "gw6", "tag", "mtu", "firewall"];

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub key: &'static str,
    /// What is set.
    pub before: Option<String>,
    /// What should be.
    pub after: String,
    /// Whether it takes hold without a reboot.
    pub live: bool,
}

/// A disk that is to become larger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Growth {
    /// `rootfs` or `mp0`.
    pub volume: &'static str,
    /// What it has.
    pub from: Bytes,
    /// What it should have.
    pub to: Bytes,
}

/// A wish that cannot be met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrong {
    /// A disk would have to become smaller.
    Shrinks {
        /// The key of the config.
        key: &'static str,
        /// What it has.
        has: Bytes,
        /// What the config says.
        wanted: Bytes,
    },
    /// A data volume for a container that was made without.
    NoVolume,
}

/// The site whose mark stands in a description.
pub fn site_in(description: &str) -> Option<&str> {
    let site = description.lines().rev().find_map(|line| line.trim().strip_prefix(SITE_MARK))?.trim();
    (!site.is_empty()).then_some(site)
}

/// The description that people see in Proxmox's web pages, in Markdown, with
/// the mark.
pub fn description(config: &Config, address: Option<Ipv4Addr>) -> String {
    let mut text = format!("# Matrix server {}\n\n", config.server_name);
    let mut entry = |what: &str, public: &str, port: u16| {
        text.push_str(&format!("- {what}: <{public}>"));
        if let Some(address) = address {
            text.push_str(&format!(", on this network <http://{address}:{port}>"));
        }
        text.push('\n');
    };
    entry("Web client", &config.chat_url, config.ports.web.get());
    entry("Homeserver", &config.matrix_url, config.ports.synapse.get());
    text.push_str("- How it is: `matrix-podman status` on this node\n");
    text.push_str(&format!("- Its files: `{}` in the container\n\n", layout::ROOT));
    text.push_str("Made and kept by matrix-podman, which finds it by the next line.\n\n");
    text.push_str(&format!("{SITE_MARK} {}\n", config.site()));
    text
}

/// The value's properties: `bridge=vmbr0,ip=dhcp`. What stands alone, such as
/// the volume of a disk, has an empty name.
pub fn properties(value: &str) -> BTreeMap<&str, &str> {
    value
        .split(',')
        .filter(|part| !part.is_empty())
        .map(|part| part.split_once('=').unwrap_or(("", part)))
        .collect()
}

fn property_text(properties: &BTreeMap<&str, String>) -> String {
    // The name comes first, as Proxmox writes it.
    let name = properties.get_key_value("name");
    let rest = properties.iter().filter(|(key, _)| **key != "name");
    let words: Vec<String> =
        name.into_iter().chain(rest).map(|(key, value)| format!("{key}={value}")).collect();
    words.join(",")
}

/// All settings that the config decides and that can be changed later.
fn wanted(config: &Config, now: &Settings) -> Vec<(&'static str, String)> {
    let (guest, proxmox) = (&config.guest, &config.proxmox);
    let mut all = vec![
        ("hostname", guest.name.to_string()),
        ("cores", guest.cores.to_string()),
        ("memory", guest.memory.as_mib().to_string()),
        ("swap", proxmox.swap.as_mib().to_string()),
        ("net0", net0(config, now.get("net0"))),
        ("features", features(now.get("features"))),
        ("onboot", u8::from(guest.start_at_boot).to_string()),
        ("protection", "1".to_owned()),
        ("tags", tags(config).join(";")),
    ];
    if let Some(order) = proxmox.start_order {
        let mut startup: BTreeMap<&str, String> = properties(now.get("startup").unwrap_or_default())
            .into_iter()
            .map(|(k, v)| (k, v.to_owned()))
            .collect();
        startup.insert("order", order.to_string());
        all.push(("startup", property_text(&startup)));
    }
    if let Network::Existing { address: Address::Static { .. }, dns, .. } = &guest.network {
        let servers: Vec<String> = dns.iter().map(ToString::to_string).collect();
        all.push(("nameserver", servers.join(" ")));
    }
    all
}

fn tags(config: &Config) -> Vec<String> {
    let own = Tag::of_site(config.site());
    let mut tags: Vec<String> = config.proxmox.tags.iter().map(ToString::to_string).collect();
    if !tags.iter().any(|tag| tag == own.as_str()) {
        tags.push(own.to_string());
    }
    tags
}

fn net0(config: &Config, now: Option<&str>) -> String {
    let proxmox = &config.proxmox;
    let (Network::Own { bridge, address, .. } | Network::Existing { bridge, address, .. }) =
        &config.guest.network;
    let pinned = proxmox.mac.is_some();
    let mut net: BTreeMap<&str, String> = properties(now.unwrap_or_default())
        .into_iter()
        .filter(|(key, _)| !(OWN_NET.contains(key) || pinned && *key == "hwaddr"))
        .map(|(key, value)| (key, value.to_owned()))
        .collect();
    net.insert("name", "eth0".to_owned());
    net.insert("bridge", bridge.to_string());
    match address {
        Address::Auto | Address::Dhcp => {
            net.insert("ip", "dhcp".to_owned());
        }
        Address::Static { address, gateway } => {
            net.insert("ip", address.to_string());
            net.insert("gw", gateway.to_string());
        }
    }
    let mut optional = |key, value: Option<String>| {
        if let Some(value) = value {
            net.insert(key, value);
        }
    };
    optional(
        "ip6",
        proxmox.address6.map(|address| match address {
            Address6::Auto => "auto".to_owned(),
            Address6::Dhcp => "dhcp".to_owned(),
            Address6::Static(address) => address.to_string(),
        }),
    );
    optional("gw6", proxmox.gateway6.map(|gateway| gateway.to_string()));
    optional("tag", proxmox.vlan.map(|tag| tag.to_string()));
    optional("mtu", proxmox.mtu.map(|mtu| mtu.to_string()));
    optional("firewall", proxmox.firewall.then(|| "1".to_owned()));
    optional("hwaddr", proxmox.mac.as_ref().map(ToString::to_string));
    net.entry("type").or_insert_with(|| "veth".to_owned());
    property_text(&net)
}

/// Containers in a container need nesting; keyctl spares crun a warning. What
/// else the operator allowed stays.
fn features(now: Option<&str>) -> String {
    let mut features: BTreeMap<&str, String> =
        properties(now.unwrap_or_default()).into_iter().map(|(key, value)| (key, value.to_owned())).collect();
    features.insert("nesting", "1".to_owned());
    features.insert("keyctl", "1".to_owned());
    property_text(&features)
}

/// The settings of a container that is to be made. `ssh_keys` is the file with
/// public keys.
pub fn create_options(config: &Config) -> Vec<(String, String)> {
    let proxmox = &config.proxmox;
    let mut options = wanted(config, &Settings::default());
    options.push(("rootfs", format!("{}:{}", proxmox.storage, gibibytes(config.guest.disk))));
    if let Some(size) = proxmox.data_volume {
        let storage = proxmox.data_storage.as_ref().unwrap_or(&proxmox.storage);
        options.push(("mp0", format!("{storage}:{},mp={},backup=1", gibibytes(size), layout::ROOT)));
    }
    options.push(("unprivileged", "1".to_owned()));
    let address = match &config.guest.network {
        Network::Existing { address: Address::Static { address, .. }, .. } => Some(address.address()),
        _ => None,
    };
    options.push(("description", description(config, address)));
    if let Some(pool) = &proxmox.pool {
        options.push(("pool", pool.to_string()));
    }
    if let Some(file) = &proxmox.ssh_keys {
        options.push(("ssh-public-keys", file.to_string()));
    }
    options.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

/// What of a container's settings differs from what it should be.
pub fn changes(config: &Config, now: &Settings) -> Vec<Change> {
    wanted(config, now)
        .into_iter()
        .filter(|(key, wanted)| !holds(key, now.get(key), wanted))
        .map(|(key, after)| Change {
            key,
            before: now.get(key).map(str::to_owned),
            after,
            live: !AT_REBOOT.contains(&key),
        })
        .collect()
}

/// Keys of settings that the program sets and that still wait for a reboot.
pub fn waiting(config: &Config, now: &Settings) -> Vec<&'static str> {
    wanted(config, now).into_iter().map(|(key, _)| key).filter(|key| now.is_pending(key)).collect()
}

/// Whether a setting is as it should be, whatever the order of its parts.
pub fn holds(key: &str, now: Option<&str>, wanted: &str) -> bool {
    let set = |text: &str| -> BTreeSet<String> {
        text.split([';', ',', ' ']).filter(|part| !part.is_empty()).map(str::to_lowercase).collect()
    };
    match (key, now) {
        // What is not written is off.
        ("onboot" | "protection", now) => now.unwrap_or("0") == wanted,
        (_, None) => false,
        ("description", Some(now)) => now.trim() == wanted.trim(),
        ("tags", Some(now)) => set(now) == set(wanted),
        ("net0" | "features" | "startup", Some(now)) => {
            let lower = |text: &str| text.to_ascii_lowercase();
            properties(&lower(now)) == properties(&lower(wanted))
        }
        ("nameserver", Some(now)) => now.split_whitespace().eq(wanted.split_whitespace()),
        (_, Some(now)) => now == wanted,
    }
}

/// The disks that are to become larger; or why that cannot be.
pub fn growth(config: &Config, now: &Settings) -> Result<Vec<Growth>, Wrong> {
    let mut grows = Vec::new();
    let disks = [
        ("rootfs", "guest.disk", Some(config.guest.disk)),
        ("mp0", "proxmox.data_volume", config.proxmox.data_volume),
    ];
    for (volume, key, wanted) in disks {
        let Some(wanted) = wanted.map(|size| Bytes::gib(gibibytes(size))) else { continue };
        let has = now
            .get(volume)
            .map(properties)
            .filter(|p| volume == "rootfs" || p.get("mp") == Some(&layout::ROOT));
        let Some(has) = has else { return Err(Wrong::NoVolume) };
        // A disk whose size nobody knows, on a folder say, cannot be compared.
        let Some(has) = has.get("size").and_then(|size| Bytes::parse(size).ok()) else { continue };
        if has > wanted {
            return Err(Wrong::Shrinks { key, has, wanted });
        }
        if has < wanted {
            grows.push(Growth { volume, from: has, to: wanted });
        }
    }
    Ok(grows)
}

fn gibibytes(size: Bytes) -> u64 {
    size.0.div_ceil(Bytes::gib(1).0)
}

/// What a lock of Proxmox's means.
pub fn lock_reason(lock: &str) -> String {
    match lock {
        "backup" => "a backup of it is being made (backup)".to_owned(),
        "create" => "it is being made (create)".to_owned(),
        "destroyed" => "it is being removed (destroyed)".to_owned(),
        "disk" => "something is done to its disk (disk)".to_owned(),
        "fstrim" => "its disk is being trimmed (fstrim)".to_owned(),
        "migrate" => "it is moving to another node (migrate)".to_owned(),
        "mounted" => "somebody has mounted its disk with `pct mount` (mounted)".to_owned(),
        "rollback" => "it is being set back to a snapshot (rollback)".to_owned(),
        "snapshot" | "snapshot-delete" => format!("a snapshot is being made or removed ({lock})"),
        other => format!("Proxmox says {other:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Defaults, proxmox::Setting};

    fn config(lines: &str) -> Config {
        let text = format!("domain = \"chat.home.arpa\"\nguest.backend = \"proxmox\"\n{lines}");
        Config::parse_with(&text, "matrix.toml", &[], &Defaults::default()).unwrap_or_else(|e| panic!("{e}"))
    }

    const RICH: &str = "guest.cores = 2\nguest.memory = \"2G\"\nguest.disk = \"20000M\"\nguest.ipv6 = true\n\
        guest.start_at_boot = false\nguest.network.bridge = \"vmbr1\"\nguest.network.address = \"10.0.0.5/24\"\n\
        guest.network.gateway = \"10.0.0.1\"\nguest.network.dns = [\"10.0.0.2\", \"10.0.0.3\"]\n\
        [proxmox]\nid = 120\nstorage = \"tank\"\ntags = [\"a\"]\npool = \"home\"\nswap = \"0M\"\nvlan = 20\n\
        mac = \"bc:24:11:01:02:03\"\nmtu = 1400\nfirewall = true\naddress6 = \"2001:db8::5/64\"\n\
        gateway6 = \"fe80::1\"\nstart_order = 3\ndata_volume = \"100G\"\nssh_keys = \"/root/k.pub\"\n";

    fn shown(config: &Config) -> String {
        create_options(config).iter().map(|(key, value)| format!("--{key} {value:?}\n")).collect()
    }

    /// The settings that a container made with those options has, as Proxmox
    /// writes them.
    fn settings(config: &Config) -> Settings {
        let mut settings = Settings::default();
        for (key, value) in create_options(config) {
            let value = match key.as_str() {
                "net0" => format!("{value},hwaddr=BC:24:11:01:02:03"),
                "rootfs" => "tank:vm-120-disk-0,size=20G".to_owned(),
                "mp0" => "tank:vm-120-disk-1,mp=/opt/matrix,backup=1,size=100G".to_owned(),
                "tags" => {
                    let mut tags: Vec<&str> = value.split(';').collect();
                    tags.sort_unstable();
                    tags.join(";")
                }
                _ => value,
            };
            settings.0.insert(key, Setting { now: Some(value), ..Setting::default() });
        }
        settings
    }

    #[test]
    fn options_of_a_new_container() {
        insta::assert_snapshot!(shown(&config("")));
        insta::assert_snapshot!("options_of_a_new_container_with_everything", shown(&config(RICH)));
    }

    #[test]
    fn a_container_that_was_just_made_is_as_it_should_be() {
        for lines in ["", RICH] {
            let config = config(lines);
            let settings = settings(&config);
            assert_eq!(changes(&config, &settings), []);
            assert_eq!(waiting(&config, &settings), [""; 0]);
            assert_eq!(settings.site(), Some("chat.home.arpa"));
        }
    }

    #[test]
    fn each_setting_that_differs_is_a_change() {
        let before = settings(&config(RICH));
        let after =
            RICH.replace("cores = 2", "cores = 8").replace("vlan = 20\n", "").replace("\"a\"", "\"b\"");
        let keys: Vec<_> = changes(&config(&after), &before).into_iter().map(|c| (c.key, c.live)).collect();
        assert_eq!(keys, [("cores", true), ("net0", true), ("tags", true)]);
        let net = changes(&config(&after), &before).into_iter().find(|c| c.key == "net0").unwrap();
        assert!(net.after.contains("hwaddr=") && !net.after.contains("tag="), "{net:?}");
    }

    #[test]
    fn what_the_operator_added_stays() {
        let config = config("");
        let mut settings = settings(&config);
        let features = settings.0.get_mut("features").unwrap();
        features.now = Some("fuse=1,nesting=1".to_owned());
        let change = changes(&config, &settings).remove(0);
        assert_eq!((change.key, change.live), ("features", false));
        assert_eq!(change.after, "fuse=1,keyctl=1,nesting=1");
    }

    #[test]
    fn disks_only_grow() {
        let settings = settings(&config(RICH));
        let with = |from: &str, to: &str| growth(&config(&RICH.replace(from, to)), &settings);
        assert_eq!(with("", ""), Ok(vec![]));
        let grown = with("20000M", "32G").unwrap();
        assert_eq!((grown[0].volume, grown[0].from, grown[0].to), ("rootfs", Bytes::gib(20), Bytes::gib(32)));
        assert_eq!(with("100G", "101G").unwrap()[0].volume, "mp0");
        assert!(matches!(with("20000M", "16G"), Err(Wrong::Shrinks { key: "guest.disk", .. })));
        let mut without = settings.clone();
        without.0.remove("mp0");
        assert_eq!(growth(&config(RICH), &without), Err(Wrong::NoVolume));
    }

    #[test]
    fn a_description_keeps_its_mark_whatever_stands_around_it() {
        let text = description(&config(""), Some([10, 0, 0, 5].into()));
        insta::assert_snapshot!(text);
        assert_eq!(site_in(&text), Some("chat.home.arpa"));
        assert_eq!(
            site_in(&format!("My notes\r\n{}\r\nmore", text.replace('\n', "\r\n"))),
            Some("chat.home.arpa")
        );
        assert_eq!(site_in("matrix-podman site:\n"), None);
        assert_eq!(site_in("a container"), None);
    }
}
