//! What an update is about: what was named, else all but what is held back.

use matrix_podman_core::{
    service::Service,
    update::{Request, Target},
};

use crate::{args, error::Error};

/// What an update is about.
pub struct Targets {
    /// The services.
    pub requests: Vec<Request>,
    /// Whether Debian's packages that containers run by are.
    pub debian: bool,
    /// What stays as it is.
    pub held: Vec<Service>,
}

/// What is to be updated, where the config holds `always` back. A service that is
/// named is meant.
pub fn targets(args: &args::Update, always: &[Service]) -> Result<Targets, Error> {
    let mut held: Vec<Service> = args.hold.iter().map(|name| Service::from(*name)).collect();
    let services: Vec<Request> = args
        .targets
        .iter()
        .filter_map(|target| match target {
            Target::Service(request) => Some(request.clone()),
            Target::Debian => None,
        })
        .collect();
    if let Some(both) = services.iter().find(|request| held.contains(&request.service)) {
        return Err(Error::usage(
            format!("{} is both to be updated and to be held back", both.service),
            "name it once",
        ));
    }
    if !args.targets.is_empty() {
        let debian = args.targets.contains(&Target::Debian);
        return Ok(Targets { requests: services, debian, held: Vec::new() });
    }
    held.extend(always);
    held.sort_unstable();
    held.dedup();
    let all = Service::ALL.into_iter().filter(|service| !held.contains(service));
    let requests = all.map(|service| Request { service, version: None }).collect();
    Ok(Targets { requests, debian: true, held })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: args::Update,
    }

    fn of(line: &[&str], always: &[Service]) -> Result<(Vec<Service>, bool, Vec<Service>), Error> {
        let args = Line::parse_from(["update"].iter().chain(line)).args;
        targets(&args, always).map(|t| (t.requests.iter().map(|r| r.service).collect(), t.debian, t.held))
    }

    #[test]
    fn what_is_held_back_is_left_out_unless_it_is_named() {
        use Service::{Postgres, Redis, Synapse, Web};
        let all = || vec![Postgres, Redis, Synapse, Web];
        for (line, always, expected) in [
            (&[][..], &[][..], (all(), true, vec![])),
            (&[], &[Synapse], (vec![Postgres, Redis, Web], true, vec![Synapse])),
            (&["--hold", "redis"], &[Synapse], (vec![Postgres, Web], true, vec![Redis, Synapse])),
            (&["--hold", "redis"], &[Redis], (vec![Postgres, Synapse, Web], true, vec![Redis])),
            (&["synapse"], &[Synapse, Redis], (vec![Synapse], false, vec![])),
            (&["debian"], &[Synapse], (vec![], true, vec![])),
            (&["debian", "redis"], &[], (vec![Redis], true, vec![])),
            (&[], &all(), (vec![], true, all())),
        ] {
            assert_eq!(of(line, always).ok(), Some(expected), "{line:?} {always:?}");
        }
        assert!(of(&["redis", "--hold", "redis"], &[]).is_err());
    }
}
