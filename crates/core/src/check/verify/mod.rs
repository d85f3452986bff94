//! `verify`: whether a server really works, from inside and from outside.
//!
//! Every check is a function of what was observed, as everything in the core:
//! it notes what it wants to know and is called again with the answers. So all
//! questions of all checks are asked side by side.

mod federation;
mod guest;
mod way_in;

use serde::Serialize;

use super::{Check, Group};
use crate::{
    config::Config,
    endpoint::Endpoint,
    fact::{Database, HttpAnswer, HttpQuestion, InsideSynapse, PublicKey, RelayTried, Side, Trial, Tried},
    federation::Net,
    frame::RoomView,
    name::Port,
    observed::{Gap, Observed, Seen},
    render::ports,
    resource::{self, Site},
    service::ServiceId,
    stack,
};

pub use federation::federation_checks;

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
                Group::Data | Group::Client => &[],
                Group::WayIn => way_in::QUESTIONS,
                Group::Federation => {
                    return GroupChecks { group: *group, checks: federation::own(&asked, seen) };
                }
            };
            let general =
                questions.iter().map(|(id, ask)| ask(&asked, seen).unwrap_or_else(|gap| Check::gap(id, gap)));
            let view = WorldView { asked: &asked, seen };
            let rooms = stack::ALL.iter().flat_map(|room| room.checks(&site.config));
            let rooms = rooms
                .filter(|check| check.group == *group)
                .map(|check| (check.ask)(&view).unwrap_or_else(|gap| Check::gap(check.id, gap)));
            let checks = general.chain(rooms).collect();
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

/// What the checks of rooms see.
struct WorldView<'a> {
    asked: &'a Asked<'a>,
    seen: &'a Observed,
}

impl RoomView for WorldView<'_> {
    fn config(&self) -> &Config {
        &self.asked.site.config
    }

    fn is_slow(&self) -> bool {
        self.asked.scope.slow
    }

    fn at(&self, port: Port) -> Seen<String> {
        address(self.asked, port.get(), self.seen)
    }

    fn http(&self, question: &HttpQuestion) -> Seen<&HttpAnswer> {
        self.seen.http(Side::Machine, question)
    }

    fn database(&self) -> Seen<&Database> {
        self.seen.database()
    }

    fn inside_synapse(&self) -> Seen<&InsideSynapse> {
        self.seen.inside_synapse()
    }

    fn signing_key(&self) -> Seen<Option<&PublicKey>> {
        self.seen.signing_key()
    }

    fn tried(&self, trial: &Trial) -> Seen<&Tried> {
        self.seen.tried(trial)
    }

    fn relayed(&self) -> Seen<&RelayTried> {
        self.seen.relayed()
    }

    fn open_ports(&self) -> String {
        let ports = ports::open(&self.asked.site.config);
        ports.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_check_has_a_name_of_its_own_in_its_group() {
        let config = crate::testing::changed_config();
        let rooms = stack::ALL.iter().flat_map(|room| room.checks(&config));
        let rooms = rooms.map(|check| (check.group, check.id));
        let general = [(Group::Guest, guest::QUESTIONS), (Group::WayIn, way_in::QUESTIONS)];
        let general =
            general.into_iter().flat_map(|(group, all)| all.iter().map(move |(id, _)| (group, *id)));
        let all: Vec<_> = general.chain(rooms).collect();
        for (group, id) in &all {
            assert!(id.strip_prefix(group.name()).is_some_and(|rest| rest.starts_with('/')), "{id}");
        }
        assert_eq!(all.iter().collect::<BTreeSet<_>>().len(), all.len());
    }
}
