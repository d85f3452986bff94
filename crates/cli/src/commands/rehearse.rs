//! What a rehearsal of an update found, for a person.

use std::time::Duration;

use matrix_podman_core::update::{self, Undo};
use matrix_podman_host::update::{Proposal, Update};
use serde_json::json;

use crate::{
    error::Error,
    output::{self, GREEN, duration, styled},
};

/// Whether there are data that it could do something to.
pub fn touches_data(proposal: &Proposal) -> bool {
    update::touches_data(proposal.changes.iter().map(|change| change.service))
}

/// Rehearses what is proposed, if there are data that it could do something to,
/// and says what came of it: how it can be taken back.
pub fn hold(update: &Update, proposal: &Proposal, within: Duration, json: bool) -> Result<Undo, Error> {
    if !touches_data(proposal) {
        if !json {
            output::say(
                "Nothing to rehearse: neither Synapse nor PostgreSQL changes, and the others keep no data.",
            );
        }
        return Ok(proposal.undo);
    }
    let done = update.rehearse(proposal, within)?;
    let undo = update.way_back_after(proposal, &done)?;
    if json {
        output::data(&json!({"event": "rehearsal", "rehearsed": done, "undo": undo}).to_string());
        return Ok(undo);
    }
    let rows: u64 = done.before.values().sum();
    output::say(&format!(
        "{} Rehearsed on a copy of the data ({} tables, {rows} rows), which is gone again:",
        styled(GREEN, "✓"),
        done.before.len()
    ));
    output::say(&format!("  copied in       {}", duration(done.copy_millis)));
    output::say(&format!("  answered after  {}, migrations included", duration(done.start_millis)));
    output::say(&match (done.background, done.background_left.as_slice()) {
        (0, _) => "  in background   nothing had to be rewritten".to_owned(),
        (count, []) => format!("  in background   {count} rewritten in {}", duration(done.background_millis)),
        (_, left) => format!(
            "  in background   not ended after {}: {}",
            duration(done.background_millis),
            left.join(", ")
        ),
    });
    output::say(match undo {
        Undo::Image => "  the way back    by the old images; no data are lost by that",
        Undo::Dump => {
            "  the way back    by the dump: the program that runs now does not open what the new one leaves"
        }
        Undo::Cluster => "  the way back    the old cluster, which stays as it is",
    });
    Ok(undo)
}
