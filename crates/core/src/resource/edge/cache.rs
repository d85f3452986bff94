//! The rule that keeps Cloudflare from storing what the Matrix server sends.

use super::{Diff, Observed, Question, Resource, ResourceId, Seen, Site, Stop, asked, cloudflare, decided};
use crate::{
    edge::{
        Act, RefusalKind,
        cloudflare::{Ruleset, cache_rule, cache_rule_ref, rule_in_the_way, rule_is},
    },
    effect::Effect,
    ids,
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    match &site.config.edge.cloudflare {
        Some(cloudflare) if cloudflare.cache_rule => vec![Box::new(Rule { site: site.clone() })],
        _ => Vec::new(),
    }
}

struct Rule {
    site: Site,
}

impl Resource for Rule {
    fn id(&self) -> ResourceId {
        ids::EDGE_CLOUDFLARE_CACHE_RULE
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![cloudflare::id()]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        decided(self.compare(seen))
    }
}

impl Rule {
    fn compare(&self, seen: &Observed) -> Result<Diff, Stop> {
        let host = self.site.config.matrix_host();
        let what = format!("Keep Cloudflare from storing what {host} sends");
        let zone = super::zone(&self.site, seen, &what)?;
        let question = Question::CacheRules { zone: zone.id.clone() };
        let wanted = cache_rule(host, self.site.config.site());
        let write = |place, behind, why: &str| {
            let act = Act::WriteCacheRule { zone: zone.id.clone(), place, behind, rule: wanted.clone() };
            Ok(Diff::quiet(what.clone(), why, vec![Effect::Edge(act)]))
        };
        let rules: Ruleset = match seen.edge(question.clone())? {
            Ok(rules) => rules,
            Err(refusal) if refusal.kind == RefusalKind::NotFound => {
                return write(None, None, "the zone has no cache rules yet");
            }
            Err(_) => asked(seen, question, &what)?,
        };
        let id = |rule: &serde_json::Value| rule["id"].as_str().map(str::to_owned);
        let winning = rule_in_the_way(&rules.rules, &cache_rule_ref(host), host);
        match rules.rules.iter().find(|rule| rule["ref"] == wanted["ref"]) {
            Some(rule) if winning.is_some() => write(
                Some((rules.id.clone(), id(rule))),
                rules.rules.last().and_then(id),
                "a rule behind ours stores what it keeps out: the last one that fits wins",
            ),
            Some(rule) if rule_is(rule, &wanted) => {
                Ok(Diff::settled(format!("a rule keeps what {host} sends out of the cache")))
            }
            Some(rule) => write(Some((rules.id, id(rule))), None, "our rule says something else now"),
            None => write(Some((rules.id, None)), None, "there is no such rule; the others stay as they are"),
        }
    }
}
