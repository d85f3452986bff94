//! Every request that is made to Cloudflare, as it goes out. A test holds each
//! of them against a description of the API.

use serde_json::{Value as Json, json};

use crate::edge::Record;

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Asks.
    Get,
    /// Adds.
    Post,
    /// Replaces.
    Put,
    /// Changes.
    Patch,
    /// Removes.
    Delete,
}

impl Method {
    /// As it stands in a request.
    pub fn as_str(self) -> &'static str {
        match self {
            Method::Get => "GET",
            Method::Post => "POST",
            Method::Put => "PUT",
            Method::Patch => "PATCH",
            Method::Delete => "DELETE",
        }
    }
}

/// A request.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// What it does.
    pub method: Method,
    /// Path and query, below the API's base.
    pub path: String,
    /// What is said besides.
    pub body: Option<Json>,
}

impl Request {
    fn new(method: Method, path: String, body: Option<Json>) -> Self {
        Self { method, path, body }
    }

    /// A question.
    pub fn get(path: String) -> Self {
        Self::new(Method::Get, path, None)
    }

    /// One page of a question that comes in pages.
    pub fn page(path: &str, page: u32, size: u32) -> Self {
        let joint = if path.contains('?') { '&' } else { '?' };
        Self::get(format!("{path}{joint}page={page}&per_page={size}"))
    }
}

/// Text in a query.
pub(in crate::edge) fn quoted(text: &str) -> String {
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
    text.bytes()
        .map(|byte| if plain(&byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

fn tunnel(account: &str, tunnel: &str, below: &str) -> String {
    format!("/accounts/{account}/cfd_tunnel/{tunnel}{below}")
}

/// Makes a tunnel whose routes are kept at Cloudflare.
pub fn create_tunnel(account: &str, name: &str) -> Request {
    let body = json!({"name": name, "config_src": "cloudflare"});
    Request::new(Method::Post, format!("/accounts/{account}/cfd_tunnel"), Some(body))
}

/// The token with which cloudflared runs a tunnel.
pub fn tunnel_token(account: &str, id: &str) -> Request {
    Request::get(tunnel(account, id, "/token"))
}

/// Replaces a tunnel's config.
pub fn write_routes(account: &str, id: &str, config: &Json) -> Request {
    Request::new(Method::Put, tunnel(account, id, "/configurations"), Some(json!({ "config": config })))
}

/// Ends what is connected to a tunnel: one with connections cannot be removed.
pub fn disconnect_tunnel(account: &str, id: &str) -> Request {
    Request::new(Method::Delete, tunnel(account, id, "/connections"), None)
}

/// Removes a tunnel.
pub fn remove_tunnel(account: &str, id: &str) -> Request {
    Request::new(Method::Delete, tunnel(account, id, ""), None)
}

/// Makes a DNS record, or corrects one.
pub fn write_record(zone: &str, id: Option<&str>, record: &Record) -> Request {
    match id {
        Some(id) => {
            Request::new(Method::Patch, format!("/zones/{zone}/dns_records/{id}"), Some(record.body()))
        }
        None => Request::new(Method::Post, format!("/zones/{zone}/dns_records"), Some(record.body())),
    }
}

/// Removes a DNS record.
pub fn remove_record(zone: &str, id: &str) -> Request {
    Request::new(Method::Delete, format!("/zones/{zone}/dns_records/{id}"), None)
}

/// Changes a setting of a zone.
pub fn write_setting(zone: &str, setting: &str, value: &str) -> Request {
    let path = format!("/zones/{zone}/settings/{setting}");
    Request::new(Method::Patch, path, Some(json!({ "value": value })))
}

/// Makes the first cache rule of a zone. It replaces whatever rules there are.
pub fn first_cache_rule(zone: &str, rule: &Json) -> Request {
    let path = format!("/zones/{zone}/rulesets/phases/http_request_cache_settings/entrypoint");
    Request::new(Method::Put, path, Some(json!({ "rules": [rule] })))
}

/// Adds a cache rule behind the others, or writes one anew: all of it, and
/// behind another rule where one is named.
pub fn write_cache_rule(
    zone: &str,
    ruleset: &str,
    id: Option<&str>,
    rule: &Json,
    behind: Option<&str>,
) -> Request {
    let base = format!("/zones/{zone}/rulesets/{ruleset}/rules");
    let Some(id) = id else { return Request::new(Method::Post, base, Some(rule.clone())) };
    let mut rule = rule.clone();
    if let Some(behind) = behind {
        rule["position"] = json!({ "after": behind });
    }
    Request::new(Method::Patch, format!("{base}/{id}"), Some(rule))
}

/// Removes a cache rule.
pub fn remove_cache_rule(zone: &str, ruleset: &str, id: &str) -> Request {
    Request::new(Method::Delete, format!("/zones/{zone}/rulesets/{ruleset}/rules/{id}"), None)
}
