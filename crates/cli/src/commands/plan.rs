//! `plan`: what `up` would do and why.

use std::path::Path;

use matrix_podman_core::{
    check::{Check, Verdict},
    plan::PlanText,
};
use serde_json::json;

use crate::{
    args,
    error::{CHANGES, DONE, Error},
    output::{self, RED, YELLOW, styled},
    site,
};

pub fn run(config: Option<&Path>, args: &args::Plan) -> Result<u8, Error> {
    let found = site::find(config, &args.settings, site::Flags::WhatIf)?;
    let world = super::open_in_words(found.site);
    let look = super::look(&world)?;
    if args.output.json {
        let value = json!({"site": world.site().config.site(), "checks": look.checks, "plan": look.plan});
        output::data(&value.to_string());
    } else {
        checks(&look.checks, &output::data);
        let text = PlanText { plan: &look.plan, reasons: true, diffs: !args.brief, settled: true };
        output::data(text.to_string().trim_end());
        if look.plan.is_settled() {
            output::data("Nothing to do: the server is what the config says.");
        }
    }
    super::up::refuse(&world, &look)?;
    Ok(if args.exit_code && !look.plan.is_settled() { CHANGES } else { DONE })
}

/// Prints the checks that say something.
pub fn checks(checks: &[Check], print: &dyn Fn(&str)) {
    for check in checks {
        match &check.verdict {
            Verdict::Pass { .. } | Verdict::LeftOut { .. } => {}
            Verdict::Weaker { missing, consequence } => {
                print(&format!("{} {missing}: {consequence}", styled(YELLOW, "note:")));
            }
            Verdict::Fail { why, hint } => {
                print(&format!("{} {why}", styled(RED, "cannot begin:")));
                print(&format!("      {hint}"));
            }
            Verdict::Unknown { why } => {
                print(&format!("{} {} could not be checked: {why}", styled(YELLOW, "note:"), check.id));
            }
        }
    }
}
