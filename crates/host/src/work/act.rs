//! One act outside of a plan: told, written down, done.

use std::time::Instant;

use matrix_podman_core::{effect::Effect, fact::Side};

use crate::{
    failure::Failure,
    journal::Journal,
    progress::{Event, Listener},
    world::World,
};

/// Does one act, told to whoever watches and written into the journal. `what`
/// is a sentence in the imperative.
pub fn act(
    world: &World,
    journal: &Journal,
    listener: &dyn Listener,
    id: &str,
    what: &str,
    effect: &Effect,
) -> Result<(), Failure> {
    let started = Instant::now();
    listener.on(&Event::Started { id, what });
    let act = journal.intent(id, &effect.describe())?;
    let result =
        world.apply(effect, &|saying| listener.on(&Event::Said { id, saying: &saying })).map_err(|failure| {
            match effect.side() {
                Side::Guest => world.about_room(failure, Side::Guest),
                // Where it was said already, whose disk that is.
                _ if failure.hint.is_some() => failure,
                side => world.about_room(failure, side),
            }
        });
    journal.outcome(act, &result)?;
    match &result {
        Ok(()) => {
            let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            listener.on(&Event::Finished { id, what, millis });
        }
        Err(failure) => listener.on(&Event::Failed { id, what, why: failure.to_string() }),
    }
    result
}
