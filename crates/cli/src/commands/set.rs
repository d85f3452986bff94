//! `set`: change one key of matrix.toml and show what that would do.

use std::{fs, path::Path};

use matrix_podman_core::{
    config::edit::{Edit, edit},
    layout,
    plan::PlanText,
};
use matrix_podman_host::{apply::file, failure::Failure, world::World};

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
    if path == Path::new(layout::applied_config().as_str()) {
        return Err(Error::usage(
            format!("{} is a copy of the config as it was applied", path.display()),
            "change matrix.toml on the machine that this guest runs on",
        ));
    }
    let shown = path.display().to_string();
    let doing = || format!("change {shown}");
    let text = fs::read_to_string(path).map_err(|e| Failure::new(doing(), e))?;
    let change = args.value.as_deref().map_or(Edit::Default, Edit::Value);
    let changed = edit(&text, &shown, &args.key, change, &site::defaults()?)?;
    if changed == text {
        output::say(&format!("{shown} says so already; nothing was changed."));
        return Ok(DONE);
    }
    file::replace(path, changed.as_bytes())?;
    output::say(&format!("{} {shown} is changed.", styled(GREEN, "✓")));
    let world = World::new(site::find(config, &Settings::default(), Flags::MustAgree)?.site);
    let look = super::look(&world)?;
    plan::checks(&look.checks, &output::data);
    let text = PlanText { plan: &look.plan, reasons: true, diffs: true, settled: false };
    output::data(text.to_string().trim_end());
    output::say(if look.plan.is_settled() {
        "That changes nothing on the server."
    } else {
        "`matrix-podman up` does this."
    });
    super::up::refuse(&world, &look)?;
    Ok(DONE)
}
