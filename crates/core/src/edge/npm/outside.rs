//! Where NPM's nginx takes people in.

use serde::{Deserialize, Serialize};

use crate::config::{CertificateChoice, Config, host_of};

/// Where NPM's nginx takes people in, as the machine reaches it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outside {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether TLS is spoken there.
    pub tls: bool,
}

impl Outside {
    /// The place that the config names, else where the tunnel delivers, else the
    /// usual port of the machine that NPM is administered on.
    pub fn of(config: &Config) -> Option<Self> {
        let npm = config.edge.npm.as_ref()?;
        let tls = npm.certificate != CertificateChoice::None;
        let usual = |tls| if tls { 443 } else { 80 };
        let place = |url: &str, fixed: bool| {
            let (scheme, authority) = url.split_once("://")?;
            let speaks_tls = scheme == "https";
            let port = authority.split_once(':').and_then(|(_, port)| port.parse().ok());
            // A tunnel that delivers without TLS says nothing about the other port.
            let port = port.filter(|_| fixed || speaks_tls == tls);
            let tls = if fixed { speaks_tls } else { tls };
            Some(Self { host: host_of(url).to_owned(), port: port.unwrap_or(usual(tls)), tls })
        };
        if let Some(named) = &npm.serves_at {
            return place(named, true);
        }
        match config.edge.service() {
            Some(service) => place(service, false),
            None => Some(Self { host: host_of(&npm.address).to_owned(), port: usual(tls), tls }),
        }
    }
}

impl std::fmt::Display for Outside {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(more: &str) -> Config {
        Config::parse(
            &format!(
                "domain = \"chat.home.arpa\"\n{more}\n[edge.npm]\naddress = \"http://192.168.1.5:81\"\nidentity = \"a@home.arpa\""
            ),
            "matrix.toml",
        )
        .unwrap()
    }

    #[test]
    fn it_is_looked_at_where_people_come_in() {
        let at = |config: &Config| Outside::of(config).unwrap().to_string();
        assert_eq!(at(&config("")), "192.168.1.5:443");
        let tunnel = "[edge.cloudflare]\ntunnel = \"home\"\nservice = ";
        assert_eq!(at(&config(&format!("{tunnel}\"https://192.168.1.6:4443\""))), "192.168.1.6:4443");
        assert_eq!(at(&config(&format!("{tunnel}\"http://192.168.1.6:8080\""))), "192.168.1.6:443");
        let mut named = config("");
        named.edge.npm.as_mut().unwrap().serves_at = Some("https://192.168.1.7:8443".to_owned());
        assert_eq!(at(&named), "192.168.1.7:8443");
    }
}
