//! PostgreSQL from one major version to another, and back: the data is in a
//! cluster of their own for each, and the image that the unit names decides which
//! one serves.

use std::time::Duration;

use matrix_podman_core::{
    effect::{Effect, Local},
    fact::{Database, Side},
    ids, layout,
    lock::LockedImage,
    resource::Site,
    size::Bytes,
    stack::Data,
    update::{self, Generation, Move, Precaution, Undo},
};

use super::{Change, Proposal, Update, lock, running};
use crate::{failure::Failure, world::see};

/// What is left free besides the new cluster: its log of changes, and what the
/// server goes on writing.
const SPARE: u64 = 1536 << 20;

/// The major versions of two images of PostgreSQL, where they differ.
pub(super) fn majors(from: Option<&LockedImage>, to: Option<&LockedImage>) -> Option<(u32, u32)> {
    let (from, to) = (from?.major()?, to?.major()?);
    (from != to).then_some((from, to))
}

impl Proposal {
    /// PostgreSQL's major versions before and after, where they differ.
    pub fn majors(&self) -> Option<(u32, u32)> {
        let change = self.changes.iter().find(|change| Data::Cluster.is_kept_by(change.service))?;
        majors(Some(&change.from), Some(&change.to))
    }
}

impl Update<'_> {
    /// The change to another major version of PostgreSQL, if it can be made;
    /// `back` is a way back, which alone may go to an older one.
    pub(super) fn other_major(
        &self,
        changes: Vec<Change>,
        number: u32,
        back: bool,
    ) -> Result<Proposal, Failure> {
        let doing = "change the major version of PostgreSQL";
        let [change] = changes.as_slice() else {
            return Err(Failure::new(doing, "other services would change with it")
                .hint("`matrix-podman update postgres_db=VERSION` alone; the others before or after it"));
        };
        let (Some(from), Some(to)) = (change.from.major(), change.to.major()) else {
            return Err(Failure::new(doing, "an image does not say which PostgreSQL is in it")
                .hint("use an image whose environment has PG_VERSION, as the official ones have"));
        };
        if to > from {
            self.room_for_cluster(doing)?;
        } else if !back {
            return Err(Failure::new(
                doing,
                format!("PostgreSQL {to} cannot open the data of PostgreSQL {from}"),
            )
            .hint("nothing was changed; `matrix-podman rollback` goes back to a cluster that was kept"));
        } else {
            let file = update::version_file(to);
            if see(self.world, doing, |seen| Ok(seen.meta(Side::Guest, &file)?.is_none()))? {
                return Err(Failure::new(
                    doing,
                    format!("the cluster of PostgreSQL {to} is no longer there"),
                )
                .hint("nothing was changed; what runs goes on running"));
            }
        }
        Ok(Proposal { changes, undo: Undo::Cluster, restore: None, number, precaution: Precaution::Needless })
    }

    /// Fails where the new cluster might not find room.
    fn room_for_cluster(&self, doing: &str) -> Result<(), Failure> {
        let path = layout::in_root("postgresdata");
        let (room, database) = see(self.world, doing, |seen| {
            let (room, database) = (seen.room(Side::Guest, &path), seen.database());
            Ok((room?, database?.clone()))
        })?;
        let size = match database {
            Database::Answers(state) => state.size,
            Database::Refuses(why) => return Err(Failure::new(doing, why)),
        };
        let free = room.map_or(0, |room| room.free);
        let need = size.saturating_add(SPARE);
        if free >= need {
            return Ok(());
        }
        Err(Failure::new(
            doing,
            format!(
                "the new cluster may need {} beside the old one, and {} are free in the guest",
                Bytes(need).rounded(),
                Bytes(free).rounded()
            ),
        )
        .hint("give the guest a larger disk (guest.disk), or make room on it, then run the same again"))
    }

    /// Has the cluster of the other major version serve: up, after the data were
    /// moved into it; down, as it was left. `site` tries the image of `change`.
    pub(super) fn change_cluster(
        &self,
        site: &Site,
        change: &Change,
        (from, to): (u32, u32),
        generation: u32,
        patience: Duration,
    ) -> Result<(), Failure> {
        self.stop(Data::Tables)?;
        if to > from {
            let wanted = Box::new(Move::new(&change.to.run, from, to, generation));
            self.act(
                &format!("Move the data to PostgreSQL {to}"),
                &Effect::Here(Local::MoveDatabase(wanted)),
            )?;
        }
        // From the moment that the unit names the other image, the other cluster
        // is the one that counts.
        self.replace(site, change.service, Some(patience))?;
        if to < from {
            self.forget()?;
        }
        self.settle(site, &running(Data::Tables))
    }

    /// Copies are of what the database does not know any more.
    fn forget(&self) -> Result<(), Failure> {
        self.stop(Data::Copies)?;
        self.settle(self.world.site(), &running(Data::Copies))
    }

    /// Puts the cluster back that served before `generation`; `site` tries what the lock names.
    pub(super) fn leave_cluster(
        &self,
        site: &Site,
        generation: &Generation,
        (from, to): (u32, u32),
    ) -> Result<(), Failure> {
        self.stop(Data::Tables)?;
        for service in Data::Cluster.keepers() {
            self.replace(site, service, None)?;
        }
        if to > from {
            let effect = Effect::Here(Local::SetClusterAside { major: to, generation: generation.number });
            self.act(&format!("Set the PostgreSQL {to} cluster aside"), &effect)?;
        }
        self.forget()?;
        self.settle(site, &running(Data::Tables))
    }

    /// Ends a change of the major version that was cut off after the other cluster
    /// had begun to serve: going on loses nothing, and going back would. Whether
    /// it was that, and did.
    pub(super) fn go_on(&self, generation: &Generation) -> Result<bool, Failure> {
        let lock = lock(self.world)?;
        let moved = Data::Cluster.keepers().into_iter().find_map(|service| {
            let tried = generation.images.get(&service)?;
            Some((service, tried, majors(lock.images.get(&service), Some(tried))?))
        });
        let Some((service, tried, (from, to))) = moved else { return Ok(false) };
        let unit = layout::container_file(service);
        let text = see(self.world, &format!("read {unit}"), |seen| {
            Ok(seen.file(Side::Guest, &unit)?.and_then(|file| file.content.clone()))
        })?;
        let switched = text.unwrap_or_default().contains(&tried.run);
        if !switched {
            return Ok(false);
        }
        let mut site = self.world.site().clone();
        site.trial.extend(generation.images.known().clone());
        self.settle(&site, &[ids::unit(service), ids::service(service), ids::DATABASE_ROLES])?;
        if to < from {
            self.forget()?;
        }
        self.settle(&site, &[running(Data::Copies), running(Data::Tables)].concat())?;
        self.settle(&site, &[ids::LOCK, ids::EXPORT_COMPOSE, ids::EXPORT_CONFIG])?;
        Ok(true)
    }
}
