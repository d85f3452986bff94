//! Cloudflare's API, as far as a tunnel, DNS, zone settings and cache rules
//! go: its envelope, its status codes, writes that replace everything.
//!
//! It behaves as the API was seen and is documented to, not as our client would
//! have it: names of zones are Unicode, tunnels say little about themselves and
//! are not removed while connected, configs come back with more in them than was
//! written, one number means several things. Each request is held against
//! `api.json`; one that is not described there is refused and remembered.

mod description;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};

use super::http::{Answer, Asked, Gate, Server, merge, parts};

/// The account of the zone.
pub const ACCOUNT: &str = "0123456789abcdef0123456789abcdef";
/// The id of the zone.
pub const ZONE: &str = "fedcba9876543210fedcba9876543210";

/// Everything that is at Cloudflare.
#[derive(Debug, Clone)]
pub struct Account {
    /// The one token that is known.
    pub token: String,
    /// `active`, `expired` or `disabled`.
    pub token_status: String,
    /// What the token may touch: `zone`, `tunnel`, `dns`, `settings`, `cache`, `bots`.
    pub may: BTreeSet<&'static str>,
    /// Of these it may only read.
    pub only_read: BTreeSet<&'static str>,
    /// How a missing permission is told: status, and the number where there is one.
    pub forbids: (u16, Option<i64>),
    /// Whether the token belongs to the account and to no user.
    pub account_owned: bool,
    /// The only address that the token may be used from, where it is not this machine's.
    pub elsewhere: bool,
    /// The zone.
    pub zone: Value,
    /// Zones of other names, or of the same name in other accounts.
    pub more_zones: Vec<Value>,
    /// Tunnels that were removed; they are there still for who asks for them.
    pub removed: Vec<Value>,
    /// Ids of tunnels that a cloudflared is connected to.
    pub connected: BTreeSet<String>,
    /// Whether that cloudflared runs, and so connects again.
    pub reconnects: bool,
    /// Requests that are not described, each with what is wrong with it.
    pub odd: Vec<String>,
    /// How long who asks too often is told to wait, in seconds.
    pub retry_after: u64,
    /// Tunnels by id.
    pub tunnels: BTreeMap<String, Value>,
    /// Configs of tunnels by id.
    pub configs: BTreeMap<String, Value>,
    /// DNS records.
    pub records: Vec<Value>,
    /// Settings of the zone.
    pub settings: BTreeMap<String, Value>,
    /// The cache rules, when there ever were any.
    pub cache: Option<Value>,
    /// What is done about bots.
    pub bots: Value,
    /// How many of the next requests are turned away as too many.
    pub turn_away: usize,
    /// Something that happens right behind the next write, as if somebody
    /// clicked at the same moment.
    pub meanwhile: Option<fn(&mut Account)>,
    /// The same right before the next write, behind whatever was looked at.
    pub just_before: Option<fn(&mut Account)>,
    made: u32,
}

/// The stand-in.
pub struct Cloudflare {
    account: Arc<Mutex<Account>>,
    server: Server,
}

impl Cloudflare {
    /// An account with a zone called `zone` and nothing else in it; `gate` can
    /// hold clients.
    pub fn start(zone: &str, token: &str, gate: &Arc<Gate>) -> Self {
        let settings = [
            ("ssl", json!("flexible")),
            ("always_use_https", json!("off")),
            ("min_tls_version", json!("1.0")),
            ("security_level", json!("medium")),
        ];
        let account = Arc::new(Mutex::new(Account {
            token: token.to_owned(),
            token_status: "active".to_owned(),
            may: ["zone", "tunnel", "dns", "settings", "cache", "bots"].into(),
            only_read: BTreeSet::new(),
            forbids: (403, Some(10000)),
            account_owned: false,
            elsewhere: false,
            zone: json!({"id": ZONE, "name": zone, "status": "active", "account": {"id": ACCOUNT, "name": "home"},
                "plan": {"legacy_id": "free", "name": "Free Website"}, "type": "full", "paused": false,
                "development_mode": 0, "name_servers": ["a.ns.cloudflare.com"], "original_registrar": null,
                "activated_on": null, "meta": {"page_rule_quota": 3}}),
            more_zones: Vec::new(),
            removed: Vec::new(),
            connected: BTreeSet::new(),
            reconnects: false,
            odd: Vec::new(),
            retry_after: 1,
            tunnels: BTreeMap::new(),
            configs: BTreeMap::new(),
            records: Vec::new(),
            settings: settings
                .into_iter()
                .map(|(id, value)| {
                    (id.to_owned(), json!({"id": id, "value": value, "editable": true, "modified_on": null}))
                })
                .collect(),
            cache: None,
            bots: json!({"fight_mode": true}),
            turn_away: 0,
            meanwhile: None,
            just_before: None,
            made: 0,
        }));
        let state = Arc::clone(&account);
        let server = Server::start(
            Arc::clone(gate),
            Arc::new(move |asked: &Asked| {
                let mut account = state.lock().unwrap_or_else(|e| e.into_inner());
                if asked.is_write()
                    && let Some(just_before) = account.just_before.take()
                {
                    just_before(&mut account);
                }
                let answer = account.answer(asked);
                if asked.is_write()
                    && let Some(meanwhile) = account.meanwhile.take()
                {
                    meanwhile(&mut account);
                }
                answer
            }),
        );
        Self { account, server }
    }

    /// Where the API is.
    pub fn url(&self) -> String {
        format!("http://{}/client/v4", self.server.address)
    }

    /// What is at Cloudflare, to be looked at and clicked into.
    pub fn account(&self) -> MutexGuard<'_, Account> {
        self.account.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// What was asked since the last time.
    pub fn take_asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.server.asked.lock().unwrap_or_else(|e| e.into_inner()))
    }
}

fn found(result: Value) -> Answer {
    // `messages` may hold anything; who reads it strictly breaks.
    Answer::new(
        200,
        json!({"success": true, "errors": [], "messages": [{"code": 1, "odd": [null]}], "result": result}),
    )
}

fn refused(status: u16, code: i64, message: &str) -> Answer {
    Answer::new(
        status,
        json!({"success": false, "errors": [{"code": code, "message": message}], "messages": [], "result": null}),
    )
}

impl Account {
    /// A tunnel that somebody made, with its config; its id.
    pub fn add_tunnel(&mut self, name: &str, source: &str, config: Value) -> String {
        self.made += 1;
        let id = format!("{:08x}-0000-4000-8000-000000000000", self.made);
        self.tunnels.insert(
            id.clone(),
            // Who made it long ago finds no word about where its routes are.
            match source {
                "unsaid" => json!({"id": id, "name": name, "status": "healthy"}),
                source => json!({"id": id, "name": name, "status": "healthy", "config_src": source, "deleted_at": null}),
            },
        );
        self.configs
            .insert(id.clone(), json!({"tunnel_id": id, "version": 1, "source": source, "config": config}));
        id
    }

    /// A record that somebody made; its id.
    pub fn add_record(&mut self, kind: &str, name: &str, content: &str) -> String {
        self.made += 1;
        let id = format!("{:032x}", self.made);
        self.records.push(json!({"id": id, "type": kind, "name": name, "content": content, "proxied": false,
            "ttl": 300, "comment": null, "tags": [], "created_on": "2020-01-01T00:00:00Z"}));
        id
    }

    fn page(asked: &Asked, most: usize, all: Vec<Value>) -> Answer {
        let number = |key: &str, usual: usize| asked.query.get(key).map_or(usual, |n| n.parse().unwrap_or(0));
        let (page, size) = (number("page", 1), number("per_page", 20));
        if page == 0 || size < 5 || size > most {
            return refused(400, 1004, "per_page is out of range");
        }
        let total = all.len();
        let items: Vec<Value> = all.into_iter().skip((page - 1) * size).take(size).collect();
        let mut answer = found(json!(items));
        answer.body["result_info"] =
            json!({"page": page, "per_page": size, "count": items.len(), "total_count": total});
        answer
    }

    fn answer(&mut self, asked: &Asked) -> Answer {
        if self.turn_away > 0 {
            self.turn_away -= 1;
            let mut answer = refused(429, 971, "Please wait and consider throttling your request speed");
            answer.retry_after = Some(self.retry_after);
            return answer;
        }
        let path = asked.path.strip_prefix("/client/v4").unwrap_or("/nowhere");
        let Some(bearer) = &asked.authorization else {
            return refused(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers");
        };
        let known = bearer.strip_prefix("Bearer ") == Some(&self.token);
        if known && self.elsewhere {
            return refused(403, 9109, "Cannot use the access token from location: 192.0.2.77");
        }
        let verifies = if self.account_owned {
            format!("/accounts/{ACCOUNT}/tokens/verify")
        } else {
            "/user/tokens/verify".to_owned()
        };
        if path.ends_with("/tokens/verify") {
            return if known && path == verifies {
                found(json!({"id": "t", "status": self.token_status}))
            } else {
                refused(401, 1000, "Invalid API Token")
            };
        }
        let target = match &asked.query_text {
            query if query.is_empty() => path.to_owned(),
            query => format!("{path}?{query}"),
        };
        let api: Value = serde_json::from_str(description::API).unwrap_or_default();
        if let Err(why) = description::judge(&api, &asked.method, &target, &asked.body) {
            self.odd.push(format!("{} {target}: {why}", asked.method));
            return refused(400, 10001, &why);
        }
        if !known || self.token_status != "active" {
            return refused(403, 9109, "Invalid access token");
        }
        let parts = parts(path);
        let what = match parts.as_slice() {
            ["zones"] | ["zones", _] => "zone",
            ["accounts", _, "cfd_tunnel", ..] => "tunnel",
            ["zones", _, "dns_records", ..] => "dns",
            ["zones", _, "settings", ..] => "settings",
            ["zones", _, "rulesets", ..] => "cache",
            ["zones", _, "bot_management"] => "bots",
            _ => {
                return refused(
                    400,
                    7003,
                    "Could not route to the path, perhaps your object identifier is invalid?",
                );
            }
        };
        if what == "zone" {
            let all: Vec<&Value> = [&self.zone].into_iter().chain(&self.more_zones).collect();
            if !self.may.contains("zone") {
                return match parts.get(1) {
                    None => Self::page(asked, 50, Vec::new()),
                    Some(_) => self.forbidden(),
                };
            }
            if let Some(id) = parts.get(1) {
                return match all.iter().find(|zone| zone["id"] == *id) {
                    Some(zone) => found((*zone).clone()),
                    None => refused(400, 1001, "Invalid zone identifier"),
                };
            }
            // Zones are kept under the names that people write.
            let name = asked.query.get("name").map(|name| plain(name));
            let fits = |zone: &&&Value| name.as_deref() == zone["name"].as_str();
            return Self::page(asked, 50, all.iter().filter(fits).map(|zone| (*zone).clone()).collect());
        }
        if !self.may.contains(what) || (asked.method != "GET" && self.only_read.contains(what)) {
            return self.forbidden();
        }
        if !matches!(parts[1], ZONE | ACCOUNT) {
            return refused(
                400,
                7003,
                "Could not route to the path, perhaps your object identifier is invalid?",
            );
        }
        let body = &asked.body;
        match (asked.method.as_str(), &parts[2..]) {
            ("GET", ["cfd_tunnel"]) => {
                let wanted = asked.query.get("is_deleted").map(String::as_str);
                let mut all: Vec<Value> = Vec::new();
                if wanted != Some("true") {
                    all.extend(self.tunnels.values().cloned());
                }
                if wanted != Some("false") {
                    all.extend(self.removed.iter().cloned());
                }
                Self::page(asked, 1000, all)
            }
            ("POST", ["cfd_tunnel"]) => self.create_tunnel(body),
            ("GET", ["cfd_tunnel", id, "token"]) if self.tunnels.contains_key(*id) => {
                found(json!(format!("tunnel-token-of-{id}")))
            }
            ("GET", ["cfd_tunnel", id, "configurations"]) if self.configs.contains_key(*id) => {
                found(self.configs[*id].clone())
            }
            ("PUT", ["cfd_tunnel", id, "configurations"]) if self.tunnels.contains_key(*id) => {
                self.configure(id, body)
            }
            ("DELETE", ["cfd_tunnel", id, "connections"]) if self.tunnels.contains_key(*id) => {
                // One that runs is back before anybody else is served.
                if !self.reconnects {
                    self.connected.remove(*id);
                }
                found(json!({}))
            }
            ("DELETE", ["cfd_tunnel", id]) if self.connected.contains(*id) => refused(
                400,
                1022,
                "Cannot delete tunnel because it has active connections. Please stop the cloudflared process first.",
            ),
            ("DELETE", ["cfd_tunnel", id]) if self.tunnels.contains_key(*id) => {
                self.configs.remove(*id);
                let mut tunnel = self.tunnels.remove(*id).unwrap_or_default();
                tunnel["deleted_at"] = json!("2026-05-01T00:00:00Z");
                self.removed.push(tunnel.clone());
                found(tunnel)
            }
            ("GET", ["dns_records"]) => {
                let fits = |r: &&Value| {
                    let own = r["name"].as_str().unwrap_or_default();
                    asked.query.get("name").is_none_or(|name| own.eq_ignore_ascii_case(name))
                };
                Self::page(asked, 5_000_000, self.records.iter().filter(fits).cloned().collect())
            }
            ("POST", ["dns_records"]) => self.create_record(body),
            ("PATCH", ["dns_records", id]) => {
                if let Some(answer) = self.record_clash(body, Some(id)) {
                    return answer;
                }
                match self.records.iter_mut().find(|r| r["id"] == *id) {
                    Some(record) => {
                        merge(record, body);
                        found(record.clone())
                    }
                    None => refused(404, 81044, "Record does not exist."),
                }
            }
            ("DELETE", ["dns_records", id]) => {
                let before = self.records.len();
                self.records.retain(|r| r["id"] != *id);
                if self.records.len() < before {
                    found(json!({"id": id}))
                } else {
                    refused(404, 81044, "Record does not exist.")
                }
            }
            ("GET", ["settings", id]) if self.settings.contains_key(*id) => found(self.settings[*id].clone()),
            ("PATCH", ["settings", id]) if self.settings.contains_key(*id) => {
                let Some(setting) = self.settings.get_mut(*id) else { return refused(404, 1, "") };
                if setting["editable"] == false {
                    return refused(400, 1007, "Setting is not editable");
                }
                setting["value"] = body["value"].clone();
                found(setting.clone())
            }
            ("GET", ["bot_management"]) => found(self.bots.clone()),
            (method, ["rulesets", rest @ ..]) => self.cache(method, rest, body),
            _ => refused(404, 7003, "Could not route to the path"),
        }
    }

    /// A permission that the token lacks.
    fn forbidden(&self) -> Answer {
        match self.forbids {
            (status, Some(code)) => refused(status, code, "Authentication error"),
            (status, None) => Answer::new(
                status,
                json!({"success": false, "errors": [{"message": "request is not authorized"}], "result": null}),
            ),
        }
    }

    fn create_tunnel(&mut self, body: &Value) -> Answer {
        let name = body["name"].as_str().unwrap_or_default().to_owned();
        if self.tunnels.values().any(|tunnel| tunnel["name"] == name.as_str()) {
            return refused(409, 1013, "You already have a tunnel with this name");
        }
        // Who does not say gets one with its routes in a file.
        let source = body["config_src"].as_str().unwrap_or("local").to_owned();
        let id = self.add_tunnel(&name, &source, Value::Null);
        self.tunnels.get_mut(&id).unwrap()["status"] = json!("inactive");
        let mut result = self.tunnels[&id].clone();
        result["token"] = json!(format!("tunnel-token-of-{id}"));
        result["credentials_file"] = json!({"TunnelSecret": "secret"});
        found(result)
    }

    /// Replaces the whole config; one that cloudflared would not take is refused.
    fn configure(&mut self, id: &str, body: &Value) -> Answer {
        let rules = body["config"]["ingress"].as_array().cloned().unwrap_or_default();
        let names = |rule: &Value, key: &str| rule[key].as_str().is_some_and(|text| !text.is_empty());
        for (number, rule) in rules.iter().enumerate() {
            let open = !names(rule, "hostname") && !names(rule, "path");
            if open != (number + 1 == rules.len()) {
                return refused(400, 1056, "The last ingress rule must match all URLs, and only the last");
            }
            let service = rule["service"].as_str().unwrap_or_default();
            let good = ["http://", "https://", "http_status:", "tcp://", "unix:"]
                .iter()
                .any(|s| service.starts_with(s));
            if !good || service.split_once("://").is_some_and(|(_, rest)| rest.contains('/')) {
                return refused(400, 1056, "Invalid service");
            }
        }
        let Some(config) = self.configs.get_mut(id) else { return refused(404, 1, "") };
        config["version"] = json!(config["version"].as_u64().unwrap_or(0) + 1);
        config["config"] = body["config"].clone();
        if config["config"]["warp-routing"].is_null() {
            config["config"]["warp-routing"] = json!({"enabled": false});
        }
        config["created_at"] = json!("2026-05-01T00:00:00Z");
        found(config.clone())
    }

    /// What a record may not stand beside.
    fn record_clash(&self, body: &Value, own: Option<&str>) -> Option<Answer> {
        let exclusive = |kind: &Value| ["A", "AAAA", "CNAME"].iter().any(|k| kind == k);
        let same = |record: &&Value| {
            let names = [&record["name"], &body["name"]].map(|name| name.as_str().unwrap_or_default());
            names[0].eq_ignore_ascii_case(names[1]) && record["id"].as_str() != own
        };
        for record in self.records.iter().filter(same) {
            if record["type"] == body["type"] && record["content"] == body["content"] {
                return Some(refused(400, 81058, "An identical record already exists."));
            }
            if exclusive(&record["type"]) && exclusive(&body["type"]) {
                return Some(refused(
                    400,
                    81053,
                    "An A, AAAA, or CNAME record with that host already exists.",
                ));
            }
        }
        None
    }

    fn create_record(&mut self, body: &Value) -> Answer {
        if let Some(answer) = self.record_clash(body, None) {
            return answer;
        }
        let id = self.add_record("", "", "");
        let Some(record) = self.records.last_mut() else { return refused(500, 1, "") };
        merge(record, body);
        debug_assert_eq!(record["id"], id.as_str());
        found(record.clone())
    }

    fn cache(&mut self, method: &str, rest: &[&str], body: &Value) -> Answer {
        const PHASE: [&str; 3] = ["phases", "http_request_cache_settings", "entrypoint"];
        self.made += 1;
        let finish = |rule: &Value, id: String| -> Value {
            let mut rule = rule.clone();
            if let Some(fields) = rule.as_object_mut() {
                fields.remove("position");
            }
            rule["id"] = json!(id);
            rule["version"] = json!("1");
            rule["last_updated"] = json!("2026-01-01T00:00:00Z");
            rule
        };
        let id = format!("{:032x}", 0xabc_0000 + self.made);
        match (method, rest, &mut self.cache) {
            ("GET", rest, None) if rest == PHASE => refused(
                404,
                10003,
                "could not find entrypoint ruleset in the \"http_request_cache_settings\" phase",
            ),
            ("GET", rest, Some(rules)) if rest == PHASE => found(rules.clone()),
            // Replaces every rule that is there.
            ("PUT", rest, _) if rest == PHASE => {
                let rules: Vec<Value> = body["rules"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .enumerate()
                    .map(|(n, rule)| finish(rule, format!("{n:02x}{}", &id[2..])))
                    .collect();
                let set = json!({"id": "11111111111111111111111111111111", "kind": "zone", "name": "default",
                    "phase": PHASE[1], "version": "1", "rules": rules});
                self.cache = Some(set.clone());
                found(set)
            }
            ("POST", [_, "rules"], Some(set)) => {
                set["rules"].as_array_mut().unwrap().push(finish(body, id));
                found(set.clone())
            }
            ("PATCH", [_, "rules", rule_id], Some(set)) => {
                let rules = set["rules"].as_array_mut().unwrap();
                let Some(at) = rules.iter().position(|r| r["id"] == *rule_id) else {
                    return refused(404, 10004, "could not find rule");
                };
                rules.remove(at);
                let after = body["position"]["after"].as_str();
                let behind = after.and_then(|id| rules.iter().position(|r| r["id"] == id));
                rules.insert(behind.map_or(at, |behind| behind + 1), finish(body, (*rule_id).to_owned()));
                found(set.clone())
            }
            ("DELETE", [_, "rules", rule_id], Some(set)) => {
                set["rules"].as_array_mut().unwrap().retain(|r| r["id"] != *rule_id);
                found(set.clone())
            }
            _ => refused(404, 7003, "Could not route to the path"),
        }
    }
}

/// Text of a query as it was meant.
fn plain(text: &str) -> String {
    let (mut out, bytes, mut at) = (Vec::new(), text.as_bytes(), 0);
    while let Some(byte) = bytes.get(at) {
        let code = text.get(at + 1..at + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match code.filter(|_| *byte == b'%') {
            Some(code) => {
                out.push(code);
                at += 3;
            }
            None => {
                out.push(*byte);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}
