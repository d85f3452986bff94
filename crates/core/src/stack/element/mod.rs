//! The web client: its `config.json` and its nginx.
//!
//! Formats: Element Web's `docs/config.md`; nginx.

mod causes;
mod checks;

pub(crate) use checks::config_flaw;
use indexmap::IndexMap;
use serde::Serialize;

use super::{BuildRecipe, ContainerSpec, Facts, Health, Mount, Publish, Service, ServiceImage};
use crate::{
    config::{Config, Registration},
    desired::DesiredFile,
    document::nginx::{self, Directive},
    endpoint::{Endpoint, Paths, Reach},
    frame::{RoomCause, RoomCheck},
    layout,
    lock::LockedImage,
    name::ServerName,
    service::ServiceId,
};

/// Port that nginx listens on in the container; the published one may differ.
pub const PORT: u16 = 8080;
/// Where the container finds `config.json`, beside the client's own files.
pub const CONFIG: &str = "/app/config.json";
/// Where the container finds the server that nginx runs.
pub const NGINX: &str = "/etc/nginx/conf.d/default.conf";

#[derive(Debug, Serialize)]
struct ElementConfig<'a> {
    default_server_config: ServerConfig<'a>,
    brand: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    default_country_code: Option<&'a str>,
    disable_custom_urls: bool,
    disable_guests: bool,
    disable_3pid_login: bool,
    room_directory: RoomDirectory<'a>,
    /// `null` switches the integration manager off; absent would be Scalar.
    integrations_ui_url: Option<&'a str>,
    integrations_rest_url: Option<&'a str>,
    integrations_widgets_urls: [&'a str; 0],
    setting_defaults: IndexMap<&'static str, bool>,
}

#[derive(Debug, Serialize)]
struct ServerConfig<'a> {
    #[serde(rename = "m.homeserver")]
    homeserver: Homeserver<'a>,
}

#[derive(Debug, Serialize)]
struct Homeserver<'a> {
    base_url: &'a str,
    server_name: &'a ServerName,
}

#[derive(Debug, Serialize)]
struct RoomDirectory<'a> {
    servers: [&'a ServerName; 1],
}

fn element_config(config: &Config) -> ElementConfig<'_> {
    ElementConfig {
        default_server_config: ServerConfig {
            homeserver: Homeserver { base_url: &config.matrix_url, server_name: &config.server_name },
        },
        brand: &config.web.brand,
        default_country_code: config.web.default_country.as_deref(),
        disable_custom_urls: !config.web.custom_servers,
        disable_guests: true,
        disable_3pid_login: true,
        room_directory: RoomDirectory { servers: [&config.server_name] },
        integrations_ui_url: None,
        integrations_rest_url: None,
        integrations_widgets_urls: [],
        // No identity server, and no buttons for what this server does not do:
        // it sends no mail, so no lost password comes back that way.
        setting_defaults: [
            ("UIFeature.identityServer", false),
            ("UIFeature.thirdPartyId", false),
            ("UIFeature.passwordReset", false),
            ("UIFeature.registration", config.synapse.registration != Registration::Closed),
            ("UIFeature.feedback", false),
        ]
        .into(),
    }
}

/// Headers that Element Web's README asks for. nginx drops inherited ones in a
/// block that has its own, so every block gets all of them.
fn headers(cache: Option<&str>) -> Vec<Directive> {
    let mut headers = vec![
        Directive::simple("add_header", ["X-Frame-Options", "SAMEORIGIN", "always"]),
        Directive::simple("add_header", ["X-Content-Type-Options", "nosniff", "always"]),
        Directive::simple("add_header", ["Content-Security-Policy", "frame-ancestors 'self'", "always"]),
        Directive::simple("add_header", ["Referrer-Policy", "no-referrer", "always"]),
    ];
    headers.extend(cache.map(|cache| Directive::simple("add_header", ["Cache-Control", cache])));
    headers
}

fn nginx_server() -> Directive {
    let fresh = |arguments: &[&str]| {
        Directive::Block(
            "location",
            arguments.iter().map(|a| (*a).to_owned()).collect(),
            headers(Some("no-cache")),
        )
    };
    let mut server = vec![
        Directive::simple("listen", [&PORT.to_string()]),
        Directive::simple("server_name", ["_"]),
        Directive::simple("server_tokens", ["off"]),
        Directive::simple("access_log", ["off"]),
        Directive::simple("root", ["/app"]),
        Directive::simple("index", ["index.html"]),
        Directive::simple("gzip", ["on"]),
        Directive::simple("gzip_vary", ["on"]),
        Directive::simple(
            "gzip_types",
            [
                "text/css",
                "text/javascript",
                "application/javascript",
                "application/json",
                "application/wasm",
                "image/svg+xml",
            ],
        ),
    ];
    server.extend(headers(None));
    // What names the files of a release must be asked for each time, or an
    // update leaves browsers with names that are gone.
    for arguments in
        [&["=", "/index.html"][..], &["=", "/version"], &["=", "/sw.js"], &["/i18n/"], &["/config"]]
    {
        server.push(fresh(arguments));
    }
    Directive::Block("server", Vec::new(), server)
}

/// Both files; they are not secret, and nginx' user reads them.
pub fn files(config: &Config) -> Vec<DesiredFile> {
    // Strings, numbers and maps with string keys: JSON can say them all.
    let document = serde_json::to_value(element_config(config)).unwrap_or_default();
    let json = serde_json::to_string_pretty(&config.web.extra.merged_into(document)).unwrap_or_default();
    let nginx =
        nginx::to_string("Written by matrix-podman; changes here are overwritten.", &[nginx_server()]);
    let file = |name, content, why| DesiredFile::read_by(ID.owner(), layout::in_root(name), content, why);
    vec![
        file(
            "element-config.json",
            format!("{json}\n"),
            "Which server the web client talks to, and what it shows",
        ),
        file("element-nginx.conf", nginx, "How the web client is served: fresh after updates, not in frames"),
    ]
}

/// Its id.
pub const ID: ServiceId = ServiceId::known("element-web");

/// The web client behind its nginx.
#[derive(Debug)]
pub struct ElementService;

impl Service for ElementService {
    fn id(&self) -> ServiceId {
        ID
    }

    fn container(
        &self,
        spec: &mut ContainerSpec,
        _: &Config,
        _: &LockedImage,
        facts: &Facts,
    ) -> Result<(), String> {
        spec.environment.extend([
            ("ELEMENT_WEB_PORT", PORT.to_string()),
            // The server below is complete; with a folder that is not there the
            // image leaves its own template alone.
            ("NGINX_ENVSUBST_TEMPLATE_DIR", "/nonexistent".to_owned()),
        ]);
        spec.mounts.extend([
            Mount::read(layout::in_root("element-config.json"), CONFIG),
            Mount::read(layout::in_root("element-nginx.conf"), NGINX),
        ]);
        spec.networks = vec![layout::edge_network(facts.ipv6)];
        spec.health = Health::of(
            ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/config.json"]
                .map(str::to_owned)
                .to_vec(),
        );
        Ok(())
    }

    fn ports(&self, config: &Config) -> Vec<Publish> {
        vec![Publish::tcp(config, config.ports.web, PORT)]
    }

    fn files(&self, config: &Config, _: &Facts) -> Vec<DesiredFile> {
        files(config)
    }

    fn also_called(&self) -> &'static [&'static str] {
        &["element", "web"]
    }

    fn image(&self) -> ServiceImage {
        ServiceImage {
            recipe: Some(BuildRecipe { name: "element-web", origins: "Debian and npm" }),
            within_major: false,
        }
    }

    fn endpoints(&self, config: &Config) -> Vec<Endpoint> {
        vec![Endpoint {
            service: self.id(),
            label: "web client",
            word: "client",
            key: "web",
            port: config.ports.web,
            ask: "/config.json",
            reach: Reach::Proxies,
            url: config.chat_url.clone(),
            host: config.chat_host().to_owned(),
            paths: Paths::All,
        }]
    }

    fn cannot_register(&self, image: &LockedImage) -> bool {
        // Hydrogen, which is built where no registry can be reached, has no page for that.
        image.wanted.starts_with("build ")
    }

    fn family(&self) -> &'static str {
        "web/"
    }

    fn causes(&self) -> &'static [RoomCause] {
        causes::CAUSES
    }

    fn checks(&self, _: &Config) -> &'static [RoomCheck] {
        checks::CHECKS
    }

    fn unit_is(&self) -> &'static str {
        "How systemd and Podman run the web client"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{changed_config, default_config, show};

    #[test]
    fn default() {
        insta::assert_snapshot!(show(&files(&default_config())));
    }

    #[test]
    fn changed() {
        insta::assert_snapshot!(files(&changed_config())[0].content);
    }
}
