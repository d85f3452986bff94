//! The guest comes back when the machine does.

use crate::{
    effect::{Effect, Local},
    fact::Side,
    ids,
    observed::{Observed, Seen},
    render::machine,
    resource::{Diff, Resource, ResourceId, Site, files::compare_on},
};

/// Network and guest come up with the machine.
pub(super) struct Boot {
    pub(super) site: Site,
}

impl Resource for Boot {
    fn id(&self) -> ResourceId {
        ids::MACHINE_BOOT
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ids::MACHINE_PROGRAM, ids::GUEST_CONTAINER]
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
                    vec![Effect::Here(Local::DisableUnit { side: Side::Machine, unit })],
                ),
            });
        }
        let difference = compare_on(Side::Machine, &[], &machine::boot_files(config), seen)?;
        let enable = Effect::Here(Local::EnableUnit { side: Side::Machine, unit, start: false });
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
