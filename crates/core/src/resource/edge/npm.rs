//! Whether Nginx Proxy Manager lets us do what is wanted, asked before anything else.

use serde_json::Value as Json;

use super::{
    Diff, Gap, Observed, Question, Refusal, Resource, ResourceId, Seen, Site, Stop, behind_the_stack,
    blocked, certificate, conflict, decided, host,
};
use crate::{
    config::{CertificateChoice, Npm},
    edge::npm::{Need, Status, User, Version},
    ids,
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let Some(npm) = &site.config.edge.npm else { return Vec::new() };
    let mut all: Vec<Box<dyn Resource>> = vec![Box::new(Access { site: site.clone(), npm: npm.clone() })];
    all.extend(certificate::all(site));
    all.extend(host::all(site));
    all
}

pub(super) fn id() -> ResourceId {
    ids::EDGE_NPM_ACCESS
}

/// Whether a tunnel comes over plain HTTP to hosts that force HTTPS; none where
/// a tunnel is set up by hand and nobody said how it delivers.
pub(super) fn plain_tunnel(site: &Site) -> Option<bool> {
    let edge = &site.config.edge;
    match edge.service() {
        Some(service) => Some(service.starts_with("http://")),
        None if edge.connectors.is_some() => None,
        None => Some(false),
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
        behind_the_stack(&self.site)
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        decided(self.compare(seen))
    }
}

fn stop(why: impl Into<String>, hint: impl Into<String>) -> Stop {
    Diff::Blocked { why: why.into(), hint: hint.into() }.into()
}

/// The answer to a question that only needs to be answered.
fn readable(seen: &Observed, question: Question) -> Result<(), Stop> {
    let answer: Result<Json, Refusal> = seen.edge(question)?;
    answer.map(drop).map_err(|refusal| blocked(&refusal).into())
}

impl Access {
    fn compare(&self, seen: &Observed) -> Result<Diff, Stop> {
        let status = self.status(seen)?;
        self.user(seen, status.version)?;
        for question in [Question::NpmHosts, Question::NpmRedirections, Question::NpmDeadHosts] {
            readable(seen, question)?;
        }
        self.circle(status.version)?;
        let what = "Look at NPM";
        for name in certificate::hosts(&self.site) {
            conflict::check(&self.site, seen, &name, what)?;
        }
        if self.npm.certificate != CertificateChoice::None {
            readable(seen, Question::NpmCertificates)?;
            if certificate::will_request(&self.site, seen, what)? {
                readable(seen, Question::NpmDnsToken)?;
            }
        }
        Ok(Diff::settled(format!("NPM {} at {} lets us in", status.version, self.npm.address)))
    }

    fn status(&self, seen: &Observed) -> Result<Status, Stop> {
        let address = &self.npm.address;
        let answer: Result<Json, Refusal> = match seen.edge(Question::NpmStatus) {
            Err(Gap::Unknown(why)) => {
                return Err(stop(
                    format!("Nginx Proxy Manager cannot be asked: {why}"),
                    format!(
                        "look whether its container runs, and whether this machine reaches it: curl {address}/api/"
                    ),
                ));
            }
            answer => answer?,
        };
        let Some(status) = answer.ok().and_then(|answer| Status::read(&answer)) else {
            return Err(stop(
                format!("what answers at {address} is not Nginx Proxy Manager"),
                "edge.npm.address is where one opens NPM's own pages, mostly on port 81; the password was not sent there",
            ));
        };
        if !status.setup {
            return Err(stop(
                format!("NPM at {address} has no user yet: whoever opens it first owns it"),
                "open it in a browser, make the first user, and give its address and password here",
            ));
        }
        if !status.version.at_least(12, 0) {
            return Err(stop(
                format!("NPM at {address} is version {}", status.version),
                "2.12 or later is needed: update its image",
            ));
        }
        Ok(status)
    }

    /// What the user lacks is said at once and as a whole: NPM itself answers
    /// with "not found", or with an error of its own, one thing after another.
    fn user(&self, seen: &Observed, version: Version) -> Result<(), Stop> {
        let user: Result<User, Refusal> = seen.edge(Question::NpmUser)?;
        let user = user.map_err(|refusal| Stop::Diff(blocked(&refusal)))?;
        let certificates = match self.npm.certificate {
            CertificateChoice::None => Need::Nothing,
            CertificateChoice::Existing => Need::View,
            CertificateChoice::Request => Need::Manage,
        };
        let lacks = user.lacks(version, certificates);
        if lacks.is_empty() {
            return Ok(());
        }
        let identity = &self.npm.identity;
        let unseen = if user.sees_all() {
            ""
        } else {
            ". What it does not see it cannot keep whole: a request for a certificate takes every host of its names off \
             HTTPS, whoever owns them"
        };
        Err(stop(
            format!("NPM's user {identity} lacks: {}", lacks.join("; ")),
            format!(
                "set that in NPM as its administrator (Users, the menu beside {identity}, Permissions){unseen}"
            ),
        ))
    }

    /// Hosts that force HTTPS send what comes by HTTP back to where it came from.
    fn circle(&self, version: Version) -> Result<(), Stop> {
        let plain = plain_tunnel(&self.site);
        let forces = self.npm.certificate != CertificateChoice::None
            && self.site.config.matrix_url.starts_with("https://");
        if !forces || plain == Some(false) || version.at_least(14, 0) {
            return Ok(());
        }
        let circles =
            format!("NPM {version} would send everybody who comes through the tunnel round in circles");
        let rest = "only NPM 2.14 or later believes that it was https:// before";
        Err(match plain {
            Some(_) => stop(
                format!("{circles}: the tunnel delivers by http://, and {rest}"),
                "have the tunnel deliver by https://, and write that in edge.cloudflare.service; or update NPM",
            ),
            None => stop(
                format!("{circles} if the tunnel delivers by http://: {rest}"),
                "say how it delivers with edge.cloudflare.service = \"https://ADDRESS\" beside connectors, or update NPM",
            ),
        })
    }
}
