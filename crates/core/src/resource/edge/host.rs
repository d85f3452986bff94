//! The proxy hosts in NPM: the Matrix server's, the web client's, and the
//! domain's own where nothing else stands before NPM.

use serde_json::{Value as Json, json};

use super::{
    Diff, Observed, Question, Resource, ResourceId, Seen, Side, Site, Stop, asked, certificate, change,
    decided, edge_way, npm,
    outside::{View, outside_question, outside_view},
};
use crate::{
    config::CertificateChoice,
    edge::{
        Act, Host as Write, adopted_mark, mark,
        npm::{self as api, META_KEY, Outside, Role, Serving},
        record::{self, Adopted, NpmRecord},
    },
    effect::{Effect, Local},
    ids,
    name::{Mode, Owner},
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
    match role {
        Role::Matrix => ids::EDGE_NPM_MATRIX,
        Role::Client => ids::EDGE_NPM_CLIENT,
        Role::Apex => ids::EDGE_NPM_APEX,
    }
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
        let now = hosts.iter().find(|host| api::has_name(host, name));
        let version = npm::version(seen, &what)?;
        let certificate = if settings.certificate == CertificateChoice::None {
            None
        } else {
            match certificate::of_host(&self.site, seen, name, &what)? {
                None => return Ok(Diff::later(what, "there is no certificate yet")),
                found => found,
            }
        };
        let Some(way) = edge_way(&self.site, seen)? else {
            return Ok(Diff::later(what, "the guest has no address yet"));
        };
        // What a person chose may have names that NPM does not know of.
        let named =
            certificate.as_ref().is_some_and(|found| found.provider == "letsencrypt" && found.names(name));
        let certificate = certificate.map(|certificate| certificate.id);
        let trust = npm::plain_tunnel(&self.site) != Some(false);
        let wanted = api::wanted(&way, self.role, settings, version, certificate, trust);
        let site = self.site.config.site();
        let before = now.map(|now| api::as_wanted(now, &wanted));
        let equal = before.as_ref() == Some(&wanted);
        let marked = now.is_some_and(|now| api::is_marked(now, site));
        let serving = now.map(api::serving);
        let outside = Outside::of(&self.site.config);
        let unseen = match (&outside, &serving) {
            (Some(outside), Some(Serving::Online)) if equal && marked => self.unseen(seen, outside, named)?,
            _ => None,
        };
        if equal && marked && serving == Some(Serving::Online) && unseen.is_none() {
            return Ok(Diff::settled(format!(
                "NPM leads {name} to {}:{}",
                wanted["forward_host"].as_str().unwrap_or_default(),
                wanted["forward_port"]
            )));
        }
        let mut fields = wanted.clone();
        let ours = now.is_none_or(|now| api::made_for(now, site));
        fields["meta"] = json!({ META_KEY: if ours { mark(site) } else { adopted_mark(site) } });
        let before_fields = now.and_then(|now| Some((now["id"].as_u64()?, api::writable(now))));
        let mut effects = Vec::new();
        if let Some((id, was)) = before_fields.as_ref().filter(|_| !marked) {
            effects.extend(self.remember(seen, *id, was)?);
        }
        effects.push(Effect::Edge(Act::WriteHost(Write {
            name: name.clone(),
            fields,
            before: before_fields,
            outside,
            named,
        })));
        Ok(Diff::Change(Step {
            what,
            why: match (serving, unseen) {
                (None, _) => "NPM knows no such host".to_owned(),
                (Some(Serving::Refused(words)), _) => {
                    format!("its nginx does not serve the host: {}", api::reason(&words))
                }
                (Some(Serving::Unknown), _) => "NPM saved the host, and its nginx never got it".to_owned(),
                (_, Some(why)) => format!("NPM says that its nginx serves the host, and it does not: {why}"),
                (_, None) if !marked && equal => {
                    "the host is there; it is only marked as this server's".to_owned()
                }
                (_, None) if !marked => {
                    "a host of that name is there and is taken over; what it says changes as shown".to_owned()
                }
                (_, None) => "it says something else".to_owned(),
            },
            risk: Risk::None,
            changes: vec![change(
                format!("/npm/proxy-host/{name}"),
                before.as_ref().map(api::lines),
                api::lines(&wanted),
            )],
            effects,
        }))
    }

    /// Why the host is not served whatever NPM says; none where it is, and where
    /// it cannot be seen from here. NPM's database is not told of everything
    /// that happens to a host's file.
    fn unseen(&self, seen: &Observed, outside: &Outside, named: bool) -> Result<Option<String>, Stop> {
        let address = match outside.host.parse() {
            Ok(address) => Some(address),
            Err(_) => seen.addresses(Side::Machine, &outside.host)?.addresses.first().copied(),
        };
        let Some(address) = address else { return Ok(None) };
        let question = outside_question(outside, &self.name, address);
        Ok(match outside_view(seen.http(Side::Machine, &question)?, &self.name, named) {
            View::Refuses(why) => Some(format!("at {outside}, {why}")),
            View::Serves | View::Dark => None,
        })
    }

    /// Writes down what a host that is taken over said before: `edge remove`
    /// puts it back.
    fn remember(&self, seen: &Observed, id: u64, was: &Json) -> Result<Option<Effect>, Stop> {
        let path = record::path(self.site.config.site(), "npm");
        let file = seen.file(Side::Machine, &path)?;
        let mut made: NpmRecord =
            record::parse(file.and_then(|file| file.content.as_deref())).map_err(|why| {
                Stop::Diff(Diff::Blocked {
                    why: format!("{path}, which says what was made in NPM, cannot be read: {why}"),
                    hint: "look at it; without it, `edge remove` leaves certificates and adopted hosts alone"
                        .to_owned(),
                })
            })?;
        if made.adopted.iter().any(|adopted| adopted.id == id) {
            return Ok(None);
        }
        let mut was = was.clone();
        if let Some(fields) = was.as_object_mut() {
            fields.remove("meta");
            fields.remove("domain_names");
        }
        made.adopted.push(Adopted { id, was });
        Ok(Some(Effect::Here(Local::WriteFile {
            side: Side::Machine,
            path,
            content: record::render(&made),
            mode: Mode(0o600),
            owner: Owner::ROOT,
        })))
    }
}
