//! Where a server is: the order of the server-server API,
//! "Resolving server names".

use std::net::SocketAddr;

use serde::Serialize;

use super::{Host, Named, Net, certificate_problem};
use crate::{
    fact::{HttpAnswer, HttpQuestion, HttpReply, Side, SrvRecord},
    observed::{Gap, Observed, Seen},
};

/// The port where nothing else is said.
const DEFAULT_PORT: u16 = 8448;
/// How many servers a name may name, and how many addresses each may have: an
/// answer that anybody may give must not open connections without bound.
pub const MOST_TARGETS: usize = 8;
/// How many places are asked in all.
const MOST_PLACES: usize = 16;
/// How many redirections a well-known file may take.
const HOPS: usize = 10;
/// The largest well-known file that Synapse reads.
const WELL_KNOWN_LIMIT: usize = 50 << 10;

/// How a server was found, and where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Discovery {
    /// What was looked at and found, in order; sentences.
    pub steps: Vec<String>,
    /// What the well-known file delegates to.
    pub delegated_to: Option<String>,
    /// Whether the port is the default one because nothing names another.
    pub fell_back: bool,
    /// Every address under which the server must answer.
    pub places: Vec<Place>,
    /// What kept places from being found.
    pub problems: Vec<String>,
}

/// One address of a server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Place {
    /// Where to connect to.
    pub address: SocketAddr,
    /// What the `Host` header has to say.
    pub host_header: String,
    /// What the certificate has to be for.
    #[serde(serialize_with = "shown")]
    pub certificate_for: Host,
}

fn shown<S: serde::Serializer>(host: &Host, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(host)
}

/// Finds the addresses of the server called `name`.
pub fn discover(net: &Net, name: &Named, seen: &Observed) -> Seen<Discovery> {
    let mut search = Search {
        net,
        seen,
        found: Discovery {
            steps: Vec::new(),
            delegated_to: None,
            fell_back: false,
            places: Vec::new(),
            problems: Vec::new(),
        },
    };
    search.name(name)?;
    Ok(search.found)
}

struct Search<'a> {
    net: &'a Net,
    seen: &'a Observed,
    found: Discovery,
}

impl Search<'_> {
    fn step(&mut self, text: String) {
        self.found.steps.push(text);
    }

    fn name(&mut self, name: &Named) -> Seen<()> {
        // Steps 1 and 2: nothing is looked up elsewhere.
        if let Host::Ip(_) = name.host {
            self.step(format!("{name} is an address: no delegation"));
            return self.direct(name);
        }
        if name.port.is_some() {
            self.step(format!("{name} names a port: no delegation"));
            return self.direct(name);
        }
        // Step 3.
        match self.well_known(name)? {
            Ok(target) => {
                self.step(format!("https://{name}/.well-known/matrix/server says {target}"));
                self.found.delegated_to = Some(target.to_string());
                if target.port.is_some() || matches!(target.host, Host::Ip(_)) {
                    self.direct(&target)
                } else {
                    self.services(&target)
                }
            }
            // Steps 4 to 6.
            Err(why) => {
                self.step(format!("https://{name}/.well-known/matrix/server does not count: {why}"));
                self.services(name)
            }
        }
    }

    /// A host with a port, or an address: connect there.
    fn direct(&mut self, target: &Named) -> Seen<()> {
        self.addresses(&target.host, target.port.unwrap_or(DEFAULT_PORT), target)
    }

    /// A host without a port: its SRV records say where, else it is the default
    /// port. Host header and certificate are the host's in any case, never the
    /// record's target's.
    fn services(&mut self, target: &Named) -> Seen<()> {
        for service in ["_matrix-fed._tcp", "_matrix._tcp"] {
            let record = format!("{service}.{}", target.host);
            let records = match self.seen.srv(Side::Machine, &record) {
                Ok(records) => records.to_vec(),
                Err(Gap::NotAsked) => return Err(Gap::NotAsked),
                Err(Gap::Unknown(why)) => {
                    self.step(format!("SRV {record} could not be asked for: {why}"));
                    self.found.problems.push(format!("SRV {record} could not be asked for: {why}"));
                    continue;
                }
            };
            if records.is_empty() {
                self.step(format!("SRV {record}: none"));
                continue;
            }
            return self.records(&record, records, target);
        }
        self.found.fell_back = true;
        self.step(format!("nothing names a port, so it is {DEFAULT_PORT}"));
        self.addresses(&target.host, DEFAULT_PORT, target)
    }

    fn records(&mut self, name: &str, mut records: Vec<SrvRecord>, target: &Named) -> Seen<()> {
        records.sort();
        if records.len() > MOST_TARGETS {
            self.found.problems.push(format!(
                "SRV {name} names {} servers; only the first {MOST_TARGETS} are asked",
                records.len()
            ));
            records.truncate(MOST_TARGETS);
        }
        // All names are asked for before the first answer is looked at.
        for record in &records {
            let _ = self.net.addresses(&Host::Name(record.target.clone()), record.port, self.seen);
        }
        for record in records {
            if record.target.is_empty() {
                self.step(format!("SRV {name} says that there is no such service"));
                self.found
                    .problems
                    .push(format!("SRV {name} says that there is no such service (its target is .)"));
                continue;
            }
            let place = format!("{}:{}", record.target, record.port);
            self.step(format!("SRV {name} names {place}"));
            if record.alias {
                self.found.problems.push(format!(
                    "SRV {name} names {}, which is a CNAME; it has to have addresses of its own",
                    record.target
                ));
            }
            let host = record.target.parse::<std::net::IpAddr>().map_or(Host::Name(record.target), Host::Ip);
            self.addresses(&host, record.port, target)?;
        }
        Ok(())
    }

    fn addresses(&mut self, host: &Host, port: u16, target: &Named) -> Seen<()> {
        let addresses = match self.net.addresses(host, port, self.seen) {
            Ok(addresses) => addresses,
            Err(Gap::NotAsked) => return Err(Gap::NotAsked),
            Err(Gap::Unknown(why)) => {
                self.found.problems.push(format!("{host} could not be looked up: {why}"));
                return Ok(());
            }
        };
        if addresses.is_empty() {
            self.found.problems.push(format!("{host} has no address in the DNS"));
        }
        if addresses.len() > MOST_TARGETS {
            self.found.problems.push(format!(
                "{host} has {} addresses; only the first {MOST_TARGETS} are asked",
                addresses.len()
            ));
        }
        for address in addresses.into_iter().take(MOST_TARGETS) {
            if self.found.places.len() == MOST_PLACES {
                break;
            }
            let place = Place {
                address,
                host_header: target.as_str().to_owned(),
                certificate_for: target.host.clone(),
            };
            if !self.found.places.contains(&place) {
                self.found.places.push(place);
            }
        }
        Ok(())
    }

    /// The delegation, or why there is none that counts.
    fn well_known(&mut self, name: &Named) -> Seen<Result<Named, String>> {
        let mut url = format!("https://{}/.well-known/matrix/server", name.host);
        for _ in 0..HOPS {
            let reply = match fetch(self.net, &HttpQuestion::get(&url), self.seen)? {
                Ok(reply) => reply,
                Err(why) => return Ok(Err(why)),
            };
            match reply.status {
                200 => return Ok(delegation(reply)),
                301 | 302 | 303 | 307 | 308 => {
                    let Some(next) = reply.headers.get("location").and_then(|to| join(&url, to)) else {
                        return Ok(Err(format!("it redirects (status {}) to nowhere", reply.status)));
                    };
                    if !next.starts_with("https://") {
                        return Ok(Err(format!("it redirects to {next}, which is not https")));
                    }
                    self.found.steps.push(format!("{url} redirects to {next}"));
                    url = next;
                }
                status => return Ok(Err(format!("the answer has the status {status}"))),
            }
        }
        Ok(Err(format!("it redirects more than {HOPS} times")))
    }
}

/// The first good answer of any address of the URL's host, over TLS that holds.
pub(crate) fn fetch<'a>(
    net: &Net,
    question: &HttpQuestion,
    seen: &'a Observed,
) -> Seen<Result<&'a HttpReply, String>> {
    let Some((host, port)) = host_of(&question.url) else {
        return Ok(Err(format!("{} is no address on the web", question.url)));
    };
    let addresses = match net.addresses(&host, port, seen) {
        Ok(addresses) => addresses,
        Err(Gap::NotAsked) => return Err(Gap::NotAsked),
        Err(Gap::Unknown(why)) => return Ok(Err(format!("{host} could not be looked up: {why}"))),
    };
    let mut problem = format!("{host} has no address in the DNS");
    for address in addresses.into_iter().take(MOST_TARGETS) {
        match seen.http(Side::Machine, &net.at(question.clone(), address)) {
            Ok(HttpAnswer::Answered(reply)) => {
                match reply.tls.as_ref().and_then(|tls| certificate_problem(tls, &host)) {
                    None => return Ok(Ok(reply)),
                    Some(why) => problem = format!("{host} at {address}: {why}"),
                }
            }
            Ok(HttpAnswer::Silent(silence)) => problem = format!("{host} at {address}: {}", silence.why),
            Err(Gap::NotAsked) => return Err(Gap::NotAsked),
            Err(Gap::Unknown(why)) => problem = format!("{host} at {address} could not be asked: {why}"),
        }
    }
    Ok(Err(problem))
}

/// Host and port of a URL.
pub(crate) fn host_of(url: &str) -> Option<(Host, u16)> {
    let (scheme, rest) = url.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let named: Named = authority.parse().ok()?;
    let default = match scheme {
        "https" => 443,
        "http" => 80,
        _ => return None,
    };
    Some((named.host, named.port.unwrap_or(default)))
}

/// What a `Location` header means at `base`.
fn join(base: &str, location: &str) -> Option<String> {
    let (scheme, rest) = base.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    Some(if location.contains("://") {
        location.to_owned()
    } else if let Some(other) = location.strip_prefix("//") {
        format!("{scheme}://{other}")
    } else if location.starts_with('/') {
        format!("{scheme}://{authority}{location}")
    } else if location.is_empty() {
        return None;
    } else {
        let folder = base.rsplit_once('/').map_or(base, |(folder, _)| folder);
        format!("{folder}/{location}")
    })
}

/// What a well-known file says. Its content type does not matter.
fn delegation(reply: &HttpReply) -> Result<Named, String> {
    let body = reply.body.as_deref().unwrap_or_default();
    if body.len() > WELL_KNOWN_LIMIT {
        return Err("it is longer than 50 KiB".to_owned());
    }
    let json: serde_json::Value = serde_json::from_str(body).map_err(|_| {
        let begin: String = body.trim().chars().take(40).collect();
        format!("it is not JSON; it begins with {begin:?}")
    })?;
    let server = json
        .get("m.server")
        .and_then(serde_json::Value::as_str)
        .ok_or_else(|| "it has no m.server".to_owned())?;
    server.parse().map_err(|why| format!("its m.server is {server:?}: {why}"))
}

#[cfg(test)]
#[path = "discovery_tests.rs"]
mod tests;
