//! `plan`: what `up` would do and why.

use std::path::Path;

use matrix_podman_core::{
    check::{Check, Verdict},
    plan::{Plan, PlanText},
};
use serde::Serialize;

use crate::{
    args,
    error::{CHANGES, DONE, Error},
    output::{Printable, RED, Reporter, Wording, YELLOW, styled},
    site,
};

/// What `up` would do.
#[derive(Serialize)]
struct Planned<'a> {
    site: &'a str,
    checks: &'a [Check],
    plan: &'a Plan,
    /// Whether the lines that change in files are shown, and what is left alone.
    #[serde(skip)]
    diffs: bool,
}

pub fn run(config: Option<&Path>, args: &args::Plan, out: &Reporter) -> Result<u8, Error> {
    let found = site::find(config, &args.settings, site::Flags::WhatIf)?;
    let world = super::open(found.site, out);
    let look = super::look(&world)?;
    let site = world.site().config.site();
    out.report(&Planned { site, checks: &look.checks, plan: &look.plan, diffs: args.diff })?;
    super::up::refuse(&world, &look, out)?;
    Ok(if args.exit_code && !look.plan.is_settled() { CHANGES } else { DONE })
}

impl Printable for Planned<'_> {
    fn words(&self) -> Wording {
        let mut words = Wording::default();
        for line in check_lines(self.checks) {
            words.data(line);
        }
        let text = PlanText { plan: self.plan, reasons: true, diffs: self.diffs, settled: self.diffs };
        let text = text.to_string();
        if !text.is_empty() {
            words.data(text.trim_end());
        }
        if self.plan.is_settled() {
            words.data("Nothing to do: the server is what the config says.");
        }
        words
    }
}

/// The checks that say something, in lines.
pub fn check_lines(checks: &[Check]) -> Vec<String> {
    let mut lines = Vec::new();
    for check in checks {
        match &check.verdict {
            Verdict::Pass { .. } | Verdict::LeftOut { .. } => {}
            Verdict::Weaker { missing, consequence } => {
                lines.push(format!("{} {missing}: {consequence}", styled(YELLOW, "note:")));
            }
            Verdict::Fail { why, hint } => {
                lines.push(format!("{} {why}", styled(RED, "cannot begin:")));
                lines.push(format!("      {hint}"));
            }
            Verdict::Unknown { why } => {
                lines.push(format!("{} {} could not be checked: {why}", styled(YELLOW, "note:"), check.id));
            }
        }
    }
    lines
}
