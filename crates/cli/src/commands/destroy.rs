//! `destroy`: remove the guest and everything in it.

use std::path::Path;

use matrix_podman_core::{fact::GuestState, observed::Observed, resource::Backend};
use matrix_podman_host::{
    destroy,
    failure::Failure,
    run::{LockHolder, RunLock},
};

use super::up::ask;
use crate::{
    args,
    error::Error,
    output::{self, RED, styled},
    site,
};

pub fn run(config: Option<&Path>, args: &args::Destroy) -> Result<u8, Error> {
    let (world, _) = super::world(config)?;
    let site_name = world.site().config.site().to_owned();
    let name = world.site().config.guest.name.to_string();
    if world.site().backend == Backend::Lxc {
        let mut seen = Observed::default();
        let state = world
            .look(&mut seen, |seen| seen.lxc(&name).cloned())?
            .map_err(|_| Failure::new(format!("look at the guest {name}"), "its state is not known"))?;
        match state.site() {
            _ if state == GuestState::Absent => {
                site::forget(world.site());
                output::say(&format!("there is no guest {name}; nothing was changed"));
                return super::OK;
            }
            Some(site) if site == site_name => {}
            other => {
                return Err(Error::usage(
                    format!(
                        "the container {name} is not of {site_name} but of {}",
                        other.unwrap_or("somebody else")
                    ),
                    "it is left alone",
                ));
            }
        }
    }
    output::say(&styled(RED, &format!("This removes {site_name} for good:")));
    for line in destroy::losses(&world) {
        output::say(&format!("  - {line}"));
    }
    output::say("Kept: matrix.toml, the journal, images and root file systems made for the next guest.");
    if !args.yes {
        if !output::can_ask() {
            return Err(Error::usage("nobody can be asked whether to remove all this", "add --yes"));
        }
        let answer = ask(&format!("Type {site_name} to remove it: "))?;
        if answer.as_deref().map(str::trim) != Some(site_name.as_str()) {
            return Err(Error::Told {
                summary: "nothing was removed".to_owned(),
                hint: "type the site's name exactly, or add --yes".to_owned(),
            });
        }
    }
    let holder = LockHolder::this("destroy");
    let _lock = RunLock::take(&site::state_folder(world.site()).join("run.lock"), &holder, &|_| {})?;
    destroy::destroy(&world)?;
    site::forget(world.site());
    output::say(&format!("{site_name} is removed."));
    super::OK
}
