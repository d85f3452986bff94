//! The API of Nginx Proxy Manager.

mod certificate;
mod host;
mod outside;

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use matrix_podman_core::{
    config,
    edge::{
        Act, Api, Question, Refusal, RefusalKind,
        npm::{Certificate, Status},
        refusal,
    },
};
use serde_json::{Value as Json, json};

use super::{
    AskPerson, Trouble,
    credential::{self, Secret},
    http::{self, Call, Method},
};
use crate::{failure::Failure, progress::Sink};

/// How long NPM may take to write a host: it tries and reloads its nginx twice.
const WRITING: Duration = Duration::from_secs(120);
/// How often a code is asked for.
const CODES: u32 = 3;

pub(super) struct Npm {
    config: config::Npm,
    /// Who is logged in, or why nobody can be: it is not tried, and nobody is
    /// asked for a code, once for each question.
    session: Mutex<Option<Result<Secret, Refusal>>>,
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

    /// Makes sure that it is NPM who answers there, before a password is sent.
    fn recognise(&self) -> Outcome<()> {
        let question = Question::NpmStatus;
        let (status, answer) = self.send(Method::Get, &question.path(), None, None, http::PATIENCE)?;
        if let Some(refused) = refusal(Api::Npm, status, &answer, &question.subject(), "")
            && refused.kind == RefusalKind::Trouble
        {
            return Err(Trouble::Silent(refused.why));
        }
        match Status::read(&answer) {
            Some(_) if (200..300).contains(&status) => Ok(()),
            _ => Err(Trouble::Refused(Refusal::credential(
                format!(
                    "what answers at {} is not Nginx Proxy Manager, so the password was not sent there",
                    self.config.address
                ),
                "edge.npm.address is where one opens NPM's own pages, mostly on port 81",
            ))),
        }
    }

    /// Logs in. A wrong password is told with status 400, never 401.
    fn log_in(&self) -> Outcome<Secret> {
        self.recognise()?;
        let secret = credential::read(&self.config.secret, "password for NPM", "edge.npm.secret")
            .map_err(Trouble::Refused)?;
        let mut wrong_code = false;
        for left in (0..CODES).rev() {
            let body = json!({"identity": self.config.identity, "secret": secret.reveal()});
            let (status, answer) = self.send(Method::Post, "/tokens", None, Some(&body), http::PATIENCE)?;
            if answer["requires_2fa"] == true {
                match self.second_factor(&answer, wrong_code)? {
                    Some(token) => return Ok(token),
                    None if left > 0 => {
                        wrong_code = true;
                        continue;
                    }
                    None => break,
                }
            }
            return match (status, answer["token"].as_str()) {
                (200..=299, Some(token)) => Ok(Secret::new(token.to_owned())),
                (502..=504 | 429, _) => {
                    Err(Trouble::Silent(format!("NPM cannot answer just now ({status})")))
                }
                _ => {
                    let why = answer["error"]["message"].as_str().unwrap_or("it gave no reason");
                    Err(Trouble::Refused(Refusal::credential(
                        format!("NPM does not let {} in ({})", self.config.identity, secret.redact(why)),
                        "look at edge.npm.identity and at the password in the file or variable that matrix.toml names",
                    )))
                }
            };
        }
        Err(Trouble::Refused(Refusal::credential(
            format!("NPM took none of {CODES} codes for {}", self.config.identity),
            "look whether the clocks of NPM's machine and of the device that shows the code are right, then run it again",
        )))
    }

    /// Answers a challenge; none when the code was wrong.
    fn second_factor(&self, challenge: &Json, again: bool) -> Outcome<Option<Secret>> {
        let identity = &self.config.identity;
        let before = if again { "NPM did not take that code. " } else { "" };
        let question = format!("{before}Code for {identity} at Nginx Proxy Manager: ");
        let code = self.ask.as_ref().and_then(|ask| ask(&question)).ok_or_else(|| {
            Trouble::Refused(Refusal::credential(
                format!("NPM wants a code for {identity}, and there is no terminal to ask on"),
                "run it on a terminal, or give matrix-podman a user of its own in NPM without two-factor login",
            ))
        })?;
        let body = json!({"challenge_token": challenge["challenge_token"], "code": code.trim()});
        let (_, answer) = self.send(Method::Post, "/tokens/2fa", None, Some(&body), http::PATIENCE)?;
        Ok(answer["token"].as_str().map(|token| Secret::new(token.to_owned())))
    }

    /// The one login for all requests.
    fn session(&self) -> Outcome<Secret> {
        let mut slot = self.session.lock().unwrap_or_else(PoisonError::into_inner);
        match slot.as_ref() {
            Some(Ok(session)) => return Ok(session.clone()),
            Some(Err(refused)) => return Err(Trouble::Refused(refused.clone())),
            None => {}
        }
        match self.log_in() {
            Ok(session) => {
                *slot = Some(Ok(session.clone()));
                Ok(session)
            }
            Err(Trouble::Refused(refused)) => {
                *slot = Some(Err(refused.clone()));
                Err(Trouble::Refused(refused))
            }
            Err(silent) => Err(silent),
        }
    }

    /// A request of who is logged in: its status and answer, whatever they are.
    fn talk(
        &self,
        method: Method,
        path: &str,
        body: Option<&Json>,
        patience: Duration,
    ) -> Outcome<(u16, Json)> {
        for again in [true, false] {
            let session = self.session()?;
            let (status, answer) = self.send(method, path, Some(&session), body, patience)?;
            let expired = status == 401 || answer["error"]["message"] == "Token has expired";
            if expired && again {
                self.session.lock().unwrap_or_else(PoisonError::into_inner).take();
                continue;
            }
            return Ok((status, answer));
        }
        Err(Trouble::Silent("NPM forgets who is logged in".to_owned()))
    }

    /// The same, with a refusal made one.
    fn call(
        &self,
        method: Method,
        path: &str,
        body: Option<&Json>,
        subject: &str,
        patience: Duration,
    ) -> Outcome<Json> {
        let (status, answer) = self.talk(method, path, body, patience)?;
        match refusal(Api::Npm, status, &answer, subject, "") {
            None => Ok(answer),
            // It may have been done, or be done still: whoever asked looks.
            Some(refused) if refused.kind == RefusalKind::Trouble && method != Method::Get => {
                Err(Trouble::Silent(refused.why))
            }
            Some(refused) => Err(Trouble::Refused(refused)),
        }
    }

    pub(super) fn ask(&self, question: &Question) -> Outcome<Json> {
        if *question == Question::NpmDnsToken {
            return self.dns_token().map(|_| Json::Bool(true));
        }
        if !question.is_public() {
            return self.call(Method::Get, &question.path(), None, &question.subject(), http::PATIENCE);
        }
        let (status, answer) = self.send(Method::Get, &question.path(), None, None, http::PATIENCE)?;
        match refusal(Api::Npm, status, &answer, &question.subject(), "") {
            None => Ok(answer),
            Some(refused) => Err(Trouble::Refused(refused)),
        }
    }

    /// The token that NPM proves the names with.
    fn dns_token(&self) -> Outcome<Secret> {
        credential::read(
            &self.config.dns_token,
            "Cloudflare token that NPM proves the names with",
            "edge.npm.dns_token",
        )
        .map_err(Trouble::Refused)
    }

    fn hosts(&self) -> Outcome<Vec<Json>> {
        let all = self.ask(&Question::NpmHosts)?;
        Ok(all.as_array().cloned().unwrap_or_default())
    }

    fn certificates(&self) -> Outcome<Vec<Certificate>> {
        let all = self.ask(&Question::NpmCertificates)?;
        serde_json::from_value(all)
            .map_err(|e| Trouble::Silent(format!("NPM's certificates have an unexpected form: {e}")))
    }

    pub(super) fn act(&self, act: &Act, sink: &Sink) -> Result<(), Failure> {
        let _one = self.writing.lock();
        let fail = |trouble: Trouble| trouble.failure(act.describe());
        match act {
            Act::WriteHost(host) => self.write_host(act, host, sink),
            Act::RestoreHost { id, fields, .. } => self.restore_host(*id, fields).map_err(fail),
            Act::RemoveHost { id, .. } => {
                self.remove(&format!("/nginx/proxy-hosts/{id}"), "the proxy host").map_err(fail)
            }
            Act::RequestCertificate { names, meta, record } => {
                self.request_certificate(act, &certificate::Wish { names, meta, record }, sink)
            }
            Act::RemoveCertificate { id, .. } => {
                self.remove(&format!("/nginx/certificates/{id}"), "the certificate").map_err(fail)
            }
            other => Err(Failure::new(other.describe(), "NPM does not do this")),
        }
    }

    /// Removes what may be gone already.
    fn remove(&self, path: &str, subject: &str) -> Outcome<()> {
        match self.call(Method::Delete, path, None, subject, WRITING) {
            Err(Trouble::Refused(Refusal { kind: RefusalKind::Permission, code: Some(404), .. })) => Ok(()),
            other => other.map(drop),
        }
    }
}
