//! What is written for people and other tools: the stack as a compose file,
//! and the config as applied.

use super::{Diff, Resource, ResourceId, Site, files::compare, image, stack::render_facts};
use crate::{
    desired::DesiredFile,
    ids, layout,
    lock::Lock,
    name::{Mode, Owner},
    observed::{Gap, Observed, Seen},
    render::compose,
    stack,
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(Compose { site: site.clone() }), Box::new(Applied { site: site.clone() })]
}

struct Compose {
    site: Site,
}

impl Resource for Compose {
    fn id(&self) -> ResourceId {
        ids::EXPORT_COMPOSE
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ids::LOCK, ids::STACK_FILES]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let facts = render_facts(&self.site, seen)?;
        let mut lock = Lock::new(self.site.config.server_name.clone());
        for service in stack::services(&self.site.config) {
            let Some(image) = image::resolved(&self.site, service, seen)? else {
                return Ok(Diff::later(
                    "Write docker-compose.yml and .env",
                    format!("the image of {service} is not there yet"),
                ));
            };
            lock.images.insert(service, image);
        }
        let files = compose::files(&self.site.config, &lock, &facts)
            .map_err(|missing| Gap::Unknown(missing.to_string()))?;
        let difference = compare(&[], &files, seen)?;
        if difference.is_empty() {
            return Ok(Diff::settled("docker-compose.yml and .env say the same as the units"));
        }
        Ok(difference.step("the compose export", Vec::new()))
    }
}

struct Applied {
    site: Site,
}

impl Resource for Applied {
    fn id(&self) -> ResourceId {
        ids::EXPORT_CONFIG
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ids::STACK_BOOT]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let file = DesiredFile {
            path: layout::applied_config(),
            content: self.site.config.to_applied_toml(),
            mode: Mode(0o644),
            owner: Owner::ROOT,
            why: "The config as applied, so that the program works inside the guest too",
        };
        let difference = compare(&[], &[file], seen)?;
        if difference.is_empty() {
            return Ok(Diff::settled("it says what was applied last"));
        }
        Ok(difference.step("the config as applied", Vec::new()))
    }
}
