//! Why Redis is away.

use super::ID;
use crate::{
    frame::{Found, Mend, RoomCase, RoomCause, last_words},
    layout::{self, Secret},
};

pub(super) const CAUSES: &[RoomCause] =
    &[RoomCause::new("redis/stopped", stopped), RoomCause::new("redis/refuses", refuses)];

fn stopped(case: &dyn RoomCase) -> Found {
    if case.runs(ID)? || case.has("runtime/broken") {
        return Ok(None);
    }
    Ok(Some(("Redis does not run.".to_owned(), last_words(case.journal(ID)?), Mend::Up)))
}

/// Redis runs and does not take Synapse's password.
fn refuses(case: &dyn RoomCase) -> Found {
    if case.has("redis/") || case.has("runtime/broken") {
        return Ok(None);
    }
    let answer = case.cache_answer()?;
    if answer == "+PONG" {
        return Ok(None);
    }
    // A password file that was changed is made anew from the other one.
    let acl = layout::secret(Secret::REDIS_ACL);
    let mend = if answer.starts_with("-WRONGPASS") || answer.starts_with("-NOAUTH") {
        Mend::Type(format!(
            "{} && matrix-podman up && matrix-podman restart redis",
            case.in_guest(&format!("rm {acl}"))
        ))
    } else {
        Mend::Restart(ID)
    };
    Ok(Some(("Redis refuses Synapse.".to_owned(), vec![format!("it answers: {answer}")], mend)))
}
