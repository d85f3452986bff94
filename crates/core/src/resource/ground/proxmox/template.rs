//! The template that the container is made from.

use super::place::{Place, find_container};
use crate::{
    effect::{Effect, Local},
    fact::Side,
    ids,
    observed::{Observed, Seen},
    proxmox::{Answer, Question, newest_template},
    resource::{Diff, Resource, ResourceId, Site},
};

/// The template that the container is made from.
pub(super) struct Template {
    pub(super) site: Site,
}

pub(super) fn chosen_template(site: &Site, seen: &Observed) -> Seen<Option<String>> {
    let proxmox = &site.config.proxmox;
    let storage = proxmox.template_storage.clone();
    let Answer::Names(volumes) = seen.proxmox(Question::Templates { storage: storage.clone() })? else {
        return Ok(None);
    };
    Ok(match &proxmox.template {
        Some(file) => volumes.iter().find(|volume| **volume == format!("{storage}:vztmpl/{file}")).cloned(),
        None => newest_template(volumes, &seen.system(Side::Machine)?.arch).map(str::to_owned),
    })
}

impl Resource for Template {
    fn id(&self) -> ResourceId {
        ids::GUEST_TEMPLATE
    }

    fn needs(&self) -> Vec<ResourceId> {
        Vec::new()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        if !matches!(find_container(&self.site, seen)?, Place::Absent) {
            return Ok(Diff::settled("the container is made already"));
        }
        if let Some(volume) = chosen_template(&self.site, seen)? {
            return Ok(Diff::settled(format!("{volume} is there")));
        }
        let proxmox = &self.site.config.proxmox;
        let (storage, template) = (proxmox.template_storage.clone(), proxmox.template.clone());
        let which = template.as_ref().map_or("the newest Debian 13 template".to_owned(), ToString::to_string);
        Ok(Diff::quiet(
            format!("Download {which} to the storage {storage}"),
            "the container is made from it",
            vec![Effect::Here(Local::FetchTemplate {
                storage,
                template,
                arch: seen.system(Side::Machine)?.arch.clone(),
            })],
        ))
    }
}
