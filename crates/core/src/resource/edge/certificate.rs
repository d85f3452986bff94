//! The certificate of the proxy hosts: one that NPM has, or one that it requests.

use super::{Diff, Observed, Question, Resource, ResourceId, Seen, Side, Site, Stop, asked, decided, npm};
use crate::{
    config::CertificateChoice,
    edge::{
        Act,
        npm::{self as api, Certificate as Found},
        record::{self, NpmRecord},
    },
    effect::Effect,
    name::{Mode, Owner},
    resource::{Risk, Step},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    match &site.config.edge.npm {
        Some(npm) if npm.certificate != CertificateChoice::None => {
            vec![Box::new(Certificate {
                site: site.clone(),
                may_request: npm.certificate == CertificateChoice::Request,
            })]
        }
        _ => Vec::new(),
    }
}

pub(super) fn id() -> ResourceId {
    ResourceId::new("edge/npm/certificate")
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
        let mut names = hosts(&self.site);
        let what = format!("Request a certificate for {}", names.join(" and "));
        let all: Vec<Found> = asked(seen, Question::NpmCertificates, &what)?;
        let now = seen.edge_answered_at(Question::NpmCertificates)?;
        let bare: Vec<String> =
            names.iter().filter(|name| api::certificate_for(&all, name, &now).is_none()).cloned().collect();
        if bare.is_empty() {
            let first = api::certificate_for(&all, &names[0], &now);
            let until = first.and_then(|c| c.expires_on.get(..10)).unwrap_or_default();
            return Ok(Diff::settled(format!("NPM has a certificate, valid until {until}")));
        }
        if !self.may_request {
            return Ok(Diff::Blocked {
                why: format!("NPM has no valid certificate for {}", bare[0]),
                hint: "add one in NPM, or write edge.npm.certificate = \"request\"".to_owned(),
            });
        }
        names.sort();
        let identity = self.site.config.edge.npm.as_ref().map(|npm| npm.identity.clone()).unwrap_or_default();
        let meta = api::certificate_meta(npm::version(seen, &what)?, &identity);
        let path = record::path(self.site.config.site(), "npm");
        let file = seen.file(Side::Machine, &path)?;
        let mut made: NpmRecord = record::parse(file.and_then(|f| f.content.as_deref())).unwrap_or_default();
        if !made.certificates.contains(&names) {
            made.certificates.push(names.clone());
        }
        Ok(Diff::Change(Step {
            what,
            why: format!(
                "NPM has none for {}; it proves to Let's Encrypt that the names are yours through a DNS record",
                bare[0]
            ),
            risk: Risk::None,
            changes: Vec::new(),
            effects: vec![
                Effect::WriteFile {
                    side: Side::Machine,
                    path,
                    content: record::render(&made),
                    mode: Mode(0o600),
                    owner: Owner::ROOT,
                },
                Effect::Edge(Act::RequestCertificate { names, meta }),
            ],
        }))
    }
}
