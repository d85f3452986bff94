//! Whether Cloudflare lets us do what is wanted, asked before anything else.

use super::{
    Diff, Observed, Question, Refusal, Resource, ResourceId, Seen, Site, Stop, behind_the_stack, blocked,
    decided, tunnels_named, zone_name,
};
use super::{cache, record, routes, setting, tunnel};
use crate::{
    config::Cloudflare,
    edge::{
        RefusalKind,
        cloudflare::{DnsRecord, Ruleset, Setting, TokenState, Tunnel, Zone},
    },
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
    ResourceId::new("edge/cloudflare/access")
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
        behind_the_stack()
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
        let tunnels = tunnels_named(&self.site, tunnels);
        let named = &self.cloudflare.tunnel;
        match tunnels.as_slice() {
            [] if !self.cloudflare.create_tunnel => {
                return Ok(Diff::Blocked {
                    why: format!("there is no tunnel {named} in the account of {}", zone.name),
                    hint: "name one that is there (Zero Trust, Networks, Tunnels), or write create_tunnel = true"
                        .to_owned(),
                });
            }
            [] => {}
            [tunnel] if tunnel.config_src != "cloudflare" => {
                return Ok(Diff::Blocked {
                    why: format!(
                        "the routes of the tunnel {} stand in a file beside its cloudflared, where nobody else can change them",
                        tunnel.name
                    ),
                    hint: "migrate it at Cloudflare (Zero Trust, Networks, Tunnels), name another tunnel, or add the \
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
        Ok(Diff::settled(format!("the token works, and the zone {} is active", zone.name)))
    }

    fn zone(&self, seen: &Observed) -> Result<Zone, Stop> {
        let name = zone_name(&self.site);
        let token: Result<TokenState, Refusal> = seen.edge(Question::Token)?;
        let zones: Result<Vec<Zone>, Refusal> = seen.edge(Question::Zone(name.clone()))?;
        if let Ok(token) = &token
            && token.status != "active"
        {
            return Err(Diff::Blocked {
                why: format!("the token for Cloudflare is {}", token.status),
                hint: "make or renew it at https://dash.cloudflare.com/profile/api-tokens".to_owned(),
            }
            .into());
        }
        // An account's own token is not a user's, yet it may see the zone.
        let zones = zones.map_err(|refusal| Stop::Diff(blocked(token.as_ref().err().unwrap_or(&refusal))))?;
        let Some(zone) = zones.into_iter().find(|zone| zone.name == name) else {
            return Err(Diff::Blocked {
                why: format!("the token shows no zone {name}"),
                hint: format!(
                    "give the token \"Zone / Zone: Read\" for {name}; or, if the domain is a part of a zone, name that with \
                     edge.cloudflare.zone"
                ),
            }
            .into());
        };
        if zone.status != "active" {
            return Err(Diff::Blocked {
                why: format!("the zone {name} is not active at Cloudflare but {}", zone.status),
                hint: "its domain has to name Cloudflare's name servers: the zone's overview page says which"
                    .to_owned(),
            }
            .into());
        }
        Ok(zone)
    }
}

/// What may be read; nothing where there is nothing.
fn permitted<T>(answer: Result<T, Refusal>) -> Result<Option<T>, Stop> {
    match answer {
        Ok(value) => Ok(Some(value)),
        Err(refusal) if refusal.kind == RefusalKind::NotFound => Ok(None),
        Err(refusal) => Err(blocked(&refusal).into()),
    }
}
