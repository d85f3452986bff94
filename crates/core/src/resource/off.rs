//! Services that are switched off: they do not run, and nothing starts them.

use super::{Diff, Resource, ResourceId, Risk, Site, Step, guest_ready};
use crate::{
    config::Config,
    effect::{Effect, Local},
    fact::Side,
    ids, layout,
    name::AbsPath,
    observed::{Observed, Seen},
    stack::{self, Service},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let off: Vec<&'static dyn Service> =
        stack::ALL.into_iter().filter(|room| !room.is_on(&site.config)).collect();
    if off.is_empty() { Vec::new() } else { vec![Box::new(Off { config: site.config.clone(), off })] }
}

struct Off {
    config: Config,
    off: Vec<&'static dyn Service>,
}

/// What may be there of a service that once was on. Its unit goes last: until then systemd
/// would start it again.
fn files(room: &dyn Service) -> Vec<AbsPath> {
    let unit = [layout::labels_file(room.id()), layout::container_file(room.id())];
    let sockets = room.front().map(|_| layout::socket_file(room.id()));
    room.leftovers().into_iter().chain(sockets).chain(unit).collect()
}

impl Resource for Off {
    fn id(&self) -> ResourceId {
        ids::STACK_OFF
    }

    fn needs(&self) -> Vec<ResourceId> {
        let mut needs = guest_ready();
        // The units of those that it stood before name its network until they are written anew.
        if self.off.iter().any(|room| room.front().is_some()) {
            needs.extend(stack::services(&self.config).into_iter().map(ids::unit));
        }
        needs
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        // All questions are put before the first answer is looked at, so that they
        // travel together.
        let states: Vec<_> = self
            .off
            .iter()
            .map(|room| {
                let files = files(*room).into_iter().map(|path| (seen.meta(Side::Guest, &path), path));
                (room.id(), seen.container(room.id().name()), files.collect::<Vec<_>>())
            })
            .collect();
        let (mut named, mut effects, mut serves) = (Vec::new(), Vec::new(), false);
        for (service, container, files) in states {
            let container = container?;
            let mut left = Vec::new();
            for (there, path) in files {
                if there?.is_some() {
                    left.push(Effect::Here(Local::RemoveFile { side: Side::Guest, path }));
                }
            }
            if container.is_none() && left.is_empty() {
                continue;
            }
            named.push(service.title());
            serves |= container.is_some();
            effects.push(Effect::Here(Local::StopService { service }));
            effects.extend(left);
        }
        if effects.is_empty() {
            return Ok(Diff::settled("what is switched off does not run"));
        }
        effects.push(Effect::Here(Local::ReloadUnits { side: Side::Guest }));
        Ok(Diff::Change(Step {
            what: format!("Switch off {}", named.join(" and ")),
            why: "the config no longer asks for it".to_owned(),
            risk: if serves { Risk::Interrupts } else { Risk::None },
            changes: Vec::new(),
            effects,
        }))
    }
}
