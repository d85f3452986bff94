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

/// The one that is named last is what the rest is for.
const TIMERS: [&str; 2] = [layout::WATCH_TIMER, layout::UPDATE_TIMER];

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
        let units = || seen.units(Side::Guest, TIMERS);
        if !self.site.config.update.auto {
            if seen.meta(Side::Guest, &files[1].path)?.is_none() {
                return Ok(Diff::settled("updates are typed, as the config says"));
            }
            let mut effects = Vec::new();
            let states = units()?;
            let enabled =
                TIMERS.iter().filter(|unit| states.get(**unit).is_some_and(|u| u.file == "enabled"));
            effects.extend(
                enabled.map(|unit| Effect::DisableUnit { side: Side::Guest, unit: (*unit).to_owned() }),
            );
            // The timer goes last: it is what tells that there is something to remove.
            let [service, timer, watch, watch_timer] = files.map(|file| file.path);
            let in_order = [watch, watch_timer, service, timer];
            effects.extend(in_order.map(|path| Effect::RemoveFile { side: Side::Guest, path }));
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
        let runs = |unit: &&str| {
            state.get(*unit).is_some_and(|unit| unit.file == "enabled" && unit.active == "active")
        };
        let all_run = TIMERS.iter().all(&runs);
        let changed = !difference.is_empty();
        let start: Vec<Effect> = TIMERS
            .iter()
            .filter(|unit| changed || !runs(unit))
            .map(|unit| Effect::EnableUnit { side: Side::Guest, unit: (*unit).to_owned(), start: true })
            .collect();
        Ok(match (difference.is_empty(), all_run) {
            (true, true) => Diff::settled("the server updates itself on the 1st and the 15th"),
            (true, false) => Diff::Change(Step {
                what: "Let the server update itself on the 1st and the 15th".to_owned(),
                why: "the config says so".to_owned(),
                risk: Risk::None,
                changes: Vec::new(),
                effects: start,
            }),
            (false, _) => {
                let reload = Effect::ReloadUnits { side: Side::Guest };
                difference.step("the timer", std::iter::once(reload).chain(start).collect())
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
        assert_eq!(step.changes.len(), 4);
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
