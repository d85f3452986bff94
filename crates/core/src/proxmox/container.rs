//! What a site's container should be like, in Proxmox's own words.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use super::{
    Settings,
    disk::gibibytes,
    network::{address, is_live, net0},
};
use crate::{
    config::{Address, Config, Network},
    endpoint::Endpoint,
    layout,
    name::Tag,
    service::capitalized,
};

/// Begins the line of a container's description that says which site it
/// belongs to: the mark by which the program knows its own.
pub const SITE_MARK: &str = "matrix-podman site:";

/// What is changed only by a reboot.
const AT_REBOOT: [&str; 2] = ["features", "nameserver"];

/// A setting that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub key: &'static str,
    /// What is set.
    pub before: Option<String>,
    /// What should be; nothing when it is to be taken away.
    pub after: Option<String>,
    /// When it takes hold.
    pub holds: Holds,
}

/// When a changed setting takes hold of a container that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Holds {
    /// At once.
    Now,
    /// When the container starts the next time, whenever that is: nothing depends on it.
    AtNextStart,
    /// When the container is restarted, which is not put off.
    AfterRestart,
}

/// The site whose mark stands in a description.
pub fn site_in(description: &str) -> Option<&str> {
    let site = description.lines().rev().find_map(|line| line.trim().strip_prefix(SITE_MARK))?.trim();
    (!site.is_empty()).then_some(site)
}

/// The description that people see in Proxmox's web pages, in Markdown, with
/// the mark.
pub fn description(config: &Config, endpoints: &[Endpoint], address: Option<Ipv4Addr>) -> String {
    let mut text = format!("# Matrix server {}\n\n", config.server_name);
    for Endpoint { label, url, port, .. } in endpoints.iter().rev() {
        text.push_str(&format!("- {}: <{url}>", capitalized(label)));
        if let Some(address) = address {
            text.push_str(&format!(", on this network <http://{address}:{port}>"));
        }
        text.push('\n');
    }
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

pub(super) fn property_text(properties: &BTreeMap<&str, String>) -> String {
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
        ("cores", guest.cores.get().to_string()),
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
        startup.insert("order", order.get().to_string());
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

/// Containers in a container need nesting; keyctl spares crun a warning. What
/// else the operator allowed stays.
fn features(now: Option<&str>) -> String {
    let mut features: BTreeMap<&str, String> =
        properties(now.unwrap_or_default()).into_iter().map(|(key, value)| (key, value.to_owned())).collect();
    features.insert("nesting", "1".to_owned());
    features.insert("keyctl", "1".to_owned());
    property_text(&features)
}

/// The keys in a file such as `authorized_keys`: Proxmox takes a comment for a key
/// that is wrong.
pub fn ssh_keys_in(text: &str) -> Vec<&str> {
    text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')).collect()
}

/// The settings of a container that is to be made. `ssh_keys` is the file with
/// public keys.
pub fn create_options(config: &Config, endpoints: &[Endpoint]) -> Vec<(String, String)> {
    let proxmox = &config.proxmox;
    let mut options = wanted(config, &Settings::default());
    options.push(("rootfs", format!("{}:{}", proxmox.storage, gibibytes(config.guest.expected_disk()))));
    if let Some(size) = proxmox.data_volume {
        let storage = proxmox.data_storage.as_ref().unwrap_or(&proxmox.storage);
        options.push(("mp0", format!("{storage}:{},mp={},backup=1", gibibytes(*size), layout::ROOT)));
    }
    options.push(("unprivileged", "1".to_owned()));
    let address = match &config.guest.network {
        Network::Existing { address: Address::Static { address, .. }, .. } => Some(address.address()),
        _ => None,
    };
    options.push(("description", description(config, endpoints, address)));
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
    let mut changes: Vec<Change> = wanted(config, now)
        .into_iter()
        .filter(|(key, wanted)| !holds(key, now.get(key), wanted))
        .map(|(key, after)| {
            let before = now.get(key).map(str::to_owned);
            let holds = match key {
                "net0" if !is_live(before.as_deref().unwrap_or_default(), &after) => Holds::AfterRestart,
                "hostname" => Holds::AtNextStart,
                _ if AT_REBOOT.contains(&key) => Holds::AfterRestart,
                _ => Holds::Now,
            };
            Change { key, before, after: Some(after), holds }
        })
        .collect();
    // The name servers that came with a fixed address: from now on the DHCP server
    // says them. Those of somebody whose container had DHCP all along stay.
    let had_fixed = now.get("net0").is_some_and(|net| address(&properties(net)).is_some());
    let servers = now.get("nameserver").filter(|_| had_fixed && asks_dhcp(config));
    changes.extend(servers.map(|servers| Change {
        key: "nameserver",
        before: Some(servers.to_owned()),
        after: None,
        holds: Holds::AfterRestart,
    }));
    changes
}

fn asks_dhcp(config: &Config) -> bool {
    let (Network::Own { address, .. } | Network::Existing { address, .. }) = &config.guest.network;
    !matches!(address, Address::Static { .. })
}

/// Keys of settings that the program sets and that still wait for a reboot.
pub fn waiting(config: &Config, now: &Settings) -> Vec<&'static str> {
    let known = wanted(config, now).into_iter().map(|(key, _)| key);
    let goes = asks_dhcp(config).then_some("nameserver");
    known.chain(goes).filter(|key| now.is_pending(key)).collect()
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

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::{config::Defaults, proxmox::Setting, stack::endpoints};

    pub(in crate::proxmox) fn config(lines: &str) -> Config {
        let text = format!("domain = \"chat.home.arpa\"\nguest.backend = \"proxmox\"\n{lines}");
        Config::parse_with(&text, "matrix.toml", &[], &Defaults::default()).unwrap_or_else(|e| panic!("{e}"))
    }

    pub(in crate::proxmox) const RICH: &str = "guest.cores = 2\nguest.memory = \"2G\"\nguest.disk = \"20000M\"\nguest.ipv6 = true\n\
        guest.start_at_boot = false\nguest.network.bridge = \"vmbr1\"\nguest.network.address = \"10.0.0.5/24\"\n\
        guest.network.gateway = \"10.0.0.1\"\nguest.network.dns = [\"10.0.0.2\", \"10.0.0.3\"]\n\
        [proxmox]\nid = 120\nstorage = \"tank\"\ntags = [\"a\"]\npool = \"home\"\nswap = \"0M\"\nvlan = 20\n\
        mac = \"bc:24:11:01:02:03\"\nmtu = 1400\nfirewall = true\naddress6 = \"2001:db8::5/64\"\n\
        gateway6 = \"fe80::1\"\nstart_order = 3\ndata_volume = \"100G\"\nssh_keys = \"/root/k.pub\"\n";

    fn shown(config: &Config) -> String {
        create_options(config, &endpoints(config))
            .iter()
            .map(|(key, value)| format!("--{key} {value:?}\n"))
            .collect()
    }

    /// The settings that a container made with those options has, as Proxmox
    /// writes them.
    pub(in crate::proxmox) fn settings(config: &Config) -> Settings {
        let mut settings = Settings::default();
        for (key, value) in create_options(config, &endpoints(config)) {
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
        let found = changes(&config(&after), &before);
        let keys: Vec<_> = found.iter().map(|c| (c.key, c.holds)).collect();
        // Its address is a fixed one, before and afterwards.
        assert_eq!(keys, [("cores", Holds::Now), ("net0", Holds::Now), ("tags", Holds::Now)]);
        let net = found[1].after.as_deref().unwrap();
        assert!(net.contains("hwaddr=") && !net.contains("tag="), "{net}");
        let after = format!("guest.name = \"talk\"\n{RICH}");
        let found = changes(&config(&after), &before);
        assert_eq!((found[0].key, found[0].holds), ("hostname", Holds::AtNextStart));
    }

    #[test]
    fn name_servers_go_with_the_fixed_address_that_they_came_with() {
        const FIXED: [&str; 5] =
            ["guest.network.address", "guest.network.gateway", "guest.network.dns", "address6", "gateway6"];
        let stays = |line: &&str| !FIXED.iter().any(|key| line.starts_with(key));
        let dhcp = config(&RICH.lines().filter(stays).collect::<Vec<_>>().join("\n"));
        let mut now = settings(&config(RICH));
        let found = changes(&dhcp, &now);
        let gone = found.iter().find(|change| change.key == "nameserver").unwrap();
        assert_eq!((gone.before.as_deref(), &gone.after), (Some("10.0.0.2 10.0.0.3"), &None));
        // Afterwards it is as it should be.
        for change in found {
            match change.after {
                Some(after) => {
                    now.0.insert(change.key.to_owned(), Setting { now: Some(after), ..Setting::default() })
                }
                None => now.0.remove(change.key),
            };
        }
        assert_eq!(changes(&dhcp, &now), []);
        // Whose container had DHCP all along may have chosen others.
        now.0.insert(
            "nameserver".to_owned(),
            Setting { now: Some("9.9.9.9".to_owned()), ..Setting::default() },
        );
        assert_eq!(changes(&dhcp, &now), []);
        let goes = Setting { now: Some("9.9.9.9".to_owned()), goes: true, ..Setting::default() };
        now.0.insert("nameserver".to_owned(), goes);
        assert_eq!(waiting(&dhcp, &now), ["nameserver"]);
    }

    #[test]
    fn keys_are_what_is_no_comment() {
        let text = "# laptops\n\nssh-ed25519 AAAA anna@laptop # hers\r\n  # old\n ssh-rsa BBBB bob\n";
        assert_eq!(ssh_keys_in(text), ["ssh-ed25519 AAAA anna@laptop # hers", "ssh-rsa BBBB bob"]);
        assert_eq!(ssh_keys_in("# none\n"), [""; 0]);
    }

    #[test]
    fn what_the_operator_added_stays() {
        let config = config("");
        let mut settings = settings(&config);
        let features = settings.0.get_mut("features").unwrap();
        features.now = Some("fuse=1,nesting=1".to_owned());
        let change = changes(&config, &settings).remove(0);
        assert_eq!((change.key, change.holds), ("features", Holds::AfterRestart));
        assert_eq!(change.after.as_deref(), Some("fuse=1,keyctl=1,nesting=1"));
    }

    #[test]
    fn a_description_keeps_its_mark_whatever_stands_around_it() {
        let text = description(&config(""), &endpoints(&config("")), Some([10, 0, 0, 5].into()));
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
