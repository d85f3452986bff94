//! Cloudflare's API.

use std::{sync::Mutex, time::Duration};

use matrix_podman_core::{
    config,
    edge::{
        Act, Api, Question, Record, Refusal, RefusalKind,
        cloudflare::{
            DnsRecord, Ruleset, Setting, Tunnel, TunnelConfig, request,
            request::{Method, Request},
            rule_is,
        },
        ingress,
        record::{self, CloudflareRecord},
        refusal,
    },
    name::{AbsPath, Mode, Owner},
};
use serde_json::Value as Json;

use super::{
    Trouble, credential,
    http::{self, Call},
};
use crate::{failure::Failure, file};

const BASE: &str = "https://api.cloudflare.com/client/v4";
/// Names another place for the API: a stand-in on this machine. Any other
/// address is refused, so that nobody can have the token sent to them.
const BASE_VARIABLE: &str = "MATRIX_PODMAN_CLOUDFLARE_API";
/// Its number for a tunnel that has connections.
const CONNECTED: i64 = 1022;

pub(super) struct Cloudflare {
    config: config::Cloudflare,
    /// One write at a time: a set of rules takes no two at once.
    writing: Mutex<()>,
}

type Outcome<T> = Result<T, Trouble>;

impl Cloudflare {
    pub(super) fn new(config: config::Cloudflare) -> Self {
        Self { config, writing: Mutex::new(()) }
    }

    /// All that answers a question, from all its pages.
    pub(super) fn ask(&self, question: &Question) -> Outcome<Json> {
        let (subject, permission) = (question.subject(), question.permission());
        let path = question.path();
        let Some(size) = question.page_size() else {
            return self.call(&Request::get(path), &subject, permission).map(|(result, _)| result);
        };
        let mut all = Vec::new();
        for page in 1..=1000u32 {
            let (result, info) = self.call(&Request::page(&path, page, size), &subject, permission)?;
            let items = result.as_array().cloned().unwrap_or_default();
            let count = items.len();
            all.extend(items);
            let total = info["total_count"].as_u64();
            let whole = total.is_some_and(|total| all.len() as u64 >= total);
            if count == 0 || whole || (total.is_none() && count < size as usize) {
                break;
            }
        }
        Ok(Json::Array(all))
    }

    fn call(&self, request: &Request, subject: &str, permission: &str) -> Outcome<(Json, Json)> {
        let token = credential::read(&self.config.token, "token for Cloudflare", "edge.cloudflare.token")
            .map_err(Trouble::Refused)?;
        let url = format!("{}{}", base().map_err(Trouble::Refused)?, request.path);
        let method = match request.method {
            Method::Get => http::Method::Get,
            Method::Post => http::Method::Post,
            Method::Put => http::Method::Put,
            Method::Patch => http::Method::Patch,
            Method::Delete => http::Method::Delete,
        };
        let body = request.body.as_ref();
        let call =
            Call { method, url: &url, bearer: Some(&token), body, patience: http::PATIENCE, far: true };
        let (status, mut answer) = http::send(&call)?;
        if let Some(mut refused) = refusal(Api::Cloudflare, status, &answer, subject, permission) {
            refused.why = token.redact(&refused.why);
            return Err(Trouble::Refused(refused));
        }
        Ok((answer["result"].take(), answer["result_info"].take()))
    }

    fn get<T: serde::de::DeserializeOwned>(&self, question: &Question) -> Outcome<T> {
        serde_json::from_value(self.ask(question)?).map_err(|e| {
            Trouble::Silent(format!("{}: the answer has an unexpected form: {e}", question.subject()))
        })
    }

    /// Writes. One that was not answered may have been done all the same, so
    /// that only looking tells: it is no failure yet.
    fn write(&self, act: &Act, request: &Request) -> Outcome<()> {
        match self.call(request, &subject(act), act.permission()) {
            Ok(_) | Err(Trouble::Silent(_)) => Ok(()),
            Err(refused) => Err(refused),
        }
    }

    pub(super) fn act(&self, act: &Act) -> Result<(), Failure> {
        let _one = self.writing.lock();
        let done = match act {
            Act::CreateTunnel { account, name, token_file, record } => {
                return self.create_tunnel(act, account, name, token_file, record);
            }
            Act::WriteRoutes { account, tunnel, before, after } => {
                return self.write_routes(act, account, tunnel, before, after);
            }
            Act::WriteRecord { zone, id, record } => self.write_record(act, zone, id.as_deref(), record),
            Act::RemoveRecord { zone, id, .. } => self.remove(act, &request::remove_record(zone, id)),
            Act::WriteSetting { zone, setting, value } => self.write_setting(act, zone, setting, value),
            Act::WriteCacheRule { zone, place, behind, rule } => {
                self.write_cache_rule(act, zone, place.as_ref(), behind.as_deref(), rule)
            }
            Act::RemoveCacheRule { zone, ruleset, rule } => {
                self.remove(act, &request::remove_cache_rule(zone, ruleset, rule))
            }
            Act::RemoveTunnel { account, tunnel, token_file, .. } => {
                let removed = self.remove_tunnel(act, account, tunnel);
                if removed.is_ok() {
                    file::remove(token_file.as_str().as_ref())?;
                }
                removed
            }
            other => return Err(Failure::new(other.describe(), "Cloudflare does not do this")),
        };
        done.map_err(|trouble| trouble.failure(act.describe()))
    }

    /// Removes what may be gone already.
    fn remove(&self, act: &Act, request: &Request) -> Outcome<()> {
        match self.call(request, &subject(act), act.permission()) {
            Err(Trouble::Refused(Refusal { kind: RefusalKind::NotFound, .. })) => Ok(()),
            other => other.map(drop),
        }
    }

    /// A tunnel that is connected cannot be removed, so its connections end
    /// first. A cloudflared that runs still comes again within a second: who is
    /// faster is tried a few times.
    fn remove_tunnel(&self, act: &Act, account: &str, tunnel: &str) -> Outcome<()> {
        let mut tried = 0;
        loop {
            self.remove(act, &request::disconnect_tunnel(account, tunnel))?;
            tried += 1;
            match self.remove(act, &request::remove_tunnel(account, tunnel)) {
                Err(Trouble::Refused(Refusal { code: Some(CONNECTED), .. })) if tried < 3 => {
                    std::thread::sleep(Duration::from_secs(1));
                }
                other => return other,
            }
        }
    }

    fn create_tunnel(
        &self,
        act: &Act,
        account: &str,
        name: &str,
        token_file: &AbsPath,
        record: &AbsPath,
    ) -> Result<(), Failure> {
        let fail = |trouble: Trouble| trouble.failure(act.describe());
        let find = || -> Outcome<Option<Tunnel>> {
            let all: Vec<Tunnel> = self.get(&Question::Tunnels { account: account.to_owned() })?;
            Ok(all.into_iter().find(|tunnel| tunnel.name == name && tunnel.deleted_at.is_none()))
        };
        let mut found = find().map_err(fail)?;
        if found.is_none() {
            match self.write(act, &request::create_tunnel(account, name)) {
                // Somebody was faster; it is there.
                Err(Trouble::Refused(Refusal { code: Some(1013), .. })) | Ok(()) => {}
                Err(other) => return Err(fail(other)),
            }
            found = find().map_err(fail)?;
        }
        let Some(tunnel) = found else {
            return Err(Failure::new(
                act.describe(),
                "Cloudflare did not answer, and there is no such tunnel",
            )
            .hint("run the same again"));
        };
        remember(act, record, name, &tunnel.id)?;
        let (token, _) = self
            .call(&request::tunnel_token(account, &tunnel.id), "the tunnel's token", act.permission())
            .map_err(fail)?;
        let Some(token) = token.as_str() else {
            return Err(Failure::new(act.describe(), "Cloudflare gave no token for its cloudflared"));
        };
        let text = format!("{token}\n");
        file::write(token_file.as_str().as_ref(), text.as_bytes(), Mode(0o600), Owner::ROOT)
    }

    fn write_routes(
        &self,
        act: &Act,
        account: &str,
        tunnel: &str,
        before: &Json,
        after: &Json,
    ) -> Result<(), Failure> {
        let fail = |trouble: Trouble| trouble.failure(act.describe());
        let question = Question::TunnelConfig { account: account.to_owned(), tunnel: tunnel.to_owned() };
        let read = || match self.get::<TunnelConfig>(&question) {
            Ok(found) => Ok(found),
            Err(Trouble::Refused(Refusal { kind: RefusalKind::NotFound, .. })) => {
                Ok(TunnelConfig { config: Json::Null, version: None })
            }
            Err(other) => Err(other),
        };
        let seen = read().map_err(fail)?;
        if ingress::holds(&seen.config, after) {
            return Ok(());
        }
        if !ingress::same(&seen.config, before) {
            return Err(Failure::new(
                act.describe(),
                "somebody else changed the tunnel's routes at the same time",
            )
            .hint("nothing was written; run the same again, and look at the plan"));
        }
        self.write(act, &request::write_routes(account, tunnel, after)).map_err(fail)?;
        let now = read().map_err(fail)?;
        // Each write counts one up. More of them: somebody wrote between two of
        // our looks, and what was written first is gone.
        let writes = seen.version.zip(now.version).map(|(before, now)| now.saturating_sub(before));
        let alone = writes.is_none_or(|writes| writes <= 1);
        if ingress::holds(&now.config, after) && alone {
            return Ok(());
        }
        if ingress::same(&now.config, before) && alone {
            return Err(
                Failure::new(act.describe(), "Cloudflare did not take the routes").hint("run the same again")
            );
        }
        Err(Failure::new(
            act.describe(),
            match writes {
                Some(writes) if writes > 1 => format!(
                    "somebody else is editing the routes: they were written {writes} times while this wrote them once"
                ),
                _ => "what Cloudflare has now is not what was written: somebody else is editing the routes".to_owned(),
            },
        )
        .hint(
            "look at the tunnel's routes at Cloudflare, and whether a route of theirs is missing; then run the same again: \
             it adds only what is missing",
        ))
    }

    fn write_record(&self, act: &Act, zone: &str, id: Option<&str>, record: &Record) -> Outcome<()> {
        let question = Question::Records { zone: zone.to_owned(), host: record.host.clone() };
        let is_there = || -> Outcome<bool> {
            let all: Vec<DnsRecord> = self.get(&question)?;
            Ok(all.iter().any(|r| r.kind == "CNAME" && r.content == record.target && r.proxied))
        };
        if is_there()? {
            return Ok(());
        }
        match self.write(act, &request::write_record(zone, id, record)) {
            // It may have been made by the attempt that was cut off.
            Err(Trouble::Refused(Refusal { code: Some(81053 | 81057 | 81058), .. })) | Ok(()) => {}
            Err(other) => return Err(other),
        }
        if is_there()? {
            return Ok(());
        }
        Err(Trouble::Silent(format!("afterwards {} does not lead to {}", record.host, record.target)))
    }

    fn write_setting(&self, act: &Act, zone: &str, setting: &str, value: &str) -> Outcome<()> {
        self.write(act, &request::write_setting(zone, setting, value))?;
        let now: Setting =
            self.get(&Question::Setting { zone: zone.to_owned(), setting: setting.to_owned() })?;
        if now.value == value {
            Ok(())
        } else {
            Err(Trouble::Silent(format!("afterwards {setting} is {}", now.value)))
        }
    }

    fn write_cache_rule(
        &self,
        act: &Act,
        zone: &str,
        place: Option<&(String, Option<String>)>,
        behind: Option<&str>,
        rule: &Json,
    ) -> Outcome<()> {
        let question = Question::CacheRules { zone: zone.to_owned() };
        let read = || match self.get::<Ruleset>(&question) {
            Ok(rules) => Ok(Some(rules)),
            Err(Trouble::Refused(Refusal { kind: RefusalKind::NotFound, .. })) => Ok(None),
            Err(other) => Err(other),
        };
        let now = read()?;
        let ours = |rules: &Ruleset| rules.rules.iter().find(|r| r["ref"] == rule["ref"]).cloned();
        match &now {
            // Writing the whole set is safe only while there is none.
            None => self.write(act, &request::first_cache_rule(zone, rule))?,
            Some(rules) => {
                let id = ours(rules).and_then(|rule| rule["id"].as_str().map(str::to_owned));
                let id = id.or_else(|| place.and_then(|(_, id)| id.clone()));
                self.write(act, &request::write_cache_rule(zone, &rules.id, id.as_deref(), rule, behind))?;
            }
        }
        let now = read()?;
        match now.as_ref().and_then(ours) {
            Some(found) if rule_is(&found, rule) => {}
            _ => {
                return Err(Trouble::Silent("afterwards the rule is not there as it was written".to_owned()));
            }
        }
        let reference = rule["ref"].as_str().unwrap_or_default();
        let behind_still = now
            .iter()
            .any(|rules| behind.is_some() && rules.rules.last().is_some_and(|last| last["ref"] != reference));
        if behind_still {
            return Err(Trouble::Silent("afterwards the rule does not stand behind the others".to_owned()));
        }
        Ok(())
    }
}

/// Writes down the id of a tunnel, so that no other of its name is ever taken for it.
fn remember(act: &Act, path: &AbsPath, name: &str, id: &str) -> Result<(), Failure> {
    let fail = |why: String| {
        Failure::new(act.describe(), format!("{path}, which says what was made, cannot be read: {why}"))
    };
    let text = match std::fs::read_to_string(path.as_str()) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(fail(e.to_string())),
    };
    let mut made: CloudflareRecord = record::parse(text.as_deref()).map_err(fail)?;
    made.tunnel = Some(name.to_owned());
    made.tunnel_id = Some(id.to_owned());
    file::write(path.as_str().as_ref(), record::render(&made).as_bytes(), Mode(0o600), Owner::ROOT)
}

/// What is written, for a refusal.
fn subject(act: &Act) -> String {
    match act {
        Act::WriteRecord { .. } | Act::RemoveRecord { .. } => "the zone's DNS records".to_owned(),
        Act::WriteSetting { setting, .. } => format!("the zone's setting {setting}"),
        Act::WriteCacheRule { .. } | Act::RemoveCacheRule { .. } => "the zone's cache rules".to_owned(),
        Act::RemoveTunnel { name, .. } | Act::CreateTunnel { name, .. } => format!("the tunnel {name}"),
        _ => "the tunnel".to_owned(),
    }
}

fn base() -> Result<String, Refusal> {
    let Ok(given) = std::env::var(BASE_VARIABLE) else { return Ok(BASE.to_owned()) };
    let local =
        given.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.split('/').next()?.parse::<u16>().ok());
    match local {
        Some(_) => Ok(given.trim_end_matches('/').to_owned()),
        None => Err(Refusal::credential(
            format!(
                "{BASE_VARIABLE} names an address that is not on this machine, and the token is not sent there"
            ),
            format!("unset {BASE_VARIABLE}"),
        )),
    }
}
