//! `set`: change one key of matrix.toml and show what that would do.

use std::{fs, path::Path};

use matrix_podman_core::{
    check::Check,
    config::edit::{Edit, edit},
    layout,
    plan::{Plan, PlanText},
};
use matrix_podman_host::{failure::Failure, file, world::World};
use serde::Serialize;

use super::plan;
use crate::{
    args::{self, Settings},
    error::{DONE, Error},
    output::{GREEN, Printable, Reporter, Wording, styled},
    site::{self, Flags},
};

pub fn run(config: Option<&Path>, args: &args::Set, out: &Reporter) -> Result<u8, Error> {
    let found = site::find(config, &Settings::default(), Flags::MustAgree)?;
    let Some(path) = &found.file else {
        return Err(Error::usage("there is no matrix.toml to change", "`matrix-podman init` writes one"));
    };
    let path = match site::original(&found.site) {
        Some(original) if is_copy(path) => original,
        _ => path.clone(),
    };
    let shown = path.display().to_string();
    let doing = || format!("change {shown}");
    let text = fs::read_to_string(&path).map_err(|e| Failure::new(doing(), e))?;
    let change = args.value.as_deref().map_or(Edit::Default, Edit::Value);
    let changed = edit(&text, &shown, &args.key, change, &site::defaults()?)?;
    if is_copy(&path) {
        // What is wrong with key and value has been said by now.
        let value = args.value.as_deref().map_or_else(|| "--default".to_owned(), quoted);
        return Err(Error::usage(
            format!("{shown} is a copy of the config as it was applied; a change in it would not last"),
            format!("on the machine that this guest runs on: `matrix-podman set {} {value}`", args.key),
        ));
    }
    if changed == text {
        out.report(&SettingChanged {
            file: &path,
            key: &args.key,
            changed: false,
            checks: None,
            plan: None,
        })?;
        return Ok(DONE);
    }
    file::replace(&path, changed.as_bytes())?;
    out.narrate(&format!("{} {shown} is changed.", styled(GREEN, "✓")));
    let world = World::new(site::find(Some(&path), &Settings::default(), Flags::MustAgree)?.site);
    let look = super::look(&world)?;
    out.report(&SettingChanged {
        file: &path,
        key: &args.key,
        changed: true,
        checks: Some(&look.checks),
        plan: Some(&look.plan),
    })?;
    super::up::refuse(&world, &look, out)?;
    Ok(DONE)
}

/// Whether a config is what `up` left in the guest, not what somebody wrote.
fn is_copy(path: &Path) -> bool {
    path == Path::new(layout::applied_config().as_str())
}

/// As it has to be typed.
fn quoted(value: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/:,@".contains(c);
    if !value.is_empty() && value.chars().all(plain) {
        return value.to_owned();
    }
    format!("'{}'", value.replace('\'', r"'\''"))
}

/// What became of the file, and what that would do.
#[derive(Serialize)]
struct SettingChanged<'a> {
    file: &'a Path,
    key: &'a str,
    changed: bool,
    checks: Option<&'a [Check]>,
    plan: Option<&'a Plan>,
}

impl Printable for SettingChanged<'_> {
    fn words(&self) -> Wording {
        let (Some(checks), Some(plan)) = (self.checks, self.plan) else {
            return Wording::saying(format!("{} says so already; nothing was changed.", self.file.display()));
        };
        let mut words = Wording::default();
        for line in plan::check_lines(checks) {
            words.data(line);
        }
        let text = PlanText { plan, reasons: false, diffs: false, settled: false };
        words.data(text.to_string().trim_end());
        words.say(if plan.is_settled() {
            "That changes nothing on the server."
        } else {
            "`matrix-podman up` does this."
        });
        words
    }
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn values_are_shown_as_they_have_to_be_typed() {
        for (value, typed) in [
            ("100M", "100M"),
            ("Our chat", "'Our chat'"),
            ("", "''"),
            ("it's", r"'it'\''s'"),
            ("a;b", "'a;b'"),
        ] {
            assert_eq!(quoted(value), typed);
        }
    }
}
