//! The guest's own settings: kernel, Podman, logs, updates, time and language.

use super::signatures;
use crate::{
    config::Config,
    desired::DesiredFile,
    document::unit::{self, Section},
    name::AbsPath,
    stack::Facts,
};

const HEADER: &str = "Written by matrix-podman; changes here are overwritten.";

/// Packages that unattended upgrades leave alone: a new container runtime under
/// running containers has broken nested guests before. Regular expressions that
/// match from a name's beginning.
const HELD_BACK: [&str; 10] = [
    "podman$",
    "crun$",
    "conmon$",
    "netavark$",
    "aardvark-dns$",
    "nftables$",
    "containers-storage$",
    "containers-common$",
    "golang-github-containers-(common|image)$",
    "podman-compose$",
];

/// Every file of the guest's own settings.
pub fn files(config: &Config, facts: &Facts) -> Vec<DesiredFile> {
    let mut files =
        vec![sysctl(facts), containers_conf(facts), journald(), upgrades(), periodic(), locale(), dpkg()];
    files.extend(signatures::files(config));
    files.push(DesiredFile::public(
        AbsPath::known("/etc/timezone"),
        format!("{}\n", config.timezone),
        "The time zone, for programs that do not read /etc/localtime",
    ));
    files
}

/// Guests are made from archives whose dpkg does not wait for the disk: an update in
/// the night before a power cut would be installed and empty.
fn dpkg() -> DesiredFile {
    DesiredFile::public(
        AbsPath::known("/etc/dpkg/dpkg.cfg.d/zz-matrix-podman"),
        format!("# {HEADER}\nno-force-unsafe-io\n"),
        "Has packages be on the disk before they count as installed",
    )
}

/// Where `/etc/localtime` points to.
pub fn localtime_target(config: &Config) -> AbsPath {
    AbsPath::known(format!("/usr/share/zoneinfo/{}", config.timezone))
}

/// Where the kernel's settings stand.
pub const SYSCTL_FILE: &str = "/etc/sysctl.d/99-hardening.conf";

/// Network settings alone: in an unprivileged guest the kernel lets nothing
/// else be set, and the machine's own values hold for the rest.
pub fn sysctl_settings(facts: &Facts) -> Vec<(String, u32)> {
    let mut settings: Vec<(String, u32)> = Vec::new();
    for which in ["all", "default"] {
        for (name, value) in [
            ("accept_redirects", 0),
            ("secure_redirects", 0),
            ("send_redirects", 0),
            ("accept_source_route", 0),
            ("rp_filter", 1),
            // With 0, the address that a running guest is given beside its old one goes
            // when the old one is removed. Debian 13 has 1 in a package that a guest
            // need not have (linux-sysctl-defaults).
            ("promote_secondaries", 1),
        ] {
            settings.push((format!("net.ipv4.conf.{which}.{name}"), value));
        }
    }
    for (name, value) in [
        ("icmp_echo_ignore_broadcasts", 1),
        ("icmp_ignore_bogus_error_responses", 1),
        ("tcp_syncookies", 1),
        ("tcp_rfc1337", 1),
    ] {
        settings.push((format!("net.ipv4.{name}"), value));
    }
    for which in ["all", "default"] {
        let ipv6: &[(&str, u32)] = if facts.ipv6 {
            // 0: a guest that was without IPv6 gets it now, not at its next start.
            // 2: Podman's networks turn forwarding on, and with 1 the guest
            // would then stop listening to its router.
            &[("disable_ipv6", 0), ("accept_redirects", 0), ("accept_source_route", 0), ("accept_ra", 2)]
        } else {
            &[("disable_ipv6", 1)]
        };
        settings.extend(ipv6.iter().map(|(name, value)| (format!("net.ipv6.conf.{which}.{name}"), *value)));
    }
    settings
}

fn sysctl(facts: &Facts) -> DesiredFile {
    // A leading `-`: a setting that a kernel lacks is no error (sysctl.d(5)).
    let lines: String =
        sysctl_settings(facts).iter().map(|(name, value)| format!("-{name} = {value}\n")).collect();
    DesiredFile::public(
        AbsPath::known(SYSCTL_FILE),
        format!("# {HEADER}\n{lines}"),
        if facts.ipv6 { "Hardens the guest's network" } else { "Hardens the guest's network; IPv6 is off" },
    )
}

/// `containers.conf(5)`, as far as it is set here.
#[derive(Debug, serde::Serialize)]
struct ContainersConf {
    containers: Containers,
    engine: Engine,
}

#[derive(Debug, serde::Serialize)]
struct Containers {
    keyring: bool,
    log_driver: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pids_limit: Option<u32>,
}

#[derive(Debug, serde::Serialize)]
struct Engine {
    runtime: &'static str,
    events_logger: &'static str,
    healthcheck_events: bool,
}

fn containers_conf(facts: &Facts) -> DesiredFile {
    let conf = ContainersConf {
        containers: Containers {
            // An unprivileged guest has no kernel keyrings of its own.
            keyring: false,
            log_driver: "journald",
            // Without the controller, even Podman's own limit is an error.
            pids_limit: (!facts.pids_limits).then_some(0),
        },
        engine: Engine {
            runtime: "crun",
            events_logger: "journald",
            // Not a line in the log for each of the probes.
            healthcheck_events: false,
        },
    };
    // Strings and booleans in two tables: TOML can say them all.
    let toml = toml::to_string(&conf).unwrap_or_default();
    DesiredFile::public(
        AbsPath::known("/etc/containers/containers.conf.d/10-matrix.conf"),
        format!("# {HEADER}\n{toml}"),
        "Fits Podman to a container guest",
    )
}

/// What Podman is told when newer programs than those that are installed are
/// tried: where it finds those that it calls itself.
pub fn trial_conf(folders: &[String]) -> String {
    #[derive(serde::Serialize)]
    struct Trial<'a> {
        engine: TrialEngine<'a>,
    }
    #[derive(serde::Serialize)]
    struct TrialEngine<'a> {
        helper_binaries_dir: &'a [String],
        events_logger: &'static str,
    }
    let conf = Trial { engine: TrialEngine { helper_binaries_dir: folders, events_logger: "none" } };
    toml::to_string(&conf).unwrap_or_default()
}

fn journald() -> DesiredFile {
    let journal = Section::new("Journal")
        .raw("Storage", "persistent")
        .raw("SystemMaxUse", "500M")
        .raw("SystemKeepFree", "1G")
        .raw("MaxRetentionSec", "1month");
    DesiredFile::public(
        AbsPath::known("/etc/systemd/journald.conf.d/10-matrix.conf"),
        unit::to_string(HEADER, &[journal]),
        "Keeps logs for a month and within 500 MiB",
    )
}

/// One entry of an apt configuration file (apt.conf(5)).
enum Apt {
    Value(&'static str, String),
    List(&'static str, Vec<String>),
    Clear(&'static str),
}

fn apt_conf(entries: &[Apt]) -> String {
    let mut text = format!("// {HEADER}\n");
    for entry in entries {
        match entry {
            Apt::Value(name, value) => text.push_str(&format!("{name} \"{value}\";\n")),
            Apt::Clear(name) => text.push_str(&format!("#clear {name};\n")),
            Apt::List(name, values) => {
                text.push_str(&format!("{name} {{\n"));
                for value in values {
                    text.push_str(&format!("  \"{value}\";\n"));
                }
                text.push_str("};\n");
            }
        }
    }
    text
}

fn upgrades() -> DesiredFile {
    let content = apt_conf(&[
        Apt::Clear("Unattended-Upgrade::Origins-Pattern"),
        Apt::List(
            "Unattended-Upgrade::Origins-Pattern",
            vec![
                "origin=Debian,codename=${distro_codename},label=Debian".into(),
                "origin=Debian,codename=${distro_codename}-security,label=Debian-Security".into(),
            ],
        ),
        Apt::List("Unattended-Upgrade::Package-Blacklist", HELD_BACK.map(|name| format!("^{name}")).to_vec()),
        Apt::Value("Unattended-Upgrade::Automatic-Reboot", "false".into()),
        Apt::Value("Unattended-Upgrade::Remove-Unused-Dependencies", "true".into()),
    ]);
    DesiredFile::public(
        AbsPath::known("/etc/apt/apt.conf.d/52matrix-unattended-upgrades"),
        content,
        "Security updates by themselves, the container runtime excepted",
    )
}

fn periodic() -> DesiredFile {
    let content = apt_conf(&[
        Apt::Value("APT::Periodic::Update-Package-Lists", "1".into()),
        Apt::Value("APT::Periodic::Unattended-Upgrade", "1".into()),
        Apt::Value("APT::Periodic::AutocleanInterval", "7".into()),
    ]);
    DesiredFile::public(
        AbsPath::known("/etc/apt/apt.conf.d/20auto-upgrades"),
        content,
        "Looks for updates daily",
    )
}

fn locale() -> DesiredFile {
    DesiredFile::public(
        AbsPath::known("/etc/locale.conf"),
        "LANG=C.UTF-8\n".to_owned(),
        "A locale that every Debian has, with UTF-8",
    )
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
    fn newer_programs_find_each_other() {
        let folders = ["/trial/root/usr/lib/podman".to_owned(), "/usr/lib/podman".to_owned()];
        insta::assert_snapshot!(trial_conf(&folders), @r#"
        [engine]
        helper_binaries_dir = ["/trial/root/usr/lib/podman", "/usr/lib/podman"]
        events_logger = "none"
        "#);
    }

    #[test]
    fn changed() {
        insta::assert_snapshot!(show(&files(&changed_config(), &weak_facts())));
        assert_eq!(localtime_target(&changed_config()).as_str(), "/usr/share/zoneinfo/Europe/Zurich");
    }
}
