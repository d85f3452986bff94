//! Cloudflare's API, as far as a tunnel, DNS, zone settings and cache rules
//! go: its envelope, its status codes, writes that replace everything.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
};

use serde_json::{Value, json};

use super::http::{Answer, Asked, Gate, Server, merge, only, parts};

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
    /// The zone.
    pub zone: Value,
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
            zone: json!({"id": ZONE, "name": zone, "status": "active", "account": {"id": ACCOUNT, "name": "home"},
                "plan": {"legacy_id": "free", "name": "Free Website"}, "type": "full"}),
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
            made: 0,
        }));
        let state = Arc::clone(&account);
        let server = Server::start(
            Arc::clone(gate),
            Arc::new(move |asked: &Asked| {
                let mut account = state.lock().unwrap_or_else(|e| e.into_inner());
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
            json!({"id": id, "name": name, "status": "healthy", "config_src": source, "deleted_at": null, "connections": []}),
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
            answer.retry_after = Some(1);
            return answer;
        }
        let path = asked.path.strip_prefix("/client/v4").unwrap_or("/nowhere");
        let Some(bearer) = &asked.authorization else {
            return refused(400, 9106, "Missing X-Auth-Key, X-Auth-Email or Authorization headers");
        };
        let known = bearer.strip_prefix("Bearer ") == Some(&self.token);
        if path == "/user/tokens/verify" {
            return if known {
                found(json!({"id": "t", "status": self.token_status}))
            } else {
                refused(401, 1000, "Invalid API Token")
            };
        }
        if !known || self.token_status != "active" {
            return refused(403, 9109, "Invalid access token");
        }
        let parts = parts(path);
        let what = match parts.as_slice() {
            ["zones"] => "zone",
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
            let fits = self.may.contains("zone")
                && asked.query.get("name").map(String::as_str) == self.zone["name"].as_str();
            return Self::page(asked, 50, if fits { vec![self.zone.clone()] } else { Vec::new() });
        }
        if !self.may.contains(what) || (asked.method != "GET" && self.only_read.contains(what)) {
            return refused(403, 10000, "Authentication error");
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
                let fits = |t: &&Value| asked.query.get("name").is_none_or(|name| t["name"] == name.as_str());
                Self::page(asked, 1000, self.tunnels.values().filter(fits).cloned().collect())
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
            ("DELETE", ["cfd_tunnel", id]) if self.tunnels.contains_key(*id) => {
                self.configs.remove(*id);
                found(self.tunnels.remove(*id).unwrap_or_default())
            }
            ("GET", ["dns_records"]) => {
                let fits = |r: &&Value| asked.query.get("name").is_none_or(|name| r["name"] == name.as_str());
                Self::page(asked, 5_000_000, self.records.iter().filter(fits).cloned().collect())
            }
            ("POST", ["dns_records"]) => self.create_record(body),
            ("PATCH", ["dns_records", id]) => match self.records.iter_mut().find(|r| r["id"] == *id) {
                Some(record) => {
                    merge(record, body);
                    found(record.clone())
                }
                None => refused(404, 81044, "Record does not exist."),
            },
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

    fn create_tunnel(&mut self, body: &Value) -> Answer {
        if only(body, &["name", "config_src", "tunnel_secret"]).is_err() {
            return refused(400, 1001, "Malformed request");
        }
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
        if rules.is_empty() || only(body, &["config"]).is_err() {
            return refused(400, 1056, "No ingress rules");
        }
        let Some(config) = self.configs.get_mut(id) else { return refused(404, 1, "") };
        config["version"] = json!(config["version"].as_u64().unwrap_or(0) + 1);
        config["config"] = body["config"].clone();
        found(config.clone())
    }

    fn create_record(&mut self, body: &Value) -> Answer {
        let known = ["type", "name", "content", "proxied", "ttl", "comment", "tags", "settings"];
        let whole = ["type", "name", "ttl"].iter().all(|key| !body[*key].is_null());
        if only(body, &known).is_err() || !whole || body["comment"].as_str().is_some_and(|c| c.len() > 100) {
            return refused(400, 9005, "Content for the record is invalid");
        }
        for record in self.records.iter().filter(|r| r["name"] == body["name"]) {
            if record["type"] == body["type"] && record["content"] == body["content"] {
                return refused(400, 81058, "An identical record already exists.");
            }
            let exclusive = |kind: &Value| ["A", "AAAA", "CNAME"].iter().any(|k| kind == k);
            if exclusive(&record["type"]) && exclusive(&body["type"]) {
                return refused(400, 81053, "An A, AAAA, or CNAME record with that host already exists.");
            }
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
        let finish = |rule: &Value, id: String| -> Result<Value, Answer> {
            let known = ["ref", "description", "expression", "action", "action_parameters", "enabled"];
            if only(rule, &known).is_err()
                || rule["expression"].is_null()
                || rule["action"] != "set_cache_settings"
            {
                return Err(refused(400, 20217, "invalid rule"));
            }
            let mut rule = rule.clone();
            rule["id"] = json!(id);
            rule["version"] = json!("1");
            rule["last_updated"] = json!("2026-01-01T00:00:00Z");
            Ok(rule)
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
                let rules: Result<Vec<Value>, Answer> = body["rules"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .enumerate()
                    .map(|(n, rule)| finish(rule, format!("{id}{n}")))
                    .collect();
                match rules {
                    Ok(rules) => {
                        let set = json!({"id": "11111111111111111111111111111111", "kind": "zone", "name": "default",
                            "phase": PHASE[1], "version": "1", "rules": rules});
                        self.cache = Some(set.clone());
                        found(set)
                    }
                    Err(answer) => answer,
                }
            }
            ("POST", [_, "rules"], Some(set)) => match finish(body, id) {
                Ok(rule) => {
                    set["rules"].as_array_mut().unwrap().push(rule);
                    found(set.clone())
                }
                Err(answer) => answer,
            },
            ("PATCH", [_, "rules", rule_id], Some(set)) => {
                let rules = set["rules"].as_array_mut().unwrap();
                match (rules.iter().position(|r| r["id"] == *rule_id), finish(body, (*rule_id).to_owned())) {
                    (Some(at), Ok(rule)) => {
                        rules[at] = rule;
                        found(set.clone())
                    }
                    (None, _) => refused(404, 10004, "could not find rule"),
                    (_, Err(answer)) => answer,
                }
            }
            ("DELETE", [_, "rules", rule_id], Some(set)) => {
                set["rules"].as_array_mut().unwrap().retain(|r| r["id"] != *rule_id);
                found(set.clone())
            }
            _ => refused(404, 7003, "Could not route to the path"),
        }
    }
}
