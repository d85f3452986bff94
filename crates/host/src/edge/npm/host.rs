//! Writing proxy hosts, and finding out what became of them.

use std::{
    thread,
    time::{Duration, Instant},
};

use matrix_podman_core::edge::{
    Act, Host,
    npm::{self as api, META_KEY, Serving},
};
use serde_json::{Value as Json, json};

use super::{Method, Npm, Outcome, Trouble, WRITING, outside};
use crate::{
    failure::Failure,
    progress::{Saying, Sink},
};

/// How long NPM may take to give its nginx what it has saved, when its answer
/// was lost.
const LATE: Duration = Duration::from_secs(120);
/// The same when it said that it is done.
const DONE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(500);

const SUBJECT: &str = "the proxy hosts";

impl Npm {
    fn find(&self, name: &str) -> Outcome<Option<(u64, Json)>> {
        let found = self.hosts()?.into_iter().find(|now| api::has_name(now, name));
        Ok(found.and_then(|now| Some((now["id"].as_u64()?, now))))
    }

    pub(super) fn write_host(&self, act: &Act, host: &Host, sink: &Sink) -> Result<(), Failure> {
        let fail = |trouble: Trouble| trouble.failure(act.describe());
        let found = self.find(&host.name).map_err(fail)?;
        let now = found.as_ref().map(|(id, now)| (*id, api::writable(now)));
        if now != host.before {
            return Err(Failure::new(act.describe(), "somebody else changed that host at the same time")
                .hint("nothing was written; run the same again, and look at the plan"));
        }
        // NPM replaces `meta` as a whole: what others keep there goes along.
        let meta = found.as_ref().map_or(&Json::Null, |(_, now)| &now["meta"]);
        let mut fields = host.fields.clone();
        fields["meta"] = api::meta_with(meta, host.fields["meta"][META_KEY].as_str());
        let written = match &found {
            Some((id, _)) => self.put(*id, &fields),
            None => self.call(Method::Post, "/nginx/proxy-hosts", Some(&fields), SUBJECT, WRITING),
        };
        let patience = match &written {
            Ok(_) => DONE,
            Err(Trouble::Silent(_)) => {
                sink(Saying::WaitsFor("NPM, whose answer did not come".to_owned()));
                LATE
            }
            Err(Trouble::Refused(_)) => Duration::ZERO,
        };
        // Neither an answer nor a refusal says for sure what is there now.
        let (id, now) = match self.settle(host, written.is_ok(), patience).map_err(fail)? {
            Some(now) => now,
            None => {
                return Err(match written {
                    Err(trouble) => trouble.failure(act.describe()),
                    Ok(_) => Failure::new(act.describe(), "NPM did not keep the host"),
                });
            }
        };
        if let Serving::Refused(words) = api::serving(&now) {
            return Err(self.refused(act, id, found.as_ref().map(|(_, before)| before), &words));
        }
        if let Err(Trouble::Refused(refused)) = written {
            return Err(Trouble::Refused(refused).failure(act.describe()));
        }
        if !is_written(&now, host) {
            return Err(Failure::new(
                act.describe(),
                "what NPM has now is not what was written: somebody else is editing it",
            )
            .hint("run the same again, and look at the plan"));
        }
        if api::serving(&now) != Serving::Online {
            return Err(Failure::new(act.describe(), "NPM saved the host, and its nginx does not have it")
                .hint("look at the log of NPM's container, then run the same again: it goes on from what is there"));
        }
        self.look(act, host)
    }

    fn look(&self, act: &Act, host: &Host) -> Result<(), Failure> {
        let Some(outside) = &host.outside else { return Ok(()) };
        outside::serves(outside, &host.name, host.named).map_err(|why| {
            Failure::new(
                act.describe(),
                format!("NPM says that its nginx serves {}, and at {outside} it does not: {why}", host.name),
            )
            .hint(
                "look at the log of NPM's container. If NPM takes people in elsewhere, write where with edge.npm.serves_at",
            )
        })
    }

    /// The host as it is once nginx has it or has refused it, or when the time
    /// is over; none when there is none.
    fn settle(&self, host: &Host, done: bool, patience: Duration) -> Outcome<Option<(u64, Json)>> {
        let begun = Instant::now();
        loop {
            let now = self.find(&host.name)?;
            // What it says of nginx is about the fields that it has.
            let settled = now.as_ref().is_some_and(|(_, now)| {
                (done || is_written(now, host)) && api::serving(now) != Serving::Unknown
            });
            if settled || begun.elapsed() >= patience {
                return Ok(now);
            }
            thread::sleep(PAUSE);
        }
    }

    /// nginx does not take it: what was there is put back, and its words are told.
    fn refused(&self, act: &Act, id: u64, before: Option<&Json>, words: &str) -> Failure {
        let put_back = match self.put_back(id, before) {
            Ok(words) => words.to_owned(),
            Err(Trouble::Refused(refused)) => format!("it could not be put back: {}", refused.why),
            Err(Trouble::Silent(why)) => format!("it could not be put back: {why}"),
        };
        Failure::new(
            act.describe(),
            format!("NPM's nginx does not take it ({}); {put_back}", api::reason(words)),
        )
        .evidence(words.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect())
        .hint("the lines above are nginx' own words")
    }

    /// Puts a host back to what it was, or away; says which.
    fn put_back(&self, id: u64, before: Option<&Json>) -> Outcome<&'static str> {
        let Some(before) = before else {
            self.remove(&format!("/nginx/proxy-hosts/{id}"), "the proxy host")?;
            return Ok("it is taken away again");
        };
        let mut fields = api::writable(before);
        fields["meta"] = api::meta_with(&before["meta"], before["meta"][META_KEY].as_str());
        let now = self.put(id, &fields)?;
        match api::serving(&now) {
            Serving::Refused(_) => Ok("it is put back to what it was, which nginx does not take either"),
            _ => Ok("it is put back to what it was"),
        }
    }

    fn put(&self, id: u64, fields: &Json) -> Outcome<Json> {
        let path = format!("/nginx/proxy-hosts/{id}");
        self.call(Method::Put, &path, Some(fields), SUBJECT, WRITING)
    }

    /// Gives a host back, without our mark. One that is gone needs nothing.
    pub(super) fn restore_host(&self, id: u64, fields: &Json) -> Outcome<()> {
        let Some(now) = self.hosts()?.into_iter().find(|host| host["id"] == id) else { return Ok(()) };
        let mut fields = fields.clone();
        fields["meta"] = api::meta_with(&now["meta"], None);
        let now = self.put(id, &fields)?;
        match api::serving(&now) {
            Serving::Refused(words) => Err(Trouble::Silent(format!(
                "NPM's nginx does not take what the host was before ({})",
                api::reason(&words)
            ))),
            _ => Ok(()),
        }
    }

    /// Has NPM write every host of one of `names` again, as it is. A request for
    /// a certificate leaves them in nginx without theirs, and says nothing of it.
    pub(super) fn write_again(&self, names: &[String]) -> Outcome<Vec<String>> {
        let mut again = Vec::new();
        for (list, kind) in [
            ("/nginx/proxy-hosts", "the proxy hosts"),
            ("/nginx/redirection-hosts", "the redirection hosts"),
            ("/nginx/dead-hosts", "the 404 hosts"),
        ] {
            let all = self.call(Method::Get, list, None, kind, super::http::PATIENCE)?;
            for host in all.as_array().into_iter().flatten() {
                let touched = names.iter().any(|name| api::has_name(host, name)) && host["enabled"] != false;
                let Some(id) = host["id"].as_u64().filter(|_| touched) else { continue };
                // One field as it is, and NPM writes the whole file.
                let same = json!({"domain_names": host["domain_names"]});
                self.call(Method::Put, &format!("{list}/{id}"), Some(&same), kind, WRITING)?;
                again.extend(api::names(host).into_iter().map(str::to_owned));
            }
        }
        Ok(again)
    }
}

/// Whether a host says what was to be written.
fn is_written(now: &Json, host: &Host) -> bool {
    let mut wanted = host.fields.clone();
    if let Some(fields) = wanted.as_object_mut() {
        fields.remove("meta");
    }
    api::as_wanted(now, &wanted) == wanted
}
