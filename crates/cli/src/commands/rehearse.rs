//! What a rehearsal of an update found, for a person.

use std::time::Duration;

use matrix_podman_core::update::{Rehearsed, Undo};
use matrix_podman_host::{
    decide::update::touches_data,
    work::update::{Proposal, Update},
};
use serde::Serialize;

use crate::{
    error::Error,
    output::{GREEN, Printable, Reporter, Wording, duration, styled},
};

/// Rehearses what is proposed, if there are data that it could do something to,
/// and says what came of it: how it can be taken back.
pub fn hold(update: &Update, proposal: &Proposal, within: Duration, out: &Reporter) -> Result<Undo, Error> {
    if !touches_data(proposal) {
        out.narrate(
            "Nothing to rehearse: neither Synapse nor PostgreSQL changes, and the others keep no data.",
        );
        return Ok(proposal.undo);
    }
    let done = update.rehearse(proposal, within)?;
    let undo = update.way_back_after(proposal, &done)?;
    out.report(&RehearsalHeld { event: "rehearsal", rehearsed: done, undo })?;
    Ok(undo)
}

/// What a rehearsal showed.
#[derive(Serialize)]
struct RehearsalHeld {
    event: &'static str,
    rehearsed: Rehearsed,
    undo: Undo,
}

impl Printable for RehearsalHeld {
    fn words(&self) -> Wording {
        let done = &self.rehearsed;
        let rows: u64 = done.before.values().sum();
        let mut words = Wording::saying(format!(
            "{} Rehearsed on a copy of the data ({} tables, {rows} rows), which is gone again:",
            styled(GREEN, "✓"),
            done.before.len()
        ));
        words.say(format!("  copied in       {}", duration(done.copy_millis)));
        words.say(format!("  answered after  {}, migrations included", duration(done.start_millis)));
        words.say(match (done.background, done.background_left.as_slice()) {
            (0, _) => "  in background   nothing had to be rewritten".to_owned(),
            (count, []) => {
                format!("  in background   {count} rewritten in {}", duration(done.background_millis))
            }
            (_, left) => format!(
                "  in background   not ended after {}: {}",
                duration(done.background_millis),
                left.join(", ")
            ),
        });
        words.say(match self.undo {
            Undo::Image => "  the way back    by the old images; no data is lost",
            Undo::Dump => {
                "  the way back    by the dump: the program that runs now does not open what the new one leaves"
            }
            Undo::Cluster => "  the way back    the old cluster, which stays as it is",
        });
        words
    }
}
