//! Exactly what was made at the edge, to be taken down again.

mod cloudflare;

use serde_json::Value as Json;

use crate::{
    edge::{
        Act, Question, Refusal, RefusalKind,
        npm::{self as api, Certificate},
        record::{self, NpmRecord},
    },
    effect::Effect,
    fact::Side,
    observed::{Gap, Observed, Seen},
    resource::Site,
};

/// Acts in order, each with what a person reads.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Takedown {
    /// What goes.
    pub acts: Vec<(String, Effect)>,
    /// What stays though it was set from here, and why.
    pub stays: Vec<String>,
}

/// What of this site's is at the edge; a refusal when it cannot be seen.
pub fn edge_takedown(site: &Site, seen: &Observed) -> Seen<Result<Takedown, Refusal>> {
    let mut takedown = Takedown::default();
    if site.config.edge.cloudflare.is_some() {
        match cloudflare::routes_and_names(site, seen, &mut takedown) {
            Ok(()) => {}
            Err(Stop::Gap(gap)) => return Err(gap),
            Err(Stop::Refused(refusal)) => return Ok(Err(refusal)),
        }
    }
    if site.config.edge.npm.is_some() {
        match npm(site, seen, &mut takedown) {
            Ok(()) => {}
            Err(Stop::Gap(gap)) => return Err(gap),
            Err(Stop::Refused(refusal)) => return Ok(Err(refusal)),
        }
    }
    // A tunnel that is in use may refuse to go: everything else is gone by then.
    if site.config.edge.cloudflare.is_some() {
        match cloudflare::tunnel(site, seen, &mut takedown) {
            Ok(()) => {}
            Err(Stop::Gap(gap)) => return Err(gap),
            Err(Stop::Refused(refusal)) => return Ok(Err(refusal)),
        }
    }
    Ok(Ok(takedown))
}

enum Stop {
    Gap(Gap),
    Refused(Refusal),
}

impl From<Gap> for Stop {
    fn from(gap: Gap) -> Self {
        Stop::Gap(gap)
    }
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Stop::Refused(refusal)
    }
}

/// The answer; nothing where there is nothing.
fn there<T: serde::de::DeserializeOwned>(seen: &Observed, question: Question) -> Result<Option<T>, Stop> {
    match seen.edge(question)? {
        Ok(value) => Ok(Some(value)),
        Err(refusal) if refusal.kind == RefusalKind::NotFound => Ok(None),
        Err(refusal) => Err(refusal.into()),
    }
}

fn remembered<T: Default + for<'a> serde::Deserialize<'a>>(
    site: &Site,
    seen: &Observed,
    part: &str,
) -> Result<T, Stop> {
    let file = seen.file(Side::Machine, &record::path(site.config.site(), part))?;
    let text = file.and_then(|file| file.content.as_deref());
    record::parse(text).map_err(|why| Stop::Gap(Gap::Unknown(format!("what was made is not known: {why}"))))
}

fn npm(site: &Site, seen: &Observed, takedown: &mut Takedown) -> Result<(), Stop> {
    let name = site.config.site();
    let hosts: Vec<Json> = there(seen, Question::NpmHosts)?.unwrap_or_default();
    for host in hosts.iter().filter(|host| api::made_for(host, name)) {
        let names = api::names(host).join(", ");
        takedown.acts.push((
            format!("the proxy host {names} in NPM"),
            Effect::Edge(Act::RemoveHost {
                id: host["id"].as_u64().unwrap_or_default(),
                name: names.clone(),
            }),
        ));
    }
    for host in hosts.iter().filter(|host| api::is_marked(host, name) && !api::made_for(host, name)) {
        takedown
            .stays
            .push(format!("the proxy host {} in NPM, which was there before", api::names(host).join(", ")));
    }
    let made: NpmRecord = remembered(site, seen, "npm")?;
    if !made.certificates.is_empty() {
        let all: Vec<Certificate> = there(seen, Question::NpmCertificates)?.unwrap_or_default();
        let foreign = |id: u64| {
            hosts.iter().any(|host| !api::made_for(host, name) && api::writable(host)["certificate_id"] == id)
        };
        for certificate in all.into_iter().filter(|c| {
            let mut names = c.domain_names.clone();
            names.sort();
            c.provider == "letsencrypt" && made.certificates.contains(&names)
        }) {
            let names = certificate.domain_names.join(", ");
            if foreign(certificate.id) {
                takedown.stays.push(format!("the certificate of {names} in NPM, which another host uses"));
            } else {
                takedown.acts.push((
                    format!("the certificate of {names} in NPM"),
                    Effect::Edge(Act::RemoveCertificate {
                        id: certificate.id,
                        names: certificate.domain_names,
                    }),
                ));
            }
        }
    }
    forget(site, seen, "npm", takedown)
}

/// Last of all, the record of what was made goes too.
fn forget(site: &Site, seen: &Observed, part: &str, takedown: &mut Takedown) -> Result<(), Stop> {
    let path = record::path(site.config.site(), part);
    if seen.file(Side::Machine, &path)?.is_some() {
        takedown.acts.push((String::new(), Effect::RemoveFile { side: Side::Machine, path }));
    }
    Ok(())
}
