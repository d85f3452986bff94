//! The way in for a person who does it by hand: numbered steps with their own
//! names, addresses and blocks, nothing left to replace.

mod print;

pub use print::{html, markdown, terminal};

use serde::Serialize;

use super::{
    ingress, paths,
    proxy::{self, Way},
};
use crate::{
    config::{CertificateChoice, Config, Network},
    firewall::OpenPorts,
    name::{Cidr, idn},
};

/// A guide.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Guide {
    /// Its title.
    pub title: String,
    /// What it leads to.
    pub intro: String,
    /// What is to be done, in order.
    pub steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// What is done.
    pub title: String,
    /// How.
    pub parts: Vec<Part>,
}

/// A part of a step.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// A paragraph.
    Text(String),
    /// Fields of a form, and what goes into them.
    Fields(Vec<(String, String)>),
    /// A block to paste, and its language.
    Block(&'static str, String),
}

fn text(words: impl Into<String>) -> Part {
    Part::Text(words.into())
}

fn fields<const N: usize>(all: [(&str, &str); N]) -> Part {
    Part::Fields(all.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec())
}

/// The guide for `config`, with NPM on the machine `proxy_host` and ports that anybody may speak to.
pub fn guide(config: &Config, way: &Way, proxy_host: &str, open: &[OpenPorts]) -> Guide {
    let tunnelled = config.edge.npm.is_none() || config.edge.connectors.is_some();
    let way = Way {
        tunnel: tunnelled.then(|| way.tunnel.clone().unwrap_or_else(Cidr::private_networks)),
        ..way.clone()
    };
    let plain = tunnelled && service(config, proxy_host).starts_with("http://");
    let mut steps = vec![certificate(config, &way), matrix_host(&way, plain), chat_host(&way, plain)];
    if let Some(apex) = &way.apex {
        steps.push(apex_step(&way, apex, tunnelled));
    }
    if tunnelled {
        steps.extend([routes(config, &way, proxy_host), zone(config, &way)]);
    } else {
        steps.push(forwarding(&way, proxy_host));
    }
    steps.extend(open_ports(config, &way, open));
    steps.push(check(&way));
    Guide {
        title: format!("The way in to {}", config.server_name),
        intro: format!(
            "People reach the server at {} and the web client at {}. {} Nginx Proxy Manager (NPM) on {proxy_host} takes \
             them in and leads them to the guest at {}. Everything below is for this server; nothing in it has to be replaced.",
            config.matrix_url,
            config.chat_url,
            if tunnelled {
                "They come through a Cloudflare tunnel."
            } else {
                "They come through your router."
            },
            way.guest,
        ),
        steps,
    }
}

fn certificate(config: &Config, way: &Way) -> Step {
    let existing = config.edge.npm.as_ref().is_some_and(|npm| npm.certificate == CertificateChoice::Existing);
    let names =
        [Some(&way.matrix), Some(&way.chat)].into_iter().flatten().cloned().collect::<Vec<_>>().join(", ");
    let mut parts = vec![
        text(
            "In NPM: Certificates, Add Certificate, Let's Encrypt via DNS (before 2.13: SSL Certificates, Add SSL \
             Certificate, Let's Encrypt, and there Use a DNS Challenge). While NPM asks for it, hosts of these names that \
             are there already are not served; save each of them once more behind it, or they stay without HTTPS.",
        ),
        fields([
            ("Domain Names", &names),
            ("DNS Provider", "Cloudflare"),
            ("Credentials File Content", "the line below"),
            ("Propagation Seconds", "30"),
        ]),
        Part::Block("ini", "dns_cloudflare_api_token=\n".to_owned()),
        text(
            "Behind the = goes a Cloudflare token that may do \"Zone / DNS: Edit\" in this zone and nothing else; make \
             one at https://dash.cloudflare.com/profile/api-tokens. NPM keeps it, to renew the certificate.",
        ),
    ];
    if existing {
        parts.insert(0, text("If NPM has a certificate for these names already, go on."));
    }
    Step { title: "Get a certificate".to_owned(), parts }
}

/// Where the tunnel delivers.
fn service(config: &Config, proxy_host: &str) -> String {
    config.edge.service().map_or_else(|| format!("https://{proxy_host}"), str::to_owned)
}

/// The fields of a proxy host's tab SSL, behind the others.
fn with_ssl<const N: usize>(all: [(&str, &str); N], plain: bool) -> Part {
    let mut all = all.to_vec();
    all.push(("SSL: Certificate", "the one from step 1"));
    all.push(("SSL: Force SSL", "on"));
    if plain {
        all.push((TRUST, "on"));
    }
    all.push(("SSL: HTTP/2 Support", "on"));
    Part::Fields(all.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect())
}

const TRUST: &str = "SSL: Trust Upstream Forwarded Proto Headers";

/// What keeps a tunnel that delivers by HTTP from going round in circles.
fn circles(plain: bool) -> Option<Part> {
    plain.then(|| {
        text(
            "The tunnel delivers by http://. Without \"Trust Upstream Forwarded Proto Headers\", Force SSL would send \
             everybody who comes through it round in circles. NPM has it from 2.14 on; with an older one this cannot work: \
             update NPM, or have the tunnel deliver by https://.",
        )
    })
}

/// The port that a host leads to.
fn port(way: &Way, host: &str) -> String {
    way.at(host).next().map(|to| to.port.to_string()).unwrap_or_default()
}

fn matrix_host(way: &Way, plain: bool) -> Step {
    let mut parts = vec![
        text("In NPM: Hosts, Proxy Hosts, Add Proxy Host."),
        with_ssl(
            [
                ("Domain Names", &way.matrix),
                ("Scheme", "http"),
                ("Forward Hostname / IP", &way.guest),
                ("Forward Port", &port(way, &way.matrix)),
                ("Cache Assets", "off: it would store people's pictures"),
                ("Block Common Exploits", "off: it refuses logins through other services"),
                ("Websockets Support", "on"),
            ],
            plain,
        ),
    ];
    parts.extend(circles(plain));
    parts.push(text("Into the tab Advanced (since 2.13 behind the cogwheel), all of this:"));
    parts.push(Part::Block("nginx", proxy::npm_advanced(way)));
    Step { title: format!("Lead {} to Synapse", way.matrix), parts }
}

fn chat_host(way: &Way, plain: bool) -> Step {
    let mut parts = vec![
        text("In NPM: Hosts, Proxy Hosts, Add Proxy Host."),
        with_ssl(
            [
                ("Domain Names", &way.chat),
                ("Scheme", "http"),
                ("Forward Hostname / IP", &way.guest),
                ("Forward Port", &port(way, &way.chat)),
                ("Cache Assets", "off"),
                ("Block Common Exploits", "off"),
                ("Websockets Support", "on"),
            ],
            plain,
        ),
    ];
    parts.extend(circles(plain));
    parts.push(text("The tab Advanced stays empty."));
    Step { title: format!("Lead {} to the web client", way.chat), parts }
}

fn apex_step(way: &Way, apex: &str, tunnelled: bool) -> Step {
    let mut parts = vec![text(format!(
        "User ids end with {apex}, so other servers and apps ask https://{apex} where this server is. If {apex} has a web \
         site, have it answer these addresses with exactly this, as application/json, and with the header \
         Access-Control-Allow-Origin: *"
    ))];
    for document in &way.documents {
        parts.push(text(format!("https://{apex}{}", document.path)));
        parts.push(Part::Block("json", format!("{}\n", document.json)));
    }
    if tunnelled {
        parts.push(text(format!(
            "If {apex} comes through the same tunnel, or has no web site, add a route there in step 5 instead, before any \
             other of {apex}."
        )));
    } else {
        parts.push(text(format!(
            "If NPM serves {apex} too, put this into the Advanced tab of that host, beside what is there; the web site stays \
             as it is:"
        )));
        parts.push(Part::Block("nginx", proxy::npm_well_known(way)));
    }
    Step { title: format!("Have {apex} say where the server is"), parts }
}

fn routes(config: &Config, way: &Way, proxy_host: &str) -> Step {
    let service = service(config, proxy_host);
    let (scheme, address) = service.split_once("://").unwrap_or(("https", &service));
    let scheme = scheme.to_uppercase();
    let mut parts = vec![text(
        "At https://one.dash.cloudflare.com: Networks, Connectors, your tunnel, Published application routes (Public \
         Hostnames in older consoles). Add one for each name; Cloudflare makes the DNS record with it. If there is a route for a wildcard (a name \
         that begins with *), drag these above it.",
    )];
    let mut route = |name: &str, path: &str, origin: &str| {
        let mut all = vec![("Hostname".to_owned(), name.to_owned())];
        if !path.is_empty() {
            all.push(("Path".to_owned(), path.to_owned()));
        }
        all.push(("Service: Type".to_owned(), scheme.clone()));
        all.push(("Service: URL".to_owned(), address.to_owned()));
        if scheme == "HTTPS" {
            all.push(("TLS: Origin Server Name".to_owned(), origin.to_owned()));
        }
        if name != origin {
            all.push(("HTTP Settings: HTTP Host Header".to_owned(), origin.to_owned()));
        }
        parts.push(Part::Fields(all));
    };
    route(&way.matrix, "", &way.matrix);
    route(&way.chat, "", &way.chat);
    if let Some(apex) = &way.apex {
        route(apex, ingress::APEX_PATH, &way.matrix);
    }
    Step { title: "Lead the names through the tunnel".to_owned(), parts }
}

fn zone(config: &Config, way: &Way) -> Step {
    let zone = match &config.edge.cloudflare {
        Some(cloudflare) => cloudflare.zone.to_string(),
        None => idn::both(config.domain.as_str()),
    };
    let mut parts = vec![
        text(format!(
            "At https://dash.cloudflare.com, in the zone of {zone}. The first five concern every name in it. Auto Minify, which older instructions name, is \
             gone since August 2024: there is nothing to turn off."
        )),
        fields([
            ("SSL/TLS, Overview", "Full, or Full (strict)"),
            ("SSL/TLS, Edge Certificates, Always Use HTTPS", "on"),
            ("SSL/TLS, Edge Certificates, Minimum TLS Version", "1.2"),
            (
                "Security, Settings, Bot Fight Mode",
                "off: it keeps other Matrix servers out, and no rule can except them",
            ),
            ("Security, Settings, Under Attack mode", "off: no app passes its test page"),
        ]),
        text("Caching, Cache Rules, Create rule, so that nothing private is stored at Cloudflare:"),
        fields([
            ("Rule name", "matrix"),
            ("Custom filter expression", &format!("(http.host eq \"{}\")", way.matrix)),
            ("Cache eligibility", "Bypass cache"),
        ]),
    ];
    if way.max_body.0 > 100_000_000 {
        parts.push(text(format!(
            "Cloudflare's plans Free and Pro stop at files of 100 MB, and this server takes {}. Write max_upload_size = \
             \"95M\" below [synapse] in matrix.toml, so that people are told before they wait.",
            way.max_body
        )));
    }
    Step { title: "Set what Cloudflare does on the way".to_owned(), parts }
}

fn forwarding(way: &Way, proxy_host: &str) -> Step {
    Step {
        title: "Let people in".to_owned(),
        parts: vec![text(format!(
            "At your DNS provider, have {} and {} lead to your public address. In your router, forward the TCP ports 80 \
                 and 443 to {proxy_host}.",
            way.matrix, way.chat
        ))],
    }
}

/// Ports that no proxy carries: calls come by them.
fn open_ports(config: &Config, way: &Way, open: &[OpenPorts]) -> Option<Step> {
    let server = config.turn_server()?;
    let listed: Vec<String> = open.iter().map(ToString::to_string).collect();
    let to = match config.guest.network {
        Network::Own { .. } => "the machine that the guest is on, which leads them to it".to_owned(),
        Network::Existing { .. } => format!("the guest at {}", way.guest),
    };
    let mut parts = vec![text(format!(
        "Calls come past proxy and tunnel. In your router, forward these ports to {to}: {}.",
        listed.join(", ")
    ))];
    if let Some(name) = &server.name {
        parts.push(text(format!(
            "At your DNS provider, have {name} lead to {}. With Cloudflare, the record must not be proxied.",
            server.address
        )));
    }
    Some(Step { title: "Let calls in".to_owned(), parts })
}

fn check(way: &Way) -> Step {
    let name = way.apex.as_ref().unwrap_or(&way.matrix);
    let line = |url: String| format!("curl --fail --silent --show-error {url}\n");
    let mut commands = line(format!("https://{}/_matrix/client/versions", way.matrix));
    for document in &way.documents {
        commands.push_str(&line(format!("https://{name}{}", document.path)));
    }
    for path in [paths::probes(&way.matrix).swap_remove(0), paths::probes(&way.matrix).swap_remove(5)] {
        commands.push_str(&format!(
            "curl --silent --path-as-is --output /dev/null --write-out '%{{http_code}}\\n' 'https://{}{path}'\n",
            way.matrix,
        ));
    }
    Step {
        title: "See whether it works".to_owned(),
        parts: vec![
            text("From any machine on the internet. The last two have to say 403."),
            Part::Block("sh", commands),
            text(format!("Then open {} and log in.", way.chat_url)),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Defaults;

    fn made(config: &Config) -> Guide {
        guide(
            config,
            &proxy::way(config, &crate::stack::endpoints(config), "10.86.42.20"),
            "192.168.1.5",
            &crate::render::ports::open(config),
        )
    }

    #[test]
    fn for_a_person_with_only_a_domain() {
        let config = Config::from_domain("chat.home.arpa", &Defaults::default()).unwrap();
        insta::assert_snapshot!("terminal", terminal(&made(&config)));
        insta::assert_snapshot!("markdown", markdown(&made(&config)));
    }

    #[test]
    fn html_lets_nothing_through() {
        let config = Config::parse(
            "domain = \"chat.home.arpa\"\nserver_name = \"chat.home.arpa\"\n[well_known]\nsupport_email = \"a&b@home.arpa\"",
            "matrix.toml",
        )
        .unwrap();
        let page = html(&made(&config));
        assert!(page.contains("a&amp;b@home.arpa") && !page.contains("a&b"), "{page}");
        assert!(page.contains("/.well-known/matrix/support"));
    }

    #[test]
    fn what_is_pasted_into_a_web_sites_host_leaves_the_site_alone() {
        let config = Config::parse(
            "domain = \"chat.home.arpa\"\nserver_name = \"chat.home.arpa\"\n[edge.npm]\n\
            address = \"http://192.168.1.5:81\"\nidentity = \"a@home.arpa\"",
            "matrix.toml",
        )
        .unwrap();
        let step = made(&config)
            .steps
            .into_iter()
            .find(|step| step.title.starts_with("Have chat.home.arpa"))
            .unwrap();
        let blocks = step.parts.iter().filter_map(|part| match part {
            Part::Block("nginx", block) => Some(block),
            _ => None,
        });
        let blocks: Vec<&String> = blocks.collect();
        assert_eq!(blocks.len(), 1);
        assert!(blocks[0].contains("location = /.well-known/matrix/server {"), "{}", blocks[0]);
        assert!(!blocks[0].contains("location / {") && !blocks[0].contains("404"), "{}", blocks[0]);
    }

    #[test]
    fn a_tunnel_by_http_is_told_what_keeps_it_from_circles() {
        let tunnel = |service: &str| {
            let config = Config::parse(
                &format!(
                    "domain = \"chat.home.arpa\"\n[edge.cloudflare]\ntunnel = \"home\"\n\
                service = \"{service}\""
                ),
                "matrix.toml",
            )
            .unwrap();
            markdown(&made(&config))
        };
        let plain = tunnel("http://192.168.1.5");
        assert_eq!(plain.matches(&format!("| {TRUST} | `on` |")).count(), 2, "{plain}");
        assert!(plain.contains("from 2.14 on"));
        assert!(!tunnel("https://192.168.1.5").contains("Trust Upstream"));
    }

    #[test]
    fn ports_for_calls_are_forwarded_where_calls_are_relayed() {
        let config = Config::parse(
            "domain = \"chat.home.arpa\"\n[turn]\nserver = true\naddress = \"203.0.113.7\"\nname = \"turn.home.arpa\"",
            "matrix.toml",
        )
        .unwrap();
        let step = made(&config).steps.into_iter().find(|step| step.title == "Let calls in").unwrap();
        insta::assert_debug_snapshot!(step.parts);
    }

    #[test]
    fn nothing_is_left_to_replace() {
        let config = Config::from_domain("chat.home.arpa", &Defaults::default()).unwrap();
        let text = markdown(&made(&config));
        for word in ["example.", "YOUR_", "<your", "$DOMAIN", "TODO"] {
            assert!(!text.contains(word), "{word} in {text}");
        }
    }
}
