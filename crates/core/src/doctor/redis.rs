//! Redis.

use super::{Case, Found, Mend};
use crate::{
    doctor::service::{journal, last_words},
    fact::Fact,
    layout::{self, Secret},
    stack,
};

pub(super) fn stopped(case: &Case<'_>) -> Found {
    let runs = case.seen.container(stack::redis::ID.name())?.is_some_and(|c| c.state == "running");
    if runs || case.has("runtime/broken") {
        return Ok(None);
    }
    let log = journal(case, stack::redis::ID)?;
    Ok(Some(("Redis does not run.".to_owned(), last_words(log), Mend::Up)))
}

/// Redis runs and does not take Synapse's password.
pub(super) fn refuses(case: &Case<'_>) -> Found {
    if case.has("redis/") || case.has("runtime/broken") {
        return Ok(None);
    }
    let answer = case.seen.text(Fact::RedisPing)?;
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
        Mend::Restart(stack::redis::ID)
    };
    Ok(Some(("Redis refuses Synapse.".to_owned(), vec![format!("it answers: {answer}")], mend)))
}
