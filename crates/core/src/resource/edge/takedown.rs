//! Exactly what was made at the edge, to be taken down again.

use super::{takedown_npm, tunnels_named, zone_name};
use crate::{
    edge::{
        Act, Question, Refusal, RefusalKind,
        cloudflare::{DnsRecord, Ruleset, Tunnel, TunnelConfig, Zone, cache_rule_ref},
        ingress, mark,
        record::{self, CloudflareRecord},
    },
    effect::Effect,
    fact::Side,
    observed::{Gap, Observed, Seen},
    resource::Site,
};

/// Acts in order, each with what a person reads.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Takedown {
    /// What goes.
    pub acts: Vec<(String, Effect)>,
    /// What stays though it was set from here, and why.
    pub stays: Vec<String>,
}

/// What of this site's is at the edge; a refusal when it cannot be seen.
pub fn edge_takedown(site: &Site, seen: &Observed) -> Seen<Result<Takedown, Refusal>> {
    let mut takedown = Takedown::default();
    if site.config.edge.cloudflare.is_some() {
        match cloudflare(site, seen, &mut takedown) {
            Ok(()) => {}
            Err(Stop::Gap(gap)) => return Err(gap),
            Err(Stop::Refused(refusal)) => return Ok(Err(refusal)),
        }
    }
    if site.config.edge.npm.is_some() {
        match takedown_npm::npm(site, seen, &mut takedown) {
            Ok(()) => {}
            Err(Stop::Gap(gap)) => return Err(gap),
            Err(Stop::Refused(refusal)) => return Ok(Err(refusal)),
        }
    }
    Ok(Ok(takedown))
}

pub(super) enum Stop {
    Gap(Gap),
    Refused(Refusal),
}

impl From<Gap> for Stop {
    fn from(gap: Gap) -> Self {
        Stop::Gap(gap)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

/// The answer; nothing where there is nothing.
pub(super) fn there<T: serde::de::DeserializeOwned>(
    seen: &Observed,
    question: Question,
) -> Result<Option<T>, Stop> {
    match seen.edge(question)? {
        Ok(value) => Ok(Some(value)),
        Err(refusal) if refusal.kind == RefusalKind::NotFound => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

pub(super) fn remembered<T: Default + for<'a> serde::Deserialize<'a>>(
    site: &Site,
    seen: &Observed,
    part: &str,
) -> Result<T, Stop> {
    let file = seen.file(Side::Machine, &record::path(site.config.site(), part))?;
    let text = file.and_then(|file| file.content.as_deref());
    record::parse(text).map_err(|why| Stop::Gap(Gap::Unknown(format!("what was made is not known: {why}"))))
}

fn cloudflare(site: &Site, seen: &Observed, takedown: &mut Takedown) -> Result<(), Stop> {
    let config = &site.config;
    let Some(settings) = &config.edge.cloudflare else { return Ok(()) };
    let name = zone_name(site);
    let zones: Vec<Zone> = there(seen, Question::Zone(name.clone()))?.unwrap_or_default();
    let Some(zone) = zones.into_iter().find(|zone| zone.name == name) else {
        return Err(Refusal::credential(
            format!("the token shows no zone {name}"),
            "give the token \"Zone / Zone: Read\" for it",
        )
        .into());
    };
    let made: CloudflareRecord = remembered(site, seen, "cloudflare")?;
    let hosts = [Some(config.matrix_host()), Some(config.chat_host()), config.apex_host()];
    for host in hosts.into_iter().flatten() {
        let question = Question::Records { zone: zone.id.clone(), host: host.to_owned() };
        let records: Vec<DnsRecord> = there(seen, question)?.unwrap_or_default();
        for record in records.into_iter().filter(|r| r.comment.as_deref() == Some(&mark(config.site()))) {
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
    let tunnels: Vec<Tunnel> =
        there(seen, Question::Tunnels { account: account.clone() })?.unwrap_or_default();
    let tunnel = tunnels_named(site, tunnels).pop();
    if let Some(tunnel) = &tunnel
        && !made.routes.is_empty()
    {
        let question = Question::TunnelConfig { account: account.clone(), tunnel: tunnel.id.clone() };
        let now = there::<TunnelConfig>(seen, question)?.map(|found| found.config).unwrap_or_default();
        let after = ingress::without(&now, &made.routes, &ingress::wanted(config, settings));
        if !ingress::same(&now, &after) {
            let names: Vec<&str> = made.routes.iter().map(|route| route.hostname.as_str()).collect();
            takedown.acts.push((
                format!("the routes of {} in the tunnel {}", names.join(", "), tunnel.name),
                Effect::Edge(Act::WriteRoutes {
                    account: account.clone(),
                    tunnel: tunnel.id.clone(),
                    before: now,
                    after,
                }),
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
    if let Some(tunnel) = tunnel
        && made.tunnel.as_deref() == Some(&tunnel.name)
    {
        takedown.acts.push((
            format!("the tunnel {} at Cloudflare", tunnel.name),
            Effect::Edge(Act::RemoveTunnel {
                account,
                tunnel: tunnel.id,
                name: tunnel.name,
                token_file: record::token_file(config.site()),
            }),
        ));
    }
    if !settings.zone_settings.is_empty() {
        takedown.stays.push(format!("the settings of the zone {name}, which concern other names too"));
    }
    forget(site, seen, "cloudflare", takedown)
}

/// Last of all, the record of what was made goes too.
pub(super) fn forget(site: &Site, seen: &Observed, part: &str, takedown: &mut Takedown) -> Result<(), Stop> {
    let path = record::path(site.config.site(), part);
    if seen.file(Side::Machine, &path)?.is_some() {
        takedown.acts.push((String::new(), Effect::RemoveFile { side: Side::Machine, path }));
    }
    Ok(())
}
