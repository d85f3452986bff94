//! The container runs, and comes back by itself.

use super::{
    lock,
    place::{Place, find_container, status},
};
use crate::{
    effect::{Container, Effect, Local},
    fact::Side,
    ids,
    name::{AbsPath, Mode, Owner},
    observed::{Observed, Seen},
    resource::{Diff, Resource, ResourceId, Site, ground::guest::GuestPower},
};

/// Left in the guest once it came back by itself after a restart.
const REBOOTED: &str = "/var/lib/matrix-podman/rebooted";

/// Whether the container runs.
pub(super) fn power(site: &Site, seen: &Observed) -> Seen<GuestPower> {
    let start = |container: Container| {
        Diff::quiet(
            "Start the container",
            "it does not run",
            vec![Effect::Here(Local::StartContainer { container })],
        )
    };
    let Place::Here { container, settings } = find_container(site, seen)? else {
        return Ok(GuestPower::Off(Diff::later("Start the container", "it is not there yet")));
    };
    if status(seen, &container)?.running {
        let id = container.id.to_string();
        return Ok(match seen.lxc(&id)?.suspension() {
            Some(by) => GuestPower::Held { by, lxc: id },
            None => GuestPower::On { called: format!("the container {id}") },
        });
    }
    let Some(lock) = settings.lock() else { return Ok(GuestPower::Off(start(container))) };
    let locked = lock::locked(seen, &container, lock)?;
    Ok(GuestPower::Off(if locked.is_left() && !locked.ours.is_empty() {
        Diff::later("Start the container", "what is left of a snapshot is removed first")
    } else {
        Diff::Blocked {
            why: format!("the container {} does not run, and is locked: {}", container.id, locked.reason()),
            hint: locked.way_out(),
        }
    }))
}

/// The guest was restarted once, and came back by itself.
pub(super) struct Rebooted {
    pub(super) site: Site,
    pub(super) needs: Vec<ResourceId>,
}

impl Resource for Rebooted {
    fn id(&self) -> ResourceId {
        ids::GUEST_REBOOTED
    }

    fn needs(&self) -> Vec<ResourceId> {
        self.needs.clone()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        const WHAT: &str = "Restart the guest once, and see that everything comes back";
        let stamp = AbsPath::known(REBOOTED);
        if seen.meta(Side::Guest, &stamp)?.is_some() {
            return Ok(Diff::settled("the guest came back after a restart"));
        }
        let Place::Here { container, .. } = find_container(&self.site, seen)? else {
            return Ok(Diff::later(WHAT, "it is not there yet"));
        };
        Ok(Diff::quiet(
            WHAT,
            "a power cut should not be the first time",
            vec![
                Effect::Here(Local::RebootContainer { container }),
                Effect::Here(Local::AwaitStack),
                Effect::Here(Local::WriteFile {
                    side: Side::Guest,
                    path: stamp,
                    content: String::new(),
                    mode: Mode(0o644),
                    owner: Owner::ROOT,
                }),
            ],
        ))
    }
}
