//! What a service is to the others that stands before them: it takes over their published
//! ports, and holds requests while they are away.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddrV4},
};

use super::{PortHolder, Publish, RoomNetwork, Service, rooms};
use crate::{
    config::Config,
    endpoint::Reach,
    name::{AbsPath, Invalid},
    service::ServiceId,
};

/// What the name of a backend ends with whose requests wait for news: nobody waits for their end.
pub const LONG: &str = "-long";
/// While requests to a service are held, they are led to its port and so many more, where nobody listens: each
/// tries once a second to connect. What it works on goes on meanwhile.
const ASIDE: u16 = 20_000;
/// The fields of `show stat` that are read, as its first line calls them.
const FIELDS: [&str; 4] = ["pxname", "svname", "scur", "addr"];

/// A service that stands before the others.
#[derive(Debug)]
pub struct Front {
    /// The network on which it reaches them: no name has to be looked up, which could not be
    /// while they are away.
    pub network: RoomNetwork,
    /// Folder in the guest of its control socket; only its user and root can look into it.
    pub run: &'static str,
}

impl Front {
    /// The address of `service` on its network. The first is Podman's, the second its own.
    pub fn address(&self, service: ServiceId) -> Ipv4Addr {
        let place = u32::try_from(service.position()).unwrap_or_default();
        Ipv4Addr::from_bits(self.network.address.to_bits() + 1 + place)
    }

    /// Its control socket, in the guest.
    pub fn control(&self) -> AbsPath {
        AbsPath::known(format!("{}/control.sock", self.run))
    }

    /// Says since when requests to `service` are held, and for whom.
    pub fn mark(&self, service: ServiceId) -> AbsPath {
        AbsPath::known(format!("{}/held-{service}", self.run))
    }
}

/// What stands before the other services with this config.
pub fn front(config: &Config) -> Option<&'static Front> {
    rooms(config).find_map(Service::front)
}

/// All that may stand before others, whatever the config says.
pub fn fronts() -> impl Iterator<Item = &'static Front> {
    super::ALL.into_iter().filter_map(Service::front)
}

/// The ports that `room` publishes: where something stands before it, systemd holds those that
/// reverse proxies reach.
pub(super) fn ports(room: &dyn Service, config: &Config) -> Vec<Publish> {
    let is_fronted = front(config).is_some();
    let hold = |port: Publish| match port.reach {
        Reach::Proxies if is_fronted => Publish { held_by: PortHolder::Systemd, ..port },
        _ => port,
    };
    room.ports(config).into_iter().map(hold).collect()
}

/// The ports that systemd holds, in the order in which it hands them over, with whose they are.
pub fn held(config: &Config) -> Vec<(ServiceId, Publish)> {
    let of = |room: &'static dyn Service| ports(room, config).into_iter().map(|port| (room.id(), port));
    rooms(config).flat_map(of).filter(|(_, port)| port.held_by == PortHolder::Systemd).collect()
}

/// How a service fares behind what stands before it, as one of its backends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Behind {
    /// The backend.
    backend: String,
    /// The service.
    pub service: ServiceId,
    /// Requests that it works on.
    pub current: u32,
    /// Requests that wait until it can be reached.
    pub waiting: u32,
    address: Ipv4Addr,
    port: u16,
}

impl Behind {
    /// Whether its requests wait for news.
    pub fn is_long(&self) -> bool {
        self.backend.ends_with(LONG)
    }

    /// Whether its requests are held on purpose.
    pub const fn is_held(&self) -> bool {
        self.port >= ASIDE
    }

    /// What to tell HAProxy so that its requests are held, or no longer.
    pub fn hold(&self, held: bool) -> String {
        let port = self.port % ASIDE + if held { ASIDE } else { 0 };
        let (backend, service, address) = (&self.backend, self.service, self.address);
        format!("set server {backend}/{service} addr {address} port {port}\n")
    }
}

/// What HAProxy is asked for [`parse_stat`].
pub const ASK_STAT: &str = "show stat\n";

/// Reads what HAProxy answers to `show stat`.
pub fn parse_stat(text: &str) -> Result<Vec<Behind>, Invalid> {
    let mut lines = text.lines();
    let head = lines.next().and_then(|line| line.strip_prefix("# "));
    let head: Vec<&str> = head.ok_or_else(|| Invalid::new("it names no fields"))?.split(',').collect();
    let place = |name| {
        let place = head.iter().position(|field| *field == name);
        place.ok_or_else(|| Invalid::new(format!("it has no field {name}")))
    };
    let [backend, server, current, address] = FIELDS.map(place);
    let places = [backend?, server?, current?, address?];
    let (mut all, mut totals) = (Vec::new(), BTreeMap::new());
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        let [backend, server, current, address] =
            places.map(|place| fields.get(place).copied().unwrap_or_default());
        let current: u32 = current.parse().unwrap_or(0);
        if server == "BACKEND" {
            totals.insert(backend.to_owned(), current);
        }
        // It belongs to nothing of ours where one of these is none.
        let (Some(service), Ok(at)) = (ServiceId::by_name(server), address.parse::<SocketAddrV4>()) else {
            continue;
        };
        let (backend, waiting) = (backend.to_owned(), 0);
        all.push(Behind { backend, service, current, waiting, address: *at.ip(), port: at.port() });
    }
    for behind in &mut all {
        let total = totals.get(&behind.backend).copied().unwrap_or(0);
        behind.waiting = total.saturating_sub(behind.current);
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::synapse;

    #[test]
    fn show_stat_is_read() {
        let text = "# pxname,svname,qcur,qmax,scur,smax,addr,\n\
                    synapse,FRONTEND,,,9,4,,\n\
                    synapse,synapse,0,0,2,40,198.18.78.5:28008,\n\
                    synapse,BACKEND,0,0,6,40,,\n\
                    synapse-long,synapse,0,0,7,7,198.18.78.5:8008,\n\
                    synapse-long,BACKEND,0,0,7,40,,\n\n";
        let all = parse_stat(text).unwrap();
        assert_eq!(all.len(), 2);
        assert_eq!((all[0].waiting, all[0].current, all[0].is_held(), all[0].is_long()), (4, 2, true, false));
        assert_eq!((all[1].waiting, all[1].is_held(), all[1].is_long()), (0, false, true));
        for behind in &all {
            assert!(behind.hold(true).ends_with("/synapse addr 198.18.78.5 port 28008\n"));
            assert!(behind.hold(false).ends_with("/synapse addr 198.18.78.5 port 8008\n"));
        }
        assert!(parse_stat("").is_err() && parse_stat("# pxname,svname\n").is_err());
    }

    #[test]
    fn every_service_has_an_address_of_its_own() {
        for front in fronts() {
            for service in ServiceId::ALL {
                assert!(front.network.subnet.has_host(front.address(service)), "{service}");
                assert_ne!(front.address(service), front.network.address);
            }
        }
        let front = fronts().next().unwrap();
        assert!(front.mark(synapse::ID).as_str().ends_with("/held-synapse"));
    }
}
