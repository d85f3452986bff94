//! What an API's refusal means, and what to do about it.

mod cloudflare;

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
        Api::Cloudflare => cloudflare::refusal(status, body, subject, permission),
        Api::Npm => npm(status, body, subject),
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
