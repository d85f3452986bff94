//! `edge`: the way in, for a person, for another proxy, or taken down again.

use std::{collections::BTreeMap, path::Path};

use matrix_podman_core::{
    edge::{
        guide,
        proxy::{TlsFiles, Way},
        show::{self, Proxy},
        well_known,
    },
    observed::{Gap, Observed},
    render::ports,
    resource::{self, Takedown},
};
use matrix_podman_host::{
    failure::Failure,
    lock::{LockHolder, RunLock},
    world::World,
};
use serde::Serialize;

use crate::{
    args::{self, GuideFormat, ProxyName},
    error::Error,
    output::{AtStake, Confirmation, Otherwise, Printable, Reporter, Wording},
    site,
};

pub fn run(config: Option<&Path>, args: &args::Edge, out: &Reporter) -> Result<u8, Error> {
    match args {
        args::Edge::Guide(guide) => print_guide(config, guide, out),
        args::Edge::Show(show) => print_config(config, show, out),
        args::Edge::Remove(remove) => take_down(config, remove, out),
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

fn print_guide(config: Option<&Path>, args: &args::EdgeGuide, out: &Reporter) -> Result<u8, Error> {
    let (world, _) = super::world(config, out)?;
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
    let made = guide::guide(config, &way(&world)?, &proxy, &ports::open(config));
    out.report(&Guided { guide: &made, format: args.format })?;
    super::OK
}

fn print_config(config: Option<&Path>, args: &args::EdgeShow, out: &Reporter) -> Result<u8, Error> {
    let (world, _) = super::world(config, out)?;
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
            let documents = well_known::documents(&world.site().config);
            out.report(&WellKnownDocuments(documents.into_iter().map(|d| (d.path, d.json)).collect()))?;
            return super::OK;
        }
    };
    out.report(&ProxyConfig { config: show::show(&way(&world)?, proxy, tls.as_ref()) })?;
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

fn take_down(config: Option<&Path>, args: &args::EdgeRemove, out: &Reporter) -> Result<u8, Error> {
    let (world, _) = super::world(config, out)?;
    let edge = made_there(&world)?;
    if edge.acts.is_empty() {
        out.report(&EdgeRemoved { event: "edge-removed", removed: Vec::new() })?;
        return super::OK;
    }
    out.narrate("This takes the way in down; the server itself stays:");
    for what in words_of(&edge) {
        out.narrate(&format!("  - {what}"));
    }
    for line in &edge.stays {
        out.narrate(&format!("Kept: {line}."));
    }
    out.confirm(&Confirmation {
        question: "Do this?",
        at_stake: AtStake::Something,
        yes: args.yes,
        otherwise: Otherwise::unremoved("`matrix-podman plan` shows how the way in is"),
    })?;
    let holder = LockHolder::this("edge remove");
    let _lock = RunLock::take(&site::state_folder(world.site()).join("run.lock"), &holder, &|_| {})?;
    carry_out(&world, &edge, out)?;
    out.report(&EdgeRemoved { event: "edge-removed", removed: words_of(&edge) })?;
    super::OK
}

/// What is removed, in words.
fn words_of(edge: &Takedown) -> Vec<&str> {
    edge.acts.iter().map(|(what, _)| what.as_str()).filter(|what| !what.is_empty()).collect()
}

/// The guide, and what it is printed for.
#[derive(Serialize)]
#[serde(transparent)]
struct Guided<'a> {
    guide: &'a guide::Guide,
    #[serde(skip)]
    format: GuideFormat,
}

impl Printable for Guided<'_> {
    fn words(&self) -> Wording {
        let text = match self.format {
            GuideFormat::Terminal => guide::terminal(self.guide),
            GuideFormat::Markdown => guide::markdown(self.guide),
            GuideFormat::Html => guide::html(self.guide),
        };
        Wording::of(text.trim_end())
    }
}

/// What stands in the config of a proxy.
#[derive(Serialize)]
struct ProxyConfig {
    config: String,
}

impl Printable for ProxyConfig {
    fn words(&self) -> Wording {
        Wording::of(self.config.trim_end())
    }
}

/// What any web server may answer.
#[derive(Serialize)]
#[serde(transparent)]
struct WellKnownDocuments(BTreeMap<&'static str, String>);

impl Printable for WellKnownDocuments {
    fn words(&self) -> Wording {
        let mut words = Wording::default();
        for (path, json) in &self.0 {
            words.data(format!("{path}\n{json}"));
        }
        words
    }
}

/// What was removed at the edge.
#[derive(Serialize)]
struct EdgeRemoved<'a> {
    event: &'static str,
    removed: Vec<&'a str>,
}

impl Printable for EdgeRemoved<'_> {
    fn words(&self) -> Wording {
        Wording::saying(if self.removed.is_empty() {
            "nothing at the edge was made for this server; nothing was changed"
        } else {
            "The way in is taken down. `matrix-podman up` makes it again, unless [edge] is taken out of matrix.toml."
        })
    }
}

/// Does what `made_there` found, in order.
pub fn carry_out(world: &World, edge: &Takedown, out: &Reporter) -> Result<(), Error> {
    for (what, effect) in &edge.acts {
        world.apply(effect, &|_| {})?;
        if !what.is_empty() {
            out.narrate(&format!("removed {what}"));
        }
    }
    Ok(())
}
