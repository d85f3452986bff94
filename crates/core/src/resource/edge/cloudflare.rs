//! Whether Cloudflare lets us do what is wanted, asked before anything else.

use super::{
    Diff, Observed, Question, Refusal, Resource, ResourceId, Seen, Site, Stop, behind_the_stack, blocked,
    decided, tunnels_meant,
};
use super::{cache, record, routes, setting, tunnel};
use crate::{
    config::Cloudflare,
    edge::{
        RefusalKind,
        cloudflare::{
            DnsRecord, Ruleset, Setting, TokenState, Tunnel, Zone, Zones,
            zone::{ZoneFlaw, choose, workable},
        },
    },
    ids,
    name::idn,
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let Some(cloudflare) = &site.config.edge.cloudflare else { return Vec::new() };
    let mut all: Vec<Box<dyn Resource>> =
        vec![Box::new(Access { site: site.clone(), cloudflare: cloudflare.clone() })];
    all.extend(tunnel::all(site));
    all.extend(routes::all(site));
    all.extend(record::all(site));
    all.extend(setting::all(site));
    all.extend(cache::all(site));
    all
}

pub(super) fn id() -> ResourceId {
    ids::EDGE_CLOUDFLARE_ACCESS
}

struct Access {
    site: Site,
    cloudflare: Cloudflare,
}

impl Resource for Access {
    fn id(&self) -> ResourceId {
        id()
    }

    fn needs(&self) -> Vec<ResourceId> {
        behind_the_stack(&self.site)
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        decided(self.compare(seen))
    }
}

impl Access {
    fn compare(&self, seen: &Observed) -> Result<Diff, Stop> {
        let zone = self.zone(seen)?;
        let account = zone.account.id.clone();
        let tunnels: Vec<Tunnel> =
            permitted(seen.edge(Question::Tunnels { account: account.clone() })?)?.unwrap_or_default();
        let named = &self.cloudflare.tunnel;
        let tunnels = tunnels_meant(named, &tunnel::read_record(&self.site, seen)?, tunnels);
        match tunnels.as_slice() {
            [] if !self.cloudflare.create_tunnel => {
                return Ok(Diff::Blocked {
                    why: format!("there is no tunnel {named} in the account {}, which has the zone", zone.account.called()),
                    hint: "name one that is there (Zero Trust, Networks, Connectors), or write create_tunnel = true"
                        .to_owned(),
                });
            }
            [] => {}
            [tunnel] if tunnel.is_local() => {
                return Ok(Diff::Blocked {
                    why: format!(
                        "the routes of the tunnel {} stand in a file beside its cloudflared, where nobody else can change them",
                        tunnel.name
                    ),
                    hint: "migrate it at Cloudflare (Zero Trust, Networks, Connectors), name another tunnel, or add the \
                           routes by hand as `matrix-podman edge guide` says"
                        .to_owned(),
                });
            }
            [tunnel] => {
                let question = Question::TunnelConfig { account, tunnel: tunnel.id.clone() };
                permitted::<serde_json::Value>(seen.edge(question)?)?;
            }
            _ => {
                return Ok(Diff::Blocked {
                    why: format!("there are several tunnels called {named}"),
                    hint: format!(
                        "write the id of the right one: {}",
                        tunnels.iter().map(|t| t.id.as_str()).collect::<Vec<_>>().join(" or ")
                    ),
                });
            }
        }
        let host = self.site.config.matrix_host().to_owned();
        permitted::<Vec<DnsRecord>>(seen.edge(Question::Records { zone: zone.id.clone(), host })?)?;
        for setting in &self.cloudflare.zone_settings {
            let setting = setting.id().to_owned();
            permitted::<Setting>(seen.edge(Question::Setting { zone: zone.id.clone(), setting })?)?;
        }
        if self.cloudflare.cache_rule {
            permitted::<Ruleset>(seen.edge(Question::CacheRules { zone: zone.id.clone() })?)?;
        }
        Ok(Diff::settled(format!(
            "the token works, and the zone {} is active",
            idn::both(&zone.ascii_name())
        )))
    }

    fn zone(&self, seen: &Observed) -> Result<Zone, Stop> {
        let wanted = &self.cloudflare.zone;
        let token: Result<TokenState, Refusal> = seen.edge(Question::Token)?;
        let zones: Result<Zones, Refusal> = seen.edge(Question::Zone(wanted.clone()))?;
        if let Ok(token) = &token {
            token_works(token)?;
        }
        // An account's own token is not a user's, yet it may see the zone.
        let zones = zones.map_err(|refusal| Stop::Diff(blocked(token.as_ref().err().unwrap_or(&refusal))))?;
        let config = &self.site.config;
        let hosts: Vec<&str> = [Some(config.matrix_host()), Some(config.chat_host()), config.apex_host()]
            .into_iter()
            .flatten()
            .collect();
        let zone = choose(zones.all(), wanted).map_err(flawed)?;
        workable(&zone, &hosts).map_err(flawed)?;
        if token.is_err() {
            let question = Question::AccountToken { account: zone.account.id.clone() };
            // Whether it may ask this is of no interest: it sees the zone.
            if let Ok(token) = seen.edge::<TokenState>(question)? {
                token_works(&token)?;
            }
        }
        Ok(zone)
    }
}

fn flawed(flaw: ZoneFlaw) -> Stop {
    Diff::Blocked { why: flaw.why, hint: flaw.hint }.into()
}

fn token_works(token: &TokenState) -> Result<(), Stop> {
    if token.status == "active" {
        return Ok(());
    }
    Err(Diff::Blocked {
        why: format!("the token for Cloudflare is {}", token.status),
        hint: "make or renew it at https://dash.cloudflare.com/profile/api-tokens, or an account's own token under Manage \
               Account, Account API Tokens"
            .to_owned(),
    }
    .into())
}

/// What may be read; nothing where there is nothing.
fn permitted<T>(answer: Result<T, Refusal>) -> Result<Option<T>, Stop> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(refusal) if refusal.kind == RefusalKind::NotFound => Ok(None),
        Err(refusal) => Err(blocked(&refusal).into()),
    }
}
