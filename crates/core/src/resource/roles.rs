//! Roles in PostgreSQL: each owns its database and may do nothing else. One that a cluster
//! lacks, which is older than the room that wants it, is made while PostgreSQL serves.
//!
//! Clusters that older versions made have Synapse's role as their superuser; it is taken over
//! while the database serves.

use super::{Diff, Resource, ResourceId, Risk, Site, Step, read_lock, service};
use crate::{
    effect::{Effect, Local},
    fact::{Health, Roles as State},
    ids,
    observed::{Observed, Seen},
    service::ServiceId,
    stack::{self, CLUSTER_OWNER, Data},
};

pub(super) fn all(_: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(Roles)]
}

struct Roles;

impl Resource for Roles {
    fn id(&self) -> ResourceId {
        ids::DATABASE_ROLES
    }

    fn needs(&self) -> Vec<ResourceId> {
        Data::Cluster.keepers().into_iter().map(service::id).collect()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        // All questions are put before the first answer is looked at, so that they
        // travel together.
        let clients = stack::wait_for(&ids::DATABASE_ROLES);
        let all_healthy = |services: &[ServiceId]| -> Seen<bool> {
            services.iter().try_fold(true, |all, service| {
                let container = seen.container(service.name())?;
                Ok(container.is_some_and(|c| c.state == "running" && c.health == Health::Healthy) && all)
            })
        };
        let (runs, serves) = (all_healthy(&Data::Cluster.keepers()), all_healthy(&clients));
        let (state, lock) = (seen.roles(), read_lock(seen));
        if !runs? {
            return Ok(match lock? {
                None => Diff::settled("a new cluster has a plain role for Synapse"),
                Some(_) => Diff::later("See what Synapse's database role may do", "PostgreSQL does not run"),
            });
        }
        let State { plain, owner, others, missing, unfinished } = match state? {
            Ok(state) => state,
            Err(why) => {
                return Ok(Diff::Blocked {
                    why: format!("PostgreSQL does not say what Synapse's role may do: {why}"),
                    hint: Data::Cluster.log_hint(),
                });
            }
        };
        let serves = serves?;
        let stop = |service| Effect::Here(Local::StopService { service });
        if *plain && *unfinished && !serves {
            let empty = Effect::Here(Local::EmptyUnfinishedDatabase);
            return Ok(Diff::quiet(
                "Empty the database, which Synapse never finished making".to_owned(),
                "its first start was cut off, and it cannot go on from there; nobody has anything in it yet",
                clients.into_iter().map(stop).chain([empty]).collect(),
            ));
        }
        if *plain && *others == 0 && !missing.is_empty() {
            let names: Vec<&str> = missing.iter().map(|name| name.as_str()).collect();
            return Ok(Diff::quiet(
                format!("Make the databases {}", names.join(", ")),
                "the cluster is older than what they are for; each has a plain role of its own",
                vec![Effect::Here(Local::MakeDatabases { names: missing.clone() })],
            ));
        }
        if *plain && *others == 0 {
            return Ok(Diff::settled("Synapse's role owns its database and nothing else"));
        }
        let why = if *plain {
            "part of its data is still the cluster owner's".to_owned()
        } else if owner == CLUSTER_OWNER {
            "it may do more than read and write its own tables".to_owned()
        } else {
            "it is the database's superuser, who may read files and start programs: whoever got a statement into \
             Synapse's connection would have PostgreSQL's container"
                .to_owned()
        };
        // A Synapse whose connections end under it never goes on with its background
        // updates. So it is stopped before; it stands behind this, and is started then.
        let stop = clients.into_iter().filter(|_| serves).map(stop);
        Ok(Diff::Change(Step {
            what: "Make Synapse's database role a plain one".to_owned(),
            why,
            risk: if serves { Risk::Interrupts } else { Risk::None },
            changes: Vec::new(),
            effects: stop.chain([Effect::Here(Local::SeparateRoles)]).collect(),
        }))
    }
}
