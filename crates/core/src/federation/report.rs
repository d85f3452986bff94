//! Everything about one server, as the public federation testers report it.

use std::net::SocketAddr;

use serde::Serialize;

use super::{
    Discovery, KeyAnswer, Named, Net, Place, certificate_hint, certificate_problem, discover, judge,
};
use crate::{
    fact::{HttpAnswer, HttpQuestion, HttpReply, Side, Stage, Tls},
    observed::{Gap, Observed, Seen},
};

/// What was found out about one server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// The server's name.
    pub server_name: String,
    /// Whether every address of it is as it should be.
    pub ok: bool,
    /// How it was found.
    pub discovery: Discovery,
    /// What each address says.
    pub addresses: Vec<AddressReport>,
    /// What is wrong with the server as a whole.
    pub problems: Vec<Problem>,
}

/// What one address of a server says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AddressReport {
    /// The address, and what it was asked as.
    #[serde(flatten)]
    pub place: Place,
    /// Whether all is as it should be here.
    pub ok: bool,
    /// The encryption.
    pub tls: Option<Tls>,
    /// Its keys.
    pub keys: Option<KeyAnswer>,
    /// What it says it runs.
    pub version: Option<Version>,
    /// How long it took to answer, in milliseconds.
    pub millis: Option<u64>,
    /// When it answered: seconds since 1970.
    pub asked_at: Option<i64>,
    /// What is wrong here.
    pub problems: Vec<Problem>,
}

/// What a server says it runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Version {
    /// `Synapse`
    pub name: String,
    /// `1.157.1`
    pub version: String,
}

/// Something that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What.
    pub what: String,
    /// What to do about it.
    pub hint: String,
}

impl Problem {
    fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }
}

/// Finds a server and asks every one of its addresses.
pub fn report(net: &Net, name: &Named, seen: &Observed) -> Seen<Report> {
    let discovery = discover(net, name, seen)?;
    // All are asked before the first answer is looked at.
    for place in &discovery.places {
        let _ = ask(net, place, KEYS, seen);
        let _ = ask(net, place, VERSION, seen);
    }
    let addresses = discovery
        .places
        .iter()
        .map(|place| address(net, name, place, seen))
        .collect::<Seen<Vec<AddressReport>>>()?;
    let mut problems: Vec<Problem> = discovery
        .problems
        .iter()
        .map(|what| Problem::new(what.clone(), "see the names in the DNS; `--resolve` gives one by hand"))
        .collect();
    if addresses.is_empty() && problems.is_empty() {
        problems.push(Problem::new("it has no address", "see the names in the DNS"));
    }
    if let Some(problem) = different_keys(&addresses) {
        problems.push(problem);
    }
    Ok(Report {
        server_name: name.to_string(),
        ok: problems.is_empty() && addresses.iter().all(|a| a.ok),
        discovery,
        addresses,
        problems,
    })
}

const KEYS: &str = "/_matrix/key/v2/server";
const VERSION: &str = "/_matrix/federation/v1/version";

fn ask<'a>(net: &Net, place: &Place, path: &str, seen: &'a Observed) -> Seen<&'a HttpAnswer> {
    let url = format!("https://{}:{}{path}", place.certificate_for, place.address.port());
    let question = HttpQuestion { host: Some(place.host_header.clone()), ..HttpQuestion::get(url) };
    seen.http(Side::Machine, &net.at(question, place.address))
}

fn address(net: &Net, name: &Named, place: &Place, seen: &Observed) -> Seen<AddressReport> {
    let mut report = AddressReport {
        place: place.clone(),
        ok: false,
        tls: None,
        keys: None,
        version: None,
        millis: None,
        asked_at: None,
        problems: Vec::new(),
    };
    match ask(net, place, KEYS, seen) {
        Err(Gap::NotAsked) => return Err(Gap::NotAsked),
        Err(Gap::Unknown(why)) => {
            report.problems.push(Problem::new(format!("it could not be asked: {why}"), "try again"));
        }
        Ok(HttpAnswer::Silent(silence)) => {
            report.problems.push(silent(silence.stage, &silence.why, place.address));
        }
        Ok(HttpAnswer::Answered(reply)) => {
            report.tls.clone_from(&reply.tls);
            report.millis = Some(reply.millis);
            report.asked_at = i64::try_from(reply.at / 1000).ok();
            report.problems.extend(certificate(reply, place));
            match refusal(reply) {
                Some(problem) => report.problems.push(problem),
                None => {
                    let keys = judge(reply.body.as_deref().unwrap_or_default(), name.as_str(), reply.at);
                    report.problems.extend(keys.problems.iter().map(|what| {
                        Problem::new(
                            what.clone(),
                            "another server answers here, or something changes its answers",
                        )
                    }));
                    report.keys = Some(keys);
                }
            }
        }
    }
    if report.problems.is_empty() {
        match ask(net, place, VERSION, seen) {
            Err(Gap::NotAsked) => return Err(Gap::NotAsked),
            Ok(HttpAnswer::Answered(reply)) => report.version = version(reply),
            Ok(HttpAnswer::Silent(_)) | Err(Gap::Unknown(_)) => {}
        }
        if report.version.is_none() {
            report.problems.push(Problem::new(
                format!("it does not say at {VERSION} what it runs"),
                "the proxy in front has to pass all of /_matrix, not only /_matrix/client and /_matrix/key",
            ));
        }
    }
    report.ok = report.problems.is_empty();
    Ok(report)
}

fn silent(stage: Stage, why: &str, address: SocketAddr) -> Problem {
    let port = address.port();
    match stage {
        Stage::Connect | Stage::Name => Problem::new(
            why,
            format!(
                "let port {port} through to the server there{}",
                if address.is_ipv6() {
                    ", or take the AAAA record out of the DNS if it has no IPv6"
                } else {
                    ""
                }
            ),
        ),
        Stage::Tls => Problem::new(why, format!("something that speaks TLS has to listen on port {port}")),
        Stage::Cut | Stage::Answer => Problem::new(why, "see the log of the proxy there"),
    }
}

fn certificate(reply: &HttpReply, place: &Place) -> Option<Problem> {
    let tls = reply.tls.as_ref()?;
    let distrust = tls.distrust.as_ref()?;
    Some(Problem::new(certificate_problem(tls, &place.certificate_for)?, certificate_hint(distrust)))
}

/// Why an answer is not that of a Matrix server.
fn refusal(reply: &HttpReply) -> Option<Problem> {
    if let Some(how) = reply.headers.get("cf-mitigated") {
        return Some(Problem::new(
            format!("Cloudflare stands before it and answers other servers with a {how} page"),
            "turn Bot Fight Mode and Under Attack off for the zone: no rule can except Matrix from them",
        ));
    }
    match reply.status {
        200 => None,
        404 => Some(Problem::new(
            format!("it answers {KEYS} with status 404: no Matrix server, or one that does not federate"),
            "the proxy in front has to pass all of /_matrix to Synapse",
        )),
        502..=504 => Some(Problem::new(
            format!("the proxy in front answers with status {}: it does not reach the server", reply.status),
            "see whether the server runs, and the proxy's idea of its address",
        )),
        status => Some(Problem::new(
            format!("it answers {KEYS} with status {status}"),
            "see the log of the proxy there",
        )),
    }
}

fn version(reply: &HttpReply) -> Option<Version> {
    if reply.status != 200 {
        return None;
    }
    let body: serde_json::Value = serde_json::from_str(reply.body.as_deref()?).ok()?;
    let text = |key: &str| body.get("server")?.get(key)?.as_str().map(str::to_owned);
    Some(Version { name: text("name")?, version: text("version").unwrap_or_default() })
}

/// Two addresses that show different keys are two servers.
fn different_keys(addresses: &[AddressReport]) -> Option<Problem> {
    let mut all = addresses.iter().filter_map(|a| {
        let keys = a.keys.as_ref()?;
        let mut keys: Vec<(&str, &str)> = keys.keys.iter().map(|k| (k.id.as_str(), k.key.as_str())).collect();
        keys.sort_unstable();
        (!keys.is_empty()).then_some((a.place.address, keys))
    });
    let (first, keys) = all.next()?;
    let (other, _) = all.find(|(_, others)| *others != keys)?;
    Some(Problem::new(
        format!("{first} and {other} show different keys"),
        "the name leads to two different servers; take the wrong address out of the DNS",
    ))
}

#[cfg(test)]
#[path = "report_tests.rs"]
mod tests;
