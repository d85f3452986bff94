//! Whether the web client loads, and speaks to this server.

use serde_json::Value;

use crate::{
    config::Config,
    frame::{Check, Group, HttpQuestion, RoomCheck, RoomView, Seen, answered},
};

pub(super) const CHECKS: &[RoomCheck] = &[RoomCheck::new(Group::Client, "client/web", web)];

fn web(view: &dyn RoomView) -> Seen<Check> {
    let id = "client/web";
    let base = view.at(view.config().ports.web)?;
    let log = "matrix-podman logs element-web";
    let [page, config] = ["", "config.json"].map(|path| {
        let question = HttpQuestion::get(format!("{base}/{path}"));
        Ok(answered(id, &question, log, view.http(&question)?))
    });
    let (page, config) = match (page?, config?) {
        (Ok(page), Ok(config)) => (page, config),
        (Err(check), _) | (_, Err(check)) => return Ok(check),
    };
    let html = page.body.as_deref().unwrap_or_default().to_ascii_lowercase().contains("<html");
    if page.status != 200 || !html {
        return Ok(Check::fail(
            id,
            format!("{base}/ is no page of the web client (status {})", page.status),
            format!("`{log}` says why"),
        ));
    }
    Ok(match config_flaw(view.config(), config.status, &config.json()) {
        None => Check::pass(id, format!("it loads and speaks to {}", view.config().matrix_url)),
        Some(flaw) => Check::fail(id, flaw, "matrix-podman up"),
    })
}

/// What is wrong with a `config.json` of the web client.
pub(crate) fn config_flaw(wanted: &Config, status: u16, config: &Value) -> Option<String> {
    let server = config.pointer("/default_server_config/m.homeserver");
    let text = |key: &str| server.and_then(|s| s.get(key)).and_then(Value::as_str).unwrap_or_default();
    if server.is_none() {
        Some(format!("its config.json names no server (status {status})"))
    } else if text("base_url") != wanted.matrix_url {
        Some(format!("it speaks to {}, and matrix_url is {}", text("base_url"), wanted.matrix_url))
    } else if text("server_name") != wanted.server_name.as_str() {
        Some(format!("it says that the server is {}, and it is {}", text("server_name"), wanted.server_name))
    } else {
        None
    }
}
