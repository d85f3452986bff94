//! The same way through other reverse proxies, as config that works as it is.

mod caddy;
mod haproxy;
mod traefik;

use super::proxy::{self, TlsFiles, Way};

/// A reverse proxy that a config can be printed for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proxy {
    /// nginx
    Nginx,
    /// Caddy, as a Caddyfile.
    Caddy,
    /// Traefik, as a file of its file provider.
    Traefik,
    /// HAProxy
    Haproxy,
}

/// The config of `proxy`. Without `tls`, certificates are where the proxy's
/// users usually have them, or the proxy gets them by itself.
pub fn show(way: &Way, proxy: Proxy, tls: Option<&TlsFiles>) -> String {
    match proxy {
        Proxy::Nginx => {
            let usual = TlsFiles {
                certificate: format!("/etc/letsencrypt/live/{}/fullchain.pem", way.matrix),
                key: format!("/etc/letsencrypt/live/{}/privkey.pem", way.matrix),
            };
            proxy::nginx_servers(way, tls.unwrap_or(&usual))
        }
        Proxy::Caddy => caddy::render(way, tls),
        Proxy::Traefik => traefik::render(way, tls),
        Proxy::Haproxy => haproxy::render(way, tls),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Config;

    #[test]
    fn every_proxy() {
        let config = Config::parse(
            "domain = \"chat.home.arpa\"\nserver_name = \"chat.home.arpa\"\n[edge.cloudflare]\ntunnel = \"home\"\n\
             connectors = [\"192.168.1.7/32\"]\nservice = \"https://192.168.1.5\"",
            "matrix.toml",
        )
        .unwrap();
        let way = proxy::way(&config, &crate::stack::endpoints(&config), "10.86.42.20");
        for (name, proxy) in
            [("caddy", Proxy::Caddy), ("haproxy", Proxy::Haproxy), ("traefik", Proxy::Traefik)]
        {
            insta::assert_snapshot!(name, show(&way, proxy, None));
        }
    }
}
