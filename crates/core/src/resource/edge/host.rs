//! The proxy hosts in NPM: the Matrix server's, the web client's, and the
//! domain's own where nothing else stands before NPM.

use serde_json::{Value as Json, json};

use super::{
    Diff, Observed, Question, Resource, ResourceId, Seen, Site, Stop, asked, certificate, change, decided,
    edge_way, npm,
};
use crate::{
    config::CertificateChoice,
    edge::{
        Act, Host as Write, adopted_mark, mark,
        npm::{self as api, Certificate, META_KEY, Role},
    },
    effect::Effect,
    resource::{Risk, Step},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let host = |role, name: &str| {
        Box::new(Host { site: site.clone(), role, name: name.to_owned() }) as Box<dyn Resource>
    };
    let config = &site.config;
    let mut all = vec![host(Role::Matrix, config.matrix_host()), host(Role::Client, config.chat_host())];
    if config.edge.cloudflare.is_none() {
        all.extend(config.apex_host().map(|apex| host(Role::Apex, apex)));
    }
    all
}

/// The hosts that a tunnel leads to.
pub(super) fn ids() -> [ResourceId; 2] {
    [id(Role::Matrix), id(Role::Client)]
}

fn id(role: Role) -> ResourceId {
    ResourceId::new(match role {
        Role::Matrix => "edge/npm/matrix",
        Role::Client => "edge/npm/client",
        Role::Apex => "edge/npm/apex",
    })
}

struct Host {
    site: Site,
    role: Role,
    name: String,
}

impl Resource for Host {
    fn id(&self) -> ResourceId {
        id(self.role)
    }

    fn needs(&self) -> Vec<ResourceId> {
        // One after the other: each makes NPM's nginx read its files again.
        let before = match self.role {
            Role::Matrix => certificate::id(),
            Role::Client => id(Role::Matrix),
            Role::Apex => id(Role::Client),
        };
        vec![npm::id(), before]
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        decided(self.compare(seen))
    }
}

impl Host {
    fn compare(&self, seen: &Observed) -> Result<Diff, Stop> {
        let name = &self.name;
        let what = format!("Have NPM lead {name} to the guest");
        let Some(settings) = &self.site.config.edge.npm else { return Ok(Diff::settled("none is wanted")) };
        let hosts: Vec<Json> = asked(seen, Question::NpmHosts, &what)?;
        if let Some(taken) = self.taken(seen, &hosts, &what)? {
            return Ok(taken);
        }
        let now = hosts.iter().find(|host| api::has_name(host, name));
        let version = npm::version(seen, &what)?;
        let certificate = if settings.certificate == CertificateChoice::None {
            None
        } else {
            let all: Vec<Certificate> = asked(seen, Question::NpmCertificates, &what)?;
            let today = seen.edge_answered_at(Question::NpmCertificates)?;
            let Some(found) = api::certificate_for(&all, name, &today) else {
                return Ok(Diff::later(what, "there is no certificate yet"));
            };
            // One that works is not changed for one that lasts longer.
            let used = now.map(|now| api::writable(now)["certificate_id"].clone());
            let used = all.iter().find(|c| Some(json!(c.id)) == used && c.covers(name, &today));
            Some(used.unwrap_or(found).id)
        };
        let Some(way) = edge_way(&self.site, seen)? else {
            return Ok(Diff::later(what, "the guest has no address yet"));
        };
        let wanted =
            api::wanted(&way, self.role, settings, version, certificate, npm::plain_tunnel(&self.site));
        let site = self.site.config.site();
        let before = now.map(|now| api::as_wanted(now, &wanted));
        let equal = before.as_ref() == Some(&wanted);
        let marked = now.is_some_and(|now| api::is_marked(now, site));
        let error = now.and_then(api::nginx_error);
        if equal && error.is_none() && marked {
            return Ok(Diff::settled(format!(
                "NPM leads {name} to {}:{}",
                wanted["forward_host"].as_str().unwrap_or_default(),
                wanted["forward_port"]
            )));
        }
        let mut fields = wanted.clone();
        let ours = now.is_none_or(|now| api::made_for(now, site));
        fields["meta"] = json!({ META_KEY: if ours { mark(site) } else { adopted_mark(site) } });
        Ok(Diff::Change(Step {
            what,
            why: match (now, error) {
                (None, _) => "NPM knows no such host".to_owned(),
                (Some(_), Some(error)) => {
                    format!("its nginx does not serve the host: {}", error.lines().last().unwrap_or(error))
                }
                (Some(_), None) if !marked && equal => {
                    "the host is there; it is only marked as this server's".to_owned()
                }
                (Some(_), None) if !marked => {
                    "a host of that name is there and is taken over; what it says changes as shown".to_owned()
                }
                (Some(_), None) => "it says something else".to_owned(),
            },
            risk: Risk::None,
            changes: vec![change(
                format!("/npm/proxy-host/{name}"),
                before.as_ref().map(api::lines),
                api::lines(&wanted),
            )],
            effects: vec![Effect::Edge(Act::WriteHost(Write {
                name: name.clone(),
                fields,
                before: now.and_then(|now| Some((now["id"].as_u64()?, api::writable(now)))),
            }))],
        }))
    }

    /// Whether somebody else has the name, in a way that cannot be taken over.
    fn taken(&self, seen: &Observed, hosts: &[Json], what: &str) -> Result<Option<Diff>, Stop> {
        let name = &self.name;
        let blocked = |why: String, hint: String| Ok(Some(Diff::Blocked { why, hint }));
        if let Some(host) = hosts.iter().find(|host| api::has_name(host, name)) {
            let names = api::names(host);
            if names.len() > 1 {
                return blocked(
                    format!(
                        "{name} shares a proxy host in NPM with {}",
                        names.iter().filter(|n| **n != name.as_str()).copied().collect::<Vec<_>>().join(", ")
                    ),
                    format!("take {name} out of that host in NPM; it then gets one of its own"),
                );
            }
            if self.role == Role::Apex && !api::is_marked(host, self.site.config.site()) {
                return blocked(
                    format!("{name} has a proxy host in NPM already"),
                    "write well_known.apex = \"elsewhere\", and put what `matrix-podman edge guide` says into that host's Advanced tab".to_owned(),
                );
            }
        }
        for (question, kind) in
            [(Question::NpmRedirections, "redirection host"), (Question::NpmDeadHosts, "404 host")]
        {
            let others: Vec<Json> = asked(seen, question, what)?;
            if others.iter().any(|host| api::has_name(host, name)) {
                return blocked(
                    format!("{name} is a {kind} in NPM"),
                    format!(
                        "remove that {kind} in NPM if the name is meant for this server; else choose another name"
                    ),
                );
            }
        }
        Ok(None)
    }
}
