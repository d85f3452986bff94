//! `set`: change one key of matrix.toml and show what that would do.

use std::{
    fs,
    path::{Path, PathBuf},
};

use matrix_podman_core::{
    config::edit::{Edit, edit},
    layout,
    plan::PlanText,
};
use matrix_podman_host::{failure::Failure, file, world::World};
use serde_json::json;

use super::plan;
use crate::{
    args::{self, Settings},
    error::{DONE, Error},
    output::{self, GREEN, styled},
    site::{self, Flags},
};

pub fn run(config: Option<&Path>, args: &args::Set) -> Result<u8, Error> {
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
        tell(args, &path, false, None);
        return Ok(DONE);
    }
    file::replace(&path, changed.as_bytes())?;
    if !args.output.json {
        output::say(&format!("{} {shown} is changed.", styled(GREEN, "✓")));
    }
    let world = World::new(site::find(Some(&path), &Settings::default(), Flags::MustAgree)?.site);
    let look = super::look(&world)?;
    tell(args, &path, true, Some(&look));
    super::up::refuse(&world, &look)?;
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
fn tell(args: &args::Set, path: &PathBuf, changed: bool, look: Option<&super::Look>) {
    if args.output.json {
        let value = json!({
            "file": path,
            "key": args.key,
            "changed": changed,
            "checks": look.map(|look| &look.checks),
            "plan": look.map(|look| &look.plan),
        });
        output::data(&value.to_string());
        return;
    }
    let Some(look) = look else {
        output::say(&format!("{} says so already; nothing was changed.", path.display()));
        return;
    };
    plan::checks(&look.checks, &output::data);
    let text = PlanText { plan: &look.plan, reasons: true, diffs: true, settled: false };
    output::data(text.to_string().trim_end());
    output::say(if look.plan.is_settled() {
        "That changes nothing on the server."
    } else {
        "`matrix-podman up` does this."
    });
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
