//! What `prune` removes.

use matrix_podman_core::prune::{Spared, Surplus};

/// Of what can go `now`, what somebody saw and agreed to: while they thought, one thing
/// may have come to be needed, and another may be new.
pub fn agreed(now: Surplus, shown: &Surplus) -> Vec<Spared> {
    let was_shown = |spared: &Spared| {
        shown
            .removable
            .iter()
            .any(|s| (s.thing.kind, &s.thing.name) == (spared.thing.kind, &spared.thing.name))
    };
    now.removable.into_iter().filter(was_shown).collect()
}

#[cfg(test)]
mod tests {
    use matrix_podman_core::{
        effect::{Effect, Local},
        prune::{Kind, Thing},
        stack,
    };

    use super::*;

    fn spared(kind: Kind, name: &str, bytes: u64) -> Spared {
        let thing = Thing { kind, name: name.to_owned(), bytes, why: String::new() };
        Spared { thing, effect: Effect::Here(Local::StopService { service: stack::redis::ID }) }
    }

    #[test]
    fn only_what_was_shown_and_still_can_go_goes() {
        let shown = Surplus {
            removable: vec![
                spared(Kind::Dump, "a", 1),
                spared(Kind::Dump, "b", 1),
                spared(Kind::Image, "c", 1),
            ],
            kept: Vec::new(),
        };
        // One has come to be needed, one is larger by now, one is new, one has the name of another kind.
        let now = Surplus {
            removable: vec![
                spared(Kind::Dump, "b", 2),
                spared(Kind::Dump, "c", 1),
                spared(Kind::Image, "c", 1),
                spared(Kind::Image, "d", 1),
            ],
            kept: Vec::new(),
        };
        let names: Vec<_> = agreed(now, &shown).into_iter().map(|s| (s.thing.kind, s.thing.name)).collect();
        assert_eq!(names, [(Kind::Dump, "b".to_owned()), (Kind::Image, "c".to_owned())]);
    }
}
