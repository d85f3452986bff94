//! Making accounts through the shared-secret registration, which works without
//! any account being there and whatever `synapse.registration` says
//! (Synapse, `docs/admin_api/register_api.md`).

use std::fs;

use hmac::{Hmac, KeyInit as _, Mac as _};
use matrix_podman_core::layout::{self, Secret};
use serde_json::{Value as Json, json};
use sha1::Sha1;

use super::{Api, Method, Response};
use crate::failure::{Doing, Failure};

/// Where accounts are registered.
pub(crate) const REGISTER: &str = "/_synapse/admin/v1/register";

/// An account that is to be made.
pub(crate) struct NewAccount<'a> {
    pub localpart: &'a str,
    pub password: &'a str,
    pub admin: bool,
    pub display_name: Option<&'a str>,
    /// Synapse's `user_type`; a person has none.
    pub user_type: Option<&'static str>,
    /// What to call the login that comes with it; none when absent.
    pub log_in: Option<&'static str>,
}

/// Makes it; Synapse's answer, whatever it is.
pub(super) fn register(api: &Api, new: &NewAccount<'_>, doing: &str) -> Result<Response, Failure> {
    let secret = fs::read_to_string(layout::secret(Secret::REGISTRATION).as_str())
        .doing(|| doing)
        .map_err(|f| f.hint("the server is not there yet: `matrix-podman up` makes it"))?;
    let answer = api.send(Method::Get, REGISTER, None, None, doing)?;
    let Some(nonce) = answer.body.get("nonce").and_then(Json::as_str) else {
        return Err(answer.failure(doing));
    };
    let body = registration(secret.trim(), nonce, new, doing)?;
    api.send(Method::Post, REGISTER, None, Some(&body), doing)
}

/// The body of the request that makes an account; `secret` proves that it may be made.
pub(crate) fn registration(
    secret: &str,
    nonce: &str,
    new: &NewAccount<'_>,
    doing: &str,
) -> Result<Json, Failure> {
    let mut body = json!({
        "nonce": nonce,
        "username": new.localpart,
        "password": new.password,
        "admin": new.admin,
        "mac": mac(secret, nonce, new).doing(|| doing)?,
        "inhibit_login": new.log_in.is_none(),
    });
    if let Some(body) = body.as_object_mut() {
        let more = [
            ("displayname", new.display_name),
            ("user_type", new.user_type),
            ("initial_device_display_name", new.log_in),
        ];
        for (key, value) in more {
            if let Some(value) = value {
                body.insert(key.to_owned(), json!(value));
            }
        }
    }
    Ok(body)
}

/// HMAC-SHA1 over nonce, name, password, role and kind, zero bytes between.
fn mac(secret: &str, nonce: &str, new: &NewAccount<'_>) -> Result<String, hmac::digest::InvalidLength> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes())?;
    let role = if new.admin { "admin" } else { "notadmin" };
    let parts = [nonce, new.localpart, new.password, role].into_iter().chain(new.user_type);
    for (index, part) in parts.enumerate() {
        if index > 0 {
            mac.update(b"\0");
        }
        mac.update(part.as_bytes());
    }
    Ok(mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mac_is_synapses() {
        // Made with Synapse's own recipe in Python's hmac module.
        let mut new = NewAccount {
            localpart: "pepper",
            password: "salt",
            admin: true,
            display_name: None,
            user_type: None,
            log_in: None,
        };
        assert_eq!(mac("shh", "abcd", &new).unwrap(), "f116cafbe34df2f92130da8b45a8ee371e781ea3");
        new.user_type = Some("bot");
        assert_eq!(mac("shh", "abcd", &new).unwrap(), BOT);
    }

    const BOT: &str = "72cb1691577885a2197d2cb71a705a822b2da869";
}
