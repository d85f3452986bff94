//! What Cloudflare's and Nginx Proxy Manager's APIs answer.

use matrix_podman_core::edge::{cloudflare as cf, npm as manager};
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

/// One of them, or a list of them.
fn read<T: DeserializeOwned>(json: &Json) -> Vec<T> {
    let list = serde_json::from_value(json.clone());
    list.or_else(|_| serde_json::from_value(json.clone()).map(|one| vec![one])).unwrap_or_default()
}

/// Cloudflare.
pub fn cloudflare(bytes: &[u8]) {
    let Ok(answer) = serde_json::from_slice::<Json>(bytes) else { return };
    let json = answer.get("result").unwrap_or(&answer);
    for zone in read::<cf::Zone>(json) {
        let _ = zone.plan.body_limit();
    }
    let _ = read::<cf::Account>(json);
    let _ = read::<cf::TokenState>(json);
    let _ = read::<cf::Tunnel>(json);
    let _ = read::<cf::TunnelConfig>(json);
    let _ = read::<cf::DnsRecord>(json);
    let _ = read::<cf::Setting>(json);
    let _ = read::<cf::Ruleset>(json);
    let _ = read::<cf::Bots>(json);
    let _ = cf::rule_is(json, &cf::cache_rule("chat.home.arpa", "home.arpa"));
}

/// Nginx Proxy Manager.
pub fn npm(bytes: &[u8]) {
    let Ok(answer) = serde_json::from_slice::<Json>(bytes) else { return };
    for status in read::<manager::Status>(&answer) {
        let _ = format!("{} {}", status.version, status.version.at_least(2, 10));
    }
    let certificates = read::<manager::Certificate>(&answer);
    let _ = manager::certificate_for(&certificates, "chat.home.arpa", "2026-01-02T03:04:05Z");
    let words = manager::certbot_words(&answer);
    let _ = (manager::certbot_is_busy(&words), manager::certbot_hint(&words));
    let hosts = answer.as_array().cloned().unwrap_or_else(|| vec![answer.clone()]);
    for host in &hosts {
        let _ = (manager::names(host), manager::has_name(host, "chat.home.arpa"));
        let _ = (manager::made_for(host, "home.arpa"), manager::is_marked(host, "home.arpa"));
        let _ = manager::serving(host);
        let wanted = manager::writable(host);
        let _ = manager::lines(&manager::as_wanted(host, &wanted));
    }
}
