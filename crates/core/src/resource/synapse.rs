//! Synapse's config, which Synapse's own parser reads before it counts.

use super::{Diff, FileChange, Resource, ResourceId, Risk, Site, Step, image, stack::render_facts};
use crate::{
    effect::{Effect, Local},
    fact::Side,
    ids, layout,
    name::AbsPath,
    observed::{Observed, Seen},
    service::ServiceId,
    stack,
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let config = |service| Box::new(SynapseConfig { site: site.clone(), service }) as Box<dyn Resource>;
    stack::units_wait_for(&ids::SYNAPSE_CONFIG).into_iter().map(config).collect()
}

/// Whether a file is put in place only after Synapse has read it.
pub(super) fn is_checked(path: &AbsPath) -> bool {
    *path == config_file()
}

fn config_file() -> AbsPath {
    layout::in_root("synapse/homeserver.yaml")
}

struct SynapseConfig {
    site: Site,
    service: ServiceId,
}

impl Resource for SynapseConfig {
    fn id(&self) -> ResourceId {
        ids::SYNAPSE_CONFIG
    }

    fn needs(&self) -> Vec<ResourceId> {
        // The parser wants the secrets' files and the log config to be there.
        vec![ids::STACK_FILES, ids::SECRETS, image::id(self.service)]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let facts = render_facts(&self.site, seen)?;
        let files = stack::room(self.service).files(&self.site.config, &facts);
        let Some(file) = files.into_iter().find(|file| is_checked(&file.path)) else {
            return Ok(Diff::settled("there is no such file"));
        };
        let state = seen.file(Side::Guest, &file.path)?;
        let now = state.and_then(|s| s.content.clone());
        if now.as_deref() == Some(file.content.as_str())
            && state.is_some_and(|s| s.mode == file.mode && s.owner == file.owner)
        {
            return Ok(Diff::settled("homeserver.yaml is as it should be"));
        }
        let Some(image) = image::resolved(&self.site, self.service, seen)? else {
            return Ok(Diff::later("Write homeserver.yaml", "the image of Synapse is not there yet"));
        };
        // What the program alone wrote is known to be good, and there is nothing to lose yet.
        let check = now.is_some() || !self.site.config.synapse.extra.is_empty();
        Ok(Diff::Change(Step {
            what: if now.is_some() { "Check and change homeserver.yaml" } else { "Write homeserver.yaml" }
                .to_owned(),
            why: if now.is_some() {
                "Synapse's settings changed; its own parser reads the new file first"
            } else {
                "there is none yet"
            }
            .to_owned(),
            risk: Risk::None,
            changes: vec![FileChange {
                side: Side::Guest,
                path: file.path.clone(),
                before: now,
                after: file.content.clone(),
            }],
            effects: vec![Effect::Here(Local::InstallSynapseConfig {
                image: image.run,
                content: file.content,
                mode: file.mode,
                owner: file.owner,
                check,
            })],
        }))
    }
}
