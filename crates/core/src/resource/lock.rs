//! `matrix.lock` in the guest.

use super::{Diff, FileChange, Resource, ResourceId, Risk, Site, Step, image};
use crate::{
    effect::{Effect, Local},
    fact::Side,
    ids, layout,
    lock::Lock,
    name::{Mode, Owner},
    observed::{Gap, Observed, Seen},
    stack,
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(LockFile { site: site.clone() })]
}

struct LockFile {
    site: Site,
}

impl Resource for LockFile {
    fn id(&self) -> ResourceId {
        ids::LOCK
    }

    fn needs(&self) -> Vec<ResourceId> {
        // A lock says that the server was made, which includes its secrets, and
        // never names an image that cannot read the data.
        let made = [ids::SECRETS, ids::DATABASE];
        stack::services(&self.site.config).into_iter().map(image::id).chain(made).collect()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let config = &self.site.config;
        let before = image::read_lock(seen)?;
        let mut lock = Lock::new(config.server_name.clone());
        if let Some(before) = &before {
            lock.images.keep_unknown(&before.images);
        }
        for service in stack::services(config) {
            match image::resolved(&self.site, service, seen)? {
                Some(image) => {
                    lock.images.insert(service, image);
                }
                None => {
                    return Ok(Diff::later(
                        format!("Write {}", layout::lock_file()),
                        format!("the image of {service} is not there yet"),
                    ));
                }
            }
        }
        if before.as_ref() == Some(&lock) {
            return Ok(Diff::settled("it names the images that run"));
        }
        let path = layout::lock_file();
        let after = lock.render().map_err(|e| Gap::Unknown(e.to_string()))?;
        let before = seen.file(Side::Guest, &path)?.and_then(|f| f.content.clone());
        let effect = Effect::Here(Local::WriteFile {
            side: Side::Guest,
            path: path.clone(),
            content: after.clone(),
            mode: Mode(0o644),
            owner: Owner::ROOT,
        });
        Ok(Diff::Change(Step {
            what: format!("Write {path}"),
            why: "it says to the last byte what runs".to_owned(),
            risk: Risk::None,
            changes: vec![FileChange { side: Side::Guest, path, before, after }],
            effects: vec![effect],
        }))
    }
}
