//! `[edge]`, read and checked.

use std::net::Ipv4Addr;

use super::{
    CertificateChoice, Cloudflare, Credential, Edge, Npm, ZoneChoice,
    keys::{AnyKey, Follows, Key, edge as keys},
    read::Reader,
    types::{EnvName, Flaw, SecretPath, Words},
};
use crate::name::{Cidr4, Domain};

pub(super) fn edge(r: &mut Reader<'_>, domain: Option<&Domain>, urls: Option<&(String, String)>) -> Edge {
    let npm = npm(r);
    let connectors = r.value(&keys::CONNECTORS);
    let (cloudflare, by_hand) = cloudflare(r, domain, npm.as_ref(), connectors.written());
    let tunnelled = cloudflare.is_some() || connectors.written();
    let connectors = tunnelled.then(|| connectors.value.0.iter().map(|network| network.0).collect());
    if let Some((matrix, chat)) = urls {
        let reached = |url: &String| url.strip_prefix("https://").is_some_and(|rest| !rest.contains(':'));
        for url in [matrix, chat] {
            if cloudflare.is_some() && !reached(url) {
                r.complain(
                    &keys::TUNNEL,
                    Flaw::new(format!(
                        "the tunnel leads only to https:// on its usual port, and {url} is another"
                    ))
                    .hint(
                        "remove the port and write https:// in matrix_url and chat_url, or remove the tunnel",
                    ),
                );
            }
        }
        if cloudflare.is_some() && host_of(matrix) == host_of(chat)
            || npm.is_some() && host_of(matrix) == host_of(chat)
        {
            r.complain(
                if npm.is_some() { &keys::NPM_ADDRESS } else { &keys::TUNNEL as &dyn AnyKey },
                Flaw::new("matrix_url and chat_url have the same name, and each needs one of its own here")
                    .hint("give them two names"),
            );
        }
    }
    let proxies = match r.optional(&keys::PROXIES).value {
        Some(named) => named.0.into_iter().map(|network| network.0).collect(),
        None => npm.iter().filter_map(own_address).collect(),
    };
    Edge { cloudflare, npm, connectors, by_hand, proxies }
}

/// NPM's address as a network, where it is an address; what a name stands for
/// can change from one day to the next.
fn own_address(npm: &Npm) -> Option<Cidr4> {
    let address: Ipv4Addr = host_of(&npm.address).parse().ok()?;
    let [a, b, c, d] = address.octets();
    (!address.is_loopback()).then(|| Cidr4::known(a, b, c, d, 32))
}

/// The host of an address.
pub fn host_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    rest.split(['/', ':']).next().unwrap_or(rest)
}

fn credential(
    r: &mut Reader<'_>,
    file: &Key<SecretPath, Follows>,
    variable: &Key<EnvName>,
) -> (Credential, bool) {
    let (file, variable) = (r.optional(file), r.value(variable));
    let written = file.written() || variable.written();
    (Credential { file: file.value.map(|path| path.0), variable: variable.value.0 }, written)
}

/// Complains about keys that a part needs which nobody asked for.
fn useless(r: &mut Reader<'_>, switch: &dyn AnyKey, keys: &[(&dyn AnyKey, bool)]) {
    for (key, _) in keys.iter().filter(|(_, written)| *written) {
        r.complain(
            *key,
            Flaw::new(format!("without {} this would have no effect", switch.path())).hint(format!(
                "write {} = {}",
                switch.name(),
                switch.example()
            )),
        );
    }
}

/// The tunnel that is ours to lead; or where one delivers that is set up by
/// hand, with its `connectors` named.
fn cloudflare(
    r: &mut Reader<'_>,
    domain: Option<&Domain>,
    npm: Option<&Npm>,
    by_hand: bool,
) -> (Option<Cloudflare>, Option<String>) {
    let tunnel = r.optional(&keys::TUNNEL);
    let create_tunnel = r.value(&keys::CREATE_TUNNEL);
    let zone = r.optional(&keys::ZONE);
    let (token, token_written) =
        credential(r, &keys::CLOUDFLARE_TOKEN_FILE, &keys::CLOUDFLARE_TOKEN_VARIABLE);
    let service = r.optional(&keys::SERVICE);
    let verify_origin = r.value(&keys::VERIFY_ORIGIN);
    let cache_rule = r.value(&keys::CACHE_RULE);
    let zone_settings = r.value(&keys::ZONE_SETTINGS);
    let Some(Words(tunnel_name)) = tunnel.value else {
        if tunnel.sound() {
            useless(
                r,
                &keys::TUNNEL,
                &[
                    (&keys::CREATE_TUNNEL, create_tunnel.written()),
                    (&keys::ZONE, zone.written()),
                    (&keys::CLOUDFLARE_TOKEN_FILE, token_written),
                    (&keys::SERVICE, service.written() && !by_hand),
                    (&keys::VERIFY_ORIGIN, verify_origin.written()),
                    (&keys::CACHE_RULE, cache_rule.written()),
                    (&keys::ZONE_SETTINGS, zone_settings.written()),
                ],
            );
        }
        return (None, service.value.filter(|_| by_hand).map(|url| url.0));
    };
    if create_tunnel.value && is_uuid(&tunnel_name) {
        r.complain(
            &keys::CREATE_TUNNEL,
            Flaw::new("tunnel is an id, and Cloudflare chooses the ids of new tunnels")
                .hint("name the tunnel, as in tunnel = \"home\""),
        );
    }
    let service_url = match (&service.value, npm) {
        (Some(url), _) => url.0.clone(),
        (None, Some(npm)) => {
            let scheme = if npm.certificate == CertificateChoice::None { "http" } else { "https" };
            format!("{scheme}://{}", host_of(&npm.address))
        }
        (None, None) => {
            if service.sound() {
                r.complain(
                    &keys::TUNNEL,
                    Flaw::new("where does the tunnel deliver?").hint(format!(
                        "name the reverse proxy with service = {}, or Nginx Proxy Manager with edge.npm.address",
                        keys::SERVICE.example()
                    )),
                );
            }
            String::new()
        }
    };
    if service_url.split_once("://").is_some_and(|(_, rest)| rest.contains('/')) {
        r.complain(
            &keys::SERVICE,
            Flaw::new("the tunnel delivers to a whole server: a path cannot stand here")
                .hint("remove the path"),
        );
    }
    let made = zone.value.or_else(|| domain.cloned().map(ZoneChoice::Named)).map(|zone| Cloudflare {
        tunnel: tunnel_name,
        create_tunnel: create_tunnel.value,
        zone,
        token,
        service: service_url,
        verify_origin: verify_origin.value,
        cache_rule: cache_rule.value,
        zone_settings: zone_settings.value.0,
    });
    (made, None)
}

/// Whether a tunnel is named by its id.
pub fn is_uuid(text: &str) -> bool {
    let parts: Vec<&str> = text.split('-').collect();
    parts.iter().map(|part| part.len()).eq([8, 4, 4, 4, 12])
        && parts.iter().all(|part| part.chars().all(|c| c.is_ascii_hexdigit()))
}

fn npm(r: &mut Reader<'_>) -> Option<Npm> {
    let address = r.optional(&keys::NPM_ADDRESS);
    let identity = r.optional(&keys::NPM_IDENTITY);
    let (secret, secret_written) = credential(r, &keys::NPM_SECRET_FILE, &keys::NPM_SECRET_VARIABLE);
    let certificate = r.value(&keys::NPM_CERTIFICATE);
    let certificate_name = r.optional(&keys::NPM_CERTIFICATE_NAME);
    let (dns_token, dns_written) = credential(r, &keys::NPM_DNS_TOKEN_FILE, &keys::NPM_DNS_TOKEN_VARIABLE);
    let forward_host = r.optional(&keys::NPM_FORWARD_HOST);
    let serves_at = r.optional(&keys::NPM_SERVES_AT);
    let hsts = r.value(&keys::NPM_HSTS);
    let sound = address.sound();
    let Some(url) = address.value else {
        if sound {
            useless(
                r,
                &keys::NPM_ADDRESS,
                &[
                    (&keys::NPM_IDENTITY, identity.written()),
                    (&keys::NPM_SECRET_FILE, secret_written),
                    (&keys::NPM_CERTIFICATE, certificate.written()),
                    (&keys::NPM_CERTIFICATE_NAME, certificate_name.written()),
                    (&keys::NPM_DNS_TOKEN_FILE, dns_written),
                    (&keys::NPM_FORWARD_HOST, forward_host.written()),
                    (&keys::NPM_SERVES_AT, serves_at.written()),
                    (&keys::NPM_HSTS, hsts.written()),
                ],
            );
        }
        return None;
    };
    if certificate_name.written() && certificate.value == CertificateChoice::None {
        r.complain(
            &keys::NPM_CERTIFICATE_NAME,
            Flaw::new("with certificate = \"none\" this would have no effect").hint("remove one of the two"),
        );
    }
    if url.0.starts_with("http://") && is_public(host_of(&url.0)) {
        r.complain(
            &keys::NPM_ADDRESS,
            Flaw::new("NPM's password would cross the internet for everybody to read")
                .hint("write https://, or the address that NPM has in your own network"),
        );
    }
    if identity.value.is_none() && identity.sound() {
        r.complain(
            &keys::NPM_ADDRESS,
            Flaw::new("NPM lets nobody in without an identity")
                .hint(format!("add identity = {}", keys::NPM_IDENTITY.example())),
        );
    }
    let host_ok = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if forward_host.value.as_ref().is_some_and(|host| !host.0.chars().all(host_ok)) {
        r.complain(
            &keys::NPM_FORWARD_HOST,
            Flaw::new("this is not a name or an IPv4 address")
                .hint(format!("for example forward_host = {}", keys::NPM_FORWARD_HOST.example())),
        );
    }
    Some(Npm {
        address: url.0,
        identity: identity.value.map(|email| email.0).unwrap_or_default(),
        secret,
        certificate: certificate.value,
        certificate_name: certificate_name.value.map(|words| words.0),
        dns_token,
        serves_at: serves_at.value.map(|url| url.0),
        forward_host: forward_host.value.map(|words| words.0),
        hsts: hsts.value,
    })
}

/// Ends of names that are nobody's on the internet.
const LOCAL: [&str; 14] = [
    "local",
    "localhost",
    "localdomain",
    "lan",
    "home",
    "home.arpa",
    "internal",
    "intranet",
    "private",
    "corp",
    "test",
    "invalid",
    "example",
    "fritz.box",
];

/// Whether a host is an IPv4 address that everybody can reach, or a name that
/// may lead to one: a name with a dot whose end is not one of home networks.
fn is_public(host: &str) -> bool {
    if let Ok(a) = host.parse::<std::net::Ipv4Addr>() {
        return !(a.is_private()
            || a.is_loopback()
            || a.is_link_local()
            || (a.octets()[0] == 100 && a.octets()[1] & 0xc0 == 64));
    }
    let name = host.to_ascii_lowercase();
    name.contains('.')
        && !LOCAL
            .iter()
            .any(|end| name.strip_suffix(end).is_some_and(|rest| rest.is_empty() || rest.ends_with('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_crosses_no_network_of_others_in_clear() {
        for public in ["npm.example.org", "8.8.8.8", "npm.lan.org", "arpa.xlocal.de"] {
            assert!(is_public(public), "{public}");
        }
        for own in
            ["npm", "npm.lan", "NPM.home.arpa", "fritz.box", "npm.fritz.box", "192.168.1.5", "100.64.0.1"]
        {
            assert!(!is_public(own), "{own}");
        }
    }
}
