//! The container runs, can be spoken with, and comes back by itself.

use super::{
    lock,
    place::{Place, find_container, guest_state, status},
};
use crate::{
    effect::{Container, Effect},
    fact::{GuestState, Side},
    name::{AbsPath, Mode, Owner},
    observed::{Observed, Seen},
    resource::{
        Diff, Resource, ResourceId, Site,
        guest::{held, program_in_guest},
    },
};

/// Left in the guest once it came back by itself after a restart.
const REBOOTED: &str = "/var/lib/matrix-podman/rebooted";

/// The container runs.
pub(super) struct Running {
    pub(super) site: Site,
}

impl Resource for Running {
    fn id(&self) -> ResourceId {
        ResourceId::new("guest/running")
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ResourceId::new("guest/container")]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let start = |container: Option<Container>| {
            Diff::quiet(
                "Start the container",
                "it does not run",
                container.map(|container| Effect::StartContainer { container }).into_iter().collect(),
            )
        };
        Ok(match find_container(&self.site, seen)? {
            Place::Here { container, settings } => {
                let status = status(seen, &container)?;
                if status.running {
                    let id = container.id.to_string();
                    return Ok(match seen.lxc(&id)?.suspension() {
                        Some(by) => held(by, self.site.config.guest.name.as_str(), &id),
                        None => Diff::settled(format!("the container {id} runs")),
                    });
                }
                match settings.lock() {
                    Some(lock) => {
                        let locked = lock::locked(seen, &container, lock)?;
                        if locked.is_left() && !locked.ours.is_empty() {
                            return Ok(Diff::later(
                                "Start the container",
                                "what is left of a snapshot is removed first",
                            ));
                        }
                        Diff::Blocked {
                            why: format!(
                                "the container {} does not run, and is locked: {}",
                                container.id,
                                locked.reason()
                            ),
                            hint: locked.way_out(),
                        }
                    }
                    None => start(Some(container)),
                }
            }
            Place::Absent | Place::Unfinished { .. } | Place::Refused { .. } => {
                Diff::later("Start the container", "it is not there yet")
            }
        })
    }
}

/// The program is in the container, and is this one.
pub(super) struct Program {
    pub(super) site: Site,
}

impl Resource for Program {
    fn id(&self) -> ResourceId {
        ResourceId::new("guest/program")
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![ResourceId::new("guest/running"), ResourceId::new("machine/program")]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        const WHAT: &str = "Put matrix-podman into the guest";
        Ok(match guest_state(&self.site, seen)? {
            GuestState::Absent | GuestState::Stopped { .. } => {
                Diff::later(WHAT, "the guest does not run yet")
            }
            GuestState::Suspended { by, .. } => {
                Diff::later(WHAT, by.why(self.site.config.guest.name.as_str()))
            }
            GuestState::Running { .. } => {
                let attach = match find_container(&self.site, seen)? {
                    Place::Here { container, .. } => format!("pct exec {} --", container.id),
                    Place::Absent | Place::Unfinished { .. } | Place::Refused { .. } => {
                        "pct exec ID --".to_owned()
                    }
                };
                program_in_guest(seen.guest_program()?, self.site.config.guest.name.as_str(), &attach)
            }
        })
    }
}

/// The guest was restarted once, and came back by itself.
pub(super) struct Rebooted {
    pub(super) site: Site,
    pub(super) needs: Vec<ResourceId>,
}

impl Resource for Rebooted {
    fn id(&self) -> ResourceId {
        ResourceId::new("guest/rebooted")
    }

    fn needs(&self) -> Vec<ResourceId> {
        self.needs.clone()
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        const WHAT: &str = "Restart the guest once, and see that everything comes back";
        let stamp = AbsPath::known(REBOOTED);
        if seen.meta(Side::Guest, &stamp)?.is_some() {
            return Ok(Diff::settled("the guest came back by itself after a restart"));
        }
        let Place::Here { container, .. } = find_container(&self.site, seen)? else {
            return Ok(Diff::later(WHAT, "it is not there yet"));
        };
        Ok(Diff::quiet(
            WHAT,
            "a power cut should not be the first time",
            vec![
                Effect::RebootContainer { container },
                Effect::AwaitStack,
                Effect::WriteFile {
                    side: Side::Guest,
                    path: stamp,
                    content: String::new(),
                    mode: Mode(0o644),
                    owner: Owner::ROOT,
                },
            ],
        ))
    }
}
