//! What was made at Cloudflare.

use super::{Stop, Takedown, forget, remembered, there};
use crate::{
    config,
    edge::{
        Act, Question, Refusal,
        cloudflare::{
            DnsRecord, Ruleset, Tunnel, TunnelConfig, Zone, Zones, cache_rule_ref, says, zone::choose,
        },
        ingress, mark,
        record::{self, CloudflareRecord},
    },
    effect::Effect,
    observed::Observed,
    resource::{Site, edge::tunnels_meant},
};

fn zone(seen: &Observed, settings: &config::Cloudflare) -> Result<Zone, Stop> {
    let zones =
        there::<Zones>(seen, Question::Zone(settings.zone.clone()))?.map(Zones::all).unwrap_or_default();
    // What is paused or pending can be taken down all the same.
    Ok(choose(zones, &settings.zone).map_err(|flaw| Refusal::credential(flaw.why, flaw.hint))?)
}

/// The tunnel that is in use, and the one that was made from here.
struct Tunnels {
    used: Option<Tunnel>,
    made: Option<Tunnel>,
}

fn tunnels(
    seen: &Observed,
    zone: &Zone,
    settings: &config::Cloudflare,
    made: &CloudflareRecord,
) -> Result<Tunnels, Stop> {
    let question = Question::Tunnels { account: zone.account.id.clone() };
    let mut all: Vec<Tunnel> = there(seen, question)?.unwrap_or_default();
    all.retain(|tunnel| tunnel.deleted_at.is_none());
    let used = tunnels_meant(&settings.tunnel, made, all.clone()).pop();
    // Only what was made before ids were written down is known by its name.
    let ours = |tunnel: &Tunnel| match &made.tunnel_id {
        Some(id) => tunnel.id == *id,
        None => made.tunnel.as_deref() == Some(&tunnel.name),
    };
    Ok(Tunnels { used, made: all.into_iter().find(ours) })
}

/// Everything but the tunnel.
pub(super) fn routes_and_names(site: &Site, seen: &Observed, takedown: &mut Takedown) -> Result<(), Stop> {
    let config = &site.config;
    let Some(settings) = &config.edge.cloudflare else { return Ok(()) };
    let zone = zone(seen, settings)?;
    let made: CloudflareRecord = remembered(site, seen, "cloudflare")?;
    let ours = mark(config.site());
    let hosts = [Some(config.matrix_host()), Some(config.chat_host()), config.apex_host()];
    for host in hosts.into_iter().flatten() {
        let question = Question::Records { zone: zone.id.clone(), host: host.to_owned() };
        let records: Vec<DnsRecord> = there(seen, question)?.unwrap_or_default();
        for record in records.into_iter().filter(|r| says(r.comment.as_deref(), &ours)) {
            takedown.acts.push((
                format!("the DNS record {host} at Cloudflare"),
                Effect::Edge(Act::RemoveRecord {
                    zone: zone.id.clone(),
                    host: host.to_owned(),
                    id: record.id,
                }),
            ));
        }
    }
    let account = zone.account.id.clone();
    if let Some(tunnel) = tunnels(seen, &zone, settings, &made)?.used
        && !made.routes.is_empty()
    {
        let question = Question::TunnelConfig { account: account.clone(), tunnel: tunnel.id.clone() };
        let now = there::<TunnelConfig>(seen, question)?.map(|found| found.config).unwrap_or_default();
        let after = ingress::without(&now, &made.routes, &ingress::wanted(config, settings));
        if !ingress::same(&now, &after) {
            let names: Vec<&str> = made.routes.iter().map(|route| route.hostname.as_str()).collect();
            takedown.acts.push((
                format!("the routes of {} in the tunnel {}", names.join(", "), tunnel.name),
                Effect::Edge(Act::WriteRoutes { account, tunnel: tunnel.id, before: now, after }),
            ));
        }
    }
    let rules: Option<Ruleset> =
        if settings.cache_rule { there(seen, Question::CacheRules { zone: zone.id.clone() })? } else { None };
    if let Some(rules) = rules {
        let ours = cache_rule_ref(config.matrix_host());
        for rule in rules.rules.iter().filter(|rule| rule["ref"] == ours.as_str()) {
            takedown.acts.push((
                format!("the cache rule for {}", config.matrix_host()),
                Effect::Edge(Act::RemoveCacheRule {
                    zone: zone.id.clone(),
                    ruleset: rules.id.clone(),
                    rule: rule["id"].as_str().unwrap_or_default().to_owned(),
                }),
            ));
        }
    }
    if !settings.zone_settings.is_empty() {
        let stays = format!("the settings of the zone {}, which concern other names too", settings.zone);
        takedown.stays.push(stays);
    }
    Ok(())
}

/// The tunnel that was made from here, and the record of all.
pub(super) fn tunnel(site: &Site, seen: &Observed, takedown: &mut Takedown) -> Result<(), Stop> {
    let Some(settings) = &site.config.edge.cloudflare else { return Ok(()) };
    let zone = zone(seen, settings)?;
    let made: CloudflareRecord = remembered(site, seen, "cloudflare")?;
    if let Some(tunnel) = tunnels(seen, &zone, settings, &made)?.made {
        takedown.acts.push((
            format!("the tunnel {} at Cloudflare", tunnel.name),
            Effect::Edge(Act::RemoveTunnel {
                account: zone.account.id,
                tunnel: tunnel.id,
                name: tunnel.name,
                token_file: record::token_file(site.config.site()),
            }),
        ));
    }
    forget(site, seen, "cloudflare", takedown)
}
