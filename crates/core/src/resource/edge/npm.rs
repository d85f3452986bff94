//! Whether Nginx Proxy Manager lets us do what is wanted, asked before anything else.

use super::{
    Diff, Observed, Question, Refusal, Resource, ResourceId, Seen, Site, Stop, behind_the_stack, blocked,
    certificate, decided, host,
};
use crate::{
    config::{CertificateChoice, Npm},
    edge::npm::{Status, Version},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let Some(npm) = &site.config.edge.npm else { return Vec::new() };
    let mut all: Vec<Box<dyn Resource>> = vec![Box::new(Access { site: site.clone(), npm: npm.clone() })];
    all.extend(certificate::all(site));
    all.extend(host::all(site));
    all
}

pub(super) fn id() -> ResourceId {
    ResourceId::new("edge/npm/access")
}

/// Whether a tunnel may come over plain HTTP to hosts that force HTTPS. Of one
/// that is set up by hand nobody here knows.
pub(super) fn plain_tunnel(site: &Site) -> bool {
    match &site.config.edge.cloudflare {
        Some(cloudflare) => cloudflare.service.starts_with("http://"),
        None => site.config.edge.connectors.is_some(),
    }
}

/// The version, once NPM answers.
pub(super) fn version(seen: &Observed, what: &str) -> Result<Version, Stop> {
    super::asked::<Status>(seen, Question::NpmStatus, what).map(|status| status.version)
}

struct Access {
    site: Site,
    npm: Npm,
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
        let address = &self.npm.address;
        let status: Result<Status, Refusal> = seen.edge(Question::NpmStatus)?;
        let status = status.map_err(|_| Diff::Blocked {
            why: format!("what answers at {address} is not Nginx Proxy Manager"),
            hint: "edge.npm.address is where one opens NPM's own pages, mostly on port 81".to_owned(),
        })?;
        if !status.setup {
            return Ok(Diff::Blocked {
                why: format!("NPM at {address} has no user yet: whoever opens it first owns it"),
                hint: "open it in a browser, make the first user, and give its address and password here"
                    .to_owned(),
            });
        }
        if !status.version.at_least(12, 0) {
            return Ok(Diff::Blocked {
                why: format!("NPM at {address} is version {}", status.version),
                hint: "2.12 or later is needed: update its image".to_owned(),
            });
        }
        let hosts: Result<serde_json::Value, Refusal> = seen.edge(Question::NpmHosts)?;
        hosts.map_err(|refusal| Stop::Diff(blocked(&refusal)))?;
        if self.npm.certificate != CertificateChoice::None {
            let certificates: Result<serde_json::Value, Refusal> = seen.edge(Question::NpmCertificates)?;
            certificates.map_err(|refusal| Stop::Diff(blocked(&refusal)))?;
            if self.site.config.edge.cloudflare.is_some()
                && plain_tunnel(&self.site)
                && !status.version.at_least(14, 0)
            {
                return Ok(Diff::Blocked {
                    why: format!(
                        "NPM {} would send everybody who comes through the tunnel round in circles: the tunnel delivers by \
                         http://, and only NPM 2.14 or later believes that it was https:// before",
                        status.version
                    ),
                    hint: "write https:// in edge.cloudflare.service, or update NPM".to_owned(),
                });
            }
        }
        Ok(Diff::settled(format!("NPM {} at {address} lets us in", status.version)))
    }
}
