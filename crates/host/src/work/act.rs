//! One act outside of a plan: told, written down, done.

use matrix_podman_core::{effect::Effect, fact::Side};

use crate::{
    failure::Failure,
    journal::Journal,
    progress::{Listener, told},
    world::World,
};

/// Does one act, reported and written into the journal. `what`
/// is a sentence in the imperative.
pub fn act(
    world: &World,
    journal: &Journal,
    listener: &dyn Listener,
    id: &str,
    what: &str,
    effect: &Effect,
) -> Result<(), Failure> {
    told(listener, id, what, |sink| {
        journal.around(id, &effect.describe(), || {
            world.apply(effect, sink).map_err(|failure| match effect.side() {
                Side::Guest => world.about_room(failure, Side::Guest),
                // Where it was said already, whose disk that is.
                _ if failure.hint.is_some() => failure,
                side => world.about_room(failure, side),
            })
        })
    })
}
