//! Whether the machine makes backups automatically.

use super::{Diff, Resource, ResourceId, Site, files::compare_on};
use crate::{
    config::{BackendChoice, Config},
    effect::{Effect, Local},
    fact::Side,
    ids,
    observed::{Observed, Seen},
    render::backups::{self, Chore},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    // A guest that is backed up from outside has nothing to do with it.
    match is_outside(site) {
        true => vec![Box::new(Timers { site: site.clone() })],
        false => Vec::new(),
    }
}

/// Whether this is where backups are made, and not a guest that is backed up from outside.
pub fn is_outside(site: &Site) -> bool {
    !site.backend.is_this_machine() || site.config.guest.backend == BackendChoice::ThisMachine
}

fn typed(config: &Config) -> &'static str {
    match config.backup.repositories.is_empty() {
        true => "there are no backups: `backup.repository` says where to",
        false => "backups are typed, as the config says",
    }
}

struct Timers {
    site: Site,
}

const SIDE: Side = Side::Machine;

impl Timers {
    fn with_systemd(&self, seen: &Observed) -> Seen<Diff> {
        let config = &self.site.config;
        let (wanted, unwanted): (Vec<Chore>, Vec<Chore>) =
            Chore::ALL.into_iter().partition(|chore| chore.is_wanted(config));
        let mut files: Vec<_> = wanted.iter().flat_map(|chore| chore.units(config)).collect();
        if !wanted.is_empty() {
            files.push(backups::config_file(config));
        }
        let timers = Chore::ALL.map(|chore| chore.timer(config));
        let states = seen.units(SIDE, timers.iter().map(String::as_str));
        let there: Vec<_> =
            unwanted.iter().map(|chore| seen.meta(SIDE, &chore.units(config)[1].path)).collect();
        let (difference, states) = (compare_on(SIDE, &[], &files, seen)?, states?);
        let mut effects = Vec::new();
        for (chore, there) in unwanted.iter().zip(there) {
            if there?.is_some() {
                let unit = chore.timer(config);
                if states.get(&unit).is_some_and(|state| state.file == "enabled") {
                    effects.push(Effect::Here(Local::DisableUnit { side: SIDE, unit }));
                }
                // The timer goes last: it is what tells that there is something to remove.
                let files = chore.units(config).into_iter();
                effects.extend(
                    files.map(|file| Effect::Here(Local::RemoveFile { side: SIDE, path: file.path })),
                );
            }
        }
        let start: Vec<Effect> = wanted
            .iter()
            .map(|chore| chore.timer(config))
            .filter(|unit| {
                let runs = states.get(unit).is_some_and(|s| s.file == "enabled" && s.active == "active");
                !runs || !difference.is_empty()
            })
            .map(|unit| Effect::Here(Local::EnableUnit { side: SIDE, unit, start: true }))
            .collect();
        if !difference.is_empty() {
            effects.push(Effect::Here(Local::ReloadUnits { side: SIDE }));
            return Ok(difference.step("the timers for backups", effects.into_iter().chain(start).collect()));
        }
        if effects.is_empty() && start.is_empty() {
            return Ok(Diff::settled(match wanted.as_slice() {
                [] => typed(config).to_owned(),
                _ => "the machine makes backups automatically".to_owned(),
            }));
        }
        if !effects.is_empty() {
            effects.push(Effect::Here(Local::ReloadUnits { side: SIDE }));
        }
        effects.extend(start);
        let what = if wanted.is_empty() {
            "Stop the machine's automatic backups"
        } else {
            "Have the machine make backups automatically"
        };
        Ok(Diff::quiet(what, "the config says so", effects))
    }

    fn with_cron(&self, seen: &Observed) -> Seen<Diff> {
        let config = &self.site.config;
        let lines = backups::cron_lines(config);
        let files = [backups::cron_file(config), backups::config_file(config)];
        let (commands, there) = (seen.commands(SIDE, ["cron", "crond"]), seen.meta(SIDE, &files[0].path));
        if lines.is_empty() {
            return Ok(match there? {
                None => Diff::settled(typed(config)),
                Some(_) => Diff::quiet(
                    "Let cron no longer make backups",
                    "the config says so",
                    vec![Effect::Here(Local::RemoveFile { side: SIDE, path: files[0].path.clone() })],
                ),
            });
        }
        if commands?.is_empty() {
            return Ok(Diff::settled(format!(
                "this machine has neither systemd nor cron, so NOTHING MAKES BACKUPS automatically; have something run: \
                 matrix-podman --config {} backup now --unattended",
                files[1].path
            )));
        }
        let difference = compare_on(SIDE, &[], &files, seen)?;
        if difference.is_empty() {
            return Ok(Diff::settled("cron makes backups, since this machine has no systemd"));
        }
        Ok(difference.step("cron for backups", Vec::new()))
    }
}

impl Resource for Timers {
    fn id(&self) -> ResourceId {
        ids::MACHINE_BACKUPS
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ids::MACHINE_PROGRAM]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        if seen.system(SIDE)?.systemd { self.with_systemd(seen) } else { self.with_cron(seen) }
    }
}
