//! The way in: what should be at Cloudflare and at Nginx Proxy Manager.
//!
//! Who may not touch something learns it from `edge/cloudflare/access` and
//! `edge/npm/access`, with the way out; the others then only wait.

mod cache;
mod certificate;
mod cloudflare;
mod conflict;
mod host;
mod npm;
mod outside;
mod record;
mod routes;
mod setting;
mod takedown;
mod takedown_npm;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
pub(crate) mod tests_cloudflare;
mod tunnel;

pub use outside::{View, outside_question, outside_view};
pub use takedown::{Takedown, edge_takedown};

use super::{Diff, FileChange, Resource, ResourceId, Site, guest_address, service};
use crate::{
    edge::{
        Question, Refusal,
        cloudflare::{Tunnel, Zone, Zones, zone::choose},
        proxy::{self, Way},
        record::CloudflareRecord,
    },
    fact::Side,
    name::AbsPath,
    observed::{Gap, Observed, Seen},
    stack,
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    [cloudflare::all(site), npm::all(site)].into_iter().flatten().collect()
}

/// The edge comes last: a door is opened when there is something behind it.
fn behind_the_stack(site: &Site) -> Vec<ResourceId> {
    stack::endpoints(&site.config).into_iter().map(|endpoint| service::id(endpoint.service)).collect()
}

/// Why a comparison ends early.
enum Stop {
    /// Something is not known yet.
    Gap(Gap),
    /// It is decided.
    Diff(Diff),
}

impl From<Gap> for Stop {
    fn from(gap: Gap) -> Self {
        Stop::Gap(gap)
    }
}

impl From<Diff> for Stop {
    fn from(diff: Diff) -> Self {
        Stop::Diff(diff)
    }
}

/// A comparison that ended early is a comparison all the same.
fn decided(result: Result<Diff, Stop>) -> Seen<Diff> {
    match result {
        Ok(diff) | Err(Stop::Diff(diff)) => Ok(diff),
        Err(Stop::Gap(gap)) => Err(gap),
    }
}

fn blocked(refusal: &Refusal) -> Diff {
    Diff::Blocked { why: refusal.why.clone(), hint: refusal.hint.clone() }
}

/// What an API answers; whom it does not let in waits for `…/access`.
fn asked<T: serde::de::DeserializeOwned>(seen: &Observed, question: Question, what: &str) -> Result<T, Stop> {
    seen.edge(question)?.map_err(|refusal: Refusal| Diff::later(what, refusal.why).into())
}

/// The zone, once it can be worked on.
fn zone(site: &Site, seen: &Observed, what: &str) -> Result<Zone, Stop> {
    let Some(cloudflare) = &site.config.edge.cloudflare else {
        return Err(Diff::later(what, "no zone is named").into());
    };
    let zones: Zones = asked(seen, Question::Zone(cloudflare.zone.clone()), what)?;
    choose(zones.all(), &cloudflare.zone).map_err(|flaw| Diff::later(what, flaw.why).into())
}

/// The tunnels that are meant: the one that was made from here, by its id; else
/// those that are called as the config says, by id or by name.
fn tunnels_meant(wanted: &str, made: &CloudflareRecord, mut tunnels: Vec<Tunnel>) -> Vec<Tunnel> {
    tunnels.retain(|t| t.deleted_at.is_none());
    let ours =
        |t: &&Tunnel| made.tunnel.as_deref() == Some(wanted) && made.tunnel_id.as_deref() == Some(&t.id);
    match tunnels.iter().find(ours).cloned() {
        Some(tunnel) => vec![tunnel],
        None => tunnels.into_iter().filter(|t| t.id == wanted || t.name == wanted).collect(),
    }
}

/// The tunnel with its zone, once there is one.
fn tunnel(site: &Site, seen: &Observed, what: &str) -> Result<(Zone, Tunnel), Stop> {
    let zone = zone(site, seen, what)?;
    let all: Vec<Tunnel> = asked(seen, Question::Tunnels { account: zone.account.id.clone() }, what)?;
    let made = tunnel::read_record(site, seen)?;
    let wanted = site.config.edge.cloudflare.as_ref().map_or("", |cloudflare| &cloudflare.tunnel);
    match tunnels_meant(wanted, &made, all).pop() {
        Some(tunnel) => Ok((zone, tunnel)),
        None => Err(Diff::later(what, "there is no tunnel yet").into()),
    }
}

/// The way to the guest as a reverse proxy goes it; none while the guest has no address.
pub fn edge_way(site: &Site, seen: &Observed) -> Seen<Option<Way>> {
    let named = site.config.edge.npm.as_ref().and_then(|npm| npm.forward_host.clone());
    let host = match named {
        Some(host) => Some(host),
        None => guest_address(site, seen)?.map(|address| address.to_string()),
    };
    Ok(host.map(|host| proxy::way(&site.config, &stack::endpoints(&site.config), &host)))
}

/// A change of something at the edge, shown like that of a file.
fn change(name: String, before: Option<String>, after: String) -> FileChange {
    FileChange { side: Side::Edge, path: AbsPath::known(name), before, after }
}
