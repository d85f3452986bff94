//! The API of Nginx Proxy Manager.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use matrix_podman_core::{
    config,
    edge::{
        Act, Api, Host, Question, Refusal, RefusalKind,
        npm::{self as api, Certificate},
        refusal,
    },
};
use serde_json::{Value as Json, json};

use super::{
    AskPerson, Trouble,
    credential::{self, Secret},
    http::{self, Call, Method},
};
use crate::{apply::Sink, failure::Failure, guest::wire::Saying};

/// NPM itself gives certbot a quarter of an hour.
const CERTIFICATE_PATIENCE: Duration = Duration::from_secs(16 * 60);

pub(super) struct Npm {
    config: config::Npm,
    session: Mutex<Option<Secret>>,
    /// One write at a time: each makes NPM's nginx read its files again.
    writing: Mutex<()>,
    ask: Option<Box<AskPerson>>,
}

type Outcome<T> = Result<T, Trouble>;

impl Npm {
    pub(super) fn new(config: config::Npm) -> Self {
        Self { config, session: Mutex::new(None), writing: Mutex::new(()), ask: None }
    }

    pub(super) fn ask_with(&mut self, ask: Box<AskPerson>) {
        self.ask = Some(ask);
    }

    fn url(&self, path: &str) -> String {
        format!("{}/api{path}", self.config.address)
    }

    fn send(
        &self,
        method: Method,
        path: &str,
        bearer: Option<&Secret>,
        body: Option<&Json>,
        patience: Duration,
    ) -> Outcome<(u16, Json)> {
        http::send(&Call { method, url: &self.url(path), bearer, body, patience, far: false })
    }

    /// Logs in. A wrong password is told with status 400, never 401.
    fn log_in(&self) -> Outcome<Secret> {
        let secret = credential::read(&self.config.secret, "password for NPM", "edge.npm.secret")
            .map_err(Trouble::Refused)?;
        let body = json!({"identity": self.config.identity, "secret": secret.reveal()});
        let (status, answer) = self.send(Method::Post, "/tokens", None, Some(&body), http::PATIENCE)?;
        let wrong = |why: &str| {
            Trouble::Refused(Refusal::credential(
                format!("NPM does not let {} in ({})", self.config.identity, secret.redact(why)),
                "look at edge.npm.identity and at the password in the file or variable that matrix.toml names",
            ))
        };
        if answer["requires_2fa"] == true {
            return self.second_factor(&answer);
        }
        match (status, answer["token"].as_str()) {
            (200..=299, Some(token)) => Ok(Secret::new(token.to_owned())),
            (502..=504 | 429, _) => Err(Trouble::Silent(format!("NPM cannot answer just now ({status})"))),
            _ => Err(wrong(answer["error"]["message"].as_str().unwrap_or("it gave no reason"))),
        }
    }

    fn second_factor(&self, challenge: &Json) -> Outcome<Secret> {
        let refuse = |why: String, hint: &str| Trouble::Refused(Refusal::credential(why, hint));
        let question = format!("Code for {} at Nginx Proxy Manager: ", self.config.identity);
        let code = self.ask.as_ref().and_then(|ask| ask(&question)).ok_or_else(|| {
            refuse(
                format!("NPM wants a code for {}, and nobody can be asked for it", self.config.identity),
                "run it on a terminal, or give matrix-podman a user of its own in NPM without two-factor login",
            )
        })?;
        let body = json!({"challenge_token": challenge["challenge_token"], "code": code.trim()});
        let (_, answer) = self.send(Method::Post, "/tokens/2fa", None, Some(&body), http::PATIENCE)?;
        match answer["token"].as_str() {
            Some(token) => Ok(Secret::new(token.to_owned())),
            None => Err(refuse("NPM did not take the code".to_owned(), "run it again with a fresh one")),
        }
    }

    /// A request of who is logged in; one login for all of them.
    fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Json>,
        subject: &str,
        patience: Duration,
    ) -> Outcome<Json> {
        for again in [true, false] {
            let session = {
                let mut slot = self.session.lock().unwrap_or_else(PoisonError::into_inner);
                match slot.as_ref() {
                    Some(session) => session.clone(),
                    None => slot.insert(self.log_in()?).clone(),
                }
            };
            let (status, answer) = self.send(method, path, Some(&session), body, patience)?;
            let expired = status == 401 || answer["error"]["message"] == "Token has expired";
            if expired && again {
                self.session.lock().unwrap_or_else(PoisonError::into_inner).take();
                continue;
            }
            return match refusal(Api::Npm, status, &answer, subject, "") {
                None => Ok(answer),
                Some(refused) => Err(Trouble::Refused(refused)),
            };
        }
        Err(Trouble::Silent("NPM forgets who is logged in".to_owned()))
    }

    pub(super) fn ask(&self, question: &Question) -> Outcome<Json> {
        if !question.is_public() {
            return self.call(Method::Get, &question.path(), None, &question.subject(), http::PATIENCE);
        }
        let (status, answer) = self.send(Method::Get, &question.path(), None, None, http::PATIENCE)?;
        match refusal(Api::Npm, status, &answer, &question.subject(), "") {
            None => Ok(answer),
            Some(refused) => Err(Trouble::Refused(refused)),
        }
    }

    fn hosts(&self) -> Outcome<Vec<Json>> {
        let all = self.ask(&Question::NpmHosts)?;
        Ok(all.as_array().cloned().unwrap_or_default())
    }

    pub(super) fn act(&self, act: &Act, sink: &Sink) -> Result<(), Failure> {
        let _one = self.writing.lock();
        let fail = |trouble: Trouble| trouble.failure(act.describe());
        match act {
            Act::WriteHost(host) => self.write_host(act, host),
            Act::RemoveHost { id, .. } => {
                self.remove(&format!("/nginx/proxy-hosts/{id}"), "the proxy host").map_err(fail)
            }
            Act::RequestCertificate { names, meta } => self.request_certificate(act, names, meta, sink),
            Act::RemoveCertificate { id, .. } => {
                self.remove(&format!("/nginx/certificates/{id}"), "the certificate").map_err(fail)
            }
            other => Err(Failure::new(other.describe(), "NPM does not do this")),
        }
    }

    /// Removes what may be gone already.
    fn remove(&self, path: &str, subject: &str) -> Outcome<()> {
        match self.call(Method::Delete, path, None, subject, http::PATIENCE) {
            Err(Trouble::Refused(Refusal { kind: RefusalKind::Permission, code: Some(404), .. })) => Ok(()),
            other => other.map(drop),
        }
    }

    fn write_host(&self, act: &Act, host: &Host) -> Result<(), Failure> {
        let fail = |trouble: Trouble| trouble.failure(act.describe());
        let found = self.hosts().map_err(fail)?.into_iter().find(|now| api::has_name(now, &host.name));
        let now = found.as_ref().and_then(|now| Some((now["id"].as_u64()?, api::writable(now))));
        if now != host.before {
            return Err(Failure::new(act.describe(), "somebody else changed that host at the same time")
                .hint("nothing was written; run the same again, and look at the plan"));
        }
        let written = match &host.before {
            Some((id, _)) => {
                let path = format!("/nginx/proxy-hosts/{id}");
                self.call(Method::Put, &path, Some(&host.fields), "the proxy hosts", http::PATIENCE)
            }
            None => self.call(
                Method::Post,
                "/nginx/proxy-hosts",
                Some(&host.fields),
                "the proxy hosts",
                http::PATIENCE,
            ),
        };
        // Neither an answer nor a refusal says for sure what is there now.
        let now = self.hosts().map_err(fail)?.into_iter().find(|now| api::has_name(now, &host.name));
        let Some((id, now)) = now.and_then(|now| Some((now["id"].as_u64()?, now))) else {
            return Err(match written {
                Err(trouble) => trouble.failure(act.describe()),
                Ok(_) => Failure::new(act.describe(), "NPM did not keep the host"),
            });
        };
        if let Some(error) = api::nginx_error(&now) {
            let put_back = self.put_back(id, host).map_err(fail)?;
            return Err(Failure::new(act.describe(), format!("NPM's nginx does not take it; {put_back}"))
                .evidence(error.lines().map(str::to_owned).collect())
                .hint("the lines above are nginx' own words"));
        }
        if let Err(Trouble::Refused(refused)) = written {
            return Err(Trouble::Refused(refused).failure(act.describe()));
        }
        if api::as_wanted(&now, &host.fields)["advanced_config"] != host.fields["advanced_config"]
            || api::as_wanted(&now, &host.fields)["forward_host"] != host.fields["forward_host"]
        {
            return Err(Failure::new(
                act.describe(),
                "what NPM has now is not what was written: somebody else is editing it",
            )
            .hint("run the same again, and look at the plan"));
        }
        Ok(())
    }

    /// Puts a host back to what it was, or away; says which.
    fn put_back(&self, id: u64, host: &Host) -> Outcome<&'static str> {
        let path = format!("/nginx/proxy-hosts/{id}");
        match &host.before {
            Some((_, before)) => {
                self.call(Method::Put, &path, Some(before), "the proxy hosts", http::PATIENCE)?;
                Ok("it is put back to what it was")
            }
            None => {
                self.remove(&path, "the proxy host")?;
                Ok("it is taken away again")
            }
        }
    }

    fn request_certificate(
        &self,
        act: &Act,
        names: &[String],
        meta: &Json,
        sink: &Sink,
    ) -> Result<(), Failure> {
        let fail = |trouble: Trouble| trouble.failure(act.describe());
        let all = self.ask(&Question::NpmCertificates).map_err(fail)?;
        let all: Vec<Certificate> = serde_json::from_value(all).unwrap_or_default();
        let today = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
        if names.iter().all(|name| api::certificate_for(&all, name, &today).is_some()) {
            return Ok(());
        }
        let token = credential::read(
            &self.config.dns_token,
            "Cloudflare token that NPM proves the names with",
            "edge.npm.dns_token",
        )
        .map_err(|refused| fail(Trouble::Refused(refused)))?;
        let mut meta = meta.clone();
        meta["dns_provider_credentials"] = json!(format!("dns_cloudflare_api_token={}", token.reveal()));
        let body = json!({"provider": "letsencrypt", "domain_names": names, "meta": meta});
        sink(Saying::WaitsFor("Let's Encrypt, which looks for a DNS record".to_owned()));
        // certbot's own words are in the answer, so it is read here in full.
        let session = {
            let slot = self.session.lock().unwrap_or_else(PoisonError::into_inner);
            slot.clone()
        };
        let (status, answer) = self
            .send(Method::Post, "/nginx/certificates", session.as_ref(), Some(&body), CERTIFICATE_PATIENCE)
            .map_err(fail)?;
        let Some(refused) = refusal(Api::Npm, status, &answer, "the certificates", "") else { return Ok(()) };
        let words = answer["debug"]["stack"][0].as_str().unwrap_or_default();
        let evidence: Vec<String> =
            words.lines().filter(|l| !l.trim().is_empty()).map(|line| token.redact(line)).collect();
        let last = evidence.len().saturating_sub(20);
        Err(Failure::new(act.describe(), token.redact(&refused.why))
            .evidence(evidence.get(last..).unwrap_or_default().to_vec())
            .hint("the lines above are certbot's own words; mostly the token in edge.npm.dns_token may not edit the zone's DNS"))
    }
}
