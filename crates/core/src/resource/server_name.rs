//! The server's name, which can never change.

use super::{Diff, Resource, ResourceId, Site, image};
use crate::{
    fact::Side,
    format,
    history::{self, History},
    ids, layout, lock,
    name::ServerName,
    observed::{Observed, Seen},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(Name { site: site.clone() })]
}

/// The id of this resource, which everything in the guest stands behind:
/// nothing of a server may be written under another's name.
pub(super) fn id() -> ResourceId {
    ids::SERVER_NAME
}

struct Name {
    site: Site,
}

impl Resource for Name {
    fn id(&self) -> ResourceId {
        id()
    }

    fn needs(&self) -> Vec<ResourceId> {
        self.site.backend.entrance()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let wanted = &self.site.config.server_name;
        if let Some(blocked) = of_newer_program(seen)? {
            return Ok(blocked);
        }
        if let Some(blocked) = self.cut_off(seen)? {
            return Ok(blocked);
        }
        let now = match image::read_lock(seen)? {
            Some(lock) => Some(lock.server_name),
            None => in_config(seen)?,
        };
        Ok(match now {
            None => Diff::settled(format!("there is no server yet; it will be {wanted}")),
            Some(now) if now == *wanted => Diff::settled(format!("the server was made as {now}")),
            Some(now) => Diff::Blocked {
                why: format!(
                    "this server was made as {now}, and the config now says {wanted}; the name is part of every \
                     user id, room and signature, so it can never change"
                ),
                hint: format!(
                    "write server_name = \"{now}\" again, or make a second site with another guest.name"
                ),
            },
        })
    }
}

impl Name {
    /// What says that a restore into this guest was cut off, if one was.
    fn cut_off(&self, seen: &Observed) -> Seen<Option<Diff>> {
        let begun = seen.meta(Side::Machine, &layout::restore_begun(self.site.config.site()));
        let [dump, switch, hold, lock] =
            [layout::restore_dump(), layout::switch(), layout::hold(), layout::lock_file()]
                .map(|path| seen.meta(Side::Guest, &path).map(|meta| meta.is_some()));
        let (begun, dump, switch, hold, lock) = (begun?.is_some(), dump?, switch?, hold?, lock?);
        // A server that is not held back is the one that was there before.
        let untouched = lock && !hold;
        Ok((switch || dump || (begun && !untouched)).then(|| Diff::Blocked {
            why: if switch {
                "the switch to other data was cut off, so some are the old ones and some the new; nothing runs on \
                 them"
            } else {
                "a restore into this guest was cut off, so its data is new, but not complete yet"
            }
            .to_owned(),
            hint: "run the same `matrix-podman restore` or `backup restore` again; it goes on from there. \
                   `matrix-podman backup restore --back` brings back what was there before, if something was"
                .to_owned(),
        }))
    }
}

/// What a newer program left here that this one does not understand, if it did.
fn of_newer_program(seen: &Observed) -> Seen<Option<Diff>> {
    let [lock, history] =
        [layout::lock_file(), history::file()].map(|path| (seen.file(Side::Guest, &path), path));
    for ((file, path), check) in [(lock, lock::known as fn(&str) -> _), (history, History::known)] {
        let text = file?.and_then(|file| file.content.as_deref()).unwrap_or_default();
        if let Err(newer @ format::Unread::Newer { .. }) = check(text) {
            return Ok(Some(Diff::Blocked {
                why: format!("{path} cannot be read: {newer}"),
                hint: format::UPGRADE.to_owned(),
            }));
        }
    }
    Ok(None)
}

/// The name in Synapse's own config: a first run that was cut off may have
/// started Synapse and written no lock yet.
fn in_config(seen: &Observed) -> Seen<Option<ServerName>> {
    let file = seen.file(Side::Guest, &layout::in_root("synapse/homeserver.yaml"))?;
    let text = file.and_then(|f| f.content.as_deref()).unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("server_name:"));
    Ok(name.and_then(|name| ServerName::parse(name.trim().trim_matches(['"', '\''])).ok()))
}
