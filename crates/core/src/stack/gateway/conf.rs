//! HAProxy's config.
//!
//! Format: HAProxy 3.0's "Configuration Manual". What the settings do while Synapse is away was measured; the
//! figures are in docs/decisions/0012.

use crate::{
    config::{Config, Network},
    document::haproxy::{self, Section},
    edge::{paths, proxy::PATIENCE},
    endpoint::{Endpoint, Paths},
    service::ServiceId,
    stack::{self, Publish, front::LONG},
};

use super::{CONTROL, DRAIN, FRONT};

/// Where it answers the health check, in its container alone.
pub(super) const HEALTH: &str = "127.0.0.1:8405";
/// Who is on this side of the guest's network.
const LOOPBACK: &str = "127.0.0.0/8";
/// How long a request waits for a service that is away. NPM gives up after 90 s, Cloudflare after 100 s.
const HELD: &str = "60s";
/// So many tries to connect, one a second: as long as [`HELD`].
const TRIES: &str = "60";
/// The variable that is set while the config is only read.
pub(super) const TRIAL: &str = "GATEWAY_TRIAL";
/// The first socket that systemd hands over.
const FIRST_SOCKET: usize = 3;
/// Paths that are no part of a public prefix, and that proxies and monitors ask for all the same.
const BESIDES: [&str; 4] = ["/", "/health", "/.well-known/matrix/client", "/.well-known/matrix/server"];
/// What the paths of requests that wait for news end with.
const NEWS: &str = "/sync";
/// Requests that may be sent again where no answer came, as clients do themselves. A PUT carries its
/// transaction's number, or all of what it sets; the numbers of messages are in Synapse's database, those of
/// keys that devices send each other in its memory, and a device that gets one twice knows it by its content.
const REPEATABLE: [&str; 4] = ["GET", "HEAD", "OPTIONS", "PUT"];

/// All of the config.
pub(super) fn text(config: &Config) -> String {
    let endpoints = stack::endpoints(config);
    let held = stack::held(config);
    let mut sections = vec![global(), defaults()];
    for (at, (service, _)) in held.iter().enumerate() {
        let socket = format!("fd@{}", FIRST_SOCKET + at);
        sections.push(frontend(config, &endpoints, *service, &socket));
    }
    for (service, port) in &held {
        sections.extend(backends(&endpoints, *service, port));
    }
    sections
        .push(Section::new(["frontend", "health"]).line(["bind", HEALTH]).line(["monitor-uri", "/health"]));
    haproxy::to_string("Written by matrix-podman; changes here are overwritten.", &sections)
}

fn global() -> Section {
    Section::new(["global"])
        .line(["maxconn", "4000"])
        // One that is replaced lets requests end that it has begun.
        .line(["hard-stop-after", DRAIN])
        .line(["stats", "socket", CONTROL, "mode", "600", "level", "admin"])
        .line(["stats", "timeout", "1m"])
}

fn defaults() -> Section {
    let away = serde_json::json!({
        "errcode": "M_UNKNOWN",
        "error": "The server is away for a moment. Please try again.",
    });
    let answer = |status: &str| {
        [
            "http-error",
            "status",
            status,
            "content-type",
            "application/json",
            "string",
            &away.to_string(),
            "hdr",
            "Retry-After",
            "10",
            "hdr",
            "Access-Control-Allow-Origin",
            "*",
        ]
        .map(str::to_owned)
        .to_vec()
    };
    Section::new(["defaults"])
        .line(["mode", "http"])
        .line(["timeout", "connect", "1s"])
        .line(["timeout", "http-request", HELD])
        .line(["timeout", "http-keep-alive", "90s"])
        .line(["timeout", "client", PATIENCE])
        .line(["timeout", "server", PATIENCE])
        .line(["timeout", "tunnel", "1h"])
        .line(["retries", TRIES])
        // Each try looks anew where the service is: while it is held, that is somewhere else.
        .line(["option", "redispatch", "1"])
        .line(["retry-on", "conn-failure", "empty-response"])
        // A request is sent again only while all of it is here.
        .line(["option", "http-buffer-request"])
        // A connection that waited for its next request may be closed by a service that stops just as one is
        // sent: nobody could say then whether it was carried out. So each request has a connection of its own.
        .line(["option", "http-server-close"])
        .lines(["502", "503", "504"].map(answer))
}

/// The services with a host of their own, besides `service`.
fn hosts(endpoints: &[Endpoint], service: ServiceId) -> impl Iterator<Item = &Endpoint> {
    endpoints.iter().filter(move |at| at.paths == Paths::All && at.service != service)
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn frontend(config: &Config, endpoints: &[Endpoint], service: ServiceId, socket: &str) -> Section {
    // Nobody hands sockets to an HAProxy that only reads the config.
    let mut lines = vec![
        words(&[".if", &format!("defined({TRIAL})")]),
        words(&["bind", "127.0.0.1:8404"]),
        words(&[".else"]),
        words(&["bind", socket]),
        words(&[".endif"]),
    ];
    lines.extend(callers(config));
    let mut retry = words(&["http-request", "disable-l7-retry", "unless", "{", "method"]);
    retry.extend(words(&REPEATABLE));
    // A sliding sync is a POST that only reads.
    retry.extend(words(&["}", "or", "{", "path", "-m", "end", NEWS, "}"]));
    lines.push(retry);
    let own = endpoints.iter().find(|at| at.service == service);
    if let Some(Endpoint { paths: Paths::Below { allowed, .. }, .. }) = own {
        lines.extend(guards(endpoints, service, allowed));
    }
    lines.push(words(&["default_backend", service.name()]));
    Section::new(["frontend", service.name()]).lines(lines)
}

/// Who is believed about people's addresses: the proxies that the config names. Where it names none, only the
/// guest's machine reaches the guest, so what ends TLS is there.
fn believed(config: &Config) -> Vec<String> {
    let named: Vec<String> = config.edge.proxies.iter().map(ToString::to_string).collect();
    if !named.is_empty() {
        return named;
    }
    let bridge = match &config.guest.network {
        Network::Own { subnet, .. } => Some(subnet.address().to_string()),
        Network::Existing { .. } => None,
    };
    [LOOPBACK.to_owned()].into_iter().chain(bridge).collect()
}

/// Says whose request it is, in the place of whatever came. What a proxy that is believed says of that counts;
/// of several addresses the last, which is the one that it added itself.
fn callers(config: &Config) -> Vec<Vec<String>> {
    let set = |name: &str, value: &str| words(&["http-request", "set-header", name, value]);
    let told = "req.hdr_ip(X-Forwarded-For,-1)";
    let found = ["if", "from_proxy", "{", told, "-m", "found", "}"];
    let as_told = words(&["http-request", "set-var(txn.caller)", told]);
    let mut scheme = set("X-Forwarded-Proto", "http");
    scheme.extend(words(&["unless", "from_proxy"]));
    let mut lines = vec![
        words(&["http-request", "set-var(txn.caller)", "src"]),
        words(&["acl", "from_proxy", "src"]).into_iter().chain(believed(config)).collect(),
        as_told.into_iter().chain(words(&found)).collect(),
    ];
    lines.push(set("X-Forwarded-For", "%[var(txn.caller)]"));
    lines.push(scheme);
    lines.extend(["X-Real-IP", "Forwarded"].map(|name| words(&["http-request", "del-header", name])));
    lines
}

/// What is refused of what comes for `service`, and what is for others.
fn guards(endpoints: &[Endpoint], service: ServiceId, allowed: &str) -> Vec<Vec<String>> {
    let others: Vec<&str> = hosts(endpoints, service).map(|other| other.service.name()).collect();
    let mut lines: Vec<Vec<String>> = hosts(endpoints, service)
        .map(|other| {
            let host = "req.hdr(host),field(1,:),lower";
            words(&["acl", other.service.name(), host, "-m", "str", &other.host])
        })
        .collect();
    // `path` is what came, undecoded and without the query.
    lines.push(words(&["acl", "public_path", "path", "-m", "reg", allowed]));
    lines.push(words(&["acl", "public_path", "path"]).into_iter().chain(words(&BESIDES)).collect());
    lines.push(words(&["acl", "crooked_path", "path", "-m", "reg", paths::CROOKED]));
    let refuse = |status: &str, condition: &[&str]| {
        let line = words(&["http-request", "deny", "deny_status", status, "if"]);
        let own = others.iter().map(|other| format!("!{other}"));
        line.into_iter().chain(own).chain(words(condition)).collect::<Vec<_>>()
    };
    lines.push(refuse("403", &["{", "path,url_dec", "-m", "beg", paths::ADMIN, "}"]));
    lines.push(refuse("403", &["crooked_path"]));
    lines.push(refuse("403", &["!public_path", "{", "path", "-m", "beg", paths::SYNAPSE, "}"]));
    lines.push(refuse("404", &["!public_path"]));
    lines.extend(others.iter().map(|other| words(&["use_backend", other, "if", other])));
    let long = format!("{service}{LONG}");
    lines.push(words(&["use_backend", &long, "if", "{", "path", "-m", "end", NEWS, "}"]));
    lines
}

/// The backends of `service`: there is no check of its health, which would have requests refused
/// instead of held.
fn backends(endpoints: &[Endpoint], service: ServiceId, port: &Publish) -> Vec<Section> {
    let server = format!("{}:{}", FRONT.address(service), port.container);
    let backend = |name: &str| Section::new(["backend", name]).line(["server", service.name(), &server]);
    let mut all = vec![backend(service.name())];
    if endpoints.iter().any(|at| at.service == service && at.paths != Paths::All) {
        all.push(backend(&format!("{service}{LONG}")));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{changed_config, config_with, diff};

    fn on(more: &[(&str, &str)]) -> Config {
        let all: Vec<_> = [("gateway.enabled", "true")].into_iter().chain(more.iter().copied()).collect();
        config_with(&all)
    }

    #[test]
    fn haproxy_cfg() {
        insta::assert_snapshot!(text(&on(&[])));
    }

    #[test]
    fn what_named_proxies_say_is_believed() {
        let named = text(&on(&[("edge.proxies", "192.168.1.5/32")]));
        insta::assert_snapshot!(diff(&text(&on(&[])), &named));
    }

    #[test]
    fn it_stands_on_the_ports_of_those_behind_it() {
        let mut config = changed_config();
        config.gateway.enabled = true;
        let text = text(&config);
        // systemd hands the ports over, whatever their numbers are.
        assert!(text.contains("bind fd@3\n") && text.contains("bind fd@4\n"), "{text}");
        assert!(!text.contains("fd@5") && !text.contains("18008"), "{text}");
        assert!(text.contains("-m str c.verein.ch"), "{text}");
    }
}
