//! What Cloudflare's refusals mean. One number means several things there: what
//! was asked, and with which status it was answered, decides.

use serde_json::Value as Json;

use super::{Refusal, RefusalKind};

const TOKENS: &str = "https://dash.cloudflare.com/profile/api-tokens";
/// Where tokens are that belong to an account and to no user.
const ACCOUNT_TOKENS: &str = "at Cloudflare under Manage Account, Account API Tokens";

/// Reads a refusal; `None` when the answer is none. Whether a token is valid is
/// the one question that needs no permission.
pub(super) fn refusal(status: u16, body: &Json, subject: &str, permission: &str) -> Option<Refusal> {
    // Removing may be answered with nothing at all.
    if status == 204 || (200..300).contains(&status) && body["success"] == true {
        return None;
    }
    let first = &body["errors"][0];
    let code = first["code"].as_i64();
    let chained = first["error_chain"][0]["message"].as_str();
    let said = chained.or(first["message"].as_str()).unwrap_or("it gave no reason");
    let make = |kind, why: String, hint: String| Some(Refusal { kind, why, hint, code });
    let verifying = permission.is_empty();
    let unknown = || {
        make(
            RefusalKind::Credential,
            format!("Cloudflare does not know the token ({said})"),
            format!(
                "make a token at {TOKENS}, or {ACCOUNT_TOKENS}, and put it where matrix.toml says; if it is there, see \
                 that it has not ended and was copied whole"
            ),
        )
    };
    let forbidden = || {
        make(
            RefusalKind::Permission,
            format!("the token may not touch {subject} ({said})"),
            format!(
                "add the permission \"{permission}\" to the token, for this zone and account: at {TOKENS}, or, if it is an \
                 account's own token, {ACCOUNT_TOKENS}"
            ),
        )
    };
    match (status, code) {
        // The header itself is not understood.
        (_, Some(6003 | 6103 | 6111 | 9106)) => unknown(),
        (_, Some(9109)) if said.contains("location") => make(
            RefusalKind::Credential,
            format!("the token may not be used from this machine's address ({said})"),
            format!("allow the address under Client IP Address Filtering of the token, at {TOKENS}"),
        ),
        (_, Some(9109)) if said.contains("Invalid access token") => unknown(),
        (_, Some(1000 | 1001)) | (400 | 401 | 403, _) if verifying => unknown(),
        (401 | 403, Some(10000 | 9109)) | (_, Some(10000)) => forbidden(),
        (401, _) => unknown(),
        (403, _) => forbidden(),
        (_, Some(1022)) => make(
            RefusalKind::Request,
            format!("a cloudflared is connected to {subject} ({said})"),
            "stop that cloudflared (`systemctl stop cloudflared` where it is a service), then run the same again".to_owned(),
        ),
        (400, Some(1001)) => make(
            RefusalKind::Request,
            format!("Cloudflare knows no such zone ({said})"),
            "look at edge.cloudflare.zone in matrix.toml".to_owned(),
        ),
        (404, _) => make(
            RefusalKind::NotFound,
            format!("Cloudflare knows no such thing ({said})"),
            "look at matrix.toml".to_owned(),
        ),
        (429, _) => make(
            RefusalKind::Trouble,
            format!("Cloudflare was asked too often and answers nobody with this token for a while ({said})"),
            "try again in five minutes".to_owned(),
        ),
        (500.., _) => make(
            RefusalKind::Trouble,
            format!("Cloudflare cannot answer just now ({status}: {said})"),
            "try again in some minutes".to_owned(),
        ),
        _ => make(
            RefusalKind::Request,
            format!("Cloudflare refused it ({status}: {said})"),
            "`matrix-podman plan` shows what was to be written".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const RULES: &str = "Zone / Cache Rules: Edit";

    fn read(status: u16, code: Option<i64>, said: &str, permission: &str) -> Refusal {
        let errors = code.map_or_else(|| json!([]), |code| json!([{"code": code, "message": said}]));
        let body = json!({"success": false, "errors": errors});
        refusal(status, &body, "the zone's cache rules", permission).unwrap()
    }

    #[test]
    fn one_number_means_what_was_asked() {
        use RefusalKind::{Credential, NotFound, Permission, Request, Trouble};
        for (status, code, said, permission, kind) in [
            (401, Some(1000), "Invalid API Token", "", Credential),
            (400, Some(1001), "Invalid API Token", "", Credential),
            (400, Some(1001), "Invalid zone identifier", RULES, Request),
            (401, Some(10000), "Authentication error", RULES, Permission),
            (403, Some(10000), "Authentication error", RULES, Permission),
            (403, None, "", RULES, Permission),
            (401, None, "", RULES, Credential),
            (403, Some(9109), "Unauthorized to access requested resource", RULES, Permission),
            (403, Some(9109), "Invalid access token", RULES, Credential),
            (403, Some(9109), "Cannot use the access token from location: 192.0.2.1", RULES, Credential),
            (400, Some(6003), "Invalid request headers", RULES, Credential),
            (400, Some(1022), "tunnel has active connections", RULES, Request),
            (404, Some(10003), "no entrypoint", RULES, NotFound),
            (429, Some(971), "wait", RULES, Trouble),
            (502, None, "", RULES, Trouble),
        ] {
            let refused = read(status, code, said, permission);
            assert_eq!(refused.kind, kind, "{status} {code:?} {said}: {refused:?}");
            if kind == Permission {
                assert!(
                    refused.hint.contains(RULES) && refused.hint.contains("Account API Tokens"),
                    "{refused:?}"
                );
            }
        }
        let elsewhere = read(403, Some(9109), "Cannot use the access token from location: 192.0.2.1", RULES);
        assert!(elsewhere.hint.contains("Client IP Address Filtering"), "{elsewhere:?}");
        assert!(read(400, Some(1022), "", RULES).hint.contains("systemctl stop cloudflared"));
    }

    #[test]
    fn what_is_done_is_no_refusal() {
        assert_eq!(refusal(200, &json!({"success": true, "messages": [7]}), "", ""), None);
        assert_eq!(refusal(204, &json!(""), "", RULES), None);
        assert!(refusal(200, &json!({"success": false, "errors": []}), "", RULES).is_some());
    }
}
