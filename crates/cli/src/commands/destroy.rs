//! `destroy`: remove the guest and everything in it, and what was made at the edge.

use std::path::Path;

use matrix_podman_core::resource::Takedown;
use matrix_podman_host::{
    journal,
    lock::{LockHolder, RunLock},
    progress::Event,
    work::destroy,
    world::{Ownership, World},
};
use serde::Serialize;

use super::edge;
use crate::{
    args,
    error::Error,
    output::{NameToType, Otherwise, Printable, RED, Reporter, Wording, styled},
    site,
};

pub fn run(config: Option<&Path>, args: &args::Destroy, out: &Reporter) -> Result<u8, Error> {
    let (world, _) = super::world(config, out)?;
    let site_name = world.site().config.site().to_owned();
    let name = world.site().config.guest.name.to_string();
    let there = guest_is_there(&world, &site_name, &name)?;
    // Its guest may have lost its name before its keys and its database were gone.
    let begun = destroy::is_begun(&world);
    let made = if args.keep_edge { Takedown::default() } else { made_at_the_edge(&world)? };
    if !there && !begun && made.acts.is_empty() {
        site::forget(world.site());
        out.report(&Destroyed { event: "destroyed", site: &site_name, guest: &name, was_there: false })?;
        return super::OK;
    }
    if begun {
        out.narrate(
            "An earlier `matrix-podman destroy`, or the making of a guest, was cut off. This finishes it.",
        );
    }
    out.narrate(&styled(RED, &format!("This removes {site_name} for good:")));
    let losses = match (there, begun) {
        (true, _) => destroy::losses(&world),
        (false, true) => vec![format!("what is left of the guest {name}, its keys and its database")],
        (false, false) => Vec::new(),
    };
    for line in losses.iter().chain(made.acts.iter().map(|(what, _)| what)).filter(|line| !line.is_empty()) {
        out.narrate(&format!("  - {line}"));
    }
    out.narrate(world.site().backend.kept());
    for line in &made.stays {
        out.narrate(&format!("Kept: {line}."));
    }
    out.confirm_name(&NameToType {
        name: &site_name,
        purpose: "remove it",
        yes: args.yes,
        otherwise: Otherwise::unremoved("type the site's name exactly, or add --yes"),
    })?;
    let holder = LockHolder::this("destroy");
    let _lock = RunLock::take(&site::state_folder(world.site()).join("run.lock"), &holder, &|_| {})?;
    // The way in goes first, so that nobody comes to a closed door.
    edge::carry_out(&world, &made, out)?;
    if there || begun {
        let listener = out.listener();
        let said = |saying| listener.on(&Event::Said { id: "destroy", saying: &saying });
        destroy::destroy(&world, &said)?;
    }
    site::forget(world.site());
    journal::set_aside(&site::state_folder(world.site()).join("journal.jsonl"));
    out.report(&Destroyed { event: "destroyed", site: &site_name, guest: &name, was_there: true })?;
    super::OK
}

/// What is gone.
#[derive(Serialize)]
struct Destroyed<'a> {
    event: &'static str,
    site: &'a str,
    guest: &'a str,
    /// Whether there was anything to remove.
    was_there: bool,
}

impl Printable for Destroyed<'_> {
    fn words(&self) -> Wording {
        Wording::saying(if self.was_there {
            format!("{} is removed.", self.site)
        } else {
            format!("there is no guest {}; nothing was changed", self.guest)
        })
    }
}

/// Whether there is a guest; one of somebody else's is an error.
fn guest_is_there(world: &World, site_name: &str, name: &str) -> Result<bool, Error> {
    match world.ownership()? {
        Ownership::Absent => Ok(false),
        Ownership::Ours => Ok(true),
        Ownership::Foreign(whose) => Err(Error::usage(
            format!(
                "the container {name} is not of {site_name} but of {}",
                whose.as_deref().unwrap_or("somebody else")
            ),
            "it is left alone",
        )),
    }
}

/// What was made at the edge; where it cannot be seen, it can be left.
fn made_at_the_edge(world: &World) -> Result<Takedown, Error> {
    let config = &world.site().config;
    let parts = [("cloudflare", config.edge.cloudflare.is_some()), ("npm", config.edge.npm.is_some())];
    let folder = site::state_folder(world.site());
    for (part, named) in parts {
        let record = folder.join(format!("edge-{part}.json"));
        if !named && record.exists() {
            return Err(Error::usage(
                format!(
                    "{} says that something was made at the edge, and this config has no [edge.{part}] to reach it by",
                    record.display()
                ),
                "name the config that has it with --config, or add --keep-edge to leave it there",
            ));
        }
    }
    edge::made_there(world).map_err(|error| match error {
        Error::Failed(failure) => {
            let hint = failure.hint.clone().unwrap_or_default();
            failure.hint(format!("{hint}; --keep-edge removes the rest and leaves the edge as it is")).into()
        }
        other => other,
    })
}
