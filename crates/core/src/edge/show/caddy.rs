//! A Caddyfile, as a typed tree and its text.

use super::super::{
    paths,
    proxy::{CORS, TlsFiles, Upstream, Way},
    well_known::Document,
};

/// A line of a Caddyfile: words, and what stands in braces behind them.
struct Line {
    words: Vec<String>,
    inside: Vec<Line>,
}

fn line<const N: usize>(words: [&str; N]) -> Line {
    Line { words: words.map(str::to_owned).to_vec(), inside: Vec::new() }
}

fn block<const N: usize>(words: [&str; N], inside: Vec<Line>) -> Line {
    Line { words: words.map(str::to_owned).to_vec(), inside }
}

fn write(text: &mut String, line: &Line, depth: usize) {
    let indent = "\t".repeat(depth);
    let words: Vec<String> = line.words.iter().map(|word| quoted(word)).collect();
    text.push_str(&format!("{indent}{}", words.join(" ")));
    if line.inside.is_empty() {
        text.push('\n');
        return;
    }
    text.push_str(" {\n");
    for inner in &line.inside {
        write(text, inner, depth + 1);
    }
    text.push_str(&format!("{indent}}}\n"));
}

/// A word as Caddy's lexer reads it back. Braces around a placeholder stay. A
/// backslash stands for itself, so whatever has one stands between backticks.
fn quoted(word: &str) -> String {
    if word.contains('\\') && !word.contains('`') {
        return format!("`{word}`");
    }
    let plain = !word.is_empty()
        && !word.contains(|c: char| c.is_whitespace() || matches!(c, '"' | '`' | '\\' | '#'));
    if plain { word.to_owned() } else { format!("\"{}\"", word.replace('"', "\\\"")) }
}

pub(super) fn render(way: &Way, tls: Option<&TlsFiles>) -> String {
    let mut sites = vec![site(way, tls, &way.matrix, matrix(way))];
    sites.extend(way.whole().map(|to| site(way, tls, &to.at, vec![hand_on(way, to)])));
    if let Some(apex) = &way.apex {
        let mut inside: Vec<Line> = way.documents.iter().map(answer).collect();
        inside.push(block(["handle"], vec![line(["respond", "404"])]));
        sites.push(site(way, tls, apex, inside));
    }
    let mut text = String::from("# Written by matrix-podman edge show caddy; a Caddyfile.\n");
    for site in &sites {
        write(&mut text, site, 0);
    }
    text
}

fn site(way: &Way, tls: Option<&TlsFiles>, host: &str, inside: Vec<Line>) -> Line {
    let mut lines = Vec::new();
    if let Some(tls) = tls {
        lines.push(line(["tls", &tls.certificate, &tls.key]));
    }
    // Only the tunnel is believed about people's addresses.
    lines.push(line(["vars", "client", "{remote_host}"]));
    if let Some(networks) = &way.tunnel {
        let mut from = vec!["remote_ip".to_owned()];
        from.extend(networks.iter().map(ToString::to_string));
        let matcher =
            vec![Line { words: from, inside: Vec::new() }, line(["header", "CF-Connecting-IP", "*"])];
        lines.push(block(["@tunnel"], matcher));
        lines.push(line(["vars", "@tunnel", "client", "{header.CF-Connecting-IP}"]));
    }
    lines.extend(inside);
    block([host], lines)
}

fn matrix(way: &Way) -> Vec<Line> {
    let mut lines = vec![block(["request_body"], vec![line(["max_size", &way.max_body.0.to_string()])])];
    lines.extend(way.documents.iter().map(answer));
    // Caddy's own matchers for paths see one that is decoded and cleaned, and
    // what came is handed on. So what came decides.
    let came = "{http.request.orig_uri}";
    for (n, (to, _, allowed)) in way.parts().enumerate() {
        let matcher = if n == 0 { "@public".to_owned() } else { format!("@{}", to.service) };
        let public =
            vec![line(["vars_regexp", came, allowed]), line(["not", "vars_regexp", came, paths::CROOKED])];
        lines.push(block([&matcher], public));
        lines.push(block(["handle", &matcher], vec![hand_on(way, to)]));
    }
    for path in [&format!("{}*", paths::MATRIX), &format!("{}*", paths::SYNAPSE)] {
        lines.push(block(["handle", path], vec![line(["respond", "403"])]));
    }
    lines.push(block(["handle", "/"], vec![line(["redir", &format!("{}/", way.chat_url)])]));
    lines.push(block(["handle"], vec![line(["respond", "404"])]));
    lines
}

fn answer(document: &Document) -> Line {
    let mut lines: Vec<Line> = CORS.iter().map(|(name, value)| line(["header", name, value])).collect();
    lines.push(line(["header", "Content-Type", "application/json"]));
    lines.push(line(["respond", &document.json, "200"]));
    block(["handle", document.path], lines)
}

fn hand_on(way: &Way, to: &Upstream) -> Line {
    block(
        ["reverse_proxy", &format!("{}:{}", to.host, to.port)],
        vec![
            line(["header_up", "X-Forwarded-For", "{http.vars.client}"]),
            line(["header_up", "X-Forwarded-Proto", way.scheme]),
        ],
    )
}
