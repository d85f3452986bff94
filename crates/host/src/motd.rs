//! How the server in this guest is, for people who enter it: read from files
//! alone, so that nothing that hangs can keep a person waiting.

use std::{fs, net::Ipv4Addr, path::Path};

use matrix_podman_core::{
    backup::{self, News},
    config::Config,
    endpoint::Endpoint,
    layout,
    lock::Lock,
    service::Service,
    stack,
    update::{self, Unattended},
};
use serde_json::Value;

use crate::probe;

/// Where Podman keeps what it knows of containers.
const CONTAINERS: &str = "/var/lib/containers/storage/overlay-containers";
/// Where Podman keeps what concerns containers that run.
const RUNS: &str = "/run/containers/storage/overlay-containers";
/// Podman's lists of containers: those that are gone once they stop, and others.
const LISTS: [&str; 2] = ["volatile-containers.json", "containers.json"];
/// Where systemd's units have their control groups.
const UNITS: &str = "/sys/fs/cgroup/system.slice";

/// The greeting; `None` where there is no server.
pub fn greeting() -> Option<String> {
    let config = Config::parse(&read(layout::applied_config().as_str())?, "matrix.toml").ok()?;
    let lock = Lock::parse(&read(layout::lock_file().as_str())?).ok()?;
    let hostname = read("/proc/sys/kernel/hostname").unwrap_or_default();
    let states = stack::services(&config).into_iter().map(|service| {
        let version = lock.images.get(&service).map(|image| image.version.clone()).unwrap_or_default();
        (service, state(service), version)
    });
    let states: Vec<_> = states.collect();
    let updated = read(update::unattended_file().as_str()).and_then(|text| Unattended::parse(&text));
    let news = read(backup::news_file().as_str()).and_then(|text| News::parse(&text)).unwrap_or_default();
    let backups: Vec<String> = news.iter().map(|news| news.line(&crate::backup::now())).collect();
    Some(words(&config, hostname.trim(), probe::own_address(), &states, updated.as_ref(), &backups))
}

fn words(
    config: &Config,
    hostname: &str,
    address: Option<Ipv4Addr>,
    states: &[(Service, &'static str, String)],
    updated: Option<&Unattended>,
    backups: &[String],
) -> String {
    let shown = address.map_or_else(|| "no address".to_owned(), |address| address.to_string());
    let mut text = format!("{}   on {hostname}, {shown}\n", config.server_name);
    for (service, state, version) in states {
        text.push_str(&format!("  {:<12} {state:<20} {version}\n", service.name()));
    }
    for Endpoint { label, url, port, .. } in stack::endpoints(config).iter().rev() {
        let here = address.map(|address| format!("   http://{address}:{port}")).unwrap_or_default();
        text.push_str(&format!("  {label:<12} {url}{here}\n"));
    }
    if let Some(updated) = updated {
        text.push_str(&format!("  {:<12} {}\n", "last update", updated.line()));
    }
    for line in backups {
        text.push_str(&format!("  {:<12} {line}\n", "backup"));
    }
    text.push_str(&format!("  {:<12} {}, units in {}\n", "files", layout::ROOT, layout::QUADLET));
    text.push_str("  matrix-podman status, logs [SERVICE], restart [SERVICE], user add NAME\n");
    text
}

/// Whether a service runs and answers.
fn state(service: Service) -> &'static str {
    let events = read(&format!("{UNITS}/{}/cgroup.events", service.unit()));
    match events {
        None => "stopped",
        Some(events) if !events.lines().any(|line| line == "populated 1") => "stopped",
        Some(_) => match health(service.name()).as_deref() {
            Some("healthy") => "runs, healthy",
            Some("starting") => "starts",
            Some(_) => "runs, does not answer",
            None => "runs",
        },
    }
}

/// What the last health check of a container said.
fn health(name: &str) -> Option<String> {
    let container = LISTS.iter().find_map(|list| {
        let containers: Value = serde_json::from_str(&read(&format!("{CONTAINERS}/{list}"))?).ok()?;
        let named = |container: &&Value| {
            container["names"].as_array().is_some_and(|names| names.iter().any(|n| n == name))
        };
        containers.as_array()?.iter().find(named).cloned()
    })?;
    let log = Path::new(RUNS).join(container["id"].as_str()?).join("healthcheck.log");
    let log: Value = serde_json::from_str(&fs::read_to_string(log).ok()?).ok()?;
    log["Status"].as_str().map(str::to_owned)
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use matrix_podman_core::stack;

    use super::*;

    #[test]
    fn a_greeting() {
        let config = Config::parse("domain = \"chat.home.arpa\"", "matrix.toml").unwrap();
        let states = [
            (stack::postgres::ID, "runs, healthy", "18.1".to_owned()),
            (stack::redis::ID, "runs", "8.6.4".to_owned()),
            (stack::synapse::ID, "runs, does not answer", "1.157.1".to_owned()),
            (stack::element::ID, "stopped", "1.12.0".to_owned()),
        ];
        let updated = Unattended {
            at: "2026-11-15T05:41:07Z".to_owned(),
            outcome: update::Ended::Updated,
            what: "synapse 1.157.1 runs".to_owned(),
        };
        let address = Some([10, 0, 0, 5].into());
        let news = News {
            name: backup::RepositoryName::main(),
            tried: Some("2026-11-25T03:40:00Z".to_owned()),
            failed: true,
            made: Some("2026-11-24T03:35:00Z".to_owned()),
            drilled: Some("2026-11-01T05:10:00Z".to_owned()),
            drill_failed: false,
            missed_from: None,
            drill_missed_from: None,
        };
        let backups = [news.line("2026-11-25T06:00:00Z")];
        insta::assert_snapshot!(words(&config, "matrix", address, &states, Some(&updated), &backups));
    }
}
