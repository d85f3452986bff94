//! The services: running, healthy, and made from what they should be.

use super::{Diff, Resource, ResourceId, Risk, Site, Step, image, stack};
use crate::{
    config::Config,
    effect::{Effect, Local},
    fact::Health,
    ids, layout,
    observed::{Gap, Observed, Seen},
    render::quadlet,
    service::ServiceId,
    size::Seconds,
    stack as rooms,
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    rooms::services(&site.config)
        .into_iter()
        .map(|service| Box::new(Running { site: site.clone(), service }) as Box<dyn Resource>)
        .collect()
}

/// The id of the resource that sees to `service` running.
pub(super) fn id(service: ServiceId) -> ResourceId {
    ids::service(service)
}

/// The ids of those of all services that are on.
pub(super) fn all_ids(config: &Config) -> impl Iterator<Item = ResourceId> {
    rooms::services(config).into_iter().map(id)
}

struct Running {
    site: Site,
    service: ServiceId,
}

impl Resource for Running {
    fn id(&self) -> ResourceId {
        id(self.service)
    }

    fn needs(&self) -> Vec<ResourceId> {
        let room = rooms::room(self.service);
        let mut needs = vec![stack::unit_id(self.service), ids::STACK_FILES];
        if !room.secret_files(&self.site.config).is_empty() {
            needs.push(ids::SECRET_FILES);
        }
        needs.extend(room.before_unit().iter().cloned());
        needs.extend(room.needs().iter().copied().map(id));
        needs.extend(room.before_start().iter().cloned());
        if room.front().is_some() {
            // They give their ports up when they restart, and their restart is held by what runs until then.
            let fronted = rooms::held(&self.site.config).into_iter().map(|(service, _)| id(service));
            needs.extend(fronted);
        } else if rooms::front(&self.site.config).is_none() && !room.ports(&self.site.config).is_empty() {
            // Their ports may be held for what stood before them.
            needs.push(ids::STACK_OFF);
        }
        // A port is closed to strangers before it is there.
        if super::is_outside(&self.site) {
            needs.push(super::ports::id());
        }
        // Containers come up with the guest's kernel settings and journal limits,
        // and on a Debian without known holes.
        needs.extend([ids::GUEST_UPGRADED, ids::GUEST_SETTINGS, ids::GUEST_KERNEL, ids::GUEST_TIMEZONE]);
        needs
    }

    /// The guest may be about to start it from an older unit.
    fn can_lead_to(&self) -> Risk {
        Risk::Interrupts
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        // All questions are put before the first answer is looked at, so that they
        // travel together.
        let container = seen.container(self.service.name());
        let lock = stack::partial_lock(&self.site, self.service, seen);
        let facts = stack::render_facts(&self.site, seen)?;
        let container = container?;
        let Some(lock) = lock? else {
            return Ok(Diff::later(format!("Start {}", self.service.title()), "its image is not there yet"));
        };
        let wanted = quadlet::config_label(self.service, &self.site.config, &lock, &facts)
            .map_err(|missing| Gap::Unknown(missing.to_string()))?;
        let title = self.service.title();
        let step = |what: String, why: String, restart: bool| {
            // One that is starting serves by the time that it is restarted; one that fails
            // again and again is seen running now and then, and serves nobody.
            let serves = container.is_some_and(|c| c.health != Health::Unhealthy);
            Ok(Diff::Change(Step {
                what,
                why,
                risk: if restart && serves { Risk::Interrupts } else { Risk::None },
                changes: Vec::new(),
                effects: vec![Effect::Here(Local::StartService {
                    service: self.service,
                    restart,
                    timeout: start_timeout(self.service),
                })],
            }))
        };
        match container {
            Some(c) if c.state == "running" => {
                let current = c.labels.get(layout::CONFIG_LABEL).map(String::as_str) == Some(wanted.as_str());
                match (current, c.health) {
                    (true, Health::Healthy) => {
                        let version = image::resolved(&self.site, self.service, seen)?.map(|i| i.version);
                        Ok(Diff::settled(format!("{} runs and is healthy", version.unwrap_or_default())))
                    }
                    (true, Health::Starting | Health::None) => {
                        step(format!("Wait for {title}"), "it is starting".to_owned(), false)
                    }
                    (true, Health::Unhealthy) => {
                        step(format!("Restart {title}"), "it runs but does not answer".to_owned(), true)
                    }
                    (false, _) => step(
                        format!("Restart {title}"),
                        "it runs with an older image or config".to_owned(),
                        true,
                    ),
                }
            }
            _ => step(format!("Start {title}"), "it does not run".to_owned(), false),
        }
    }
}

/// How long a start may take: a migration of a large database takes minutes,
/// and its unit allows half an hour.
pub(super) fn start_timeout(service: ServiceId) -> Seconds {
    Seconds(if rooms::room(service).data().is_precious() { 2100 } else { 300 })
}
