//! The tunnel's routes: ours among those of others.

use super::{
    Diff, Observed, Question, Resource, ResourceId, Seen, Site, Stop, asked, change, decided, tunnel,
};
use crate::{
    edge::{Act, cloudflare::TunnelConfig, ingress},
    effect::Effect,
    ids,
    resource::{Risk, Step},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(Routes { site: site.clone() })]
}

pub(super) fn id() -> ResourceId {
    ids::EDGE_CLOUDFLARE_ROUTES
}

struct Routes {
    site: Site,
}

impl Resource for Routes {
    fn id(&self) -> ResourceId {
        id()
    }

    fn needs(&self) -> Vec<ResourceId> {
        // People are sent to the proxy once it knows where to send them on.
        let mut needs = vec![tunnel::id()];
        if self.site.config.edge.npm.is_some() {
            needs.extend(super::host::ids());
        }
        needs
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        decided(self.compare(seen))
    }
}

impl Routes {
    fn compare(&self, seen: &Observed) -> Result<Diff, Stop> {
        let config = &self.site.config;
        let Some(cloudflare) = &config.edge.cloudflare else { return Ok(Diff::settled("none are wanted")) };
        let what = format!("Lead {} through the tunnel", config.matrix_host());
        let (zone, found) = super::tunnel(&self.site, seen, &what)?;
        let account = zone.account.id;
        let question = Question::TunnelConfig { account: account.clone(), tunnel: found.id.clone() };
        let now = match seen.edge::<TunnelConfig>(question.clone())? {
            Ok(config) => config.config,
            // A tunnel that never had a config may have none.
            Err(refusal) if refusal.kind == crate::edge::RefusalKind::NotFound => serde_json::Value::Null,
            Err(_) => asked(seen, question, &what)?,
        };
        let wanted = ingress::wanted(config, cloudflare);
        let after = ingress::merge(&now, &wanted);
        if ingress::same(&now, &after) {
            return Ok(Diff::settled(format!("{} routes lead to {}", wanted.len(), cloudflare.service)));
        }
        let mut made = tunnel::read_record(&self.site, seen)?;
        for route in ingress::missing(&now, &wanted) {
            // What stood there before we first came is what comes back.
            if !made.routes.iter().any(|r| (&r.hostname, &r.path) == (&route.hostname, &route.path)) {
                made.routes.push(route);
            }
        }
        let text = |config: &serde_json::Value| {
            let rules = config["ingress"].as_array().into_iter().flatten();
            rules.map(|rule| format!("{rule}\n")).collect::<String>()
        };
        let effects = vec![
            tunnel::write_record(&self.site, &made),
            Effect::Edge(Act::WriteRoutes {
                account,
                tunnel: found.id,
                before: now.clone(),
                after: after.clone(),
            }),
        ];
        Ok(Diff::Change(Step {
            what,
            why: format!("the tunnel {} has no such route, or another", found.name),
            risk: Risk::None,
            changes: vec![change(
                format!("/cloudflare/tunnel/{}/routes", found.name),
                Some(text(&now)),
                text(&after),
            )],
            effects,
        }))
    }
}
