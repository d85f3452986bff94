//! Every request to Cloudflare that can be made, held against a description of
//! its API: method, path, query and body. The stand-in of the end-to-end tests
//! holds what it is sent against the same.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that stumbles fails, and should")]

#[path = "../../../e2e/src/standin/cloudflare/description.rs"]
mod description;

use std::collections::BTreeSet;

use matrix_podman_core::{
    config::{Config, ZoneChoice, ZoneSetting},
    edge::{
        Act, Api, Question, Record,
        cloudflare::{
            cache_rule, comment,
            request::{self, Request},
            tunnel_target,
        },
        ingress, mark,
    },
    name::{AbsPath, Domain},
};
use serde_json::{Value as Json, json};

const ID: &str = "0123456789abcdef0123456789abcdef";
const TUNNEL: &str = "01234567-89ab-cdef-0123-456789abcdef";

fn questions() -> Vec<Question> {
    let id = || ID.to_owned();
    let named = |name: &str| ZoneChoice::Named(Domain::parse(name).unwrap());
    let mut all = vec![
        Question::Zone(named("bücher.ch")),
        Question::Zone(named("home.arpa")),
        Question::Zone(ZoneChoice::Id(id())),
        Question::Token,
        Question::AccountToken { account: id() },
        Question::Tunnels { account: id() },
        Question::TunnelConfig { account: id(), tunnel: TUNNEL.to_owned() },
        Question::Records { zone: id(), host: "matrix.xn--bcher-kva.ch".to_owned() },
        Question::Setting { zone: id(), setting: "security_level".to_owned() },
        Question::CacheRules { zone: id() },
        Question::Bots { zone: id() },
    ];
    all.extend(
        ZoneSetting::ALL.map(|setting| Question::Setting { zone: id(), setting: setting.id().to_owned() }),
    );
    // A question that is added has to be added above, too.
    for question in &all {
        match question {
            Question::Zone(_)
            | Question::Token
            | Question::AccountToken { .. }
            | Question::Tunnels { .. }
            | Question::TunnelConfig { .. }
            | Question::Records { .. }
            | Question::Setting { .. }
            | Question::CacheRules { .. }
            | Question::Bots { .. } => {}
            other => assert_eq!(other.api(), Api::Npm),
        }
    }
    all
}

fn asked(question: &Question) -> Request {
    match question.page_size() {
        Some(size) => Request::page(&question.path(), 1000, size),
        None => Request::get(question.path()),
    }
}

/// Configs whose routes are of every form.
fn configs() -> Vec<Config> {
    let long = format!("{}.home.arpa", ["abcdefghi"; 18].join("."));
    ["chat.home.arpa", "bücher.home.arpa", &long]
        .into_iter()
        .flat_map(|domain| {
            ["http://192.168.1.5", "https://192.168.1.5:8443\"\nverify_origin = \"false"].map(|service| {
                let toml = format!(
                    "domain = {domain:?}\nserver_name = {domain:?}\n[edge.cloudflare]\ntunnel = \"home\"\nservice = \"{service}\""
                )
                .replace("\"false\"", "false");
                Config::parse(&toml, "matrix.toml").unwrap_or_else(|e| panic!("{e}"))
            })
        })
        .collect()
}

/// The requests of an act, in order. An act that is added has to say its own.
fn requests(act: &Act) -> Vec<Request> {
    match act {
        Act::CreateTunnel { account, name, .. } => {
            vec![request::create_tunnel(account, name), request::tunnel_token(account, TUNNEL)]
        }
        Act::WriteRoutes { account, tunnel, after, .. } => {
            vec![request::write_routes(account, tunnel, after)]
        }
        Act::WriteRecord { zone, id, record } => vec![request::write_record(zone, id.as_deref(), record)],
        Act::RemoveRecord { zone, id, .. } => vec![request::remove_record(zone, id)],
        Act::WriteSetting { zone, setting, value } => vec![request::write_setting(zone, setting, value)],
        Act::WriteCacheRule { zone, place: None, rule, .. } => vec![request::first_cache_rule(zone, rule)],
        Act::WriteCacheRule { zone, place: Some((set, id)), behind, rule } => {
            vec![request::write_cache_rule(zone, set, id.as_deref(), rule, behind.as_deref())]
        }
        Act::RemoveCacheRule { zone, ruleset, rule } => vec![request::remove_cache_rule(zone, ruleset, rule)],
        Act::RemoveTunnel { account, tunnel, .. } => {
            vec![request::disconnect_tunnel(account, tunnel), request::remove_tunnel(account, tunnel)]
        }
        other => {
            assert_eq!(other.api(), Api::Npm);
            Vec::new()
        }
    }
}

fn acts(config: &Config) -> Vec<Act> {
    let id = || ID.to_owned();
    let file = || AbsPath::parse("/x").unwrap();
    let host = config.matrix_host();
    let rule = cache_rule(host, config.site());
    let routes = ingress::wanted(config, config.edge.cloudflare.as_ref().unwrap());
    let theirs = json!({"warp-routing": {"enabled": true}, "originRequest": {"connectTimeout": 10},
        "ingress": [{"hostname": "x.home.arpa", "service": "http://x", "id": "1"}, {"service": "http_status:503"}]});
    let made = ingress::missing(&Json::Null, &routes);
    let written = |before: &Json, after: Json| Act::WriteRoutes {
        account: id(),
        tunnel: TUNNEL.to_owned(),
        before: before.clone(),
        after,
    };
    let merged = ingress::merge(&Json::Null, &routes);
    let bare = json!({ "ingress": routes });
    let mut all = vec![
        Act::CreateTunnel { account: id(), name: "home".to_owned(), token_file: file(), record: file() },
        written(&Json::Null, merged.clone()),
        written(&theirs, ingress::merge(&theirs, &routes)),
        written(&merged, ingress::without(&merged, &made, &routes)),
        written(&bare, ingress::without(&bare, &made, &routes)),
        Act::RemoveRecord { zone: id(), host: host.to_owned(), id: id() },
        Act::RemoveCacheRule { zone: id(), ruleset: id(), rule: id() },
        Act::RemoveTunnel {
            account: id(),
            tunnel: TUNNEL.to_owned(),
            name: "home".to_owned(),
            token_file: file(),
        },
    ];
    let places = [(None, None), (Some((id(), None)), None), (Some((id(), Some(id()))), None)];
    for (place, behind) in places.into_iter().chain([(Some((id(), Some(id()))), Some(id()))]) {
        all.push(Act::WriteCacheRule { zone: id(), place, behind, rule: rule.clone() });
    }
    for record_id in [None, Some(id())] {
        let record = Record {
            host: host.to_owned(),
            target: tunnel_target(TUNNEL),
            comment: comment(&mark(config.site())),
        };
        all.push(Act::WriteRecord { zone: id(), id: record_id, record });
    }
    for (setting, now) in [
        (ZoneSetting::Ssl, "flexible"),
        (ZoneSetting::AlwaysUseHttps, "off"),
        (ZoneSetting::MinTlsVersion, "1.0"),
    ] {
        let value = setting.correction(now).unwrap().to_owned();
        all.push(Act::WriteSetting { zone: id(), setting: setting.id().to_owned(), value });
    }
    all
}

#[test]
fn every_request_is_one_that_cloudflare_takes() {
    let api: Json = serde_json::from_str(description::API).unwrap();
    let mut all: Vec<Request> = questions().iter().map(asked).collect();
    all.extend(configs().iter().flat_map(acts).flat_map(|act| requests(&act)));
    let mut made = BTreeSet::new();
    for request in &all {
        let body = request.body.clone().unwrap_or_default();
        match description::judge(&api, request.method.as_str(), &request.path, &body) {
            Ok(call) => made.insert(call),
            Err(why) => panic!("{why}\n{request:#?}"),
        };
    }
    let described: BTreeSet<String> = api["calls"]
        .as_array()
        .unwrap()
        .iter()
        .map(|call| call["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(made, described, "each call that is described is made, and cites its source");
    assert!(api["calls"].as_array().unwrap().iter().all(|call| call["source"].is_string()));
}

#[test]
fn the_description_refuses_what_cloudflare_refuses() {
    let api: Json = serde_json::from_str(description::API).unwrap();
    let routes = format!("/accounts/{ID}/cfd_tunnel/{TUNNEL}/configurations");
    let record =
        json!({"type": "CNAME", "name": "a.de", "content": "b.de", "ttl": 1, "comment": "x".repeat(101)});
    for (method, target, body, why) in [
        ("PUT", routes.as_str(), json!({"config": {"ingress": []}}), "out of bounds"),
        (
            "PUT",
            &routes,
            json!({"config": {"ingress": [{"service": "http://x", "hostName": "a"}]}}),
            "not known",
        ),
        ("PUT", &routes, json!({"config": {"ingress": [{"hostname": "a.de"}]}}), "service is missing"),
        ("POST", &format!("/zones/{ID}/dns_records"), record, "out of bounds"),
        ("GET", &format!("/zones/{ID}/dns_records?name=b%C3%BC.de"), Json::Null, "as DNS carries it"),
        ("GET", "/zones?name=a.de&per_page=100", Json::Null, "out of bounds"),
        ("GET", "/zones?names=a.de", Json::Null, "no names"),
        ("GET", &format!("/accounts/{ID}/cfd_tunnel/home"), Json::Null, "no call"),
        ("DELETE", &format!("/zones/{ID}/dns_records/{ID}"), json!({}), "no body"),
        ("PATCH", &format!("/zones/{ID}/settings/ssl"), json!({"value": "on"}), "none of"),
    ] {
        let said = description::judge(&api, method, target, &body).unwrap_err();
        assert!(said.contains(why), "{method} {target}: {said}");
    }
}
