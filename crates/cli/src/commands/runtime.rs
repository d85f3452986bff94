//! `update debian`: the guest's packages that containers run by.

use std::collections::BTreeMap;

use matrix_podman_core::{
    effect::{Effect, Local},
    fact::Side,
    observed::{Gap, Observed},
    service::ServiceId,
    stack::Data,
    update::RUNTIME,
};
use matrix_podman_host::{
    failure::Failure,
    work::update::{self, Update},
    world::World,
};
use serde::Serialize;

use super::up;
use crate::{
    error::Error,
    output::{GREEN, Printable, Reporter, Wording, styled},
    site::FoundSite,
};

/// Tries newer versions of what containers run by, and installs them when a
/// container ran with them; which those are, in words, none when there were none.
pub fn upgrade(
    world: &World,
    found: &FoundSite,
    by: String,
    out: &Reporter,
) -> Result<Option<String>, Error> {
    let lock = update::lock(world)?;
    // With one that keeps nothing that could be lost by it.
    let service = Data::Copies.keepers().first().copied();
    let image = service.and_then(|service| lock.images.get(&service)).map(|image| image.run.clone());
    let image = image.ok_or_else(|| {
        let title = service.map_or("the cache", ServiceId::title);
        Failure::new(
            "try newer packages",
            format!("matrix.lock does not know {title}, whose image would be run"),
        )
        .hint("`matrix-podman up` writes it")
    })?;
    let before = versions(world)?;
    up::at_work(world, found, "update", out, |journal, listener| {
        let update = Update { world, journal, listener, by };
        update.act(
            "Try newer packages that containers run by",
            &Effect::Here(Local::UpgradeRuntime { image }),
        )?;
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

/// What was installed, in words; none when there was nothing newer.
#[derive(Serialize)]
pub struct PackagesUpgraded {
    event: &'static str,
    installed: Option<String>,
}

impl PackagesUpgraded {
    /// What [`upgrade`] installed.
    pub fn of(installed: Option<String>) -> Self {
        Self { event: "debian", installed }
    }
}

impl Printable for PackagesUpgraded {
    fn words(&self) -> Wording {
        match &self.installed {
            Some(installed) => Wording::of(format!(
                "{} Containers run by {installed} from their next start on; one was run with it before and after.",
                styled(GREEN, "✓")
            )),
            None => Wording::saying(format!(
                "{} Nothing that containers run by has a newer version.",
                styled(GREEN, "✓")
            )),
        }
    }
}
