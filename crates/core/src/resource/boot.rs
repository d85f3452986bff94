//! The program on the machine, and the guest coming back when the machine does.

use super::{Backend, Diff, Resource, ResourceId, Site, files::compare_on};
use crate::{
    effect::Effect,
    fact::{Fact, Side},
    layout,
    observed::{Observed, Seen},
    render::machine,
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let mut all: Vec<Box<dyn Resource>> = vec![Box::new(Program)];
    if site.backend == Backend::Lxc {
        all.push(Box::new(Boot { site: site.clone() }));
    }
    all
}

/// The program is where people and units find it.
struct Program;

impl Resource for Program {
    fn id(&self) -> ResourceId {
        ResourceId::new("machine/program")
    }

    fn needs(&self) -> Vec<ResourceId> {
        Vec::new()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        if seen.yes(Side::Machine, Fact::InstalledProgram)? {
            return Ok(Diff::settled(format!("{} is this very program", layout::BINARY)));
        }
        Ok(Diff::quiet(
            format!("Copy the program to {}", layout::BINARY),
            "so that it can be called by its name, and by the machine's boot",
            vec![Effect::InstallProgram { side: Side::Machine }],
        ))
    }
}

/// Network and guest come up with the machine.
struct Boot {
    site: Site,
}

impl Resource for Boot {
    fn id(&self) -> ResourceId {
        ResourceId::new("machine/boot")
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ResourceId::new("machine/program"), ResourceId::new("guest/container")]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let config = &self.site.config;
        if !seen.system(Side::Machine)?.systemd {
            return Ok(Diff::settled(
                "this machine has no systemd: after a restart of it, `matrix-podman up` starts the guest",
            ));
        }
        let unit = machine::boot_unit(config);
        let enabled = seen
            .units(Side::Machine, [unit.as_str()])?
            .get(&unit)
            .is_some_and(|state| state.file == "enabled");
        if !config.guest.start_at_boot {
            return Ok(match enabled {
                false => Diff::settled("the guest does not start with the machine, as the config says"),
                true => Diff::quiet(
                    "Let the guest no longer start with the machine",
                    "the config says so",
                    vec![Effect::DisableUnit { side: Side::Machine, unit }],
                ),
            });
        }
        let difference = compare_on(Side::Machine, &[], &machine::boot_files(config), seen)?;
        let enable = Effect::EnableUnit { side: Side::Machine, unit, start: false };
        Ok(match (difference.is_empty(), enabled) {
            (true, true) => Diff::settled("the guest starts with the machine"),
            (true, false) => Diff::quiet(
                "Start the guest whenever the machine starts",
                "a power cut should not need a person",
                vec![enable],
            ),
            (false, _) => difference.step("the machine's boot", vec![enable]),
        })
    }
}
