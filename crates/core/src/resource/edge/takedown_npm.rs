//! What was made in Nginx Proxy Manager, to be taken down again.
//!
//! A certificate goes only when it is known by its id and nobody else uses it:
//! NPM removes one that is in use without a word, its nginx then cannot be
//! loaded any more, and at the next start no site comes up.

use std::collections::BTreeSet;

use serde_json::{Value as Json, json};

use super::takedown::{Stop, Takedown, forget, remembered, there};
use crate::{
    edge::{
        Act, Question, Refusal,
        npm::{self as api, Certificate, Status, User},
        record::NpmRecord,
    },
    effect::Effect,
    observed::Observed,
    resource::Site,
};

pub(super) fn npm(site: &Site, seen: &Observed, takedown: &mut Takedown) -> Result<(), Stop> {
    let name = site.config.site();
    let made: NpmRecord = remembered(site, seen, "npm")?;
    let hosts: Vec<Json> = there(seen, Question::NpmHosts)?.unwrap_or_default();
    let ours: Vec<&str> =
        [Some(site.config.matrix_host()), Some(site.config.chat_host()), site.config.apex_host()]
            .into_iter()
            .flatten()
            .collect();
    // The certificates that proxy hosts use when all is done.
    let mut used = BTreeSet::new();
    for host in &hosts {
        let names = api::names(host).join(", ");
        let id = host["id"].as_u64().unwrap_or_default();
        let restore = |fields: Json| Effect::Edge(Act::RestoreHost { id, name: names.clone(), fields });
        if api::made_for(host, name) {
            let others: Vec<&str> = api::names(host)
                .into_iter()
                .filter(|other| !ours.iter().any(|own| own.eq_ignore_ascii_case(other)))
                .collect();
            match api::names(host).len() {
                1 => takedown.acts.push((
                    format!("the proxy host {names} in NPM"),
                    Effect::Edge(Act::RemoveHost { id, name: names }),
                )),
                // Somebody added names of their own: those stay.
                count if !others.is_empty() && others.len() < count => {
                    used.extend(api::certificate_of(host));
                    takedown.acts.push((
                        format!("our names from the proxy host {names} in NPM"),
                        restore(json!({ "domain_names": others })),
                    ));
                    takedown.stays.push(format!(
                        "the proxy host of {} in NPM: the name was added there by somebody else",
                        others.join(", ")
                    ));
                }
                count if others.len() < count => takedown.acts.push((
                    format!("the proxy host {names} in NPM"),
                    Effect::Edge(Act::RemoveHost { id, name: names }),
                )),
                _ => {
                    used.extend(api::certificate_of(host));
                    takedown.stays.push(format!("the proxy host {names} in NPM, which has other names now"));
                }
            }
        } else if api::is_marked(host, name) {
            match made.adopted.iter().find(|adopted| adopted.id == id) {
                Some(adopted) => {
                    used.extend(api::certificate_of(&adopted.was));
                    takedown.acts.push((
                        format!("what was changed in the proxy host {names} in NPM, which was there before"),
                        restore(adopted.was.clone()),
                    ));
                }
                None => {
                    used.extend(api::certificate_of(host));
                    takedown.stays.push(format!("the proxy host {names} in NPM, which was there before"));
                }
            }
        } else {
            used.extend(api::certificate_of(host));
        }
    }
    certificates(seen, &made, &hosts, &used, takedown)?;
    forget(site, seen, "npm", takedown)
}

fn certificates(
    seen: &Observed,
    made: &NpmRecord,
    hosts: &[Json],
    used: &BTreeSet<u64>,
    takedown: &mut Takedown,
) -> Result<(), Stop> {
    if made.certificate_ids.is_empty() && made.certificates.is_empty() {
        return Ok(());
    }
    let all: Vec<Certificate> = there(seen, Question::NpmCertificates)?.unwrap_or_default();
    for certificate in all {
        let names = certificate.domain_names.join(", ");
        if !made.certificate_ids.contains(&certificate.id) {
            if made.certificates.iter().any(|names| certificate.is_for(names)) {
                takedown.stays.push(format!(
                    "the certificate of {names} in NPM, of which it is not known whether it was requested from here"
                ));
            }
            continue;
        }
        let users = if used.contains(&certificate.id) {
            Users::Some("another proxy host uses".to_owned())
        } else {
            other_users(seen, certificate.id, hosts)?
        };
        match users {
            Users::None => takedown.acts.push((
                format!("the certificate of {names} in NPM"),
                Effect::Edge(Act::RemoveCertificate { id: certificate.id, names: certificate.domain_names }),
            )),
            Users::Some(who) => {
                takedown.stays.push(format!("the certificate of {names} in NPM, which {who}"))
            }
            Users::Unseen(kind) => takedown.stays.push(format!(
                "the certificate of {names} in NPM, of which it cannot be seen whether {kind} use it"
            )),
        }
    }
    Ok(())
}

enum Users {
    None,
    Some(String),
    Unseen(&'static str),
}

/// Who uses a certificate besides the proxy hosts that were looked at: hosts of
/// every kind, and those of other users, which are seen only by whom NPM shows
/// everything, or in the certificate's own answer from 2.13 on.
fn other_users(seen: &Observed, id: u64, seen_hosts: &[Json]) -> Result<Users, Stop> {
    let version = there::<Status>(seen, Question::NpmStatus)?.map(|status| status.version);
    let expanded: Option<Json> = match version {
        Some(version) if version.at_least(13, 0) => {
            let all: Option<Vec<Json>> = allowed(seen, Question::NpmCertificateUses)?;
            all.into_iter().flatten().find(|row| row["id"] == id)
        }
        _ => None,
    };
    let sees_all = allowed::<User>(seen, Question::NpmUser)?.is_some_and(|user| user.sees_all());
    let seen_before = |row: &Json| seen_hosts.iter().any(|host| host["id"] == row["id"]);
    for (question, key, kind) in [
        (Question::NpmHosts, "proxy_hosts", "proxy hosts of others"),
        (Question::NpmRedirections, "redirection_hosts", "redirection hosts"),
        (Question::NpmDeadHosts, "dead_hosts", "404 hosts"),
        (Question::NpmStreams, "streams", "streams"),
    ] {
        let proxy = question == Question::NpmHosts;
        let rows = expanded.as_ref().and_then(|row| row[key].as_array());
        if let Some(rows) = rows
            && rows.iter().any(|row| !(proxy && seen_before(row)))
        {
            return Ok(Users::Some(format!("{kind} use")));
        }
        // The proxy hosts that are listed were looked at one by one.
        let list: Option<Vec<Json>> = allowed(seen, question)?;
        if !proxy && list.iter().flatten().any(|row| api::certificate_of(row) == Some(id)) {
            return Ok(Users::Some(format!("{kind} use")));
        }
        if rows.is_none() && !(list.is_some() && sees_all) {
            return Ok(Users::Unseen(kind));
        }
    }
    Ok(Users::None)
}

/// The answer; none where it is not ours to see.
fn allowed<T: serde::de::DeserializeOwned>(seen: &Observed, question: Question) -> Result<Option<T>, Stop> {
    let answer: Result<T, Refusal> = seen.edge(question)?;
    Ok(answer.ok())
}
