//! The four kinds of hosts, and how their rows reach nginx.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::{NpmUser, State, Step, internal, is_id, refused, strings, visible};
use crate::standin::http::{Answer, merge, only};

/// A kind of host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Leads somewhere.
    Proxy,
    /// Redirects.
    Redirection,
    /// Answers 404.
    Dead,
    /// Hands on TCP, here with TLS.
    Stream,
}

impl Kind {
    /// All that have names.
    pub(super) const NAMED: [Kind; 3] = [Kind::Proxy, Kind::Redirection, Kind::Dead];

    pub(super) fn of_path(path: &str) -> Option<Self> {
        Some(match path {
            "proxy-hosts" => Kind::Proxy,
            "redirection-hosts" => Kind::Redirection,
            "dead-hosts" => Kind::Dead,
            "streams" => Kind::Stream,
            _ => return None,
        })
    }

    /// Its name in permissions and in expansions.
    pub(super) fn permission(self) -> &'static str {
        match self {
            Kind::Proxy => "proxy_hosts",
            Kind::Redirection => "redirection_hosts",
            Kind::Dead => "dead_hosts",
            Kind::Stream => "streams",
        }
    }

    pub(super) fn folder(self) -> &'static str {
        match self {
            Kind::Proxy => "proxy_host",
            Kind::Redirection => "redirection_host",
            Kind::Dead => "dead_host",
            Kind::Stream => "stream",
        }
    }

    /// What can be written.
    fn fields(self, minor: u32) -> Vec<&'static str> {
        let mut fields = vec![
            "domain_names",
            "certificate_id",
            "ssl_forced",
            "http2_support",
            "hsts_enabled",
            "hsts_subdomains",
            "advanced_config",
            "enabled",
            "meta",
        ];
        match self {
            Kind::Proxy => {
                fields.extend([
                    "forward_scheme",
                    "forward_host",
                    "forward_port",
                    "block_exploits",
                    "caching_enabled",
                    "allow_websocket_upgrade",
                    "access_list_id",
                    "locations",
                ]);
                if minor >= 14 {
                    fields.push("trust_forwarded_proto");
                }
            }
            Kind::Redirection => fields.extend([
                "forward_http_code",
                "forward_scheme",
                "forward_domain_name",
                "preserve_path",
                "block_exploits",
            ]),
            Kind::Dead | Kind::Stream => {}
        }
        fields
    }
}

impl State {
    pub(super) fn rows(&self, kind: Kind) -> &Vec<Value> {
        match kind {
            Kind::Proxy => &self.hosts,
            Kind::Redirection => &self.redirections,
            Kind::Dead => &self.dead,
            Kind::Stream => &self.streams,
        }
    }

    fn rows_mut(&mut self, kind: Kind) -> &mut Vec<Value> {
        match kind {
            Kind::Proxy => &mut self.hosts,
            Kind::Redirection => &mut self.redirections,
            Kind::Dead => &mut self.dead,
            Kind::Stream => &mut self.streams,
        }
    }

    pub(super) fn seen_by(&self, user: &NpmUser, kind: Kind) -> Value {
        visible(user, self.rows(kind))
    }

    /// A host that somebody made by hand, served by nginx; its id.
    #[track_caller]
    pub fn add(&mut self, kind: Kind, owner: u64, row: Value) -> u64 {
        self.made += 1;
        let id = self.made;
        let mut host = json!({"id": id, "created_on": "2025-01-01 00:00:00", "modified_on": "2025-01-01 00:00:00",
            "owner_user_id": owner, "certificate_id": 0, "ssl_forced": false, "http2_support": false,
            "hsts_enabled": false, "hsts_subdomains": false, "advanced_config": "", "meta": {}, "enabled": true,
            "access_list_id": 0, "locations": null});
        merge(&mut host, &row);
        self.rows_mut(kind).push(host);
        assert!(self.configure(kind, id), "nginx was broken already");
        id
    }

    /// Everything is taken out of it.
    pub fn empty(&mut self) {
        for kind in [Kind::Proxy, Kind::Redirection, Kind::Dead, Kind::Stream] {
            let ids: Vec<u64> = self.rows(kind).iter().filter_map(|row| row["id"].as_u64()).collect();
            for id in ids {
                self.take_away(kind, id);
            }
        }
        self.certificates.clear();
    }

    /// A host that somebody removed by hand.
    pub fn take_away(&mut self, kind: Kind, id: u64) {
        if let Some(at) = self.rows(kind).iter().position(|row| row["id"] == id) {
            let row = self.rows_mut(kind).remove(at);
            let _ = fs::remove_file(self.host_file(kind, &row));
            self.reload();
        }
    }

    fn check_fields(&self, kind: Kind, body: &Value) -> Result<(), Answer> {
        only(body, &kind.fields(self.options.version.0)).map_err(|why| refused(400, &why))?;
        if body.as_object().is_some_and(serde_json::Map::is_empty) {
            return Err(refused(400, "data must NOT have fewer than 1 properties"));
        }
        for location in body["locations"].as_array().into_iter().flatten() {
            let known = [
                "path",
                "forward_scheme",
                "forward_host",
                "forward_port",
                "forward_path",
                "advanced_config",
                "id",
            ];
            only(location, &known).map_err(|why| refused(400, &why))?;
        }
        Ok(())
    }

    /// Names are taken whoever has them and whatever kind of host it is.
    fn clash(&self, body: &Value, own: Option<(Kind, &Value)>) -> Option<Answer> {
        let names = |host: &Value| -> Vec<String> {
            strings(&host["domain_names"]).iter().map(|name| name.to_lowercase()).collect()
        };
        let wanted = names(body);
        let others =
            Kind::NAMED.into_iter().flat_map(|kind| self.rows(kind).iter().map(move |row| (kind, row)));
        let mut others = others.filter(|(kind, row)| own != Some((*kind, &row["id"])));
        let taken = others.find_map(|(_, row)| names(row).into_iter().find(|name| wanted.contains(name)))?;
        Some(refused(400, &format!("{taken} is already in use")))
    }

    pub(super) fn create_host(&mut self, user: &NpmUser, body: &Value) -> Step {
        let kind = Kind::Proxy;
        if let Err(answer) = self.check_fields(kind, body) {
            return answer.into();
        }
        if ["domain_names", "forward_scheme", "forward_host", "forward_port"]
            .iter()
            .any(|key| body[*key].is_null())
        {
            return refused(400, "data must have required property").into();
        }
        if let Some(answer) = self.clash(body, None) {
            return answer.into();
        }
        self.made += 1;
        let id = self.made;
        let mut host = json!({"id": id, "created_on": "2026-01-01 00:00:00", "modified_on": "2026-01-01 00:00:00",
            "owner_user_id": user.id, "access_list_id": 0, "certificate_id": 0, "ssl_forced": false, "caching_enabled": false,
            "block_exploits": false, "advanced_config": "", "meta": {}, "allow_websocket_upgrade": false,
            "http2_support": false, "hsts_enabled": false, "hsts_subdomains": false, "enabled": true, "locations": null});
        if self.options.version.0 >= 14 {
            host["trust_forwarded_proto"] = json!(false);
        }
        merge(&mut host, body);
        tidy(&mut host);
        let answer = host.clone();
        self.hosts.push(host);
        // The state of nginx is not in this answer, only in the next.
        self.then_configure(kind, id, move |_| Answer::new(201, answer))
    }

    pub(super) fn change_host(&mut self, user: &NpmUser, kind: Kind, id: &str, body: &Value) -> Step {
        if let Err(answer) = self.check_fields(kind, body) {
            return answer.into();
        }
        let Some(at) = self.rows(kind).iter().position(|h| is_id(h, id) && user.sees(h)) else {
            return refused(404, &format!("Not Found - {id}")).into();
        };
        let own = self.rows(kind)[at]["id"].clone();
        if !body["domain_names"].is_null()
            && let Some(answer) = self.clash(body, Some((kind, &own)))
        {
            return answer.into();
        }
        let host = &mut self.rows_mut(kind)[at];
        // `meta` is replaced as a whole, like every other field.
        merge(host, body);
        host["modified_on"] = json!("2026-01-02 00:00:00");
        tidy(host);
        let (id, enabled) = (own.as_u64().unwrap_or_default(), host["enabled"] != false);
        if !enabled {
            // No file is written for it, and the one that is there stays.
            return Answer::new(200, host.clone()).into();
        }
        self.then_configure(kind, id, move |state| {
            let host = state.rows(kind).iter().find(|h| h["id"] == id).cloned().unwrap_or_default();
            Answer::new(200, host)
        })
    }

    /// The row is there; some time later nginx has it, or it does not and the
    /// answer is an error.
    fn then_configure(
        &mut self,
        kind: Kind,
        id: u64,
        answer: impl FnOnce(&State) -> Answer + Send + 'static,
    ) -> Step {
        let pause = self.slow.take().unwrap_or(Duration::ZERO);
        Step::Later(
            pause,
            Box::new(move |state| if state.configure(kind, id) { answer(state) } else { internal() }.into()),
        )
    }

    pub(super) fn delete_host(&mut self, user: &NpmUser, kind: Kind, id: &str) -> Answer {
        let Some(at) = self.rows(kind).iter().position(|h| is_id(h, id) && user.sees(h)) else {
            return refused(404, &format!("Not Found - {id}"));
        };
        let host = self.rows_mut(kind).remove(at);
        let _ = fs::remove_file(self.host_file(kind, &host));
        if self.test().is_err() {
            return internal();
        }
        self.reload();
        Answer::new(200, json!(true))
    }

    /// Tries nginx' config as it is, writes the host's file and tries again: a
    /// host that nginx does not take is served no more, and its meta says so. If
    /// the config was broken before, nothing is written, and nothing is said.
    pub(super) fn configure(&mut self, kind: Kind, id: u64) -> bool {
        if self.test().is_err() {
            return false;
        }
        let Some(at) = self.rows(kind).iter().position(|h| h["id"] == id) else { return false };
        let host = self.rows(kind)[at].clone();
        self.write_host_file(kind, &host, true);
        let error = match self.refuse_next.take() {
            Some(words) => Some(words),
            None => self.test().err(),
        };
        if error.is_some() {
            let _ = fs::remove_file(self.host_file(kind, &host));
        }
        let meta = &mut self.rows_mut(kind)[at]["meta"];
        meta["nginx_online"] = json!(error.is_none());
        meta["nginx_err"] = json!(error);
        self.reload();
        true
    }
}

/// What NPM's model does on save: without a certificate nothing is forced. A
/// zero that was sent is not taken for none.
fn tidy(host: &mut Value) {
    if let Some(names) = host["domain_names"].as_array_mut() {
        names.sort_by_key(Value::to_string);
    }
    if host["certificate_id"].is_null() {
        for key in ["ssl_forced", "http2_support"] {
            host[key] = json!(false);
        }
    }
    if host["ssl_forced"] == false {
        for key in ["hsts_enabled", "hsts_subdomains"] {
            host[key] = json!(false);
        }
    }
}
