//! Synapse's admin API, spoken to from inside the guest.

use std::{fs, time::Duration};

use hmac::{Hmac, KeyInit as _, Mac as _};
use matrix_podman_core::{
    layout::{self, Secret},
    render::homeserver,
};
use serde::Deserialize;
use serde_json::json;
use sha1::Sha1;

use crate::{
    failure::{Doing, Failure},
    guest::wire::NewUser,
};

/// How long an answer may take; hashing a password takes most of a second.
const PATIENCE: Duration = Duration::from_secs(30);

#[derive(Deserialize)]
struct Nonce {
    nonce: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MatrixError {
    errcode: String,
    error: String,
}

/// Makes a user through the shared-secret registration, which works without
/// any user being there and whatever `registration` says
/// (Synapse, docs/admin_api/register_api.md).
pub fn add_user(user: &NewUser) -> Result<(), Failure> {
    let doing = || format!("make the user {}", user.localpart);
    let secret_file = layout::secret(Secret::Registration);
    let secret = fs::read_to_string(secret_file.as_str())
        .doing(doing)
        .map_err(|f| f.hint("the server is not there yet: `matrix-podman up` makes it"))?;
    let agent: ureq::Agent = ureq::Agent::config_builder()
        .timeout_global(Some(PATIENCE))
        .http_status_as_error(false)
        .build()
        .into();
    let url = format!("http://127.0.0.1:{}/_synapse/admin/v1/register", homeserver_port()?);
    let unreachable = |f: Failure| {
        f.hint("Synapse does not answer: `matrix-podman status` says why, `matrix-podman up` mends it")
    };
    let nonce: Nonce = agent
        .get(&url)
        .call()
        .doing(doing)
        .map_err(unreachable)?
        .body_mut()
        .read_json()
        .doing(doing)
        .map_err(unreachable)?;
    let mac = mac(secret.trim(), &nonce.nonce, user).doing(doing)?;
    let mut body = json!({
        "nonce": nonce.nonce,
        "username": user.localpart.as_str(),
        "password": user.password,
        "admin": user.admin,
        "mac": mac,
        "inhibit_login": true,
    });
    if let (Some(name), Some(body)) = (&user.display_name, body.as_object_mut()) {
        body.insert("displayname".to_owned(), json!(name));
    }
    let mut response = agent.post(&url).send_json(&body).doing(doing).map_err(unreachable)?;
    if response.status().is_success() {
        return Ok(());
    }
    let status = response.status();
    let error: MatrixError = response.body_mut().read_json().unwrap_or_default();
    Err(match error.errcode.as_str() {
        "M_USER_IN_USE" => Failure::new(doing(), "there is a user of that name").hint("choose another name"),
        _ => Failure::new(doing(), format!("Synapse answered {status}: {}", error.error)),
    })
}

/// `homeserver.yaml` always listens on this one inside; outside the container
/// the published port may differ, and the applied config says which it is.
fn homeserver_port() -> Result<u16, Failure> {
    let path = layout::applied_config();
    let text = fs::read_to_string(path.as_str()).unwrap_or_default();
    match matrix_podman_core::config::Config::parse(&text, path.as_str()) {
        Ok(config) => Ok(config.ports.synapse.get()),
        Err(_) => Ok(homeserver::PORT),
    }
}

/// HMAC-SHA1 over nonce, name, password and role, zero bytes between.
fn mac(secret: &str, nonce: &str, user: &NewUser) -> Result<String, hmac::digest::InvalidLength> {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes())?;
    let role = if user.admin { "admin" } else { "notadmin" };
    for (index, part) in [nonce, user.localpart.as_str(), &user.password, role].into_iter().enumerate() {
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
    use matrix_podman_core::name::Localpart;

    #[test]
    fn the_mac_is_synapses() {
        // Made with Synapse's own recipe in Python's hmac module.
        let user = NewUser {
            localpart: Localpart::parse("pepper").unwrap(),
            password: "salt".to_owned(),
            admin: true,
            display_name: None,
        };
        assert_eq!(mac("shh", "abcd", &user).unwrap(), MAC);
    }

    const MAC: &str = "f116cafbe34df2f92130da8b45a8ee371e781ea3";
}
