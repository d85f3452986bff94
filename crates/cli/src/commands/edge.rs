//! `edge`: the way in, for a person, for another proxy, or taken down again.

use std::path::Path;

use matrix_podman_core::{
    edge::{
        guide,
        proxy::{TlsFiles, Way},
        show::{self, Proxy},
        well_known,
    },
    observed::{Gap, Observed},
    resource::{self, Takedown},
};
use matrix_podman_host::{
    failure::Failure,
    run::{LockHolder, RunLock},
    world::World,
};

use super::up::ask;
use crate::{
    args::{self, GuideFormat, ProxyName},
    error::Error,
    output, site,
};

pub fn run(config: Option<&Path>, args: &args::Edge) -> Result<u8, Error> {
    match args {
        args::Edge::Guide(guide) => print_guide(config, guide),
        args::Edge::Show(show) => print_config(config, show),
        args::Edge::Remove(remove) => take_down(config, remove),
    }
}

/// The way to the guest; the config says it, or the guest's address.
fn way(world: &World) -> Result<Way, Error> {
    let found = world.look(&mut Observed::default(), |seen| resource::edge_way(world.site(), seen))?;
    found.ok().flatten().ok_or_else(|| {
        Failure::new("say where the guest is", "it has no address yet")
            .hint("make it with `matrix-podman up`, or name it with edge.npm.forward_host in matrix.toml")
            .into()
    })
}

fn print_guide(config: Option<&Path>, args: &args::EdgeGuide) -> Result<u8, Error> {
    let (world, _) = super::world_in_words(config)?;
    let config = &world.site().config;
    let host = |url: &str| {
        let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
        rest.split([':', '/']).next().unwrap_or(rest).to_owned()
    };
    let named = config.edge.npm.as_ref().map(|npm| host(&npm.address));
    let service = config.edge.cloudflare.as_ref().map(|cloudflare| host(&cloudflare.service));
    let Some(proxy) = args.npm.clone().or(service).or(named) else {
        return Err(Error::usage(
            "which machine does Nginx Proxy Manager run on?",
            "add --npm ADDRESS, such as --npm 192.168.1.5, or write edge.npm.address in matrix.toml",
        ));
    };
    let made = guide::guide(config, &way(&world)?, &proxy);
    let text = match args.format {
        _ if args.output.json => serde_json::to_string(&made).unwrap_or_default(),
        GuideFormat::Terminal => guide::terminal(&made),
        GuideFormat::Markdown => guide::markdown(&made),
        GuideFormat::Html => guide::html(&made),
    };
    output::data(text.trim_end());
    super::OK
}

fn print_config(config: Option<&Path>, args: &args::EdgeShow) -> Result<u8, Error> {
    let (world, _) = super::world_in_words(config)?;
    let tls = match (&args.certificate, &args.key) {
        (Some(certificate), Some(key)) => {
            Some(TlsFiles { certificate: certificate.clone(), key: key.clone() })
        }
        _ => None,
    };
    let proxy = match args.proxy {
        ProxyName::Nginx => Proxy::Nginx,
        ProxyName::Caddy => Proxy::Caddy,
        ProxyName::Traefik => Proxy::Traefik,
        ProxyName::Haproxy => Proxy::Haproxy,
        ProxyName::WellKnown => {
            for document in well_known::documents(&world.site().config) {
                output::data(&format!("{}\n{}", document.path, document.json));
            }
            return super::OK;
        }
    };
    output::data(show::show(&way(&world)?, proxy, tls.as_ref()).trim_end());
    super::OK
}

/// What was made at the edge for this site.
pub fn made_there(world: &World) -> Result<Takedown, Error> {
    let found = world.look(&mut Observed::default(), |seen| resource::edge_takedown(world.site(), seen))?;
    let (why, hint) = match found {
        Ok(Ok(takedown)) => return Ok(takedown),
        Ok(Err(refusal)) => (refusal.why, Some(refusal.hint)),
        Err(Gap::Unknown(why)) => (why, None),
        Err(Gap::NotAsked) => ("it was not looked at".to_owned(), None),
    };
    let hint = hint.map_or_else(String::new, |hint| format!("{hint}; "));
    Err(Failure::new("see what was made at the edge", why).hint(format!("{hint}nothing was removed")).into())
}

fn take_down(config: Option<&Path>, args: &args::EdgeRemove) -> Result<u8, Error> {
    let (world, _) = super::world_in_words(config)?;
    let edge = made_there(&world)?;
    if edge.acts.is_empty() {
        output::say("nothing at the edge was made for this server; nothing was changed");
        return super::OK;
    }
    output::say("This takes the way in down; the server itself stays:");
    for (what, _) in edge.acts.iter().filter(|(what, _)| !what.is_empty()) {
        output::say(&format!("  - {what}"));
    }
    for line in &edge.stays {
        output::say(&format!("Kept: {line}."));
    }
    if !args.yes {
        if !output::can_ask() {
            return Err(Error::usage("nobody can be asked whether to remove this", "add --yes"));
        }
        let answer = ask("Do this? [y/N] ")?;
        if !answer.is_some_and(|answer| matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")) {
            return Err(Error::Told {
                summary: "nothing was removed".to_owned(),
                hint: "`matrix-podman plan` shows how the way in is".to_owned(),
            });
        }
    }
    let holder = LockHolder::this("edge remove");
    let _lock = RunLock::take(&site::state_folder(world.site()).join("run.lock"), &holder, &|_| {})?;
    carry_out(&world, &edge)?;
    output::say(
        "The way in is taken down. `matrix-podman up` makes it again, unless [edge] is taken out of matrix.toml.",
    );
    super::OK
}

/// Does what `made_there` found, in order.
pub fn carry_out(world: &World, edge: &Takedown) -> Result<(), Error> {
    for (what, effect) in &edge.acts {
        world.apply(effect, &|_| {})?;
        if !what.is_empty() {
            output::say(&format!("removed {what}"));
        }
    }
    Ok(())
}
