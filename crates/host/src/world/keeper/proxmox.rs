//! A Proxmox VE container.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use matrix_podman_core::{
    effect::{Container, Local},
    fact::{Fact, Side},
    layout,
    observed::{Answer, Gap, Observed},
    proxmox::Question,
    resource::{self, Place},
};

use super::{Keeper, Ownership};
use crate::{
    apply::{self, proxmox},
    failure::Failure,
    file,
    guest::{Doorway, wire::Request},
    lock::LockHolder,
    own_program, probe,
    progress::Sink,
    world::{World, look::unknown_all},
};

/// See [`Keeper`].
#[derive(Default)]
pub(super) struct ProxmoxVe {
    /// What Proxmox answered since something was last changed there: each of
    /// its answers costs the start of a large program.
    known: Mutex<BTreeMap<Fact, Answer>>,
    root_password: Mutex<Option<String>>,
    /// Whether the container was seen to have no program that can be spoken to.
    unreachable: AtomicBool,
}

impl Keeper for ProxmoxVe {
    fn doorway(&self, world: &World) -> Result<Option<Doorway>, Failure> {
        Ok(Some(proxmox::doorway(world.container()?.id)))
    }

    fn name_in_lxc(&self, world: &World) -> String {
        match world.container() {
            Ok(container) => container.id.to_string(),
            Err(_) => world.site.config.guest.name.to_string(),
        }
    }

    /// One that is not the site's own, or not on this node, is left alone.
    fn ownership(&self, world: &World) -> Result<Ownership, Failure> {
        let absent = world.look(&mut Observed::default(), |seen| {
            resource::find_container(&world.site, seen).map(|place| place == Place::Absent)
        })?;
        match absent {
            Ok(true) => Ok(Ownership::Absent),
            _ => world.container().map(|_| Ownership::Ours),
        }
    }

    fn observe(&self, world: &World, facts: &[Fact]) -> Vec<Answer> {
        // Asking Proxmox whether a container runs is expensive; one that we
        // are connected to does.
        let Some(open) = world.open_connection() else { return world.observe_guest(facts) };
        open.observe(facts).unwrap_or_else(|failure| {
            world.hang_up();
            self.forget_guests();
            unknown_all(facts, &failure.to_string())
        })
    }

    /// Asks it, unless the answer is known and still holds.
    fn ask_proxmox(&self, fact: &Fact) -> Answer {
        // Held while Proxmox is asked: who wants to know the same waits for the answer.
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(answer) = known.get(fact) {
            return answer.clone();
        }
        let answer = probe::answer(fact);
        if matches!(answer, Answer::Known(_)) {
            known.insert(fact.clone(), answer.clone());
        }
        answer
    }

    fn hold(&self, world: &World, holder: &LockHolder, sink: &Sink) -> Result<(), Failure> {
        world.note_holder(Some(holder));
        // Somebody may have thought for a while before agreeing.
        self.forget_guests();
        world.forget_images();
        // Opening a connection starts a Perl process, so the one that looked is kept.
        match world.open_connection() {
            Some(open) => open.call(&Request::Lock(holder.clone()), sink),
            None => Ok(()),
        }
    }

    fn push_program(&self, world: &World, sink: &Sink) -> Result<(), Failure> {
        world.hang_up();
        proxmox::push(world.container()?.id, sink)?;
        self.unreachable.store(false, Ordering::SeqCst);
        world.guest()?;
        self.await_boot(world, sink)
    }

    fn apply(&self, world: &World, act: &Local, sink: &Sink) -> Option<Result<(), Failure>> {
        Some(match act {
            Local::FetchTemplate { .. } => {
                let done = apply::apply(act, sink);
                self.forget(Question::is_about_templates);
                done
            }
            Local::SetContainer { .. } | Local::SnapshotContainer { .. } | Local::RemoveSnapshot { .. } => {
                let done = apply::apply(act, sink);
                self.forget_guests();
                done
            }
            Local::RollBackContainer { .. } => {
                world.hang_up();
                let done = apply::apply(act, sink);
                self.forget_guests();
                done
            }
            Local::StartContainer { .. } | Local::RebootContainer { .. } => {
                world.hang_up();
                let done = apply::apply(act, sink);
                self.forget(Question::is_about_one_guest);
                done.and_then(|()| self.await_boot(world, sink))
            }
            Local::InitDatabase { .. } | Local::StartService { .. } => {
                // From here on it may hold data, and nothing removes it but `destroy`.
                let claim = layout::container_claim(world.site.config.site());
                file::remove(claim.as_str().as_ref()).and_then(|()| world.in_guest(act, sink))
            }
            _ => return None,
        })
    }

    fn flush_guest(&self, world: &World) -> Result<(), Failure> {
        // A program of another version, as after a rollback, may not know how.
        match world.open_connection() {
            Some(guest) if guest.digest == own_program::digest()? => {
                guest.apply(&Local::Flush { side: Side::Guest }, &|_| {})
            }
            _ => Ok(()),
        }
    }

    fn is_unreachable(&self) -> bool {
        self.unreachable.load(Ordering::SeqCst)
    }

    fn give_root_password(&self, password: String) {
        if let Ok(mut slot) = self.root_password.lock() {
            *slot = Some(password);
        }
    }

    fn root_password(&self) -> Option<String> {
        self.root_password.lock().ok()?.clone()
    }

    fn forget_guests(&self) {
        self.forget(Question::is_about_guests);
    }

    fn losses(&self, world: &World) -> String {
        let id = world.container().map(|container| container.id.to_string()).unwrap_or_default();
        let name = &world.site.config.guest.name;
        format!("the container {id} ({name}) with its disks and everything on them")
    }

    fn remove(&self, world: &World, sink: &Sink) -> Result<(), Failure> {
        let place = world.look(&mut Observed::default(), |seen| {
            resource::find_container(&world.site, seen).map(|place| place == Place::Absent)
        })?;
        if place == Ok(true) {
            // A removal that was cut off came that far.
            return Ok(());
        }
        let container = world.container()?;
        world.hang_up();
        proxmox::destroy(&container, false, sink)
    }
}

impl ProxmoxVe {
    /// What was heard and `stale` may no longer hold.
    fn forget(&self, stale: impl Fn(&Question) -> bool) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|fact, _| !matches!(fact, Fact::Proxmox(question) if stale(question)));
    }

    /// Waits until the guest has booted, if the program in it can be spoken to;
    /// where it cannot yet, that comes when it is put there.
    fn await_boot(&self, world: &World, sink: &Sink) -> Result<(), Failure> {
        match world.guest() {
            Ok(Some(guest)) if guest.digest == own_program::digest()? => guest.apply(&Local::AwaitBoot, sink),
            Ok(_) => Ok(()),
            Err(_) => {
                // Asking once more would start one more Perl process.
                self.unreachable.store(true, Ordering::SeqCst);
                Ok(())
            }
        }
    }
}

impl World {
    /// The site's Proxmox container.
    pub fn container(&self) -> Result<Container, Failure> {
        let doing = "find this site's container";
        let (refused, hint) = match self.look(&mut Observed::default(), |seen| {
            resource::find_container(&self.site, seen).map(|place| match place {
                Place::Here { container, .. } => Ok(container),
                Place::Refused { why, hint } => Err((why, hint)),
                Place::Absent => Err(("there is none".to_owned(), "`matrix-podman up` makes it".to_owned())),
                Place::Unfinished { container } => Err((
                    format!("the creation of the container {} was cut off", container.id),
                    "`matrix-podman up` says what can be done".to_owned(),
                )),
            })
        })? {
            Ok(Ok(container)) => return Ok(container),
            Ok(Err(told)) => told,
            Err(Gap::Unknown(why)) => return Err(Failure::new(doing, why)),
            Err(Gap::NotAsked) => return Err(Failure::new(doing, "it was not looked for")),
        };
        Err(Failure::new(doing, refused).hint(hint))
    }
}
