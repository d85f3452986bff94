//! Traefik's dynamic config, as YAML for its file provider.
//!
//! Traefik cannot answer by itself: well-known is answered by Synapse, which
//! says the same for its own host. Where the domain itself has to answer, its
//! web server does.

use serde_json::{Map, Value as Json, json};

use super::super::{
    paths,
    proxy::{TlsFiles, Upstream, Way},
};

pub(super) fn render(way: &Way, tls: Option<&TlsFiles>) -> String {
    let router = |rule: String, service: &str, middlewares: &[&str]| {
        let mut router = json!({"rule": rule, "entryPoints": ["websecure"], "service": service, "tls": {}});
        if !middlewares.is_empty() {
            router["middlewares"] = json!(middlewares);
        }
        router
    };
    let service = |to: &Upstream| json!({"loadBalancer": {"servers": [{"url": format!("http://{}:{}", to.host, to.port)}]}});
    let (mut routers, mut services) = (Map::new(), Map::new());
    for (n, (to, _, allowed)) in way.parts().enumerate() {
        let mut paths = vec![format!("PathRegexp(`{allowed}`)")];
        if n == 0 {
            paths.extend(way.documents.iter().map(|document| format!("Path(`{}`)", document.path)));
        }
        let rule =
            format!("Host(`{}`) && ({}) && !PathRegexp(`{}`)", to.at, paths.join(" || "), paths::CROOKED);
        let name = if n == 0 { "matrix".to_owned() } else { to.service.to_string() };
        routers.insert(name, router(rule, to.service.name(), &["matrix-body"]));
    }
    for to in way.whole() {
        let name = to.service.name();
        routers.insert(name.to_owned(), router(format!("Host(`{}`)", to.at), name, &[]));
    }
    services.extend(way.upstreams.iter().map(|to| (to.service.to_string(), service(to))));
    let mut root = Map::new();
    root.insert(
        "http".to_owned(),
        json!({
            "routers": routers,
            "services": services,
            "middlewares": {"matrix-body": {"buffering": {"maxRequestBodyBytes": way.max_body.0}}},
        }),
    );
    if let Some(tls) = tls {
        root.insert(
            "tls".to_owned(),
            json!({"certificates": [{"certFile": tls.certificate, "keyFile": tls.key}]}),
        );
    }
    let text = serde_saphyr::to_string(&Json::Object(root)).unwrap_or_default();
    let mut notes = vec![
        "# Written by matrix-podman edge show traefik: a file for the file provider of Traefik 3.".to_owned(),
        "# Its entry point is called websecure. Leave forwardedHeaders.insecure off there: Synapse believes what it is told."
            .to_owned(),
    ];
    if way.tunnel.is_some() {
        notes.push(
            "# Traefik cannot take people's addresses from CF-Connecting-IP alone: behind a tunnel Synapse sees cloudflared's."
                .to_owned(),
        );
    }
    if let Some(apex) = &way.apex {
        notes.push(format!(
            "# The web server of {apex} has to answer what `matrix-podman edge show well-known` prints."
        ));
    }
    format!("{}\n{text}", notes.join("\n"))
}
