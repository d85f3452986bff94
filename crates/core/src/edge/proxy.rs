//! What a reverse proxy before the guest has to do, and the same said in
//! nginx' words. One source for what is written to NPM, for the guide and for
//! `edge show nginx`.

use super::{
    paths,
    well_known::{self, Document},
};
use crate::{
    config::Config,
    document::nginx::{self, Directive},
    endpoint::{Endpoint, Paths, Reach},
    name::Cidr,
    service::ServiceId,
    size::Bytes,
};

/// How long browsers remember that a host is reached by HTTPS alone: two years.
pub const HSTS: &str = "max-age=63072000";
/// How long Synapse may think; the longest that Cloudflare waits is shorter.
pub const PATIENCE: &str = "300s";
/// Who may read a well-known document: every web client.
pub const CORS: [(&str, &str); 3] = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Allow-Methods", "GET, POST, PUT, DELETE, OPTIONS"),
    ("Access-Control-Allow-Headers", "X-Requested-With, Content-Type, Authorization"),
];

/// A service in the guest as the proxy reaches it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upstream {
    /// Which.
    pub service: ServiceId,
    /// The host that it answers for.
    pub at: String,
    /// What of that host is for it.
    pub paths: Paths,
    /// Name or address of the guest.
    pub host: String,
    /// Port there.
    pub port: u16,
}

/// The way through a reverse proxy.
#[derive(Debug, Clone, PartialEq)]
pub struct Way {
    /// Host of the Matrix server.
    pub matrix: String,
    /// Host of the web client.
    pub chat: String,
    /// Address of the web client.
    pub chat_url: String,
    /// The domain itself, where it has to answer well-known.
    pub apex: Option<String>,
    /// Name or address of the guest.
    pub guest: String,
    /// What answers there.
    pub upstreams: Vec<Upstream>,
    /// The largest request.
    pub max_body: Bytes,
    /// The scheme that people use.
    pub scheme: &'static str,
    /// What is told at `/.well-known/matrix/`.
    pub documents: Vec<Document>,
    /// Networks that a Cloudflare tunnel comes from, where there is one.
    pub tunnel: Option<Vec<Cidr>>,
    /// Whether browsers are told to remember HTTPS.
    pub hsts: bool,
}

impl Way {
    /// What answers for `host`.
    pub fn at(&self, host: &str) -> impl Iterator<Item = &Upstream> {
        self.upstreams.iter().filter(move |upstream| upstream.at == host)
    }

    /// What answers for a host of its own.
    pub fn whole(&self) -> impl Iterator<Item = &Upstream> {
        self.upstreams.iter().filter(|upstream| upstream.paths == Paths::All)
    }

    /// What answers for parts of the Matrix host, each with their prefixes and the pattern of
    /// what is handed on.
    pub fn parts(&self) -> impl Iterator<Item = (&Upstream, &'static [&'static str], &'static str)> {
        self.upstreams.iter().filter_map(|upstream| match upstream.paths {
            Paths::Below { prefixes, allowed } => Some((upstream, prefixes, allowed)),
            Paths::All => None,
        })
    }
}

/// The way that `config` describes, to these endpoints of the guest at `host`.
pub fn way(config: &Config, endpoints: &[Endpoint], host: &str) -> Way {
    let upstream = |endpoint: &Endpoint| Upstream {
        service: endpoint.service,
        at: endpoint.host.clone(),
        paths: endpoint.paths,
        host: host.to_owned(),
        port: endpoint.port.get(),
    };
    Way {
        matrix: config.matrix_host().to_owned(),
        chat: config.chat_host().to_owned(),
        chat_url: config.chat_url.clone(),
        apex: config.apex_host().map(str::to_owned),
        guest: host.to_owned(),
        upstreams: endpoints.iter().filter(|at| at.reach == Reach::Proxies).map(upstream).collect(),
        max_body: *config.synapse.max_upload_size,
        scheme: if config.matrix_url.starts_with("http://") { "http" } else { "https" },
        documents: well_known::documents(config),
        tunnel: config.edge.connectors.clone(),
        hsts: config.edge.npm.as_ref().is_some_and(|npm| npm.hsts),
    }
}

/// Which nginx it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nginx {
    /// The one in Nginx Proxy Manager, whose own text stands around ours.
    Npm,
    /// Any other.
    Plain,
}

/// The text for the "Advanced" tab of the Matrix host in NPM.
pub fn npm_advanced(way: &Way) -> String {
    let mut block = vec![Directive::simple("client_max_body_size", [&way.max_body.to_string()])];
    block.extend(real_address(way));
    block.extend(matrix_locations(way, Nginx::Npm));
    nginx::to_string(HEADER, &block)
}

/// What a host in NPM that leads to a web site needs besides, to answer
/// well-known: nothing in it concerns any other path.
pub fn npm_well_known(way: &Way) -> String {
    nginx::to_string("Added for the Matrix server; every other path stays as it is.", &answers(way))
}

/// The text for the "Advanced" tab of a host of the domain's own in NPM that
/// answers well-known and has nothing else.
pub fn npm_apex_advanced(way: &Way) -> String {
    let mut block = answers(way);
    block.push(Directive::block("location", ["/"], vec![Directive::simple("return", ["404"])]));
    nginx::to_string(HEADER, &block)
}

fn answers(way: &Way) -> Vec<Directive> {
    way.documents.iter().map(|document| answer(document, way.hsts)).collect()
}

const HEADER: &str = "Written by matrix-podman; what is changed here is written over.";

/// Believes what a tunnel says about people's addresses, and nobody else.
fn real_address(way: &Way) -> Vec<Directive> {
    let Some(networks) = &way.tunnel else { return Vec::new() };
    let mut block: Vec<Directive> = networks
        .iter()
        .map(|network| Directive::simple("set_real_ip_from", [&network.to_string()]))
        .collect();
    block.push(Directive::simple("real_ip_header", ["CF-Connecting-IP"]));
    block.push(Directive::simple("real_ip_recursive", ["off"]));
    block
}

fn answer(document: &Document, hsts: bool) -> Directive {
    let mut inside = vec![Directive::simple("default_type", ["application/json"])];
    for (name, value) in CORS {
        inside.push(Directive::simple("add_header", [name, value, "always"]));
    }
    inside.push(Directive::simple("add_header", ["Cache-Control", "public, max-age=3600"]));
    if hsts {
        // Headers of its own make a location forget those around it.
        inside.push(Directive::simple("add_header", ["Strict-Transport-Security", HSTS, "always"]));
    }
    inside.push(Directive::simple("return", ["200", &document.json]));
    Directive::block("location", ["=", document.path], inside)
}

fn hand_on(way: &Way, to: &Upstream, nginx: Nginx) -> Vec<Directive> {
    let header = |name: &str, value: &str| Directive::simple("proxy_set_header", [name, value]);
    // NPM believes anybody in a private network about addresses; what it made
    // of that is only used where the tunnel's word replaces it.
    let client = match (nginx, &way.tunnel) {
        (Nginx::Npm, None) => "$realip_remote_addr",
        _ => "$remote_addr",
    };
    // NPM knows one address for each host.
    let known = way.at(&to.at).next() == Some(to);
    let target = match nginx {
        Nginx::Npm if known => "$forward_scheme://$server:$port$request_uri".to_owned(),
        Nginx::Npm => format!("http://{}:{}$request_uri", to.host, to.port),
        // Without a path behind it, the path goes on as it came.
        Nginx::Plain => format!("http://{}:{}", to.host, to.port),
    };
    vec![
        header("Host", "$host"),
        // In the place of whatever came: Synapse believes the first address.
        header("X-Forwarded-For", client),
        header("X-Forwarded-Proto", way.scheme),
        header("X-Real-IP", client),
        Directive::simple("proxy_read_timeout", [PATIENCE]),
        Directive::simple("proxy_send_timeout", [PATIENCE]),
        Directive::simple("proxy_http_version", ["1.1"]),
        Directive::simple("proxy_pass", [&target]),
    ]
}

fn refusal() -> Vec<Directive> {
    vec![Directive::simple("return", ["403"])]
}

/// nginx chooses a location by the path as it understood it, and hands on the
/// one that came. So the one that came decides whether it is handed on at all.
fn guards(allowed: &str) -> Vec<Directive> {
    [("!~", allowed), ("~", paths::CROOKED)]
        .map(|(operator, pattern)| {
            Directive::block("if", ["($request_uri", operator, &format!("{pattern})")], refusal())
        })
        .to_vec()
}

fn matrix_locations(way: &Way, nginx: Nginx) -> Vec<Directive> {
    let mut block = answers(way);
    block.push(Directive::block("location", ["^~", paths::ADMIN], refusal()));
    for (to, prefixes, allowed) in way.parts() {
        for prefix in prefixes.iter().copied() {
            let mut inside = guards(allowed);
            inside.extend(hand_on(way, to, nginx));
            block.push(Directive::block("location", ["^~", prefix], inside));
        }
    }
    let home = format!("{}/", way.chat_url);
    block.push(Directive::block("location", ["=", "/"], vec![Directive::simple("return", ["302", &home])]));
    block.push(Directive::block("location", ["/"], vec![Directive::simple("return", ["404"])]));
    block
}

/// Where a proxy finds its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate with those above it.
    pub certificate: String,
    /// Its key.
    pub key: String,
}

/// Whole servers for an nginx of its own.
pub fn nginx_servers(way: &Way, tls: &TlsFiles) -> String {
    let names: Vec<&str> = [way.matrix.as_str(), &way.chat].into_iter().chain(way.apex.as_deref()).collect();
    let names_of = |names: &[&str]| {
        Directive::Simple("server_name", names.iter().map(|name| (*name).to_owned()).collect())
    };
    let mut redirect = vec![Directive::simple("listen", ["80"]), names_of(&names)];
    redirect.push(Directive::simple("return", ["301", "https://$host$request_uri"]));
    let server = |host: &str, inside: Vec<Directive>| {
        let mut block = vec![
            Directive::simple("listen", ["443", "ssl", "http2"]),
            names_of(&[host]),
            Directive::simple("ssl_certificate", [&tls.certificate]),
            Directive::simple("ssl_certificate_key", [&tls.key]),
            Directive::simple("ssl_protocols", ["TLSv1.2", "TLSv1.3"]),
            Directive::simple("client_max_body_size", [&way.max_body.to_string()]),
        ];
        if way.hsts {
            block.push(Directive::simple("add_header", ["Strict-Transport-Security", HSTS, "always"]));
        }
        block.extend(real_address(way));
        block.extend(inside);
        Directive::block("server", [], block)
    };
    let mut servers = vec![
        Directive::block("server", [], redirect),
        server(&way.matrix, matrix_locations(way, Nginx::Plain)),
    ];
    servers.extend(way.whole().map(|to| {
        let all = Directive::block("location", ["/"], hand_on(way, to, Nginx::Plain));
        server(&to.at, vec![all])
    }));
    if let Some(apex) = &way.apex {
        let mut inside = answers(way);
        inside.push(Directive::block("location", ["/"], vec![Directive::simple("return", ["404"])]));
        servers.push(server(apex, inside));
    }
    nginx::to_string("Written by matrix-podman edge show nginx.", &servers)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{config::Defaults, stack::endpoints};

    fn tunnelled() -> Config {
        Config::parse(
            "domain = \"chat.home.arpa\"\nserver_name = \"chat.home.arpa\"\n[edge.cloudflare]\ntunnel = \"home\"\n\
             connectors = [\"192.168.1.7/32\"]\n[edge.npm]\naddress = \"http://192.168.1.5:81\"\n\
             identity = \"a@home.arpa\"\nhsts = true",
            "matrix.toml",
        )
        .unwrap()
    }

    #[test]
    fn the_advanced_block() {
        insta::assert_snapshot!(npm_advanced(&way(&tunnelled(), &endpoints(&tunnelled()), "10.86.42.20")));
    }

    #[test]
    fn the_advanced_block_without_a_tunnel_takes_the_address_that_connected() {
        let config = Config::from_domain("chat.home.arpa", &Defaults::default()).unwrap();
        let block = npm_advanced(&way(&config, &endpoints(&config), "10.86.42.20"));
        assert!(
            block.contains("X-Forwarded-For $realip_remote_addr;") && !block.contains("real_ip_header"),
            "{block}"
        );
    }

    #[test]
    fn the_servers() {
        let tls = TlsFiles { certificate: "/c.pem".into(), key: "/k.pem".into() };
        insta::assert_snapshot!(nginx_servers(
            &way(&tunnelled(), &endpoints(&tunnelled()), "10.86.42.20"),
            &tls
        ));
    }
}
