//! What clients and other servers are told at `/.well-known/matrix/`.

use serde::Serialize;
use serde_json::{Map, Value as Json, json};

use crate::config::Config;

/// One document.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Document {
    /// Its path on the web server.
    pub path: &'static str,
    /// What it says, on one line.
    pub json: String,
}

/// Every document that is served: `server`, `client`, and `support` where
/// there is a contact.
pub fn documents(config: &Config) -> Vec<Document> {
    let document = |path, value: Json| Document { path, json: value.to_string() };
    let mut all = vec![
        document("/.well-known/matrix/server", json!({ "m.server": delegated(config) })),
        document("/.well-known/matrix/client", client(config)),
    ];
    all.extend(support(config).map(|value| document("/.well-known/matrix/support", value)));
    all
}

/// Host and port that other servers come to. The port is always written: without
/// one they would look for SRV records and then try 8448.
pub fn delegated(config: &Config) -> String {
    let rest = config.matrix_url.split_once("://").map_or("", |(_, rest)| rest);
    if rest.contains(':') { rest.to_owned() } else { format!("{rest}:443") }
}

fn client(config: &Config) -> Json {
    let known = &config.well_known;
    let mut client = Map::new();
    client.insert("m.homeserver".to_owned(), json!({ "base_url": config.matrix_url }));
    if let Some(url) = known.identity_server.as_deref() {
        client.insert("m.identity_server".to_owned(), json!({ "base_url": url }));
    }
    if let Some(url) = known.sliding_sync_proxy.as_deref() {
        client.insert("org.matrix.msc3575.proxy".to_owned(), json!({ "url": url }));
    }
    if !known.rtc_foci.is_empty() {
        let foci: Vec<Json> = known
            .rtc_foci
            .iter()
            .map(|url| json!({"type": "livekit", "livekit_service_url": &**url}))
            .collect();
        client.insert("org.matrix.msc4143.rtc_foci".to_owned(), Json::Array(foci));
    }
    Json::Object(client)
}

fn support(config: &Config) -> Option<Json> {
    let known = &config.well_known;
    let mut support = Map::new();
    let contacts: Vec<Json> = [
        known.support_user.as_deref().map(|id| json!({"matrix_id": id, "role": "m.role.admin"})),
        known.support_email.as_deref().map(|mail| json!({"email_address": mail, "role": "m.role.admin"})),
    ]
    .into_iter()
    .flatten()
    .collect();
    if !contacts.is_empty() {
        support.insert("contacts".to_owned(), Json::Array(contacts));
    }
    if let Some(page) = known.support_page.as_deref() {
        support.insert("support_page".to_owned(), json!(page));
    }
    (!support.is_empty()).then_some(Json::Object(support))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Defaults;

    #[test]
    fn documents_say_what_the_config_says() {
        let config = Config::parse(
            "domain = \"chat.home.arpa\"\nserver_name = \"chat.home.arpa\"\n[well_known]\n\
             identity_server = \"https://id.home.arpa\"\nsliding_sync_proxy = \"https://sync.home.arpa\"\n\
             rtc_foci = [\"https://rtc.home.arpa/livekit/jwt\"]\nsupport_email = \"anna@home.arpa\"\n\
             support_user = \"@anna:chat.home.arpa\"\nsupport_page = \"https://home.arpa/help\"",
            "matrix.toml",
        )
        .unwrap();
        insta::assert_json_snapshot!(documents(&config));
    }

    #[test]
    fn by_default_only_what_todays_clients_need() {
        let config = Config::from_domain("chat.home.arpa", &Defaults::default()).unwrap();
        insta::assert_json_snapshot!(documents(&config));
    }
}
