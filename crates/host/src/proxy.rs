//! Which requests go through the proxy that the environment names.
//!
//! What is nearby never does: the guest, Nginx Proxy Manager, and addresses of
//! the network at home. A proxy could not reach them, and what is sent to them
//! (NPM's password, a token) is not for it to see. For everything else the
//! environment's usual variables hold: `https_proxy`, `http_proxy`, `all_proxy`
//! and `no_proxy`, in small letters or capitals.

use std::net::{IpAddr, Ipv4Addr, ToSocketAddrs as _};

use ureq::{Proxy, http::Uri};

/// Ends of names that are in no public zone (RFC 6761, 6762, 8375 and ICANN's
/// reservation of `internal`), and one that home routers use.
const NEARBY: [&str; 6] = ["localhost", "local", "home.arpa", "internal", "lan", "test"];

/// The proxy for a request to `url`, if it goes through one.
pub(crate) fn for_url(url: &str) -> Result<Option<Proxy>, String> {
    let env = |name: &str| std::env::var(name).ok().filter(|value| !value.trim().is_empty());
    choose(url, &env, &resolves_nearby)
}

fn choose(
    url: &str,
    env: &dyn Fn(&str) -> Option<String>,
    resolves_nearby: &dyn Fn(&str) -> bool,
) -> Result<Option<Proxy>, String> {
    // An address that cannot be read is refused by who sends the request.
    let Ok(uri) = url.parse::<Uri>() else { return Ok(None) };
    let Some(host) = uri.host() else { return Ok(None) };
    let host = host.trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
    let variable = if uri.scheme_str() == Some("https") { "https_proxy" } else { "http_proxy" };
    let either = |name: &str| env(name).or_else(|| env(&name.to_ascii_uppercase()));
    let Some(proxy) = either(variable).or_else(|| either("all_proxy")) else { return Ok(None) };
    if is_exempt(&host, &either("no_proxy").unwrap_or_default()) || is_nearby(&host) || resolves_nearby(&host)
    {
        return Ok(None);
    }
    // What it is may hold a password.
    Proxy::new(proxy.trim())
        .map(Some)
        .map_err(|_| format!("the environment's {variable} is no address of a proxy"))
}

/// Whether a name or an address is of this machine or of a network at home.
fn is_nearby(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => is_private(address),
        Err(_) => {
            let name = host.trim_end_matches('.');
            !name.contains('.')
                || NEARBY.iter().any(|end| name.strip_suffix(end).is_some_and(|rest| rest.ends_with('.')))
        }
    }
}

fn is_private(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => {
            // 100.64.0.0/10: what tunnels and providers use between themselves.
            let shared = u32::from(v4) & 0xffc0_0000 == u32::from(Ipv4Addr::new(100, 64, 0, 0));
            v4.is_private() || v4.is_loopback() || v4.is_link_local() || v4.is_unspecified() || shared
        }
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => is_private(v4.into()),
            None => {
                v6.is_loopback() || v6.is_unspecified() || v6.is_unique_local() || v6.is_unicast_link_local()
            }
        },
    }
}

/// Whether all that the system knows of a name is nearby.
fn resolves_nearby(host: &str) -> bool {
    let Ok(addresses) = (host, 0).to_socket_addrs() else { return false };
    let mut addresses = addresses.peekable();
    addresses.peek().is_some() && addresses.all(|address| is_private(address.ip()))
}

/// Whether `no_proxy` names a host: itself, the end of its name, or its network.
fn is_exempt(host: &str, list: &str) -> bool {
    list.split([',', ' ']).map(str::trim).filter(|entry| !entry.is_empty()).any(|entry| {
        let entry = entry.to_ascii_lowercase();
        if entry == "*" || entry == host {
            return true;
        }
        if let (Some((network, prefix)), Ok(address)) = (entry.split_once('/'), host.parse::<Ipv4Addr>()) {
            return match (network.parse::<Ipv4Addr>(), prefix.parse::<u32>()) {
                (Ok(network), Ok(prefix @ 1..=32)) => {
                    (u32::from(network) ^ u32::from(address)) >> (32 - prefix) == 0
                }
                _ => false,
            };
        }
        let end = entry.trim_start_matches('*').trim_start_matches('.');
        !end.is_empty() && host.strip_suffix(end).is_some_and(|rest| rest.ends_with('.'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a request goes through a proxy, with these variables.
    fn goes(url: &str, variables: &[(&str, &str)]) -> bool {
        let env = |name: &str| {
            variables.iter().find(|(variable, _)| *variable == name).map(|(_, value)| (*value).to_owned())
        };
        choose(url, &env, &|host| host == "nas.example.org").unwrap().is_some()
    }

    const BOTH: [(&str, &str); 2] =
        [("http_proxy", "http://proxy:3128"), ("HTTPS_PROXY", "http://proxy:3128")];

    #[test]
    fn what_is_nearby_is_asked_directly() {
        for url in [
            "http://10.86.42.10:8008/_matrix/client/versions",
            "http://192.168.1.5:81/api/tokens",
            "https://172.16.3.4/",
            "http://127.0.0.1:8008/",
            "http://[::1]:8008/",
            "http://[fd00::2]/",
            "http://[::ffff:10.0.0.1]/",
            "http://localhost:81/",
            "http://npm:81/api",
            "https://npm.home.arpa/",
            "https://npm.local./",
            // A public name of something at home.
            "https://nas.example.org/",
        ] {
            assert!(!goes(url, &BOTH), "{url}");
        }
    }

    #[test]
    fn the_world_is_asked_as_the_environment_says() {
        for url in ["https://api.cloudflare.com/client/v4", "http://hooks.example.com/x", "https://8.8.8.8/"]
        {
            assert!(goes(url, &BOTH), "{url}");
            assert!(goes(url, &[("ALL_PROXY", "http://proxy:3128")]), "{url}");
            assert!(!goes(url, &[]), "{url}");
        }
        // Each scheme has its own.
        assert!(!goes("https://api.cloudflare.com/", &BOTH[..1]));
        assert!(!goes("http://hooks.example.com/", &BOTH[1..]));
    }

    #[test]
    fn exemptions() {
        let with = |list| [BOTH[0], BOTH[1], ("no_proxy", list)];
        for (list, url) in [
            ("*", "https://example.com/"),
            ("example.com", "https://example.com/"),
            ("a.org, .example.com", "https://deep.example.com/"),
            ("*.example.com", "https://deep.example.com/"),
            ("example.com", "https://deep.example.com/"),
            ("8.8.0.0/16", "https://8.8.8.8/"),
        ] {
            assert!(!goes(url, &with(list)), "{list} {url}");
        }
        for (list, url) in [
            ("example.com", "https://notexample.com/"),
            ("8.8.0.0/16", "https://8.9.8.8/"),
            ("8.8.0.0/0", "https://8.8.8.8/"),
            (",", "https://example.com/"),
        ] {
            assert!(goes(url, &with(list)), "{list} {url}");
        }
    }

    #[test]
    fn a_proxy_that_is_none_is_told_without_its_password() {
        let env = |name: &str| (name == "https_proxy").then(|| "http://me:s3cret@".to_owned());
        let why = choose("https://example.com/", &env, &|_| false).unwrap_err();
        assert!(why.contains("https_proxy") && !why.contains("s3cret"), "{why}");
    }
}
