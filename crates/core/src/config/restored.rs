//! Which parts of a snapshot's config may become a machine's config.
//!
//! A snapshot holds two copies: the one that the machine applied, which the machine
//! put there and signed, and the one in the guest's own files, which whoever took over the
//! guest may have written. Neither is taken as it is. The keys that may come back are
//! listed here; a key that is on no list stays out, and so does every key whose type
//! names something that belongs to one machine.

use std::{borrow::Cow, fmt::Write as _};

use toml::{Table, Value};

use super::{
    Config, Defaults, Mistakes,
    keys::{self, AnyKey},
};

/// Whose copy of the config it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The machine that made the backup put it there and signed it.
    Machine,
    /// It stood among the guest's files: anybody in the guest can have written it.
    Guest,
}

/// What becomes of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    /// What the server is: it comes back from every copy.
    Server,
    /// What it asks of the machine and its network, and how long backups are kept: it
    /// comes back from the machine's copy alone.
    Machine,
    /// Files, hosts and sources of images: never.
    Local,
}

/// What the server is.
const SERVER: &[&str] = &[
    "domain",
    "server_name",
    "timezone",
    "matrix_url",
    "chat_url",
    "ports.synapse",
    "ports.web",
    "gateway.enabled",
    "guest.name",
    "guest.cores",
    "guest.memory",
    "guest.disk",
    "synapse.registration",
    "synapse.open_registration_reason",
    "synapse.max_upload_size",
    "synapse.presence",
    "synapse.remote_media_lifetime",
    "synapse.forgotten_room_retention",
    "synapse.url_previews",
    "synapse.cache_factor",
    "synapse.federation_allow",
    "synapse.report_stats",
    "synapse.password_min_length",
    "synapse.profiles_need_login",
    "synapse.profiles_of_shared_rooms",
    "synapse.log_level",
    "postgres.shared_buffers",
    "postgres.max_connections",
    "web.brand",
    "web.default_country",
    "web.custom_servers",
    "update.auto",
    "update.hold",
    "update.rehearse",
    "well_known.apex",
    "well_known.identity_server",
    "well_known.sliding_sync_proxy",
    "well_known.rtc_foci",
    "well_known.support_page",
    "well_known.support_email",
    "well_known.support_user",
    "notify.on",
    "notify.room",
];

/// What the server asks of the machine, of its network and of its backups; `*` is each
/// service's image.
const MACHINE: &[&str] = &[
    "ports.bind",
    "guest.backend",
    "guest.extra_packages",
    "guest.ipv6",
    "guest.start_at_boot",
    "guest.network.bridge",
    "guest.network.existing",
    "guest.network.subnet",
    "guest.network.address",
    "guest.network.gateway",
    "guest.network.dns",
    "proxmox.id",
    "proxmox.storage",
    "proxmox.template_storage",
    "proxmox.template",
    "proxmox.tags",
    "proxmox.pool",
    "proxmox.swap",
    "proxmox.vlan",
    "proxmox.mac",
    "proxmox.mtu",
    "proxmox.firewall",
    "proxmox.address6",
    "proxmox.gateway6",
    "proxmox.start_order",
    "proxmox.data_volume",
    "proxmox.data_storage",
    "images.source",
    "images.*.build_version",
    "images.*.signature_key",
    "synapse.federation_ca",
    "synapse.private_networks",
    "synapse.extra",
    "postgres.extra",
    "web.extra",
    "backup.schedule",
    "backup.drill",
    "backup.keep_daily",
    "backup.keep_weekly",
    "backup.keep_monthly",
    "backup.keep_yearly",
    "backup.upload_limit",
    "backup.download_limit",
    "backup.s3_region",
];

/// Besides the keys whose type says so: what means nothing without one of them, and the
/// access to services that other things depend on, too.
const LOCAL: &[&str] = &[
    "edge.proxies",
    "turn.server",
    "turn.address",
    "turn.name",
    "turn.ports",
    "turn.uris",
    "turn.user_lifetime",
    "turn.allow_guests",
    "edge.cloudflare.tunnel",
    "edge.cloudflare.create_tunnel",
    "edge.cloudflare.zone",
    "edge.cloudflare.service",
    "edge.cloudflare.verify_origin",
    "edge.cloudflare.connectors",
    "edge.cloudflare.cache_rule",
    "edge.cloudflare.zone_settings",
    "edge.npm.address",
    "edge.npm.identity",
    "edge.npm.certificate",
    "edge.npm.certificate_name",
    "edge.npm.serves_at",
    "edge.npm.forward_host",
    "edge.npm.hsts",
];

/// What becomes of a key; none when nobody has decided that yet.
fn class(key: &dyn AnyKey) -> Option<Class> {
    let path = in_lists(key.path());
    let listed = |list: &[&str]| list.contains(&&*path);
    if key.local() || listed(LOCAL) {
        Some(Class::Local)
    } else if listed(MACHINE) {
        Some(Class::Machine)
    } else if listed(SERVER) {
        Some(Class::Server)
    } else {
        None
    }
}

/// What the lists call the key at `path`.
fn in_lists(path: &str) -> Cow<'_, str> {
    let image = path.strip_prefix("images.").and_then(|rest| rest.split_once('.'));
    image.map_or(Cow::Borrowed(path), |(_, name)| format!("images.*.{name}").into())
}

/// A key of a snapshot's config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting {
    /// Its path: `synapse.max_upload_size`.
    pub key: String,
    /// Its value, as TOML on one line, fit for a terminal.
    pub value: String,
    /// Why it was left out, or what holds where it is not written.
    pub note: String,
}

/// What of a snapshot's config may become a machine's.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// The text of the new `matrix.toml`.
    pub text: String,
    /// What it means.
    pub config: Config,
    /// What differs from the defaults, with the default as the note.
    pub differs: Vec<Setting>,
    /// What was not taken over, with the reason as the note.
    pub left_out: Vec<Setting>,
}

impl Config {
    /// What of a snapshot's config may become a machine's; `from` is where the snapshot
    /// is, as backups go on there.
    pub fn restored(
        text: &str,
        origin: Origin,
        from: &str,
        defaults: &Defaults,
    ) -> Result<Restored, Mistakes> {
        let shown = "the snapshot's matrix.toml";
        let table = match text.parse::<Table>() {
            Ok(table) => table,
            Err(_) => {
                // The parser of configs says what is wrong, and where.
                Config::parse_with(text, shown, &[], defaults)?;
                Table::new()
            }
        };
        let mut found = Vec::new();
        flatten("", table, &mut found);
        let mut taken: Vec<(&'static dyn AnyKey, Value)> = Vec::new();
        let mut left_out = Vec::new();
        for (path, value) in found {
            let refused = match keys::at(&path).map(|key| (key, class(key))) {
                Some((key, Some(Class::Server))) => {
                    taken.push((key, value));
                    continue;
                }
                Some((key, Some(Class::Machine))) if origin == Origin::Machine => {
                    taken.push((key, value));
                    continue;
                }
                Some((_, Some(Class::Machine))) => {
                    "it concerns the machine, and only the guest says that it was so"
                }
                Some((_, Some(Class::Local) | None)) => "it names what belongs to one machine",
                None => "this program does not know it",
            };
            left_out.push(Setting { key: visible(&path), value: one_line(&value), note: refused.to_owned() });
        }
        let text = document(&taken, from);
        let config = Config::parse_with(&text, shown, &[], defaults)?;
        // What is as it would be anyway is no loss.
        left_out.retain(|setting| {
            let now = keys::at(&setting.key).and_then(|key| key.value_in(&config));
            now.is_none_or(|now| one_line(&now) != setting.value) && setting.key != "backup.repository"
        });
        let text = text + &comments(&left_out);
        let usual = Config::from_domain(config.domain.as_str(), defaults)?;
        let differs = taken
            .iter()
            .filter_map(|(key, _)| {
                let (value, usual) = (key.value_in(&config)?, key.value_in(&usual));
                let note = usual.as_ref().map_or_else(|| "nothing".to_owned(), one_line);
                if key.required() {
                    let note = "it has none".to_owned();
                    return Some(Setting { key: key.path().to_owned(), value: one_line(&value), note });
                }
                (usual.as_ref() != Some(&value)).then(|| Setting {
                    key: key.path().to_owned(),
                    value: one_line(&value),
                    note,
                })
            })
            .collect();
        Ok(Restored { text, config, differs, left_out })
    }
}

/// The keys in a table, by their whole paths; a table that is no section of ours counts
/// as a key.
fn flatten(prefix: &str, table: Table, found: &mut Vec<(String, Value)>) {
    for (name, value) in table {
        let path = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
        match value {
            Value::Table(inner) if keys::sections().any(|section| section.path == path) => {
                flatten(&path, inner, found);
            }
            value => found.push((path, value)),
        }
    }
}

/// The file, in the order of the table of keys.
fn document(taken: &[(&'static dyn AnyKey, Value)], from: &str) -> String {
    let mut text = String::new();
    for section in keys::sections() {
        let mut lines = String::new();
        for key in keys::in_section(section.path) {
            if let Some((_, value)) = taken.iter().find(|(taken, _)| taken.path() == key.path()) {
                let _ = writeln!(lines, "{} = {value}", key.name());
            } else if key.path() == keys::backup::REPOSITORY.path {
                let _ = writeln!(lines, "{} = {}", key.name(), Value::String(from.to_owned()));
            }
        }
        if lines.is_empty() {
            continue;
        }
        let _ = match section.path {
            "" => write!(text, "{lines}"),
            path => write!(text, "\n[{path}]\n{lines}"),
        };
    }
    text
}

/// What was left out, for whoever wants to write it into the file again.
fn comments(left_out: &[Setting]) -> String {
    if left_out.is_empty() {
        return String::new();
    }
    let mut text =
        "\n# Not taken over from the snapshot. Write what is right for this machine into its section:\n"
            .to_owned();
    for setting in left_out {
        let _ = writeln!(text, "#   {} = {}   ({})", setting.key, setting.value, setting.note);
    }
    text
}

/// A value on one line, without anything that a terminal would obey.
fn one_line(value: &Value) -> String {
    let text = value.to_string();
    let text = text.split(['\n', '\r']).map(str::trim).collect::<Vec<_>>().join(" ");
    visible(&text)
}

/// The text with everything that is not to be seen written out.
fn visible(text: &str) -> String {
    let mut shown = String::new();
    for c in text.chars() {
        // Escapes of control characters, and of what turns the direction of writing.
        let unseen = matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
        if c.is_control() || unseen {
            let _ = write!(shown, "\\u{{{:x}}}", u32::from(c));
        } else {
            shown.push(c);
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::{super::Images, *};

    fn restored(text: &str, origin: Origin) -> Restored {
        Config::restored(text, origin, "/mnt/backup", &Defaults::default()).unwrap()
    }

    #[test]
    fn every_key_is_classified_once_and_what_names_a_file_is_never_taken() {
        for key in keys::all() {
            let path = in_lists(key.path());
            let lists = [SERVER, MACHINE, LOCAL].iter().filter(|list| list.contains(&&*path)).count();
            let wanted = usize::from(!key.local());
            assert_eq!(
                lists,
                wanted,
                "{}: put it on the list that it belongs to in config/restored.rs{}",
                key.path(),
                if key.local() { " (it is local by its type, so on none)" } else { "" },
            );
            let looks_local = ["_file", ".file", ".archive", ".reference", "credentials", "_variable"]
                .iter()
                .any(|end| key.path().ends_with(end));
            assert!(!looks_local || key.local(), "{}: its type must say that it is local", key.path());
        }
        for path in [SERVER, MACHINE, LOCAL].concat() {
            assert!(keys::all().any(|key| in_lists(key.path()) == path), "{path} is no key");
        }
    }

    const HOSTILE: &str = r#"
domain = "chat.home.arpa"
host = "ssh://root@evil.home.arpa"
surprise = "\u001b]0;x\u0007"

[guest]
backend = "this-machine"
name = "matrix-family"
cores = 2
extra_packages = ["openssh-server"]

[images]
source = "registry"

[images.synapse]
reference = "evil.home.arpa/synapse:latest"
archive = "/dev/zero"

[proxmox]
root_password = "/etc/shadow"
ssh_keys = "/root/.ssh/id_ed25519"

[turn]
uris = ["turn:evil.home.arpa"]
secret_file = "/etc/shadow"

[edge.npm]
address = "http://192.168.1.5:81"
identity = "a@home.arpa"
secret_file = "/etc/shadow"

[backup]
repository = "/etc"
keep_daily = 1
s3_credentials = "/root/.aws/credentials"

[[backup.repositories]]
name = "away"
repository = "sftp:evil.home.arpa:/x"

[notify]
webhook_file = "/etc/shadow"
file = "/root/.ssh/authorized_keys"
"#;

    #[test]
    fn a_config_that_a_taken_over_guest_wrote_gives_it_nothing_of_the_machine() {
        for origin in [Origin::Guest, Origin::Machine] {
            let got = restored(HOSTILE, origin);
            let usual = Config::from_domain("chat.home.arpa", &Defaults::default()).unwrap();
            assert_eq!(got.config.host, None);
            assert_eq!(got.config.turn, None);
            assert_eq!(got.config.edge, usual.edge);
            assert_eq!(
                got.config.images,
                Images { source: got.config.images.source, ..usual.images.clone() }
            );
            assert!(got.config.notify.is_nobody());
            let places: Vec<String> =
                got.config.backup.repositories.iter().map(|at| at.location.to_string()).collect();
            assert_eq!(places, ["/mnt/backup"]);
            assert_eq!(got.config.guest.name.as_str(), "matrix-family");
            // Whatever is left of it stands behind a #.
            let live: String = got.text.lines().filter(|line| !line.starts_with('#')).collect();
            for word in ["evil", "/etc", "/root", "/dev", "192.168.1.5", "surprise"] {
                assert!(!live.contains(word), "{word}: {live}");
            }
            assert!(!got.text.contains('\u{1b}') && got.left_out.iter().all(|s| !s.value.contains('\u{1b}')));
            assert!(got.left_out.iter().any(|s| s.key == "host"), "{:?}", got.left_out);
        }
        let got = restored(HOSTILE, Origin::Guest);
        let usual = Config::from_domain("chat.home.arpa", &Defaults::default()).unwrap();
        assert_eq!(got.config.guest.backend, usual.guest.backend);
        assert_eq!(got.config.guest.extra_packages, usual.guest.extra_packages);
        assert_eq!(got.config.images.source, usual.images.source);
        assert_eq!(got.config.backup.terms.keep, usual.backup.terms.keep);
    }

    #[test]
    fn the_machines_own_copy_comes_back_but_for_what_is_local() {
        let changed = crate::testing::changed_config();
        let got = restored(&changed.to_applied_toml(), Origin::Machine);
        assert_eq!(got.config.synapse, changed.synapse);
        assert_eq!(got.config.guest, changed.guest);
        assert_eq!(got.config.backup.terms.keep, changed.backup.terms.keep);
        assert_eq!(got.config.web, changed.web);
        // It is its own text: read again it means the same.
        assert_eq!(Config::parse(&got.text, "matrix.toml").unwrap(), got.config);
        let out: Vec<&str> = got.left_out.iter().map(|setting| setting.key.as_str()).collect();
        assert!(out.contains(&"turn.secret_file"), "{out:?}");
        assert!(got.text.contains("#   turn.secret_file = \"/root/turn\""), "{}", got.text);
    }

    #[test]
    fn what_differs_is_told_with_the_default_beside_it() {
        let text = "domain = \"chat.home.arpa\"\n[synapse]\npresence = false\nurl_previews = true\n";
        let differs: Vec<_> = restored(text, Origin::Guest)
            .differs
            .into_iter()
            .map(|setting| (setting.key, setting.value, setting.note))
            .collect();
        assert!(
            differs.contains(&("synapse.presence".to_owned(), "false".to_owned(), "true".to_owned())),
            "{differs:?}"
        );
        assert!(!differs.iter().any(|(key, ..)| key == "synapse.url_previews"), "{differs:?}");
    }

    #[test]
    fn what_is_no_config_is_refused() {
        for text in ["", "domain = ", "domain = 3", "[guest]\ncores = 2", "\0"] {
            Config::restored(text, Origin::Guest, "/mnt/backup", &Defaults::default()).unwrap_err();
        }
    }
}
