//! What the edge's resources make of answers that are hard to come by.

mod npm;

use serde_json::{Value as Json, json};

use super::*;
use crate::{
    config::Config,
    edge::Reply,
    fact::{Fact, GuestState, Value},
    observed::Answer,
    plan,
    resource::{self, BackendId},
};

const APEX: &str = "domain = \"chat.home.arpa\"\nserver_name = \"chat.home.arpa\"\n[edge.cloudflare]\ntunnel = \"home\"\n\
                    token_file = \"/t\"\n[edge.npm]\naddress = \"http://192.168.1.5:81\"\nidentity = \"a@home.arpa\"\n\
                    forward_host = \"192.168.1.20\"";

pub(crate) fn site(toml: &str) -> Site {
    Site::new(Config::parse(toml, "matrix.toml").unwrap_or_else(|e| panic!("{e}")), BackendId::Lxc)
}

/// Answers every question that is put, from `edge` where it is one to the edge.
pub(super) fn diff_of(site: &Site, id: &str, edge: &dyn Fn(&Question) -> Reply) -> Diff {
    let all = resource::all(site);
    let resource = all.iter().find(|r| r.id().as_str() == id).unwrap_or_else(|| panic!("no {id}"));
    let mut seen = Observed::default();
    for _ in 0..10 {
        let diff = plan::diff(resource.as_ref(), &seen);
        let wanted = seen.take_wanted();
        if wanted.is_empty() {
            return diff;
        }
        for (side, fact) in wanted {
            let value = match &fact {
                Fact::Edge(question) => Value::Edge(Box::new(edge(question))),
                Fact::LxcGuest(_) => Value::LxcGuest(GuestState::Absent),
                fact => fact.nowhere().unwrap_or(Value::Yes(false)),
            };
            seen.insert(side, fact, Answer::Known(value));
        }
    }
    panic!("the questions do not end")
}

pub(crate) fn found(body: Json) -> Reply {
    Reply::Found { body, at: "2026-05-01 00:00:00".to_owned() }
}

/// A zone with a tunnel, the records as given, and nothing else.
pub(super) fn cloudflare(records: Json) -> impl Fn(&Question) -> Reply {
    move |question| match question {
        Question::Zone(_) => found(
            json!([{"id": "z", "name": "chat.home.arpa", "status": "active", "account": {"id": "a"}, "plan": {"legacy_id": "free"}}]),
        ),
        Question::Token => found(json!({"status": "active"})),
        Question::Tunnels { .. } => {
            found(json!([{"id": "t", "name": "home", "status": "healthy", "config_src": "cloudflare"}]))
        }
        Question::TunnelConfig { .. } => found(json!({"config": null})),
        Question::Records { .. } => found(records.clone()),
        Question::NpmStatus => {
            found(json!({"status": "OK", "setup": true, "version": {"major": 2, "minor": 15, "revision": 0}}))
        }
        _ => found(json!([])),
    }
}

#[test]
fn the_domains_own_web_site_is_never_taken_over() {
    let records =
        json!([{"id": "r", "type": "A", "name": "chat.home.arpa", "content": "192.0.2.1", "proxied": true}]);
    let diff = diff_of(&site(APEX), "edge/cloudflare/dns/chat.home.arpa", &cloudflare(records));
    let Diff::Blocked { why, hint } = diff else { panic!("{diff:?}") };
    assert!(why.contains("192.0.2.1") && hint.contains("well_known.apex = \"elsewhere\""), "{why} {hint}");
    let elsewhere = site(&format!("{APEX}\n[well_known]\napex = \"elsewhere\""));
    assert!(
        resource::all(&elsewhere).iter().all(|r| r.id().as_str() != "edge/cloudflare/dns/chat.home.arpa")
    );
}

#[test]
fn the_domains_paths_lead_to_the_matrix_host() {
    let diff = diff_of(&site(APEX), "edge/cloudflare/routes", &cloudflare(json!([])));
    let Diff::Change(step) = diff else { panic!("{diff:?}") };
    insta::assert_snapshot!(step.changes[0].after);
    // What is about to be made is written down before it is made.
    assert!(
        step.effects[0]
            .describe()
            .starts_with("write /var/lib/matrix-podman/sites/chat.home.arpa/edge-cloudflare.json")
    );
}

#[test]
fn a_record_of_another_kind_is_in_nobodys_way() {
    let records = json!([{"id": "r", "type": "TXT", "name": "matrix.chat.home.arpa", "content": "v=spf1"}]);
    let diff = diff_of(&site(APEX), "edge/cloudflare/dns/matrix.chat.home.arpa", &cloudflare(records));
    assert!(matches!(diff, Diff::Change(_)), "{diff:?}");
}

#[test]
fn a_name_of_two_tunnels_wants_an_id() {
    let answers = cloudflare(json!([]));
    let two = move |question: &Question| match question {
        Question::Tunnels { .. } => found(json!([
            {"id": "t1", "name": "home", "config_src": "cloudflare"}, {"id": "t2", "name": "home", "config_src": "cloudflare"},
        ])),
        other => answers(other),
    };
    let diff = diff_of(&site(APEX), "edge/cloudflare/access", &two);
    let Diff::Blocked { hint, .. } = diff else { panic!("{diff:?}") };
    assert!(hint.contains("t1 or t2"), "{hint}");
}

#[test]
fn an_npm_without_a_user_is_not_touched() {
    let fresh = |question: &Question| match question {
        Question::NpmStatus => found(
            json!({"status": "OK", "setup": false, "version": {"major": 2, "minor": 15, "revision": 0}}),
        ),
        _ => found(json!([])),
    };
    let diff = diff_of(&site(APEX), "edge/npm/access", &fresh);
    assert!(matches!(&diff, Diff::Blocked { why, .. } if why.contains("has no user yet")), "{diff:?}");
}

#[test]
fn whoever_is_not_let_in_is_told_once() {
    let shut = |question: &Question| match question {
        Question::Zone(_) | Question::Token => {
            Reply::Refused(Refusal::credential("the token is wrong", "make another"))
        }
        _ => found(json!([])),
    };
    let told = resource::all(&site(APEX))
        .iter()
        .filter(|r| r.id().as_str().starts_with("edge/cloudflare/"))
        .filter(|r| matches!(diff_of(&site(APEX), r.id().as_str(), &shut), Diff::Blocked { .. }))
        .count();
    assert_eq!(told, 1);
}

#[test]
fn a_host_among_other_names_stays_theirs() {
    let shared = |question: &Question| match question {
        Question::NpmHosts => {
            found(json!([{"id": 1, "domain_names": ["cloud.home.arpa", "Matrix.chat.home.arpa"]}]))
        }
        Question::NpmStatus => found(json!({"status": "OK", "version": {"major": 2, "minor": 15}})),
        Question::NpmUser => {
            found(json!({"id": 1, "roles": ["admin"], "permissions": {"visibility": "all"}}))
        }
        _ => found(json!([])),
    };
    let diff = diff_of(&site(APEX), "edge/npm/access", &shared);
    assert!(matches!(&diff, Diff::Blocked { why, .. } if why.contains("cloud.home.arpa")), "{diff:?}");
}
