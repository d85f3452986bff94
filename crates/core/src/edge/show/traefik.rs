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
    let paths: Vec<String> = [format!("PathRegexp(`{}`)", paths::ALLOWED)]
        .into_iter()
        .chain(way.documents.iter().map(|document| format!("Path(`{}`)", document.path)))
        .collect();
    let mut root = Map::new();
    root.insert(
        "http".to_owned(),
        json!({
            "routers": {
                "matrix": router(format!("Host(`{}`) && ({}) && !PathRegexp(`{}`)", way.matrix, paths.join(" || "), paths::CROOKED), "synapse", &["matrix-body"]),
                "element-web": router(format!("Host(`{}`)", way.chat), "element-web", &[]),
            },
            "services": {"synapse": service(&way.synapse), "element-web": service(&way.web)},
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
