//! What updates leave behind: the last two generations stay, older ones go after an update that
//! ended well. And a word in time, before a disk is too full for the next one.

use matrix_podman_core::{
    effect::{Effect, Local},
    fact::{Database, ImageState, Side},
    layout,
    lock::LockedImage,
    name::Digest,
    observed::Observed,
    prune::{Asked, Surplus, outlived},
    update::{self as rules, History},
};

use super::{Update, history, lock};
use crate::{
    failure::Failure,
    progress::Event,
    world::{World, see},
};

impl Update<'_> {
    /// Removes images and dumps that neither what runs nor what ran before needs. What cannot go
    /// is no reason to fail: the next update comes to it again. The image of the generation `except`,
    /// which failed, stays for somebody to look at.
    pub(super) fn remove_older_generations(&self, except: Option<u32>) {
        let doing = "look for what earlier updates left";
        let removed = see(self.world, doing, |seen: &Observed| Surplus::of(Asked::default(), seen)).and_then(
            |surplus| {
                outlived(surplus, except).iter().try_for_each(|spared| {
                    self.act(
                        &format!("Remove {}, which no way back needs", spared.thing.name),
                        &spared.effect,
                    )
                })
            },
        );
        if let Err(failure) = removed {
            let text = format!("What an earlier update left stays, and costs room: {failure}");
            self.listener.on(&Event::Note { text });
        }
    }

    /// Removes an image that an earlier attempt got under the name of a generation that was never
    /// tried, and that has lost that name to a newer one.
    pub(super) fn remove_replaced(&self, before: Option<&ImageState>, now: &ImageState) {
        let Some(before) = before.filter(|before| before.id != now.id) else { return };
        let needed = self.is_needed(&before.id);
        let removed = needed.and_then(|needed| match needed {
            true => Ok(()),
            false => self.act(
                "Remove the image that this one takes the place of",
                &Effect::Here(Local::RemoveImage { id: before.id.clone(), names: Vec::new() }),
            ),
        });
        if let Err(failure) = removed {
            let text = format!("An image that nothing needs stays, and costs room: {failure}");
            self.listener.on(&Event::Note { text });
        }
    }

    fn is_needed(&self, id: &Digest) -> Result<bool, Failure> {
        let (lock, history): (_, History) = (lock(self.world)?, history(self.world)?);
        let has = |image: &LockedImage| image.id == *id;
        Ok(lock.images.all().any(has) || history.generations.iter().any(|g| g.images.all().any(has)))
    }
}

/// What a person should be told while there is still time: that the disk will soon be too full for
/// an update or a backup of its data, where it will.
pub fn room_runs_out(world: &World) -> Result<Option<String>, Failure> {
    let doing = "look for room in the guest";
    let place = layout::applied_config();
    let (database, room) = see(world, doing, |seen| {
        let (database, room) = (seen.database(), seen.room(Side::Guest, &place));
        Ok((database?.clone(), room?))
    })?;
    let size = match database {
        Database::Answers(state) => state.size,
        Database::Refuses(why) => return Err(Failure::new(doing, why)),
    };
    Ok(room.and_then(|room| rules::room_runs_out(size, room)))
}
