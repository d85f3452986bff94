//! HAProxy's config.

use super::super::{
    paths,
    proxy::{CORS, PATIENCE, TlsFiles, Upstream, Way},
};
use crate::document::haproxy::{self, Section};

fn words<const N: usize>(words: [&str; N]) -> Vec<String> {
    words.map(str::to_owned).to_vec()
}

pub(super) fn render(way: &Way, tls: Option<&TlsFiles>) -> String {
    let usual = format!("/etc/haproxy/certs/{}.pem", way.matrix);
    let certificate = tls.map_or(usual.as_str(), |tls| &tls.certificate);
    let to_https = Section::new(["frontend", "matrix_http"])
        .line(["mode", "http"])
        .line(["timeout", "client", "30s"])
        .line(["bind", ":80"])
        .line(["http-request", "redirect", "scheme", "https", "code", "301"]);
    let mut sections =
        vec![to_https, Section::new(["frontend", "matrix_https"]).lines(frontend(way, certificate))];
    sections.extend(way.upstreams.iter().map(backend));
    let header = format!(
        "Written by matrix-podman edge show haproxy.\n{certificate} holds the certificate and, behind it or in the same name with .key, its key."
    );
    haproxy::to_string(&header, &sections)
}

/// What the backend of a service is called.
fn name(to: &Upstream) -> String {
    to.service.name().replace('-', "_")
}

fn backend(to: &Upstream) -> Section {
    Section::new(["backend", &name(to)])
        .line(["mode", "http"])
        .line(["timeout", "connect", "10s"])
        .line(["timeout", "server", PATIENCE])
        .line(["server", "guest", &format!("{}:{}", to.host, to.port)])
}

fn frontend(way: &Way, certificate: &str) -> Vec<Vec<String>> {
    let mut lines = vec![
        words(["mode", "http"]),
        words(["timeout", "client", PATIENCE]),
        words(["bind", ":443", "ssl", "crt", certificate, "alpn", "h2,http/1.1"]),
        words(["acl", "matrix_host", "req.hdr(host),field(1,:),lower", "-m", "str", &way.matrix]),
        words(["acl", "chat_host", "req.hdr(host),field(1,:),lower", "-m", "str", &way.chat]),
        words(["acl", "well_known_host", "req.hdr(host),field(1,:),lower", "-m", "str", &way.matrix]),
    ];
    if let Some(apex) = &way.apex {
        lines.push(words(["acl", "well_known_host", "req.hdr(host),field(1,:),lower", "-m", "str", apex]));
    }
    // `path` is what came, undecoded and without the query.
    let parts: Vec<_> = way.parts().collect();
    for (_, _, allowed) in &parts {
        lines.push(words(["acl", "public_path", "path", "-m", "reg", allowed]));
    }
    lines.push(words(["acl", "crooked_path", "path", "-m", "reg", paths::CROOKED]));
    // In the place of whatever came: Synapse believes the first address.
    lines.push(words(["http-request", "set-header", "X-Forwarded-For", "%[src]"]));
    if let Some(networks) = &way.tunnel {
        let mut from = words(["acl", "from_tunnel", "src"]);
        from.extend(networks.iter().map(ToString::to_string));
        lines.push(from);
        lines.push(words(["acl", "tunnel_says", "req.hdr(CF-Connecting-IP)", "-m", "found"]));
        lines.push(words([
            "http-request",
            "set-header",
            "X-Forwarded-For",
            "%[req.hdr(CF-Connecting-IP)]",
            "if",
            "from_tunnel",
            "tunnel_says",
        ]));
    }
    lines.push(words(["http-request", "set-header", "X-Forwarded-Proto", way.scheme]));
    lines.push(words([
        "http-request",
        "deny",
        "deny_status",
        "413",
        "if",
        "{",
        "req.hdr_val(content-length)",
        "gt",
        &way.max_body.0.to_string(),
        "}",
    ]));
    for document in &way.documents {
        let mut answer = words([
            "http-request",
            "return",
            "status",
            "200",
            "content-type",
            "application/json",
            "string",
            &document.json,
        ]);
        for (name, value) in CORS {
            answer.extend(words(["hdr", name, value]));
        }
        answer.extend(words(["if", "well_known_host", "{", "path", document.path, "}"]));
        lines.push(answer);
    }
    let refuse = |status: &str, condition: &[&str]| {
        let mut line = words(["http-request", "deny", "deny_status", status]);
        line.extend(condition.iter().map(|word| (*word).to_owned()));
        line
    };
    lines.push(refuse("403", &["if", "{", "path,url_dec", "-m", "beg", paths::ADMIN, "}"]));
    lines.push(refuse("403", &["if", "matrix_host", "crooked_path"]));
    lines.push(refuse(
        "403",
        &["if", "matrix_host", "!public_path", "{", "path", "-m", "beg", paths::SYNAPSE, "}"],
    ));
    lines.push(words([
        "http-request",
        "redirect",
        "location",
        &format!("{}/", way.chat_url),
        "code",
        "302",
        "if",
        "matrix_host",
        "{",
        "path",
        "/",
        "}",
    ]));
    lines.push(refuse("404", &["if", "!chat_host", "!matrix_host"]));
    lines.push(refuse("404", &["if", "matrix_host", "!public_path"]));
    for (to, _, allowed) in &parts {
        let mut line = words(["use_backend", &name(to), "if", "matrix_host"]);
        match parts.len() {
            1 => line.push("public_path".to_owned()),
            _ => line.extend(words(["{", "path", "-m", "reg", allowed, "}"])),
        }
        lines.push(line);
    }
    lines.extend(way.whole().map(|to| words(["default_backend", &name(to)])));
    lines
}
