//! `verify`: whether a server really works, from inside and from outside.
//!
//! Every check is a function of what was observed, as everything in the core:
//! it notes what it wants to know and is called again with the answers. So all
//! questions of all checks are asked side by side.

mod calls;
mod client;
mod data;
mod federation;
mod guest;
mod way_in;

use serde::{Deserialize, Serialize};

use super::Check;
use crate::{
    endpoint::Endpoint,
    fact::{HttpAnswer, HttpQuestion, HttpReply, Side},
    federation::Net,
    observed::{Gap, Observed, Seen},
    resource::{self, Site},
    service::ServiceId,
    stack,
};

pub use federation::federation_checks;

/// What belongs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// The guest and what runs in it.
    Guest,
    /// Database, cache, media, keys.
    Data,
    /// What a client finds, asked where the services listen.
    Client,
    /// What a client finds that comes from outside.
    WayIn,
    /// What another server finds.
    Federation,
}

impl Group {
    /// All, from the inside to the outside.
    pub const ALL: [Group; 5] = [Group::Guest, Group::Data, Group::Client, Group::WayIn, Group::Federation];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Group::Guest => "guest",
            Group::Data => "data",
            Group::Client => "client",
            Group::WayIn => "way-in",
            Group::Federation => "federation",
        }
    }
}

/// What is to be verified, and how.
#[derive(Debug, Clone, PartialEq)]
pub struct Scope {
    /// Which groups.
    pub groups: Vec<Group>,
    /// Whether what takes a minute or much data is tried as well.
    pub slow: bool,
    /// What the operator says of the network.
    pub net: Net,
}

/// The checks of one group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GroupChecks {
    /// Which group.
    pub group: Group,
    /// Its checks, in the order in which a person wants to read them.
    pub checks: Vec<Check>,
}

/// What a check may look at besides what was observed.
struct Asked<'a> {
    site: &'a Site,
    scope: &'a Scope,
}

type Question = (&'static str, fn(&Asked<'_>, &Observed) -> Seen<Check>);

/// All checks of the groups that are asked for.
pub fn verify(site: &Site, scope: &Scope, seen: &Observed) -> Vec<GroupChecks> {
    let asked = Asked { site, scope };
    scope
        .groups
        .iter()
        .map(|group| {
            let questions: &[Question] = match group {
                Group::Guest => guest::QUESTIONS,
                Group::Data => data::QUESTIONS,
                Group::Client => client::QUESTIONS,
                Group::WayIn => way_in::QUESTIONS,
                Group::Federation => {
                    return GroupChecks { group: *group, checks: federation::own(&asked, seen) };
                }
            };
            let calls = if *group == Group::Client { calls::questions(&asked) } else { &[] };
            let checks = questions
                .iter()
                .chain(calls)
                .map(|(id, ask)| ask(&asked, seen).unwrap_or_else(|gap| Check::gap(id, gap)))
                .collect();
            GroupChecks { group: *group, checks }
        })
        .collect()
}

/// Whether anything leads to the site from outside yet, as far as names tell.
pub(crate) fn has_way_in(site: &Site, scope: &Scope, seen: &Observed) -> Seen<bool> {
    way_in::begun(&Asked { site, scope }, seen)
}

/// The published services that nobody on the machine can speak to, each with
/// what happens instead.
pub(crate) fn unreachable(site: &Site, scope: &Scope, seen: &Observed) -> Seen<Vec<(ServiceId, String)>> {
    let asked = Asked { site, scope };
    // All are asked before the first answer is looked at.
    let silent: Vec<Seen<Option<_>>> = stack::endpoints(&site.config)
        .into_iter()
        .map(|Endpoint { service, port, ask, .. }| {
            let question = HttpQuestion::get(format!("{}{ask}", address(&asked, port.get(), seen)?));
            Ok(match seen.http(Side::Machine, &question)? {
                HttpAnswer::Answered(_) => None,
                HttpAnswer::Silent(silence) => Some((service, format!("{}: {}", question.url, silence.why))),
            })
        })
        .collect();
    silent.into_iter().filter_map(Seen::transpose).collect()
}

/// Where a published service listens, seen from the machine.
fn address(asked: &Asked<'_>, port: u16, seen: &Observed) -> Seen<String> {
    let bind = asked.site.config.ports.bind;
    let here = asked.site.backend.is_this_machine();
    // Published on one address, they listen on no other.
    let address = if bind.is_unspecified() && here {
        Some(std::net::Ipv4Addr::LOCALHOST)
    } else if here {
        Some(bind)
    } else {
        resource::guest_address(asked.site, seen)?
    };
    match address {
        Some(address) => Ok(format!("http://{address}:{port}")),
        None => Err(Gap::Unknown("the guest has no address".to_owned())),
    }
}

/// An answer of Synapse, or why the check that wants it fails.
fn synapse<'a>(
    asked: &Asked<'_>,
    id: &'static str,
    question: impl FnOnce(String) -> HttpQuestion,
    seen: &'a Observed,
) -> Seen<Result<&'a HttpReply, Check>> {
    let base = address(asked, asked.site.config.ports.synapse.get(), seen)?;
    reply(id, &question(base), "matrix-podman logs synapse", seen)
}

/// An answer of a published service, or why the check that wants it fails.
fn reply<'a>(
    id: &'static str,
    question: &HttpQuestion,
    log: &str,
    seen: &'a Observed,
) -> Seen<Result<&'a HttpReply, Check>> {
    Ok(match seen.http(Side::Machine, question)? {
        HttpAnswer::Answered(reply) => Ok(reply),
        HttpAnswer::Silent(silence) => Err(Check::fail(
            id,
            format!("{}: {}", question.url, silence.why),
            format!("`matrix-podman status` says what runs, `{log}` why it does not answer"),
        )),
    })
}

/// The body of an answer as JSON.
fn json(reply: &HttpReply) -> serde_json::Value {
    reply.body.as_deref().and_then(|body| serde_json::from_str(body).ok()).unwrap_or_default()
}

/// `errcode` of an answer of Matrix'.
fn errcode(reply: &HttpReply) -> String {
    json(reply).get("errcode").and_then(serde_json::Value::as_str).unwrap_or_default().to_owned()
}
