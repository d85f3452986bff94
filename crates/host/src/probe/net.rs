//! Interfaces, ports and what can be reached.

use std::{
    collections::BTreeSet,
    net::{Ipv4Addr, TcpStream, ToSocketAddrs},
    time::Duration,
};

use crate::process::Program;

/// How long a place may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// How long a quick command may take.
const QUICK: Duration = Duration::from_secs(30);

pub(super) fn address_of(interface: &str) -> Option<Ipv4Addr> {
    let output = Program::new(["ip", "-json", "-4", "address", "show", "dev", interface]).output();
    let links: serde_json::Value = serde_json::from_slice(&output.stdout).ok()?;
    links.pointer("/0/addr_info/0/local")?.as_str()?.parse().ok()
}

/// The interfaces by which packets leave: to the world, and to `addresses`.
pub(super) fn ways(addresses: impl IntoIterator<Item = Ipv4Addr>) -> Result<Vec<String>, String> {
    let ask = |words: &[&str]| -> Result<Vec<String>, String> {
        let output =
            Program::new(["ip", "-json", "-4", "route"].iter().chain(words)).deadline(QUICK).output();
        // An address that nothing leads to has no way.
        if output.status != Some(0) || output.stdout.trim_ascii().is_empty() {
            return Ok(Vec::new());
        }
        let routes: Vec<serde_json::Value> = serde_json::from_slice(&output.stdout)
            .map_err(|e| format!("the list of routes cannot be read: {e}"))?;
        let device = |route: &serde_json::Value| {
            route.get("dev").and_then(serde_json::Value::as_str).map(str::to_owned)
        };
        Ok(routes.iter().filter_map(device).filter(|name| name != "lo").collect())
    };
    let mut all = ask(&["show", "default"])?;
    for address in addresses {
        all.extend(ask(&["get", &address.to_string()])?);
    }
    all.sort();
    all.dedup();
    Ok(all)
}

/// Tables of the kernel's sockets, and the state in them of one that nobody speaks with yet.
type Sockets = ([&'static str; 2], &'static str);
/// Sockets that wait for connections.
pub(super) const LISTENING: Sockets = (["/proc/net/tcp", "/proc/net/tcp6"], "0A");
/// Sockets that wait for packets from anybody.
pub(super) const WAITING: Sockets = (["/proc/net/udp", "/proc/net/udp6"], "07");

/// Those of `ports` at which one of `sockets` is, on any address.
pub(super) fn taken(ports: &BTreeSet<u16>, (tables, wanted): Sockets) -> BTreeSet<u16> {
    let listening: BTreeSet<u16> = tables
        .into_iter()
        .filter_map(|table| std::fs::read_to_string(table).ok())
        .flat_map(|table| table.lines().skip(1).filter_map(|line| port_of(line, wanted)).collect::<Vec<_>>())
        .collect();
    ports.intersection(&listening).copied().collect()
}

/// The port of a line of such a table whose state is `wanted`.
fn port_of(line: &str, wanted: &str) -> Option<u16> {
    let mut fields = line.split_whitespace();
    let local = fields.nth(1)?;
    let state = fields.nth(1)?;
    (state == wanted).then(|| u16::from_str_radix(local.rsplit(':').next()?, 16).ok()).flatten()
}

/// Whether `host:port` accepts a connection; `apt` stands for the first package
/// source of this side, or the proxy in front of it.
pub(super) fn reachable(place: &str) -> bool {
    if place == "apt" {
        return package_source().is_some_and(|source| reachable(&source));
    }
    place
        .to_socket_addrs()
        .is_ok_and(|mut addresses| addresses.any(|a| TcpStream::connect_timeout(&a, PATIENCE).is_ok()))
}

/// `host:port` of what apt would fetch from.
fn package_source() -> Option<String> {
    let printed = |argv: &[&str]| String::from_utf8(Program::new(argv).output().stdout).ok();
    let proxy = printed(&["apt-config", "dump", "--format=%v%n", "Acquire::http::Proxy"])?;
    let uris = printed(&["apt-get", "--print-uris", "update"])?;
    // 'http://host/path' file size hash
    let first = uris.lines().find_map(|line| line.strip_prefix('\'')?.split('\'').next());
    let url = proxy.lines().map(str::trim).find(|line| line.starts_with("http")).or(first)?;
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?.rsplit('@').next()?;
    let port = if scheme == "https" { 443 } else { 80 };
    Some(if authority.contains(':') { authority.to_owned() } else { format!("{authority}:{port}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_port_is_taken() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        assert_eq!(taken(&BTreeSet::from([port]), LISTENING), BTreeSet::from([port]));
        assert!(reachable(&format!("127.0.0.1:{port}")));
        drop(listener);
        assert!(taken(&BTreeSet::from([port]), LISTENING).is_empty());
        assert!(!reachable(&format!("127.0.0.1:{port}")));
    }
}
