//! Who keeps a guest: plain LXC, Proxmox VE, or this machine, which then is the guest.
//! Each reaches, holds, changes and removes it in a way of its own.

mod here;
mod lxc;
mod proxmox;

use matrix_podman_core::{config::Config, effect::Local, fact::Fact, observed::Answer, resource::BackendId};

use super::World;
use crate::{failure::Failure, guest::Doorway, lock::LockHolder, probe, progress::Sink};

/// Whether a guest is there, and whose it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ownership {
    /// There is none.
    Absent,
    /// It is there, and the site's.
    Ours,
    /// It is another site's, or nobody's that is known.
    Foreign(Option<String>),
}

/// What the keepers of guests do each in a way of its own.
pub(super) trait Keeper: Send + Sync {
    /// The way into the guest; `None` where there is no door between.
    fn doorway(&self, world: &World) -> Result<Option<Doorway>, Failure>;

    /// What LXC calls the guest, where that can be found out.
    fn name_in_lxc(&self, world: &World) -> String {
        world.site.config.guest.name.to_string()
    }

    /// Whether the guest is there, and whose it is.
    fn ownership(&self, world: &World) -> Result<Ownership, Failure>;

    /// Answers questions to the guest.
    fn observe(&self, world: &World, facts: &[Fact]) -> Vec<Answer> {
        world.observe_guest(facts)
    }

    /// Answers a question to Proxmox.
    fn ask_proxmox(&self, fact: &Fact) -> Answer {
        probe::answer(fact)
    }

    /// Holds the guest's lock for `holder`, if there is a guest, and from now on.
    fn hold(&self, world: &World, holder: &LockHolder, sink: &Sink) -> Result<(), Failure>;

    /// Puts this program into the guest and speaks with it from then on.
    fn push_program(&self, world: &World, sink: &Sink) -> Result<(), Failure>;

    /// Does an act that this keeper does in a way of its own; `None` for any other.
    fn apply(&self, world: &World, act: &Local, sink: &Sink) -> Option<Result<(), Failure>>;

    /// Has the guest's disks hold all that was done, where they are not this machine's.
    fn flush_guest(&self, _: &World) -> Result<(), Failure> {
        Ok(())
    }

    /// Whether the guest was seen to have no program that can be spoken to.
    fn is_unreachable(&self) -> bool {
        false
    }

    /// Root's password in a guest that is to be made, which somebody typed.
    fn give_root_password(&self, _: String) {}

    /// The password that was given so.
    fn root_password(&self) -> Option<String> {
        None
    }

    /// Guests were changed in another way than by an act.
    fn forget_guests(&self) {}

    /// What of the guest is lost with the site, in words.
    fn losses(&self, world: &World) -> String;

    /// Whether the guest shows that its removal was cut off.
    fn is_half_removed(&self, _: &Config) -> bool {
        false
    }

    /// Removes the guest, or the stack where there is none.
    fn remove(&self, world: &World, sink: &Sink) -> Result<(), Failure>;
}

/// Who keeps the guest of a site.
pub(super) fn of(backend: BackendId) -> Box<dyn Keeper> {
    match backend {
        BackendId::Lxc => Box::new(lxc::PlainLxc),
        BackendId::Proxmox => Box::<proxmox::ProxmoxVe>::default(),
        BackendId::ThisMachine => Box::<here::ThisMachine>::default(),
    }
}
