//! The certificate of the proxy hosts: one that NPM has, or one that it requests.

use serde_json::Value as Json;

use super::{Diff, Observed, Question, Resource, ResourceId, Seen, Site, Stop, asked, decided, npm};
use crate::{
    config::CertificateChoice,
    edge::{
        Act,
        npm::{self as api, Certificate as Found, Choice},
        record,
    },
    effect::Effect,
    ids,
    resource::{Risk, Step},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    match &site.config.edge.npm {
        Some(npm) if npm.certificate != CertificateChoice::None => {
            vec![Box::new(Certificate { site: site.clone(), may_request: may_request(site) })]
        }
        _ => Vec::new(),
    }
}

pub(super) fn id() -> ResourceId {
    ids::EDGE_NPM_CERTIFICATE
}

fn may_request(site: &Site) -> bool {
    site.config
        .edge
        .npm
        .as_ref()
        .is_some_and(|npm| npm.certificate == CertificateChoice::Request && npm.certificate_name.is_none())
}

/// The hosts that NPM serves for us.
pub(super) fn hosts(site: &Site) -> Vec<String> {
    let config = &site.config;
    let mut hosts = vec![config.matrix_host().to_owned(), config.chat_host().to_owned()];
    // Behind a tunnel, the Matrix host answers for the domain too.
    if config.edge.cloudflare.is_none() {
        hosts.extend(config.apex_host().map(str::to_owned));
    }
    hosts
}

/// The certificate of `name`; none while it is bare.
pub(super) fn of_host(site: &Site, seen: &Observed, name: &str, what: &str) -> Result<Option<Found>, Stop> {
    let all: Vec<Found> = asked(seen, Question::NpmCertificates, what)?;
    let hosts: Vec<Json> = asked(seen, Question::NpmHosts, what)?;
    let now = seen.edge_answered_at(Question::NpmCertificates)?;
    let named = site.config.edge.npm.as_ref().and_then(|npm| npm.certificate_name.as_deref());
    let used = hosts.iter().find(|host| api::has_name(host, name)).and_then(api::certificate_of);
    match api::choose(&all, named, name, used, &now) {
        Choice::Use(found) => Ok(Some(found.clone())),
        Choice::None => Ok(None),
        Choice::Missing(why) => Err(Diff::Blocked {
            why,
            hint: "edge.npm.certificate_name takes a certificate's name or its number, as NPM's list of certificates shows \
                   them; without that key, one that names the hosts is taken or requested"
                .to_owned(),
        }
        .into()),
    }
}

/// Those of our hosts that have no certificate and that one is requested for.
/// The others are left out: whatever is asked for leaves NPM's nginx meanwhile.
pub(super) fn bare(site: &Site, seen: &Observed, what: &str) -> Result<Vec<String>, Stop> {
    let mut bare = Vec::new();
    for name in hosts(site) {
        if of_host(site, seen, &name, what)?.is_none() {
            bare.push(name);
        }
    }
    bare.sort();
    Ok(bare)
}

/// Whether NPM will be asked for a certificate.
pub(super) fn will_request(site: &Site, seen: &Observed, what: &str) -> Result<bool, Stop> {
    Ok(may_request(site) && !bare(site, seen, what)?.is_empty())
}

struct Certificate {
    site: Site,
    may_request: bool,
}

impl Resource for Certificate {
    fn id(&self) -> ResourceId {
        id()
    }

    fn needs(&self) -> Vec<ResourceId> {
        vec![npm::id()]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        decided(self.compare(seen))
    }
}

impl Certificate {
    fn compare(&self, seen: &Observed) -> Result<Diff, Stop> {
        let what = "Look for a certificate in NPM";
        let names = bare(&self.site, seen, what)?;
        if names.is_empty() {
            let first = of_host(&self.site, seen, self.site.config.matrix_host(), what)?;
            let until = first.as_ref().and_then(|c| c.expires_on.get(..10)).unwrap_or_default();
            return Ok(Diff::settled(format!("NPM has a certificate, valid until {until}")));
        }
        if !self.may_request {
            return Ok(Diff::Blocked {
                why: format!("NPM has no valid certificate for {}", names.join(" and ")),
                hint: "add one in NPM, name one that is there with edge.npm.certificate_name, or write \
                       edge.npm.certificate = \"request\""
                    .to_owned(),
            });
        }
        let mut why = format!(
            "NPM has none for {}; it proves to Let's Encrypt that the names are yours through a DNS record",
            names.join(" and ")
        );
        let away = away(seen, &names, what)?;
        if !away.is_empty() {
            why.push_str(&format!(
                ". For about half a minute NPM does not serve {}, and then without HTTPS until the host is written again, \
                 which happens right behind it",
                away.join(" and ")
            ));
        }
        let identity = self.site.config.edge.npm.as_ref().map(|npm| npm.identity.clone()).unwrap_or_default();
        Ok(Diff::Change(Step {
            what: format!("Request a certificate for {}", names.join(" and ")),
            why,
            risk: if away.is_empty() { Risk::None } else { Risk::Interrupts },
            changes: Vec::new(),
            effects: vec![Effect::Edge(Act::RequestCertificate {
                meta: api::certificate_meta(npm::version(seen, what)?, &identity),
                names,
                record: record::path(self.site.config.site(), "npm"),
            })],
        }))
    }
}

/// Those of `names` that NPM serves now: its nginx loses them while it asks.
fn away(seen: &Observed, names: &[String], what: &str) -> Result<Vec<String>, Stop> {
    let hosts: Vec<Json> = asked(seen, Question::NpmHosts, what)?;
    let served =
        |name: &&String| hosts.iter().any(|host| api::has_name(host, name) && host["enabled"] != false);
    Ok(names.iter().filter(served).cloned().collect())
}
