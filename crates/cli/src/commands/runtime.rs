//! `update debian`: the guest's packages that containers run by.

use std::collections::BTreeMap;

use matrix_podman_core::{
    effect::Effect,
    fact::Side,
    observed::{Gap, Observed},
    service::Service,
    update::RUNTIME,
};
use matrix_podman_host::{
    failure::Failure,
    work::update::{self, Update},
    world::World,
};
use serde_json::json;

use super::up;
use crate::{
    error::Error,
    output::{self, GREEN, styled},
    site::Found,
};

/// Tries newer versions of what containers run by, and installs them when a
/// container ran with them; which those are, in words, none when there were none.
pub fn upgrade(world: &World, found: &Found, by: String, json: bool) -> Result<Option<String>, Error> {
    let lock = update::lock(world)?;
    let image = lock.images.get(&Service::Redis).map(|image| image.run.clone()).ok_or_else(|| {
        Failure::new("try newer packages", "matrix.lock does not know Redis, whose image would be run")
            .hint("`matrix-podman up` writes it")
    })?;
    let before = versions(world)?;
    up::at_work(world, found, "update", json, |journal, listener| {
        let update = Update { world, journal, listener, by };
        update.act("Try newer packages that containers run by", &Effect::UpgradeRuntime { image })?;
        Ok(journal.end(true)?)
    })?;
    let after = versions(world)?;
    let changed: Vec<String> = after
        .iter()
        .filter(|(name, version)| before.get(*name) != Some(*version))
        .map(|(name, version)| format!("{name} {version}"))
        .collect();
    Ok((!changed.is_empty()).then(|| changed.join(", ")))
}

/// The versions that are installed.
fn versions(world: &World) -> Result<BTreeMap<String, String>, Failure> {
    let doing = "look at the guest's packages";
    let look = |seen: &Observed| seen.packages(Side::Guest, RUNTIME).cloned();
    world.look(&mut Observed::default(), look)?.map_err(|gap| match gap {
        Gap::Unknown(why) => Failure::new(doing, why),
        Gap::NotAsked => Failure::new(doing, "they were not looked at; this is a mistake in matrix-podman"),
    })
}

/// Says what came of it.
pub fn tell(installed: Option<&str>, json: bool) {
    match (json, installed) {
        (true, installed) => output::data(&json!({"event": "debian", "installed": installed}).to_string()),
        (false, Some(installed)) => output::data(&format!(
            "{} Containers run by {installed} from their next start on; one was run with it before and after.",
            styled(GREEN, "✓")
        )),
        (false, None) => {
            output::say(&format!(
                "{} Nothing that containers run by has a newer version.",
                styled(GREEN, "✓")
            ));
        }
    }
}
