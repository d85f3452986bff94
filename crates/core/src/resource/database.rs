//! The database cluster: there, and of the version that the image runs.

use super::{Diff, Resource, ResourceId, Risk, Site, Step, image, read_lock};
use crate::{
    cluster::{NewCluster, version_file},
    effect::{Effect, Local},
    fact::Side,
    ids,
    observed::{Observed, Seen},
    service::ServiceId,
    stack::{self, Data},
};

/// Major versions whose data could be there.
const MAJORS: std::ops::RangeInclusive<u32> = 13..=20;

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let cluster = |service| Box::new(Cluster { site: site.clone(), service }) as Box<dyn Resource>;
    Data::Cluster.keepers().into_iter().map(cluster).collect()
}

struct Cluster {
    site: Site,
    service: ServiceId,
}

impl Resource for Cluster {
    fn id(&self) -> ResourceId {
        ids::DATABASE
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ids::SECRETS, ids::STACK_FILES, image::id(self.service)]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        // All questions are put before the first answer is looked at, so that
        // they travel together.
        let states: Vec<_> =
            MAJORS.map(|major| (major, seen.meta(Side::Guest, &version_file(major)))).collect();
        let mut there = Vec::new();
        for (major, state) in states {
            if state?.is_some() {
                there.push(major);
            }
        }
        let Some(image) = image::resolved(&self.site, self.service, seen)? else {
            return Ok(Diff::later(
                "Make an empty PostgreSQL cluster",
                "the image of PostgreSQL is not there yet",
            ));
        };
        let Some(major) = image.major() else {
            return Ok(Diff::Blocked {
                why: format!("the image {} does not say which PostgreSQL is in it", image.run),
                hint: "use an image whose environment has PG_VERSION, as the official ones have".to_owned(),
            });
        };
        // Only the lock says which of several clusters has the data; one that was
        // left, or never served, is not gone back to automatically.
        let trying = self.site.trial.contains_key(&self.service);
        let serves = read_lock(seen)?.and_then(|lock| stack::cluster_major(&lock.images));
        if let Some(serves) = serves.filter(|serves| *serves != major && !trying) {
            return Ok(Diff::Blocked {
                why: format!(
                    "the data was written by PostgreSQL {serves} and the image is PostgreSQL {major}"
                ),
                hint: format!(
                    "`matrix-podman update postgres_db={major}` moves the data and keeps the old cluster; or choose an \
                     image of PostgreSQL {serves} in [images.postgres]. The data is not touched"
                ),
            });
        }
        if there.contains(&major) {
            return Ok(Diff::settled(format!("the PostgreSQL {major} cluster is there")));
        }
        if let Some(other) = there.last() {
            return Ok(Diff::Blocked {
                why: format!(
                    "the data was written by PostgreSQL {other} and the image is PostgreSQL {major}"
                ),
                hint: format!(
                    "choose an image of PostgreSQL {other} ([images.postgres] reference); the data is not touched"
                ),
            });
        }
        Ok(Diff::Change(Step {
            what: format!("Make an empty PostgreSQL {major} cluster"),
            why: "there is no database yet: UTF-8, C locale, data checksums".to_owned(),
            risk: Risk::None,
            changes: Vec::new(),
            effects: vec![Effect::Here(Local::InitDatabase {
                image: image.run,
                major,
                cluster: NewCluster::of(major),
            })],
        }))
    }
}
