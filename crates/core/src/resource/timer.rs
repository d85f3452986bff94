//! Whether the server updates itself, and who does it: the guest where it can get all images by
//! itself, else the machine.

use super::{
    Diff, Resource, ResourceId, Site, decide_source,
    files::{compare, compare_on},
    is_outside,
};
use crate::{
    config::BackendChoice,
    effect::{Effect, ImageSource, Local},
    fact::Side,
    ids, layout,
    observed::{Observed, Seen},
    render::timer,
    stack,
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let mut all: Vec<Box<dyn Resource>> = vec![Box::new(Timer { site: site.clone() })];
    // A guest has nothing to do with what its machine does.
    if is_outside(site) && !site.backend.is_this_machine() {
        all.push(Box::new(MachineTimer { site: site.clone() }));
    }
    all
}

/// Who updates a server by itself. Commands typed in the guest find the same.
pub fn updates_by(site: &Site, seen: &Observed) -> Seen<Side> {
    if site.config.guest.backend == BackendChoice::ThisMachine {
        return Ok(Side::Guest);
    }
    for service in stack::services(&site.config) {
        if !matches!(decide_source(site, service, seen)?, ImageSource::Registry(_)) {
            return Ok(Side::Machine);
        }
    }
    Ok(Side::Guest)
}

/// Why there is something to do about it: the config need not name it.
const WHY: &str = "update.auto is on unless matrix.toml says `auto = false` in [update]; what could not be taken back \
                   without a loss waits for you";
const WHAT: &str = "Let the server update itself on the 1st and the 15th";

struct Timer {
    site: Site,
}

/// The one that is named last is what the rest is for.
const TIMERS: [&str; 2] = [layout::WATCH_TIMER, layout::UPDATE_TIMER];

impl Resource for Timer {
    fn id(&self) -> ResourceId {
        ids::UPDATE_TIMER
    }

    fn needs(&self) -> Vec<ResourceId> {
        // It works from the config as applied.
        vec![ids::EXPORT_CONFIG]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let files = timer::files();
        let units = || seen.units(Side::Guest, TIMERS);
        let auto = self.site.config.update.auto;
        if !auto || updates_by(&self.site, seen)? != Side::Guest {
            if seen.meta(Side::Guest, &files[1].path)?.is_none() {
                return Ok(Diff::settled(if auto {
                    "the machine updates the server: the guest cannot get all images by itself"
                } else {
                    "updates are typed, as the config says"
                }));
            }
            let mut effects = Vec::new();
            let states = units()?;
            let enabled =
                TIMERS.iter().filter(|unit| states.get(**unit).is_some_and(|u| u.file == "enabled"));
            effects.extend(enabled.map(|unit| {
                Effect::Here(Local::DisableUnit { side: Side::Guest, unit: (*unit).to_owned() })
            }));
            // The timer goes last: it is what tells that there is something to remove.
            let [service, timer, watch, watch_timer] = files.map(|file| file.path);
            let in_order = [watch, watch_timer, service, timer];
            effects.extend(in_order.map(|path| Effect::Here(Local::RemoveFile { side: Side::Guest, path })));
            effects.push(Effect::Here(Local::ReloadUnits { side: Side::Guest }));
            return Ok(if auto {
                Diff::quiet(
                    "Leave updates to the machine",
                    "the guest cannot get all images by itself",
                    effects,
                )
            } else {
                Diff::quiet("Let the server no longer update itself", "the config says so", effects)
            });
        }
        let (difference, state) = (compare(&[], &files, seen), units());
        let (difference, state) = (difference?, state?);
        let runs = |unit: &&str| {
            state.get(*unit).is_some_and(|unit| unit.file == "enabled" && unit.active == "active")
        };
        let all_run = TIMERS.iter().all(&runs);
        let changed = !difference.is_empty();
        let start: Vec<Effect> = TIMERS
            .iter()
            .filter(|unit| changed || !runs(unit))
            .map(|unit| {
                Effect::Here(Local::EnableUnit { side: Side::Guest, unit: (*unit).to_owned(), start: true })
            })
            .collect();
        Ok(match (difference.is_empty(), all_run) {
            (true, true) => Diff::settled("the server updates itself on the 1st and the 15th"),
            (true, false) => Diff::quiet(WHAT, WHY, start),
            (false, _) => {
                let reload = Effect::Here(Local::ReloadUnits { side: Side::Guest });
                begin(difference.step("the timer", std::iter::once(reload).chain(start).collect()))
            }
        })
    }
}

/// The step in words that say what it comes to.
fn begin(diff: Diff) -> Diff {
    match diff {
        Diff::Change(step) => {
            Diff::Change(super::Step { what: WHAT.to_owned(), why: WHY.to_owned(), ..step })
        }
        other => other,
    }
}

/// The same on the machine.
struct MachineTimer {
    site: Site,
}

const SIDE: Side = Side::Machine;

impl MachineTimer {
    fn with_systemd(&self, wanted: bool, seen: &Observed) -> Seen<Diff> {
        let config = &self.site.config;
        let [service, when, watch] = timer::machine_files(config);
        let unit = timer::machine_timer(config);
        let files = [timer::config_file(config), watch, service, when];
        let states = seen.units(SIDE, [unit.as_str()]);
        if !wanted {
            let there = seen.meta(SIDE, &files[3].path)?.is_some();
            if !there {
                return Ok(self.not_here());
            }
            let mut effects = Vec::new();
            if states?.get(&unit).is_some_and(|state| state.file == "enabled") {
                effects.push(Effect::Here(Local::DisableUnit { side: SIDE, unit }));
            }
            // The timer goes last: it is what tells that there is something to remove.
            effects.extend(
                files.into_iter().map(|file| Effect::Here(Local::RemoveFile { side: SIDE, path: file.path })),
            );
            effects.push(Effect::Here(Local::ReloadUnits { side: SIDE }));
            return Ok(self.no_longer(effects));
        }
        let (difference, states) = (compare_on(SIDE, &[], &files, seen)?, states?);
        let runs = states.get(&unit).is_some_and(|s| s.file == "enabled" && s.active == "active");
        let start = Effect::Here(Local::EnableUnit { side: SIDE, unit, start: true });
        Ok(match (difference.is_empty(), runs) {
            (true, true) => Diff::settled("the machine updates the server on the 1st and the 15th"),
            (true, false) => Diff::quiet(WHAT, WHY, vec![start]),
            (false, true) => difference
                .step("the timer for updates", vec![Effect::Here(Local::ReloadUnits { side: SIDE })]),
            (false, false) => {
                begin(difference.step(
                    "the timer for updates",
                    vec![Effect::Here(Local::ReloadUnits { side: SIDE }), start],
                ))
            }
        })
    }

    fn with_cron(&self, wanted: bool, seen: &Observed) -> Seen<Diff> {
        let config = &self.site.config;
        let files = [timer::cron_file(config), timer::config_file(config)];
        let (commands, there) = (seen.commands(SIDE, ["cron", "crond"]), seen.meta(SIDE, &files[0].path));
        let (commands, there) = (commands?, there?);
        if !wanted {
            return Ok(match there {
                None => self.not_here(),
                Some(_) => self.no_longer(vec![Effect::Here(Local::RemoveFile {
                    side: SIDE,
                    path: files[0].path.clone(),
                })]),
            });
        }
        if commands.is_empty() {
            return Ok(Diff::settled(format!(
                "this machine has neither systemd nor cron, so NOTHING UPDATES THE SERVER automatically; have something \
                 run twice a month: matrix-podman --config {} update --unattended",
                files[1].path
            )));
        }
        let difference = compare_on(SIDE, &[], &files, seen)?;
        Ok(match (difference.is_empty(), there.is_some()) {
            (true, _) => Diff::settled("cron updates the server, since this machine has no systemd"),
            (false, true) => difference.step("cron for updates", Vec::new()),
            (false, false) => begin(difference.step("cron for updates", Vec::new())),
        })
    }

    fn not_here(&self) -> Diff {
        Diff::settled(if self.site.config.update.auto {
            "the guest updates the server: its images come from a registry"
        } else {
            "updates are typed, as the config says"
        })
    }

    fn no_longer(&self, effects: Vec<Effect>) -> Diff {
        if self.site.config.update.auto {
            Diff::quiet("Leave updates to the guest", "its images come from a registry now", effects)
        } else {
            Diff::quiet("Let the machine no longer update the server", "the config says so", effects)
        }
    }
}

impl Resource for MachineTimer {
    fn id(&self) -> ResourceId {
        ids::MACHINE_UPDATES
    }

    fn needs(&self) -> Vec<ResourceId> {
        // There is a server to be updated by then.
        vec![ids::MACHINE_PROGRAM, ids::UPDATE_TIMER]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let (systemd, by) = (seen.system(SIDE).map(|system| system.systemd), updates_by(&self.site, seen));
        let wanted = self.site.config.update.auto && by? == Side::Machine;
        if systemd? { self.with_systemd(wanted, seen) } else { self.with_cron(wanted, seen) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        config::Config,
        fact::{Fact, MachineInfo, Value},
        observed::Answer,
        resource::BackendId,
        size::Bytes,
    };

    fn machine(systemd: bool) -> MachineInfo {
        MachineInfo {
            os: "debian".to_owned(),
            release: "12".to_owned(),
            kernel: "6.1.0".to_owned(),
            arch: "x86_64".to_owned(),
            hostname: "here".to_owned(),
            root: true,
            systemd,
            cgroup2: None,
            cgroup1: Vec::new(),
            swap_limits: true,
            apparmor: false,
            user_namespaces: true,
            overlay: true,
            memory: Bytes::gib(8),
            memory_free: Bytes::gib(4),
            disk_free: Bytes::gib(40),
            cores: 2,
            address: None,
            resolvers: Vec::new(),
            proxmox: false,
            container: false,
            timezone: None,
            binary_is_static: true,
        }
    }

    fn site(config: &str) -> Site {
        let config = Config::parse(&format!("domain = \"chat.home.arpa\"\n{config}"), "matrix.toml").unwrap();
        Site::new(config, BackendId::Lxc)
    }

    /// What is to be done in a guest that has no timer.
    fn diff(config: &str) -> Diff {
        of(&Timer { site: site(config) }, true)
    }

    /// What is to be done on a machine that has none.
    fn on_machine(config: &str, systemd: bool) -> Diff {
        of(&MachineTimer { site: site(config) }, systemd)
    }

    fn of(timer: &dyn Resource, systemd: bool) -> Diff {
        let mut seen = Observed::default();
        for _ in 0..5 {
            if let Ok(diff) = timer.diff(&seen) {
                return diff;
            }
            for (side, fact) in seen.take_wanted() {
                let nothing = match &fact {
                    Fact::Units(_) => Value::Units(Default::default()),
                    Fact::Commands(_) => {
                        Value::Found([("cron".to_owned(), "/usr/sbin/cron".to_owned())].into())
                    }
                    Fact::System => Value::System(Box::new(machine(systemd))),
                    other => other.nowhere().unwrap(),
                };
                seen.insert(side, fact, Answer::Known(nothing));
            }
        }
        panic!("it asks forever");
    }

    #[test]
    fn it_is_there_unless_it_is_not_wanted() {
        assert!(matches!(diff("[update]\nauto = false"), Diff::Settled { .. }));
        let Diff::Change(step) = diff("[images]\nsource = \"registry\"") else { panic!() };
        assert_eq!((step.what.as_str(), step.changes.len()), (WHAT, 4));
        assert!(step.why.contains("auto = false"), "{}", step.why);
        assert_eq!(step.effects.last().map(Effect::describe).as_deref(), Some("enable matrix-update.timer"));
    }

    #[test]
    fn what_the_guest_cannot_get_the_machine_updates() {
        for images in [
            "[images]\nsource = \"build\"",
            "[images]\nsource = \"registry\"\n[images.redis]\narchive = \"/srv/redis.tar\"",
        ] {
            let Diff::Settled { why } = diff(images) else { panic!() };
            assert!(why.contains("the machine updates"), "{why}");
            for systemd in [true, false] {
                let Diff::Change(step) = on_machine(images, systemd) else { panic!() };
                assert_eq!(step.what, WHAT);
                let timer =
                    step.effects.iter().any(|e| e.describe() == "enable matrix-update-chat.home.arpa.timer");
                assert_eq!(timer, systemd, "{:?}", step.effects);
            }
            let off = format!("[update]\nauto = false\n{images}");
            assert!(matches!(on_machine(&off, true), Diff::Settled { .. }));
        }
        let Diff::Settled { why } = on_machine("[images]\nsource = \"registry\"", true) else { panic!() };
        assert!(why.contains("the guest updates"), "{why}");
        let here = "[guest]\nbackend = \"this-machine\"\n[images]\nsource = \"build\"";
        assert!(matches!(diff(here), Diff::Change(_)));
    }
}
