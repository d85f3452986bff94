//! The routes of a tunnel: ours put among those of others.
//!
//! The first route that fits wins. Only the last one may have no host. Whatever
//! is not ours keeps its place, its order and every key, known here or not.

use serde_json::{Map, Value as Json, json};

use super::record::Route;
use crate::config::{Cloudflare, Config};

/// The route of whatever no other route fits.
const CATCH_ALL: &str = "http_status:404";
/// The paths of the domain itself that are for this server.
pub const APEX_PATH: &str = "^/\\.well-known/matrix/";

/// The routes of this site.
pub fn wanted(config: &Config, cloudflare: &Cloudflare) -> Vec<Json> {
    let matrix = config.matrix_host();
    let route = |hostname: &str, path: Option<&str>, asked_for: &str| {
        let mut route = Map::new();
        route.insert("hostname".to_owned(), json!(hostname));
        if let Some(path) = path {
            route.insert("path".to_owned(), json!(path));
        }
        route.insert("service".to_owned(), json!(cloudflare.service));
        let mut origin = Map::new();
        if cloudflare.service.starts_with("https://") {
            origin.insert("originServerName".to_owned(), json!(asked_for));
            if !cloudflare.verify_origin {
                origin.insert("noTLSVerify".to_owned(), json!(true));
            }
        }
        if asked_for != hostname {
            origin.insert("httpHostHeader".to_owned(), json!(asked_for));
        }
        route.insert("originRequest".to_owned(), Json::Object(origin));
        Json::Object(route)
    };
    let mut all = Vec::new();
    // The reverse proxy answers these paths under the Matrix host's name.
    all.extend(config.apex_host().map(|apex| route(apex, Some(APEX_PATH), matrix)));
    all.push(route(matrix, None, matrix));
    all.push(route(config.chat_host(), None, config.chat_host()));
    all
}

/// A tunnel's config with `wanted` in it.
pub fn merge(config: &Json, wanted: &[Json]) -> Json {
    let mut config = if config.is_object() { config.clone() } else { json!({}) };
    let mut rules = rules(&config);
    if !rules.last().is_some_and(is_catch_all) {
        rules.push(json!({ "service": CATCH_ALL }));
    }
    for route in wanted {
        put(&mut rules, route);
    }
    config["ingress"] = Json::Array(rules);
    config
}

/// A tunnel's config as it was before `made`: routes that were there come back,
/// the others go. A route that somebody has changed since is left alone.
pub fn without(config: &Json, made: &[Route], wanted: &[Json]) -> Json {
    let before = rules(config);
    let mut rules = before.clone();
    for route in made {
        let key = (Some(route.hostname.as_str()), route.path.as_deref());
        let ours = wanted.iter().find(|rule| key_of(rule) == key);
        let Some(at) = rules.iter().position(|rule| key_of(rule) == key) else { continue };
        if ours.is_some_and(|ours| !same_route(&rules[at], ours)) {
            continue;
        }
        match &route.was {
            Some(was) => rules[at] = was.clone(),
            None => {
                rules.remove(at);
            }
        }
    }
    // What held none of ours stays as it is, be it none at all.
    if rules == before {
        return config.clone();
    }
    if rules.is_empty() {
        // A tunnel has to have a route.
        rules.push(json!({ "service": CATCH_ALL }));
    }
    let mut config = config.clone();
    config["ingress"] = Json::Array(rules);
    config
}

/// Those of `wanted` that are not in `config` as they should be, each with the
/// route that stands in their place.
pub fn missing(config: &Json, wanted: &[Json]) -> Vec<Route> {
    let rules = rules(config);
    wanted
        .iter()
        .filter_map(|route| {
            let was = rules.iter().find(|rule| key_of(rule) == key_of(route));
            if was.is_some_and(|was| same_route(was, route)) {
                return None;
            }
            Some(Route {
                hostname: route["hostname"].as_str().unwrap_or_default().to_owned(),
                path: route["path"].as_str().map(str::to_owned),
                was: was.cloned(),
            })
        })
        .collect()
}

/// Whether two configs say the same; what is empty counts as absent.
pub fn same(a: &Json, b: &Json) -> bool {
    bare(a) == bare(b)
}

/// Whether two routes say the same. An id is Cloudflare's own.
fn same_route(a: &Json, b: &Json) -> bool {
    let [a, b] = [a, b].map(|route| {
        let mut route = route.clone();
        if let Some(keys) = route.as_object_mut() {
            keys.shift_remove("id");
        }
        route
    });
    same(&a, &b)
}

/// Whether `now` has everything that was `written`, and no route more. Cloudflare
/// adds keys to what it is given, as `warp-routing` is.
pub fn holds(now: &Json, written: &Json) -> bool {
    fn within(now: &Json, written: &Json) -> bool {
        match (now, written) {
            (Json::Object(now), Json::Object(written)) => written
                .iter()
                .all(|(key, value)| now.get(key).map_or_else(|| value.is_null(), |now| within(now, value))),
            (Json::Array(now), Json::Array(written)) => {
                now.len() == written.len()
                    && now.iter().zip(written).all(|(now, written)| within(now, written))
            }
            (now, written) => now == written,
        }
    }
    within(&bare(now), &bare(written))
}

/// Without what says nothing, so that a server may add or leave it out.
fn bare(value: &Json) -> Json {
    match value {
        Json::Object(map) => {
            let kept: std::collections::BTreeMap<&String, Json> = map
                .iter()
                .map(|(key, value)| (key, bare(value)))
                .filter(|(_, value)| !(value.is_null() || *value == json!({}) || *value == json!("")))
                .collect();
            kept.into_iter().map(|(key, value)| (key.clone(), value)).collect()
        }
        Json::Array(items) => Json::Array(items.iter().map(bare).collect()),
        other => other.clone(),
    }
}

fn rules(config: &Json) -> Vec<Json> {
    config["ingress"].as_array().cloned().unwrap_or_default()
}

/// Host and path: what two routes of one config must not share.
fn key_of(rule: &Json) -> (Option<&str>, Option<&str>) {
    let text = |key: &str| rule[key].as_str().filter(|text| !text.is_empty());
    (text("hostname"), text("path"))
}

fn is_catch_all(rule: &Json) -> bool {
    matches!(key_of(rule), (None | Some("*"), None))
}

/// Whether `rule` would take what is meant for `route`.
fn shadows(rule: &Json, route: &Json) -> bool {
    let ((host, path), (wanted, wanted_path)) = (key_of(rule), key_of(route));
    let Some(wanted) = wanted else { return false };
    let covers = match host {
        None | Some("*") => true,
        Some(host) => match host.strip_prefix('*') {
            Some(suffix) => wanted.ends_with(suffix),
            None => host == wanted && wanted_path.is_some(),
        },
    };
    // What takes only some paths of the whole host is meant to stand before it.
    covers && (path.is_none() || wanted_path.is_some())
}

/// Puts `route` in the place of its like, or before the first that would take
/// what is meant for it.
fn put(rules: &mut Vec<Json>, route: &Json) {
    let like = rules.iter().position(|rule| key_of(rule) == key_of(route));
    let first_shadow = |rules: &[Json]| {
        let at = rules.iter().position(|rule| key_of(rule) != key_of(route) && shadows(rule, route));
        at.unwrap_or(rules.len())
    };
    match like {
        Some(at) if at < first_shadow(rules) => {
            if !same_route(&rules[at], route) {
                rules[at] = route.clone();
            }
        }
        Some(at) => {
            rules.remove(at);
            let place = first_shadow(rules);
            rules.insert(place, route.clone());
        }
        None => {
            let place = first_shadow(rules);
            rules.insert(place, route.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(host: &str) -> Json {
        json!({"hostname": host, "service": "http://proxy"})
    }

    fn hosts(config: &Json) -> Vec<String> {
        rules(config)
            .iter()
            .map(|rule| {
                format!("{}{}", rule["hostname"].as_str().unwrap_or("-"), rule["path"].as_str().unwrap_or(""))
            })
            .collect()
    }

    #[test]
    fn nothing_becomes_ours_and_the_404() {
        for empty in [Json::Null, json!({}), json!({"ingress": null})] {
            let merged = merge(&empty, &[ours("m.a.de")]);
            assert_eq!(merged["ingress"], json!([ours("m.a.de"), {"service": "http_status:404"}]));
        }
    }

    #[test]
    fn it_stands_before_the_wildcard_that_covers_it_and_behind_all_else() {
        let config = json!({"warp-routing": {"enabled": true}, "ingress": [
            {"hostname": "x.a.de", "service": "http://x", "unknown": [1]},
            {"hostname": "*.b.de", "service": "http://b"},
            {"hostname": "*.a.de", "service": "http://a"},
            {"hostname": "y.a.de", "service": "http://y"},
            {"service": "http_status:503"},
        ]});
        let merged = merge(&config, &[ours("m.a.de")]);
        assert_eq!(hosts(&merged), ["x.a.de", "*.b.de", "m.a.de", "*.a.de", "y.a.de", "-"]);
        assert_eq!(merged["warp-routing"], config["warp-routing"]);
        // Everything else is what it was, byte for byte.
        let others: Vec<Json> = rules(&merged).into_iter().filter(|r| r["hostname"] != "m.a.de").collect();
        assert_eq!(
            serde_json::to_string(&others).unwrap(),
            serde_json::to_string(&config["ingress"]).unwrap()
        );
        assert_eq!(merge(&merged, &[ours("m.a.de")]), merged, "twice is once");
    }

    #[test]
    fn its_like_is_replaced_where_it_stands_unless_it_is_never_reached() {
        let config = json!({"ingress": [
            {"hostname": "m.a.de", "service": "http://old"},
            {"hostname": "z.a.de", "service": "http://z"},
            {"service": "http_status:404"},
        ]});
        assert_eq!(hosts(&merge(&config, &[ours("m.a.de")])), ["m.a.de", "z.a.de", "-"]);
        let hidden = json!({"ingress": [
            {"hostname": "*.a.de", "service": "http://a"},
            {"hostname": "m.a.de", "service": "http://proxy"},
            {"service": "http_status:404"},
        ]});
        assert_eq!(hosts(&merge(&hidden, &[ours("m.a.de")])), ["m.a.de", "*.a.de", "-"]);
    }

    #[test]
    fn paths_of_the_domain_stand_before_its_web_site() {
        let apex = json!({"hostname": "a.de", "path": APEX_PATH, "service": "http://proxy"});
        let config = json!({"ingress": [
            {"hostname": "a.de", "path": "^/blog", "service": "http://blog"},
            {"hostname": "a.de", "service": "http://site"},
            {"service": "http_status:404"},
        ]});
        let merged = merge(&config, std::slice::from_ref(&apex));
        assert_eq!(hosts(&merged)[0], format!("a.de{APEX_PATH}"));
        assert_eq!(rules(&merged).len(), 4);
        // A path of the host that others keep stands before the whole host still.
        let own = json!({"ingress": [{"hostname": "m.a.de", "path": "/x", "service": "http://x"}, {"service": "http_status:404"}]});
        assert_eq!(hosts(&merge(&own, &[ours("m.a.de")])), ["m.a.de/x", "m.a.de", "-"]);
    }

    #[test]
    fn what_cloudflare_adds_is_nobody_s_change() {
        let written = merge(&Json::Null, &[ours("m.a.de")]);
        let mut now = written.clone();
        now["warp-routing"] = json!({"enabled": false});
        now["ingress"][0]["id"] = json!("1");
        now["ingress"][0]["originRequest"] = json!({});
        assert!(!same(&now, &written) && holds(&now, &written));
        now["ingress"].as_array_mut().unwrap().insert(0, ours("new.a.de"));
        assert!(!holds(&now, &written), "a route more is somebody else's");
        assert!(!holds(&written, &now) && !holds(&Json::Null, &written));
        assert!(merge(&now, &[ours("m.a.de")]) == now, "what was added is kept, and nothing is left to do");
    }

    #[test]
    fn what_never_got_a_route_is_left_as_it_is() {
        let wanted = [ours("m.a.de")];
        let made = missing(&Json::Null, &wanted);
        for never in [Json::Null, json!({}), json!({"ingress": [{"service": "http_status:503"}]})] {
            assert_eq!(without(&never, &made, &wanted), never);
        }
        let alone = json!({"ingress": [ours("m.a.de")]});
        assert_eq!(without(&alone, &made, &wanted)["ingress"], json!([{"service": CATCH_ALL}]));
    }

    #[test]
    fn taking_down_leaves_what_was_there() {
        let config = json!({"ingress": [
            {"hostname": "m.a.de", "service": "http://old"},
            {"service": "http_status:404"},
        ]});
        let wanted = [ours("m.a.de"), ours("c.a.de")];
        let made = missing(&config, &wanted);
        let merged = merge(&config, &wanted);
        assert!(missing(&merged, &wanted).is_empty());
        assert_eq!(without(&merged, &made, &wanted), config);
        // What somebody changed since is theirs.
        let mut changed = merged;
        changed["ingress"][1]["service"] = json!("http://theirs");
        assert_eq!(hosts(&without(&changed, &made, &wanted)), ["m.a.de", "c.a.de", "-"]);
    }
}
