//! What the edge's resources make of Cloudflare as it really is.

use serde_json::{Value as Json, json};

use super::{
    tests::{cloudflare, diff_of, found, site},
    *,
};
use crate::{
    config::Config,
    edge::{Act, Reply, cloudflare::cache_rule},
    effect::Effect,
    fact::{Fact, FileKind, FileState, GuestState, Value},
    name::{Mode, Owner},
    observed::Answer,
};

/// A site at Cloudflare.
pub(crate) const PLAIN: &str = "domain = \"chat.home.arpa\"\n[edge.cloudflare]\ntunnel = \"home\"\ntoken_file = \"/t\"\n\
                     service = \"http://192.168.1.5\"";

/// A zone that is as it should be, but for some.
pub(crate) fn zone(change: Json) -> Json {
    let mut zone = json!({"id": "z", "name": "chat.home.arpa", "status": "active", "account": {"id": "a"}});
    for (key, value) in change.as_object().unwrap() {
        zone[key] = value.clone();
    }
    zone
}

/// The usual answers, but for some.
pub(crate) fn but(given: impl Fn(&Question) -> Option<Reply>) -> impl Fn(&Question) -> Reply {
    let usual = cloudflare(json!([]));
    move |question| {
        given(question).unwrap_or_else(|| match question {
            Question::CacheRules { .. } => found(json!({"id": "set", "rules": []})),
            Question::Setting { .. } => found(json!({"value": "?"})),
            Question::Bots { .. } => found(json!({})),
            question => usual(question),
        })
    }
}

/// What a look finds, with what was written down.
pub(crate) fn looked<T>(
    site: &Site,
    record: Option<Json>,
    edge: &dyn Fn(&Question) -> Reply,
    look: impl Fn(&Site, &Observed) -> T,
) -> T {
    let mut seen = Observed::default();
    for _ in 0..10 {
        let result = look(site, &seen);
        let wanted = seen.take_wanted();
        if wanted.is_empty() {
            return result;
        }
        for (side, fact) in wanted {
            let value = match (&fact, &record) {
                (Fact::Edge(question), _) => Value::Edge(Box::new(edge(question))),
                (Fact::LxcGuest(_), _) => Value::LxcGuest(GuestState::Absent),
                (Fact::File(path), Some(record)) if path.as_str().ends_with("edge-cloudflare.json") => {
                    Value::File(Some(FileState {
                        kind: FileKind::File,
                        mode: Mode(0o600),
                        owner: Owner::ROOT,
                        content: Some(record.to_string()),
                        digest: None,
                        target: None,
                        age: 0,
                    }))
                }
                (fact, _) => fact.nowhere().unwrap_or(Value::Yes(false)),
            };
            seen.insert(side, fact, Answer::Known(value));
        }
    }
    panic!("the questions do not end")
}

fn blocked_by(toml: &str, given: impl Fn(&Question) -> Option<Reply>) -> String {
    match diff_of(&site(toml), "edge/cloudflare/access", &but(given)) {
        Diff::Blocked { why, hint } => format!("{why}\n{hint}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_domain_in_either_form_is_the_zone_that_comes_in_the_other() {
    for name in ["bücher.home.arpa", "xn--bcher-kva.home.arpa"] {
        let toml = PLAIN.replace("chat.home.arpa", name);
        let answers = but(|question| match question {
            Question::Zone(_) => {
                assert_eq!(question.path(), "/zones?name=b%C3%BCcher.home.arpa");
                Some(found(json!([zone(json!({"name": "bücher.home.arpa"}))])))
            }
            _ => None,
        });
        let diff = diff_of(&site(&toml), "edge/cloudflare/access", &answers);
        let Diff::Settled { why } = diff else { panic!("{diff:?}") };
        assert!(why.contains("xn--bcher-kva.home.arpa (bücher.home.arpa)"), "{why}");
        let config = Config::parse(&toml, "matrix.toml").unwrap();
        assert_eq!(config.matrix_host(), "matrix.xn--bcher-kva.home.arpa");
    }
}

#[test]
fn a_zone_that_leads_nowhere_or_twice_is_told() {
    let zones = |all: Json| {
        move |question: &Question| matches!(question, Question::Zone(_)).then(|| found(all.clone()))
    };
    let told = blocked_by(PLAIN, zones(json!([zone(json!({"paused": true}))])));
    assert!(told.contains("paused") && told.contains("Enable Cloudflare on Site"), "{told}");
    let two =
        json!([zone(json!({"id": "z1"})), zone(json!({"id": "z2", "account": {"id": "b", "name": "club"}}))]);
    let told = blocked_by(PLAIN, zones(two));
    assert!(
        told.contains("z2 (active in the account club)") && told.contains("edge.cloudflare.zone"),
        "{told}"
    );
    // By id one zone comes, and no list.
    let id = "0123456789abcdef0123456789abcdef";
    let by_id = but(move |question| match question {
        Question::Zone(_) => {
            assert_eq!(question.path(), format!("/zones/{id}"));
            assert_eq!(question.page_size(), None);
            Some(found(zone(json!({"id": id}))))
        }
        _ => None,
    });
    let diff = diff_of(&site(&format!("{PLAIN}\nzone = \"{id}\"")), "edge/cloudflare/access", &by_id);
    assert!(matches!(diff, Diff::Settled { .. }), "{diff:?}");
}

#[test]
fn an_accounts_own_token_is_looked_at_where_it_can_be() {
    let answer = |status: &'static str| {
        move |question: &Question| match question {
            Question::Token => Some(Reply::Refused(Refusal::credential("Invalid API Token", ""))),
            Question::AccountToken { account } => {
                assert_eq!(account, "a");
                Some(found(json!({"status": status})))
            }
            _ => None,
        }
    };
    let diff = diff_of(&site(PLAIN), "edge/cloudflare/access", &but(answer("active")));
    assert!(matches!(diff, Diff::Settled { .. }), "{diff:?}");
    assert!(blocked_by(PLAIN, answer("expired")).contains("is expired"));
}

#[test]
fn a_tunnel_that_does_not_say_where_its_routes_are_is_asked_for_them() {
    for tunnel in [json!({"id": "t", "name": "home"}), json!({"id": "t", "name": "home", "config_src": null})]
    {
        let answers = but(move |question| {
            matches!(question, Question::Tunnels { .. }).then(|| found(json!([tunnel.clone()])))
        });
        let diff = diff_of(&site(PLAIN), "edge/cloudflare/access", &answers);
        assert!(matches!(diff, Diff::Settled { .. }), "{diff:?}");
    }
    let local = |question: &Question| {
        matches!(question, Question::Tunnels { .. })
            .then(|| found(json!([{"id": "t", "name": "home", "remote_config": false}])))
    };
    assert!(blocked_by(PLAIN, local).contains("in a file beside its cloudflared"));
}

#[test]
fn name_servers_at_the_zones_own_name_are_no_stranger() {
    let toml = format!("{PLAIN}\n").replace("[edge", "server_name = \"chat.home.arpa\"\n[edge");
    let records =
        json!([{"id": "r", "type": "NS", "name": "chat.home.arpa", "content": "a.ns.cloudflare.com"}]);
    let diff = diff_of(&site(&toml), "edge/cloudflare/dns/chat.home.arpa", &cloudflare(records));
    assert!(matches!(diff, Diff::Change(_)), "{diff:?}");
    let below =
        json!([{"id": "r", "type": "NS", "name": "matrix.chat.home.arpa", "content": "ns.other.example"}]);
    let diff = diff_of(&site(&toml), "edge/cloudflare/dns/matrix.chat.home.arpa", &cloudflare(below));
    assert!(matches!(diff, Diff::Blocked { .. }), "{diff:?}");
}

#[test]
fn a_cache_rule_behind_ours_is_overtaken() {
    let ours = cache_rule("matrix.chat.home.arpa", "chat.home.arpa");
    let answers = |behind: Json| {
        let mut mine = ours.clone();
        mine["id"] = json!("r1");
        but(move |question| {
            matches!(question, Question::CacheRules { .. })
                .then(|| found(json!({"id": "set", "rules": [mine.clone(), behind.clone()]})))
        })
    };
    let all = json!({"id": "r2", "expression": "true", "action": "set_cache_settings",
        "action_parameters": {"cache": true}, "enabled": true});
    let diff = diff_of(&site(PLAIN), "edge/cloudflare/cache-rule", &answers(all));
    let Diff::Change(step) = diff else { panic!("{diff:?}") };
    let Effect::Edge(Act::WriteCacheRule { behind, place, .. }) = &step.effects[0] else {
        panic!("{step:?}")
    };
    assert_eq!((behind.as_deref(), place), (Some("r2"), &Some(("set".to_owned(), Some("r1".to_owned())))));
    let other = json!({"id": "r2", "expression": "(http.host eq \"x.home.arpa\")", "action": "set_cache_settings",
        "action_parameters": {"cache": true}, "enabled": true});
    let diff = diff_of(&site(PLAIN), "edge/cloudflare/cache-rule", &answers(other));
    assert!(matches!(diff, Diff::Settled { .. }), "{diff:?}");
}

#[test]
fn the_tunnel_goes_last_and_is_known_by_its_id() {
    let record = |id: Option<&str>| json!({"tunnel": "home", "tunnel_id": id, "routes": []});
    let removed = |id: Option<&str>| {
        let takedown = looked(&site(PLAIN), Some(record(id)), &but(|_| None), edge_takedown);
        let acts = takedown.unwrap().unwrap().acts;
        let at = acts.iter().position(|(_, e)| matches!(e, Effect::Edge(Act::RemoveTunnel { .. })));
        at.map(|at| acts.len() - at)
    };
    // Behind it, only the record of what was made is removed.
    assert_eq!((removed(Some("t")), removed(None)), (Some(2), Some(2)));
    assert_eq!(removed(Some("another")), None, "one that has its name now is not ours");
    let renamed = but(|question| {
        matches!(question, Question::Tunnels { .. }).then(|| {
            found(json!([{"id": "t", "name": "renamed"}, {"id": "gone", "name": "home", "deleted_at": "2026-01-01"}]))
        })
    });
    let way = looked(&site(PLAIN), Some(record(Some("t"))), &renamed, |site, seen| {
        tunnel(site, seen, "look").map(|(_, tunnel)| tunnel.id).ok()
    });
    assert_eq!(way.as_deref(), Some("t"), "ours is found under its new name");
}

#[test]
fn what_was_cut_off_before_its_first_route_leaves_nothing_to_write() {
    let record = json!({"tunnel": null, "routes": [{"hostname": "matrix.chat.home.arpa"}]});
    let takedown = looked(&site(PLAIN), Some(record), &but(|_| None), edge_takedown).unwrap().unwrap();
    let writes = takedown.acts.iter().filter(|(_, e)| matches!(e, Effect::Edge(Act::WriteRoutes { .. })));
    assert_eq!(writes.count(), 0, "{takedown:?}");
}

#[test]
fn a_block_that_chooses_by_the_decoded_path_is_replaced() {
    let toml = format!(
        "{PLAIN}\n[edge.npm]\naddress = \"http://192.168.1.5:81\"\nidentity = \"a@home.arpa\"\n\
                        forward_host = \"192.168.1.20\""
    );
    let site = site(&format!("{toml}\ncertificate = \"none\""));
    let now = proxy::npm_advanced(&proxy::way(
        &site.config,
        &crate::stack::endpoints(&site.config),
        "192.168.1.20",
    ));
    // As it was written before.
    let mut old = String::new();
    let mut lines = now.lines();
    while let Some(line) = lines.next() {
        if line.contains("if ($request_uri") {
            // What is refused, and the brace behind it.
            lines.nth(1);
            continue;
        }
        old.push_str(&line.replace("location ^~ /_matrix/", "location /_matrix/"));
        old.push('\n');
    }
    assert_eq!(now.matches("if ($request_uri").count(), 4, "{now}");
    let answers = but(move |question| match question {
        Question::NpmHosts => Some(found(json!([{"id": 1, "domain_names": ["matrix.chat.home.arpa"],
            "advanced_config": old, "meta": {"matrix_podman": "made by matrix-podman for chat.home.arpa"}}]))),
        _ => None,
    });
    let diff = diff_of(&site, "edge/npm/matrix", &answers);
    let Diff::Change(step) = diff else { panic!("{diff:?}") };
    let change = format!("{:?}", step.changes);
    assert!(change.contains("if ($request_uri !~"), "{change}");
}
