//! The DNS records of the public names.

use super::{
    Diff, Observed, Question, Resource, ResourceId, Seen, Site, Stop, asked, change, decided, routes,
};
use crate::{
    edge::{
        Act, Record, adopted_mark,
        cloudflare::{DnsRecord, comment, says, tunnel_target},
        mark,
    },
    effect::Effect,
    ids,
    resource::{Risk, Step},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let config = &site.config;
    [Some(config.matrix_host()), Some(config.chat_host()), config.apex_host()]
        .into_iter()
        .flatten()
        .map(|host| {
            Box::new(Name {
                site: site.clone(),
                host: host.to_owned(),
                apex: config.apex_host() == Some(host),
            }) as Box<dyn Resource>
        })
        .collect()
}

struct Name {
    site: Site,
    host: String,
    apex: bool,
}

impl Resource for Name {
    fn id(&self) -> ResourceId {
        ids::dns_record(&self.host)
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![routes::id()]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        decided(self.compare(seen))
    }
}

impl Name {
    fn compare(&self, seen: &Observed) -> Result<Diff, Stop> {
        let host = &self.host;
        let what = format!("Lead the name {host} to the tunnel");
        let zone = super::zone(&self.site, seen, &what)?;
        let all: Vec<DnsRecord> =
            asked(seen, Question::Records { zone: zone.id.clone(), host: host.clone() }, &what)?;
        // Only these decide where browsers go.
        let leading: Vec<DnsRecord> = all
            .into_iter()
            .filter(|r| {
                r.name.eq_ignore_ascii_case(host)
                    // Every zone has name servers at its own name; below, they lead a part of it elsewhere.
                    && match r.kind.as_str() {
                        "A" | "AAAA" | "CNAME" | "HTTPS" => true,
                        "NS" => *host != zone.ascii_name(),
                        _ => false,
                    }
            })
            .collect();
        let site = self.site.config.site();
        let is_ours = |record: &DnsRecord| says(record.comment.as_deref(), &mark(site));
        // A name in use is told of before there is a tunnel.
        let found = super::tunnel(&self.site, seen, &what);
        let target = found.as_ref().ok().map(|(_, tunnel)| tunnel_target(&tunnel.id));
        let stranger = leading
            .iter()
            .find(|r| !(r.kind == "CNAME" && (is_ours(r) || target.as_deref() == Some(r.content.as_str()))));
        if let Some(record) = stranger {
            return Ok(self.taken(record));
        }
        let (zone, tunnel) = found?;
        let target = tunnel_target(&tunnel.id);
        let now = leading.first();
        if let Some(now) = now
            && now.content == target
            && now.proxied
        {
            return Ok(Diff::settled(format!("{host} leads to the tunnel {}", tunnel.name)));
        }
        let comment = match now {
            Some(now) if !is_ours(now) => now.comment.clone().unwrap_or_else(|| comment(&adopted_mark(site))),
            _ => comment(&mark(site)),
        };
        let record = Record { host: host.clone(), target: target.clone(), comment };
        let line = |content: &str, proxied: bool| {
            format!("CNAME {content}{}\n", if proxied { " (proxied)" } else { "" })
        };
        Ok(Diff::Change(Step {
            what,
            why: match now {
                None => "the name does not exist yet".to_owned(),
                Some(now) if now.content != target => format!("it leads to {}", now.content),
                Some(_) => "it goes past Cloudflare, where a tunnel cannot be reached".to_owned(),
            },
            risk: Risk::None,
            changes: vec![change(
                format!("/cloudflare/dns/{host}"),
                now.map(|now| line(&now.content, now.proxied)),
                line(&target, true),
            )],
            effects: vec![Effect::Edge(Act::WriteRecord {
                zone: zone.id,
                id: now.map(|now| now.id.clone()),
                record,
            })],
        }))
    }

    fn taken(&self, record: &DnsRecord) -> Diff {
        let host = &self.host;
        Diff::Blocked {
            why: format!(
                "{host} is in use already: it is a {} that leads to {}",
                record.kind, record.content
            ),
            hint: if self.apex {
                format!(
                    "if {host} has a web site of its own, write well_known.apex = \"elsewhere\" and have the site answer \
                     what `matrix-podman edge guide` says; if it has none, remove the record at Cloudflare"
                )
            } else {
                format!(
                    "remove the record at Cloudflare if {host} is meant for this server; else choose other names with matrix_url and chat_url"
                )
            },
        }
    }
}
