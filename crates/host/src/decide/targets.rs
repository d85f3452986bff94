//! What an update is about: what was named, else all but what is held back.

use matrix_podman_core::{
    service::Service,
    update::{Request, Target},
};

/// What an update is about.
#[derive(Debug, PartialEq, Eq)]
pub struct Targets {
    /// The services.
    pub requests: Vec<Request>,
    /// Whether Debian's packages that containers run by are.
    pub debian: bool,
    /// What stays as it is.
    pub held: Vec<Service>,
}

/// Why a service cannot be updated.
#[derive(Debug, PartialEq, Eq)]
pub enum Unfit {
    /// It is both to be updated and to be held back.
    Both(Service),
    /// It is switched off.
    Off(Service),
}

/// What is to be updated when `named` was typed and `hold` beside it, where the config
/// holds `always` back. A service that is named is meant.
pub fn targets(
    on: &[Service],
    named: &[Target],
    hold: &[Service],
    always: &[Service],
) -> Result<Targets, Unfit> {
    let mut requests = Vec::new();
    let mut debian = named.is_empty();
    for target in named {
        match target {
            Target::Service(request) if hold.contains(&request.service) => {
                return Err(Unfit::Both(request.service));
            }
            Target::Service(request) if !on.contains(&request.service) => {
                return Err(Unfit::Off(request.service));
            }
            Target::Service(request) => requests.push(request.clone()),
            Target::Debian => debian = true,
        }
    }
    if !named.is_empty() {
        return Ok(Targets { requests, debian, held: Vec::new() });
    }
    let mut held: Vec<Service> = hold.iter().chain(always).copied().collect();
    held.sort_unstable();
    held.dedup();
    let all = on.iter().copied().filter(|service| !held.contains(service));
    let requests = all.map(|service| Request { service, version: None }).collect();
    Ok(Targets { requests, debian, held })
}

#[cfg(test)]
mod tests {
    use matrix_podman_core::stack;

    use super::*;

    fn of(
        named: &[&str],
        hold: &[Service],
        always: &[Service],
    ) -> Result<(Vec<Service>, bool, Vec<Service>), Unfit> {
        let named: Vec<Target> = named.iter().map(|name| name.parse().unwrap()).collect();
        targets(&Service::ALL, &named, hold, always)
            .map(|t| (t.requests.iter().map(|r| r.service).collect(), t.debian, t.held))
    }

    #[test]
    fn what_is_held_back_is_left_out_unless_it_is_named() {
        use stack::{
            coturn::ID as TURN, element::ID as WEB, gateway::ID as GATEWAY, postgres::ID as POSTGRES,
            redis::ID as REDIS, synapse::ID as SYNAPSE,
        };
        let all = || Service::ALL.to_vec();
        for (named, hold, always, expected) in [
            (&[][..], &[][..], &[][..], (all(), true, vec![])),
            (&[], &[], &[SYNAPSE], (vec![POSTGRES, REDIS, WEB, TURN, GATEWAY], true, vec![SYNAPSE])),
            (&[], &[REDIS], &[SYNAPSE], (vec![POSTGRES, WEB, TURN, GATEWAY], true, vec![REDIS, SYNAPSE])),
            (&[], &[REDIS], &[REDIS], (vec![POSTGRES, SYNAPSE, WEB, TURN, GATEWAY], true, vec![REDIS])),
            (&["synapse"], &[], &[SYNAPSE, REDIS], (vec![SYNAPSE], false, vec![])),
            (&["debian"], &[], &[SYNAPSE], (vec![], true, vec![])),
            (&["debian", "redis"], &[], &[], (vec![REDIS], true, vec![])),
            (&[], &[], &all(), (vec![], true, all())),
        ] {
            assert_eq!(of(named, hold, always), Ok(expected), "{named:?} {hold:?} {always:?}");
        }
        let named = ["coturn".parse().unwrap()];
        let off = targets(&[POSTGRES, REDIS], &named, &[], &[]).map(|_| ());
        assert_eq!(off, Err(Unfit::Off(stack::coturn::ID)));
        assert_eq!(of(&["redis"], &[REDIS], &[]), Err(Unfit::Both(REDIS)));
    }
}
