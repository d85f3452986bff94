//! Who may speak to the guest's published ports.

use std::net::Ipv4Addr;

use super::{Diff, Resource, ResourceId, Risk, Site, Step, files::compare, is_outside};
use crate::{
    config::Network,
    effect::{Effect, Local},
    endpoint::{Endpoint, Reach},
    fact::Side,
    firewall::{self, Source},
    ids,
    observed::{Observed, Seen},
    render::ports,
    stack,
};

/// Inside a guest nobody can tell which addresses its machine has, and what was
/// set from outside stays.
pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    if is_outside(site) { vec![Box::new(Ports { site: site.clone() })] } else { Vec::new() }
}

pub(super) fn id() -> ResourceId {
    ids::GUEST_PORTS
}

struct Ports {
    site: Site,
}

/// The addresses that the machine speaks to its guest from.
fn machine(site: &Site, seen: &Observed) -> Seen<Vec<Ipv4Addr>> {
    if site.backend.is_this_machine() {
        return Ok(Vec::new());
    }
    match &site.config.guest.network {
        Network::Own { subnet, .. } => Ok(vec![subnet.address()]),
        Network::Existing { bridge, .. } => {
            // By the bridge, or by its usual way where it has no address there.
            let (there, usual) = (seen.interface(bridge.as_str()), seen.system(Side::Machine));
            let mut addresses: Vec<Ipv4Addr> = there?.into_iter().chain(usual?.address).collect();
            addresses.sort_unstable();
            addresses.dedup();
            Ok(addresses)
        }
    }
}

impl Ports {
    fn who(&self, proxies: &[Source]) -> String {
        let here = if self.site.backend.is_this_machine() { "this machine itself" } else { "its machine" };
        let named: Vec<String> = proxies.iter().map(Source::to_string).collect();
        match named.as_slice() {
            [] => here.to_owned(),
            named => format!("{here} and {}", named.join(", ")),
        }
    }
}

impl Resource for Ports {
    fn id(&self) -> ResourceId {
        id()
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ids::GUEST_PACKAGES]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let config = &self.site.config;
        let proxies: Vec<Source> = config.edge.proxies.iter().copied().map(Source::from).collect();
        let machine = machine(&self.site, seen)?;
        let callers: Vec<Source> =
            machine.into_iter().map(Source::alone).chain(proxies.iter().copied()).collect();
        let files = ports::files(config, &callers);
        let wanted = firewall::ports_comments(&ports::published(config), &callers);
        // All questions are put before the first answer is looked at, so that they
        // travel together.
        let (loaded, units) =
            (seen.rules(Side::Guest, firewall::PORTS_TABLE), seen.units(Side::Guest, [ports::UNIT]));
        let endpoints: Vec<Endpoint> =
            stack::endpoints(config).into_iter().filter(|at| at.reach == Reach::Proxies).collect();
        let serving: Vec<Seen<bool>> =
            endpoints.iter().map(|at| Ok(seen.container(at.service.name())?.is_some())).collect();
        let difference = compare(&[], &files, seen)?;
        let (loaded, units, serving) = (loaded?, units?, serving.into_iter().collect::<Seen<Vec<bool>>>()?);
        let enabled = units.get(ports::UNIT).is_some_and(|unit| unit.file == "enabled");
        let ports: Vec<String> = endpoints.iter().map(|at| at.port.to_string()).collect();
        let ports = ports.join(" and ");
        let who = self.who(&proxies);
        if difference.is_empty() && enabled && firewall::are_loaded(&wanted, loaded) {
            return Ok(Diff::settled(format!("{who} alone may speak to {ports}")));
        }
        // Where anybody could come in until now, somebody may have.
        let was_open = loaded.is_empty() && serving.contains(&true);
        let (why, risk) = match &config.guest.network {
            Network::Existing { .. } if was_open && proxies.is_empty() => (
                "until now everybody in the network could; a reverse proxy that edge.proxies does not name is \
                 shut out by this"
                    .to_owned(),
                Risk::Outage,
            ),
            Network::Existing { .. } if was_open => {
                ("until now everybody in the network could".to_owned(), Risk::Interrupts)
            }
            _ => ("others could say that they are somebody else".to_owned(), Risk::None),
        };
        let unit = || ports::UNIT.to_owned();
        let effects = difference.effects.into_iter().chain([
            Effect::Here(Local::ReloadUnits { side: Side::Guest }),
            Effect::Here(Local::EnableUnit { side: Side::Guest, unit: unit(), start: true }),
            // Loads the rules again where it ran already.
            Effect::Here(Local::RestartDaemon { unit: unit() }),
        ]);
        Ok(Diff::Change(Step {
            what: format!("Let only {who} speak to the ports {ports}"),
            why,
            risk,
            changes: difference.changes,
            effects: effects.collect(),
        }))
    }
}
