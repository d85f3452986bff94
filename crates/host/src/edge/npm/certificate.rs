//! Having NPM ask for a certificate, and setting right what that leaves behind.

use std::{
    collections::BTreeSet,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use matrix_podman_core::{
    edge::{
        Act, Api,
        npm::{self as api, Certificate},
        record::{self, NpmRecord},
        refusal,
    },
    name::{AbsPath, Mode, Owner},
};
use serde_json::{Value as Json, json};

use super::{Method, Npm, Trouble};
use crate::{
    failure::{Doing as _, Failure},
    file,
    progress::{Saying, Sink},
};

/// NPM itself gives certbot a quarter of an hour.
const CERTBOT: Duration = Duration::from_secs(16 * 60);
/// A request that was cut off goes on in NPM; so long it is waited for.
const CUT_OFF: Duration = Duration::from_secs(3 * 60);
/// How often it is tried while another certbot is at work.
const TRIES: u32 = 5;
/// How long is waited between.
const BUSY: Duration = Duration::from_secs(20);
const PAUSE: Duration = Duration::from_secs(1);

/// What is asked for.
pub(super) struct Wish<'a> {
    pub names: &'a [String],
    pub meta: &'a Json,
    pub record: &'a AbsPath,
}

/// What came of one request.
enum CertificateAttempt {
    Done,
    Busy(Failure),
    Failed(Failure),
}

impl Npm {
    pub(super) fn request_certificate(&self, act: &Act, wish: &Wish<'_>, sink: &Sink) -> Result<(), Failure> {
        let fail = |trouble: Trouble| trouble.failure(act.describe());
        if self.wait_for_others(wish, sink).map_err(fail)? {
            // Whoever asked for it left the hosts of its names without theirs.
            return self
                .write_again(wish.names)
                .map(drop)
                .map_err(|trouble| self.left_without(act, wish, trouble));
        }
        let mut tried = 0;
        loop {
            tried += 1;
            let came = self.request_once(act, wish, sink)?;
            // Won or lost, the hosts of these names are in nginx without their
            // certificate now.
            sink(Saying::WaitsFor("NPM, which writes the hosts of these names again".to_owned()));
            let again = self.write_again(wish.names);
            let failure = match (came, again) {
                (CertificateAttempt::Done, Ok(_)) => return Ok(()),
                (CertificateAttempt::Done, Err(trouble)) => return Err(self.left_without(act, wish, trouble)),
                (CertificateAttempt::Busy(_), Ok(_)) if tried < TRIES => {
                    sink(Saying::TriesAgain("NPM asks for another certificate just now".to_owned()));
                    thread::sleep(BUSY);
                    continue;
                }
                (CertificateAttempt::Busy(failure) | CertificateAttempt::Failed(failure), Ok(_)) => failure,
                (
                    CertificateAttempt::Busy(mut failure) | CertificateAttempt::Failed(mut failure),
                    Err(trouble),
                ) => {
                    failure.evidence.push(self.left_without(act, wish, trouble).why);
                    failure
                }
            };
            return Err(failure);
        }
    }

    fn left_without(&self, act: &Act, wish: &Wish<'_>, trouble: Trouble) -> Failure {
        let why = trouble.failure(act.describe()).why;
        Failure::new(
            act.describe(),
            format!(
                "the hosts of {} could not be written again, so they may be without HTTPS now: {why}",
                wish.names.join(" and ")
            ),
        )
        .hint("run the same again; or open each of these hosts in NPM and save it as it is")
    }

    fn today() -> String {
        jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
    }

    fn is_had(all: &[Certificate], names: &[String]) -> bool {
        let today = Self::today();
        names.iter().all(|name| api::certificate_for(all, name, &today).is_some())
    }

    /// A request that was cut off goes on in NPM, and a second beside it only
    /// fails. Whether all that is wished is there in the end.
    fn wait_for_others(&self, wish: &Wish<'_>, sink: &Sink) -> Result<bool, Trouble> {
        let begun = Instant::now();
        loop {
            let all = self.certificates()?;
            if Self::is_had(&all, wish.names) {
                return Ok(true);
            }
            let running = all.iter().any(|c| c.is_unfinished() && c.is_for(wish.names));
            if !running || begun.elapsed() > CUT_OFF {
                return Ok(false);
            }
            sink(Saying::WaitsFor("NPM, which asks for this certificate already".to_owned()));
            thread::sleep(PAUSE);
        }
    }

    fn request_once(&self, act: &Act, wish: &Wish<'_>, sink: &Sink) -> Result<CertificateAttempt, Failure> {
        let fail = |trouble: Trouble| trouble.failure(act.describe());
        let token = self.dns_token().map_err(fail)?;
        let known: BTreeSet<u64> = self.certificates().map_err(fail)?.iter().map(|c| c.id).collect();
        let mut meta = wish.meta.clone();
        meta["dns_provider_credentials"] = json!(format!("dns_cloudflare_api_token={}", token.reveal()));
        let body = json!({"provider": "letsencrypt", "domain_names": wish.names, "meta": meta});
        sink(Saying::WaitsFor("Let's Encrypt, which looks for a DNS record".to_owned()));
        let (status, answer) = match self.talk(Method::Post, "/nginx/certificates", Some(&body), CERTBOT) {
            Ok(answer) => answer,
            Err(trouble) => return self.after_silence(act, wish, &known, trouble, sink),
        };
        let Some(refused) = refusal(Api::Npm, status, &answer, "the certificates", "") else {
            if let Some(id) = answer["id"].as_u64() {
                remember(wish.record, id)?;
            }
            return Ok(CertificateAttempt::Done);
        };
        // certbot's own words stand in the answer.
        let words: Vec<String> = api::certbot_words(&answer).iter().map(|line| token.redact(line)).collect();
        let hint = if words.is_empty() { refused.hint } else { api::certbot_hint(&words).to_owned() };
        let why = match words.iter().find(|line| line.to_lowercase().contains("error")).or(words.first()) {
            Some(line) => format!("NPM did not get it: {line}"),
            None => refused.why,
        };
        let last = words.len().saturating_sub(20);
        let failure = Failure::new(act.describe(), token.redact(&why))
            .evidence(words.get(last..).unwrap_or_default().to_vec())
            .hint(hint);
        Ok(if api::certbot_is_busy(&words) {
            CertificateAttempt::Busy(failure)
        } else {
            CertificateAttempt::Failed(failure)
        })
    }

    /// The answer was lost, and NPM may be at it still: the row that was not
    /// there before says what comes of it.
    fn after_silence(
        &self,
        act: &Act,
        wish: &Wish<'_>,
        known: &BTreeSet<u64>,
        trouble: Trouble,
        sink: &Sink,
    ) -> Result<CertificateAttempt, Failure> {
        let begun = Instant::now();
        loop {
            let Ok(all) = self.certificates() else {
                return Ok(CertificateAttempt::Failed(trouble.failure(act.describe())));
            };
            let new = all.iter().find(|c| !known.contains(&c.id) && c.is_for(wish.names));
            match new {
                Some(new) if !new.is_unfinished() => {
                    remember(wish.record, new.id)?;
                    return Ok(CertificateAttempt::Done);
                }
                Some(_) if begun.elapsed() < CUT_OFF => {
                    sink(Saying::WaitsFor("NPM, whose answer did not come".to_owned()));
                    thread::sleep(PAUSE);
                }
                _ => return Ok(CertificateAttempt::Failed(trouble.failure(act.describe()))),
            }
        }
    }
}

/// Writes down that a certificate was requested from here: only such a one is
/// ever removed.
fn remember(path: &AbsPath, id: u64) -> Result<(), Failure> {
    let place = Path::new(path.as_str());
    let doing = || format!("write down in {path} that certificate {id} in NPM was requested from here");
    let text = match std::fs::read_to_string(place) {
        Ok(text) => Some(text),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => None,
        Err(e) => return Err(e).doing(doing),
    };
    let mut made: NpmRecord = record::parse(text.as_deref())
        .map_err(|why| Failure::new(doing(), why).hint(format!("look at {path}")))?;
    if !made.certificate_ids.contains(&id) {
        made.certificate_ids.push(id);
        file::write(place, record::render(&made).as_bytes(), Mode(0o600), Owner::ROOT)?;
    }
    Ok(())
}
