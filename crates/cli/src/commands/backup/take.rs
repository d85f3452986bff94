//! `backup restore`: back into the server, or single things out of a snapshot.

use matrix_podman_host::backup;

use super::{SiteBackups, watched, words};
use crate::{
    args,
    commands::{OK, restore, up},
    error::Error,
};

impl SiteBackups {
    /// Restores what was asked for.
    pub(super) fn restore(self, args: &args::BackupRestore) -> Result<u8, Error> {
        if let Some(name) = &args.back {
            return restore::back(self.world, &self.found, name, args.yes, &self.out);
        }
        let mut at = self.one(&args.which)?;
        at.terms.limits.download = None;
        let repository = self.open(&at)?;
        let Some(to) = &args.to else {
            return restore::in_place(self.world, self.found, &repository, args, &self.out);
        };
        if args.file.is_empty() && args.room.is_none() {
            return Err(Error::usage(
                "nothing is named that is to be taken out",
                "add --file PATH or --room ROOM",
            ));
        }
        let opened = restore::chosen(&repository, &args.snapshot, args.at)?;
        let what = format!("Take out of snapshot {}", opened.described().id);
        let (found, taken) = match &args.room {
            None => {
                let mut taken = backup::take::Taken::default();
                watched("take", &what, &self.out, |sink| {
                    args.file
                        .iter()
                        .try_for_each(|path| backup::take::path(&opened, path, to, &mut taken, sink))
                })?;
                (None, taken)
            }
            Some(room) => {
                let both =
                    up::at_work(&self.world, &self.found, "backup restore", &self.out, |journal, _| {
                        let both = watched("take", &what, &self.out, |sink| {
                            backup::take::room(&self.world, &opened, room, to, sink)
                        })?;
                        journal.end(true)?;
                        Ok(both)
                    })?;
                (Some(both.0), both.1)
            }
        };
        self.out.report(&words::ThingsTaken { event: "backup-taken", taken, room: found.as_ref(), to })?;
        let Some(room) = found else { return OK };
        if room.events == 0 {
            return Err(Error::Told {
                summary: "the snapshot has no event of that room".to_owned(),
                hint: "a room's id begins with ! and stands in its settings in the client".to_owned(),
            });
        }
        if room.encrypted {
            self.out.say(
                "The room is encrypted: which media were sent in it since then is known to its members' clients alone. \
                 They are in the snapshot, below synapse/media_store (--file).",
            );
        }
        OK
    }
}
