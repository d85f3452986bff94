//! What an API's refusal means, and what to do about it.

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use super::Api;

/// What kind of refusal it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalKind {
    /// There is no credential, or it is not accepted.
    Credential,
    /// The credential does not suffice.
    Permission,
    /// There is no such thing.
    NotFound,
    /// It does not like what was said.
    Request,
    /// It cannot answer just now.
    Trouble,
}

/// Why an API gave no answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{why}")]
pub struct Refusal {
    /// What kind it is.
    pub kind: RefusalKind,
    /// Why, as a clause.
    pub why: String,
    /// What to do about it.
    pub hint: String,
    /// The API's own number for it.
    pub code: Option<i64>,
}

impl Refusal {
    /// A refusal of our own making: there is no usable credential.
    pub fn credential(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { kind: RefusalKind::Credential, why: why.into(), hint: hint.into(), code: None }
    }
}

/// Reads a refusal; `None` when the answer is none.
pub fn refusal(api: Api, status: u16, body: &Json, subject: &str, permission: &str) -> Option<Refusal> {
    match api {
        Api::Cloudflare => cloudflare(status, body, subject, permission),
        Api::Npm => npm(status, body, subject),
    }
}

fn cloudflare(status: u16, body: &Json, subject: &str, permission: &str) -> Option<Refusal> {
    if (200..300).contains(&status) && body["success"] == true {
        return None;
    }
    let first = &body["errors"][0];
    let code = first["code"].as_i64();
    let chained = first["error_chain"][0]["message"].as_str();
    let said = chained.or(first["message"].as_str()).unwrap_or("it gave no reason");
    let make = |kind, why: String, hint: &str| Some(Refusal { kind, why, hint: hint.to_owned(), code });
    let token_hint =
        "make a token at https://dash.cloudflare.com/profile/api-tokens and put it where matrix.toml says";
    match (status, code) {
        (_, Some(6003 | 6111 | 6103 | 9106 | 1000 | 1001)) => {
            make(RefusalKind::Credential, format!("Cloudflare does not know the token ({said})"), token_hint)
        }
        (401, _) => make(
            RefusalKind::Credential,
            format!("Cloudflare does not accept the token ({said})"),
            token_hint,
        ),
        (403, _) | (_, Some(10000 | 9109)) => make(
            RefusalKind::Permission,
            format!("the token may not touch {subject} ({said})"),
            &format!(
                "add the permission \"{permission}\" to the token at https://dash.cloudflare.com/profile/api-tokens"
            ),
        ),
        (404, _) => make(
            RefusalKind::NotFound,
            format!("Cloudflare knows no such thing ({said})"),
            "look at matrix.toml",
        ),
        (429 | 500.., _) => make(
            RefusalKind::Trouble,
            format!("Cloudflare cannot answer just now ({status}: {said})"),
            "try again in some minutes",
        ),
        _ => make(
            RefusalKind::Request,
            format!("Cloudflare refused it ({status}: {said})"),
            "`matrix-podman plan` shows what was to be written",
        ),
    }
}

/// What NPM's user has to be allowed, in the words of NPM's own page.
pub const NPM_PERMISSIONS: &str = "give the user in edge.npm.identity these permissions in NPM (Users, its menu, Permissions): Item \
     Visibility: All Items; Proxy Hosts and Certificates: Manage; Redirection Hosts and 404 Hosts: View Only";

fn npm(status: u16, body: &Json, subject: &str) -> Option<Refusal> {
    if (200..300).contains(&status) {
        return None;
    }
    let said = body["error"]["message"].as_str().unwrap_or("it gave no reason");
    let code = body["error"]["code"].as_i64();
    let make = |kind, why: String, hint: &str| Some(Refusal { kind, why, hint: hint.to_owned(), code });
    match status {
        // What a user may not see is not found, and so is what needs a login.
        401 | 403 | 404 => make(
            RefusalKind::Permission,
            format!("NPM's user may not touch {subject} ({said})"),
            NPM_PERMISSIONS,
        ),
        // NPM says no more than this where its nginx cannot load its config,
        // and where the user may only view.
        500 => make(
            RefusalKind::Request,
            format!("something failed inside of Nginx Proxy Manager (500: {said})"),
            "mostly its nginx cannot load its own config: `nginx -t` in NPM's container says where, and its log has the rest",
        ),
        429 | 502..=504 => make(
            RefusalKind::Trouble,
            format!("Nginx Proxy Manager cannot answer just now ({status}: {said})"),
            "look at its container's log, then try again",
        ),
        _ => make(
            RefusalKind::Request,
            format!("Nginx Proxy Manager refused it ({status}: {said})"),
            "look at its container's log; `matrix-podman plan` shows what was to be written",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_missing_permission_is_named() {
        let body = json!({"success": false, "errors": [{"code": 10000, "message": "Authentication error"}]});
        let refused =
            refusal(Api::Cloudflare, 403, &body, "the zone's cache rules", "Zone / Cache Rules: Edit")
                .unwrap();
        assert_eq!(refused.kind, RefusalKind::Permission);
        assert!(refused.hint.contains("Zone / Cache Rules: Edit"), "{refused:?}");
    }

    #[test]
    fn a_status_of_200_without_success_is_a_refusal() {
        let body = json!({"success": false, "errors": [{"code": 1000, "message": "Invalid API Token"}]});
        assert_eq!(refusal(Api::Cloudflare, 200, &body, "", "").unwrap().kind, RefusalKind::Credential);
        assert_eq!(refusal(Api::Cloudflare, 200, &json!({"success": true, "messages": [7]}), "", ""), None);
    }
}
