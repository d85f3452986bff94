//! Settings of the whole zone, touched only where the config names them.

use super::{
    Diff, Observed, Question, Resource, ResourceId, Seen, Site, Stop, asked, change, cloudflare, decided,
};
use crate::{
    config::ZoneSetting,
    edge::{Act, cloudflare::Setting as Found},
    effect::Effect,
    ids,
    name::idn,
    resource::{Risk, Step},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let named = site.config.edge.cloudflare.iter().flat_map(|cloudflare| cloudflare.zone_settings.iter());
    named
        .map(|setting| Box::new(Setting { site: site.clone(), setting: *setting }) as Box<dyn Resource>)
        .collect()
}

struct Setting {
    site: Site,
    setting: ZoneSetting,
}

impl Resource for Setting {
    fn id(&self) -> ResourceId {
        ids::zone_setting(self.setting.id())
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![cloudflare::id()]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        decided(self.compare(seen))
    }
}

impl Setting {
    fn compare(&self, seen: &Observed) -> Result<Diff, Stop> {
        let id = self.setting.id();
        let what = format!("Look at the zone's setting {id}");
        let zone = super::zone(&self.site, seen, &what)?;
        let question = Question::Setting { zone: zone.id.clone(), setting: id.to_owned() };
        let found: Found = asked(seen, question, &what)?;
        let now = found.value.as_str().unwrap_or_default();
        let Some(wanted) = self.setting.correction(now) else {
            return Ok(Diff::settled(format!("{id} is {now}")));
        };
        if !found.editable {
            return Ok(Diff::settled(format!(
                "{id} is {now}, and Cloudflare lets nobody change it in this zone"
            )));
        }
        Ok(Diff::Change(Step {
            what: format!("Set {id} of the zone {} to {wanted}", idn::both(&zone.ascii_name())),
            why: format!("it is {now}; this concerns every name in the zone, and zone_settings allows it"),
            risk: Risk::None,
            changes: vec![change(
                format!("/cloudflare/zone/{id}"),
                Some(format!("{now}\n")),
                format!("{wanted}\n"),
            )],
            effects: vec![Effect::Edge(Act::WriteSetting {
                zone: zone.id,
                setting: id.to_owned(),
                value: wanted.to_owned(),
            })],
        }))
    }
}
