//! Certificates: asked for, uploaded, listed and removed.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use super::{Kind, NpmUser, State, Step, internal, is_id, refused, strings, visible};
use crate::standin::http::{Answer, only};

/// How certbot is.
#[derive(Debug, Clone)]
pub struct Certbot {
    /// How long a run takes.
    pub takes: Duration,
    /// So many runs find that another one is still going.
    pub busy: u32,
    /// Let's Encrypt says no, in these words.
    pub refuses: Option<&'static str>,
    running: bool,
}

impl Default for Certbot {
    fn default() -> Self {
        Self { takes: Duration::from_millis(500), busy: 0, refuses: None, running: false }
    }
}

/// What an unfinished row has in both of its dates.
const UNFINISHED: &str = "2026-05-01 10:00:00";

impl State {
    /// With whom a certificate is, whatever the user sees, in NPM 2.13 and later.
    pub(super) fn certificates_of(&self, user: &NpmUser, expand: Option<&String>) -> Answer {
        let mut rows = visible(user, &self.certificates);
        let kinds: Vec<&str> = expand.map(|words| words.split(',').collect()).unwrap_or_default();
        for row in rows.as_array_mut().into_iter().flatten() {
            for name in &kinds {
                let kind = Kind::NAMED.into_iter().find(|kind| kind.permission() == *name);
                let Some(kind) = kind.filter(|_| self.options.version.0 >= 13) else {
                    return refused(400, "data/expand/0 must be equal to one of the allowed values");
                };
                let used: Vec<&Value> =
                    self.rows(kind).iter().filter(|host| host["certificate_id"] == row["id"]).collect();
                row[*name] = json!(used);
            }
        }
        Answer::new(200, rows)
    }

    pub(super) fn request_certificate(&mut self, user: &NpmUser, body: &Value) -> Step {
        if let Err(why) = only(body, &["provider", "nice_name", "domain_names", "meta"]) {
            return refused(400, &why).into();
        }
        let (minor, revision) = self.options.version;
        let mut known = vec![
            "certificate",
            "certificate_key",
            "dns_challenge",
            "dns_provider",
            "dns_provider_credentials",
            "letsencrypt_certificate",
            "propagation_seconds",
        ];
        if (minor, revision) >= (13, 6) {
            known.push("key_type");
        }
        if minor < 13 {
            known.extend(["letsencrypt_agree", "letsencrypt_email"]);
        }
        if let Err(why) = only(&body["meta"], &known) {
            return refused(400, &why).into();
        }
        if body["meta"]["dns_provider"] != "cloudflare" {
            return refused(404, "Unknown DNS provider").into();
        }
        self.made += 1;
        let (id, names) = (self.made, strings(&body["domain_names"]));
        self.certificates.push(json!({"id": id, "provider": "letsencrypt", "nice_name": names.join(", "),
            "domain_names": names, "owner_user_id": user.id, "meta": {"dns_challenge": true},
            "created_on": UNFINISHED, "modified_on": UNFINISHED, "expires_on": UNFINISHED}));
        // Every host of one of the names leaves nginx, whoever owns it.
        let taken = self.hosts_of(&names);
        for (kind, host) in &taken {
            let _ = fs::remove_file(self.host_file(*kind, host));
        }
        if let Err(words) = self.test() {
            return self.failed(id, &taken, &words).into();
        }
        self.reload();
        let credentials = body["meta"]["dns_provider_credentials"].as_str().unwrap_or_default().to_owned();
        if self.certbot.running || self.certbot.busy > 0 {
            self.certbot.busy = self.certbot.busy.saturating_sub(1);
            return self.failed(id, &taken, "Another instance of Certbot is already running.").into();
        }
        self.certbot.running = true;
        Step::Later(
            self.certbot.takes,
            Box::new(move |state| state.finish_certificate(id, &names, &credentials, &taken).into()),
        )
    }

    fn finish_certificate(
        &mut self,
        id: u64,
        names: &[String],
        credentials: &str,
        taken: &[(Kind, Value)],
    ) -> Answer {
        self.certbot.running = false;
        if credentials != format!("dns_cloudflare_api_token={}", self.options.dns_token) {
            let words = format!(
                "Saving debug log to /tmp/letsencrypt-log/letsencrypt.log\n\
                 Error determining zone_id: 6003 Invalid request headers. ({credentials})\n\
                 Ask for help or search for solutions at https://community.letsencrypt.org."
            );
            return self.failed(id, taken, &words);
        }
        if let Some(words) = self.certbot.refuses {
            return self.failed(id, taken, words);
        }
        let list: Vec<&str> = names.iter().map(String::as_str).collect();
        self.authority.issue(&self.folder.join("certs"), &format!("npm-{id}"), &list, 80);
        self.write_back(taken);
        let Some(row) = self.certificates.iter_mut().find(|row| row["id"] == id) else { return internal() };
        row["expires_on"] = json!("2099-01-01 00:00:00");
        let mut made = row.clone();
        made["meta"]["letsencrypt_certificate"] = json!({"cn": names.first()});
        Answer::new(201, made)
    }

    /// The row goes again; certbot's own words come along, a line in each element.
    fn failed(&mut self, id: u64, taken: &[(Kind, Value)], words: &str) -> Answer {
        self.certificates.retain(|row| row["id"] != id);
        self.write_back(taken);
        let mut stack = vec!["CommandError:".to_owned(), "- ".repeat(40).trim_end().to_owned()];
        stack.extend(words.lines().map(str::to_owned));
        stack.push("- ".repeat(40).trim_end().to_owned());
        stack.push("    at /app/lib/utils.js:16:13".to_owned());
        stack.push("    at ChildProcess.exithandler (node:child_process:430:5)".to_owned());
        let mut answer = internal();
        answer.body["debug"] = json!({
            "stack": stack,
            "previous": {"cmd": "certbot certonly --authenticator dns-cloudflare"},
        });
        answer
    }

    fn hosts_of(&self, names: &[String]) -> Vec<(Kind, Value)> {
        let has = |host: &Value| {
            strings(&host["domain_names"]).iter().any(|own| names.iter().any(|n| n.eq_ignore_ascii_case(own)))
        };
        let all = Kind::NAMED.into_iter().flat_map(|kind| self.rows(kind).iter().map(move |row| (kind, row)));
        all.filter(|(_, row)| has(row)).map(|(kind, row)| (kind, row.clone())).collect()
    }

    /// What a person's request for `names` leaves behind in nginx.
    pub fn as_after_a_request(&mut self, names: &[String]) {
        let taken = self.hosts_of(names);
        self.write_back(&taken);
    }

    /// The rows were read without their certificates, and so they are written:
    /// TLS is gone from them, and their meta still says that they are online.
    fn write_back(&self, taken: &[(Kind, Value)]) {
        for (kind, host) in taken {
            self.write_host_file(*kind, host, false);
        }
        if self.test().is_ok() {
            self.reload();
        }
    }

    /// It is revoked, and its files go, whoever uses it.
    pub(super) fn delete_certificate(&mut self, user: &NpmUser, id: &str) -> Answer {
        let Some(at) = self.certificates.iter().position(|c| is_id(c, id) && user.sees(c)) else {
            return refused(404, &format!("Not Found - {id}"));
        };
        let row = self.certificates.remove(at);
        if row["provider"] == "letsencrypt" {
            for end in ["pem", "pem.key"] {
                let _ = fs::remove_file(self.folder.join("certs").join(format!("npm-{id}.{end}")));
            }
        }
        Answer::new(200, json!(true))
    }

    /// A certificate of the administrator's from Let's Encrypt.
    pub fn add_certificate(&mut self, id: u64, names: &[&str], until: &str) {
        self.keep_certificate(
            id,
            names,
            json!({"provider": "letsencrypt", "nice_name": names.join(", "),
            "domain_names": names, "expires_on": until, "meta": {"dns_challenge": true}}),
        );
    }

    /// A certificate that the administrator uploaded: NPM reads its common name
    /// and nothing else.
    pub fn add_uploaded(&mut self, id: u64, title: &str, common: &str, names: &[&str], until: &str) {
        self.keep_certificate(
            id,
            names,
            json!({"provider": "other", "nice_name": title, "domain_names": [common],
            "expires_on": until, "meta": {"certificate": true, "certificate_key": true}}),
        );
    }

    fn keep_certificate(&mut self, id: u64, names: &[&str], mut row: Value) {
        self.made = self.made.max(id);
        let file = format!("npm-{id}");
        if !self.folder.join("certs").join(format!("{file}.pem")).exists() {
            self.authority.issue(&self.folder.join("certs"), &file, names, 80);
        }
        row["id"] = json!(id);
        row["owner_user_id"] = json!(1);
        row["created_on"] = json!("2025-01-01 00:00:00");
        self.certificates.push(row);
    }
}
