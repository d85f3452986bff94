//! The plan as people read it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use similar::{ChangeTag, TextDiff};

use super::{Plan, look_again};
use crate::{
    effect::{Effect, Local},
    resource::{Diff, FileChange, ResourceId, Risk, Step},
};

/// A plan as text: steps numbered, each with its reason and the lines that
/// change in files; then what is left alone and why.
pub struct PlanText<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// Whether each step says why.
    pub reasons: bool,
    /// Whether lines that change in files are shown.
    pub diffs: bool,
    /// Whether what is left alone is listed.
    pub settled: bool,
}

impl fmt::Display for PlanText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (id, why, hint) in self.plan.blocked() {
            writeln!(f, "Cannot be done: {why}  [{id}]")?;
            writeln!(f, "     {hint}")?;
        }
        let entries = &self.plan.entries;
        let mut number = 0;
        let mut together = Together::of(self);
        for entry in entries {
            match &entry.diff {
                Diff::Change(step) if together.has_file(step) => {}
                Diff::Change(step) => {
                    number += 1;
                    writeln!(f, "{number:>3}. {}  [{}]", step.what, entry.id)?;
                    if self.reasons {
                        writeln!(f, "     because {}", step.why)?;
                    }
                    if let Some(risk) = risk_text(step.risk) {
                        writeln!(f, "     ! {risk}")?;
                    }
                    if self.diffs {
                        for change in &step.changes {
                            write_change(f, change)?;
                        }
                    }
                }
                Diff::Later { what, why } => {
                    let Some(what) = together.later(what, why, &entry.id) else { continue };
                    number += 1;
                    writeln!(f, "{number:>3}. {what}")?;
                    if self.reasons {
                        writeln!(f, "     decided then: {why}")?;
                    }
                }
                Diff::Settled { .. } | Diff::Blocked { .. } => {}
            }
        }
        if together.files > 0 {
            writeln!(f, "{:>3}. Write {} files (`plan --diff` shows each)", number + 1, together.files)?;
        }
        if self.settled {
            let mut first = true;
            for entry in entries {
                if let Diff::Settled { why } = &entry.diff {
                    if std::mem::take(&mut first) {
                        writeln!(f, "Left alone:")?;
                    }
                    writeln!(f, "   - {}: {why}", entry.id)?;
                }
            }
        }
        Ok(())
    }
}

/// What a plan says in one line instead of many: files that nothing is restarted for, and
/// steps that wait for one and the same thing.
#[derive(Default)]
struct Together<'a> {
    files: usize,
    waiting: BTreeMap<&'a str, usize>,
    told: BTreeSet<&'a str>,
}

impl<'a> Together<'a> {
    /// From so many on.
    const MANY: usize = 3;

    fn of(text: &PlanText<'a>) -> Self {
        let mut together = Self::default();
        for entry in &text.plan.entries {
            match &entry.diff {
                Diff::Change(step) if !text.diffs && is_file(step) => together.files += step.changes.len(),
                Diff::Later { what, why } if *what == look_again(&entry.id) => {
                    *together.waiting.entry(why).or_default() += 1;
                }
                _ => {}
            }
        }
        if together.files == 1 {
            together.files = 0;
        }
        together
    }

    fn has_file(&self, step: &Step) -> bool {
        self.files > 0 && is_file(step)
    }

    /// What is said of a step that waits; nothing where it was said already.
    fn later(&mut self, what: &str, why: &'a str, id: &ResourceId) -> Option<String> {
        let count = self.waiting.get(why).copied().unwrap_or_default();
        if count < Self::MANY || what != look_again(id) {
            return Some(format!("{what}  [{id}]"));
        }
        self.told.insert(why).then(|| format!("Then look at the rest: {count} things"))
    }
}

/// Whether a step writes files, has systemd read them, and does nothing else.
fn is_file(step: &Step) -> bool {
    let of_files = |effect: &Effect| {
        matches!(
            effect,
            Effect::Here(
                Local::WriteFile { .. } | Local::ReloadUnits { .. } | Local::EnableUnit { start: false, .. }
            )
        )
    };
    step.risk == Risk::None && !step.changes.is_empty() && step.effects.iter().all(of_files)
}

/// What a person should know of a risk.
fn risk_text(risk: Risk) -> Option<&'static str> {
    match risk {
        Risk::None => None,
        Risk::Interrupts => Some("the service is away for some seconds"),
        Risk::Outage => Some("the whole server is away for some seconds"),
    }
}

fn write_change(f: &mut fmt::Formatter<'_>, change: &FileChange) -> fmt::Result {
    match &change.before {
        None => writeln!(f, "     + {} ({} lines)", change.path, change.after.lines().count()),
        Some(before) => {
            writeln!(f, "     ~ {}", change.path)?;
            for line in diff_lines(before, &change.after) {
                writeln!(f, "       {line}")?;
            }
            Ok(())
        }
    }
}

/// The lines that differ between two texts, each behind `-` or `+`, with one
/// line around them.
pub fn diff_lines(before: &str, after: &str) -> Vec<String> {
    let diff = TextDiff::from_lines(before, after);
    let mut lines = Vec::new();
    for group in diff.grouped_ops(1) {
        if !lines.is_empty() {
            lines.push("…".to_owned());
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Delete => '-',
                ChangeTag::Insert => '+',
                ChangeTag::Equal => ' ',
            };
            lines.push(format!("{sign} {}", change.value()).trim_end().to_owned());
        }
    }
    lines
}
