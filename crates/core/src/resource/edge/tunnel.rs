//! The tunnel itself, made where that is wanted.

use super::{
    Diff, Observed, Question, Resource, ResourceId, Seen, Side, Site, Stop, asked, cloudflare, decided,
    tunnels_meant, zone,
};
use crate::{
    edge::{
        Act,
        cloudflare::Tunnel as Found,
        record::{self, CloudflareRecord},
    },
    effect::{Effect, Local},
    ids,
    name::{Mode, Owner},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(Tunnel { site: site.clone() })]
}

pub(super) fn id() -> ResourceId {
    ids::EDGE_CLOUDFLARE_TUNNEL
}

struct Tunnel {
    site: Site,
}

impl Resource for Tunnel {
    fn id(&self) -> ResourceId {
        id()
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![cloudflare::id()]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        decided(self.compare(seen))
    }
}

impl Tunnel {
    fn compare(&self, seen: &Observed) -> Result<Diff, Stop> {
        let Some(wanted) = &self.site.config.edge.cloudflare else {
            return Ok(Diff::settled("none is wanted"));
        };
        let what = format!("Look for the tunnel {}", wanted.tunnel);
        let zone = zone(&self.site, seen, &what)?;
        let account = zone.account.id.clone();
        let all: Vec<Found> = asked(seen, Question::Tunnels { account: account.clone() }, &what)?;
        let site = self.site.config.site();
        let token_file = record::token_file(site);
        let mut made = read_record(&self.site, seen)?;
        let ours = made.tunnel.as_deref() == Some(&wanted.tunnel);
        let found = tunnels_meant(&wanted.tunnel, &made, all).pop();
        // One that was made and then cut off has no token here yet.
        let has_token = !ours || seen.meta(Side::Machine, &token_file)?.is_some();
        if let Some(tunnel) = found
            && has_token
        {
            let state = if tunnel.status.is_empty() { "there".to_owned() } else { tunnel.status };
            return Ok(Diff::settled(format!("the tunnel {} is {state}", tunnel.name)));
        }
        made.tunnel = Some(wanted.tunnel.clone());
        // It was made once, and is gone.
        made.tunnel_id = None;
        let record = record::path(site, "cloudflare");
        Ok(Diff::quiet(
            format!("Make the tunnel {}", wanted.tunnel),
            format!("there is none of that name; the token for its cloudflared goes to {token_file}"),
            vec![
                write_record(&self.site, &made),
                Effect::Edge(Act::CreateTunnel { account, name: wanted.tunnel.clone(), token_file, record }),
            ],
        ))
    }
}

/// What is remembered as made at Cloudflare.
pub(super) fn read_record(site: &Site, seen: &Observed) -> Result<CloudflareRecord, Stop> {
    let path = record::path(site.config.site(), "cloudflare");
    let file = seen.file(Side::Machine, &path)?;
    record::parse(file.and_then(|file| file.content.as_deref())).map_err(|why| {
        Diff::Blocked {
            why: format!("{path}, which says what was made at Cloudflare, cannot be read: {why}"),
            hint: "look at it; without it, `destroy` leaves tunnel and routes alone".to_owned(),
        }
        .into()
    })
}

/// The effect that remembers what is made, before it is made.
pub(super) fn write_record(site: &Site, made: &CloudflareRecord) -> Effect {
    Effect::Here(Local::WriteFile {
        side: Side::Machine,
        path: record::path(site.config.site(), "cloudflare"),
        content: record::render(made),
        mode: Mode(0o600),
        owner: Owner::ROOT,
    })
}
