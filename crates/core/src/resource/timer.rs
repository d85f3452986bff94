//! Whether the server updates itself.

use super::{Diff, Resource, ResourceId, Risk, Site, Step, decide_source, files::compare};
use crate::{
    config::BackendChoice,
    effect::{Effect, ImageSource},
    fact::Side,
    layout,
    observed::{Observed, Seen},
    render::timer,
    service::Service,
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(Timer { site: site.clone() })]
}

struct Timer {
    site: Site,
}

impl Timer {
    /// A service whose newer image the guest could not get by itself. What
    /// commands typed in the guest find must be the same.
    fn out_of_reach(&self, seen: &Observed) -> Seen<Option<Service>> {
        if self.site.config.guest.backend == BackendChoice::ThisMachine {
            return Ok(None);
        }
        for service in Service::ALL {
            if !matches!(decide_source(&self.site, service, seen)?, ImageSource::Registry(_)) {
                return Ok(Some(service));
            }
        }
        Ok(None)
    }
}

impl Resource for Timer {
    fn id(&self) -> ResourceId {
        ResourceId::new("update/timer")
    }

    fn needs(&self) -> Vec<ResourceId> {
        // It works from the config as applied.
        vec![ResourceId::new("export/config")]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let files = timer::files();
        let units = || seen.units(Side::Guest, [layout::UPDATE_TIMER]);
        if !self.site.config.update.auto {
            if seen.meta(Side::Guest, &files[1].path)?.is_none() {
                return Ok(Diff::settled("updates are typed, as the config says"));
            }
            let mut effects = Vec::new();
            if units()?.get(layout::UPDATE_TIMER).is_some_and(|unit| unit.file == "enabled") {
                let unit = layout::UPDATE_TIMER.to_owned();
                effects.push(Effect::DisableUnit { side: Side::Guest, unit });
            }
            // The timer goes last: it is what tells that there is something to remove.
            effects.extend(
                files.into_iter().map(|file| Effect::RemoveFile { side: Side::Guest, path: file.path }),
            );
            effects.push(Effect::ReloadUnits { side: Side::Guest });
            return Ok(Diff::quiet("Let the server no longer update itself", "the config says so", effects));
        }
        let (difference, state) = (compare(&[], &files, seen), units());
        if let Some(service) = self.out_of_reach(seen)? {
            return Ok(Diff::Blocked {
                why: format!(
                    "update.auto is on, and the image of {service} does not come from a registry: the guest cannot \
                     get a newer one by itself"
                ),
                hint:
                    "`matrix-podman set update.auto false`, and type `matrix-podman update` from time to time"
                        .to_owned(),
            });
        }
        let (difference, state) = (difference?, state?);
        let state = state.get(layout::UPDATE_TIMER);
        let runs = state.is_some_and(|unit| unit.file == "enabled" && unit.active == "active");
        let unit = layout::UPDATE_TIMER.to_owned();
        let start = Effect::EnableUnit { side: Side::Guest, unit, start: true };
        Ok(match (difference.is_empty(), runs) {
            (true, true) => Diff::settled("the server updates itself on the 1st and the 15th"),
            (true, false) => Diff::Change(Step {
                what: "Let the server update itself on the 1st and the 15th".to_owned(),
                why: "the config says so".to_owned(),
                risk: Risk::None,
                changes: Vec::new(),
                effects: vec![start],
            }),
            (false, _) => {
                difference.step("the timer", vec![Effect::ReloadUnits { side: Side::Guest }, start])
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        fact::{Fact, Value},
        observed::Answer,
        resource::Backend,
    };

    /// What is to be done in a guest that has no timer.
    fn diff(config: &str) -> Diff {
        let config = Config::parse(&format!("domain = \"chat.home.arpa\"\n{config}"), "matrix.toml").unwrap();
        let timer = Timer { site: Site::new(config, Backend::Lxc) };
        let mut seen = Observed::default();
        for _ in 0..5 {
            if let Ok(diff) = timer.diff(&seen) {
                return diff;
            }
            for (side, fact) in seen.take_wanted() {
                let nothing = match &fact {
                    Fact::Units(_) => Value::Units(Default::default()),
                    other => other.nowhere().unwrap(),
                };
                seen.insert(side, fact, Answer::Known(nothing));
            }
        }
        panic!("it asks for ever");
    }

    #[test]
    fn it_is_there_only_when_it_is_wanted() {
        assert!(matches!(diff(""), Diff::Settled { .. }));
        let Diff::Change(step) = diff("[update]\nauto = true\n[images]\nsource = \"registry\"") else {
            panic!()
        };
        assert_eq!(step.changes.len(), 2);
        assert_eq!(step.effects.last().map(Effect::describe).as_deref(), Some("enable matrix-update.timer"));
    }

    #[test]
    fn images_that_the_guest_cannot_get_are_not_promised() {
        for images in [
            "[images]\nsource = \"build\"",
            "[images]\nsource = \"registry\"\n[images.redis]\narchive = \"/srv/redis.tar\"",
        ] {
            let Diff::Blocked { why, hint } = diff(&format!("[update]\nauto = true\n{images}")) else {
                panic!()
            };
            assert!(why.contains("does not come from a registry"), "{why}");
            assert!(hint.contains("matrix-podman update"), "{hint}");
        }
        let here = "[update]\nauto = true\n[guest]\nbackend = \"this-machine\"\n[images]\nsource = \"build\"";
        assert!(matches!(diff(here), Diff::Change(_)));
    }
}
