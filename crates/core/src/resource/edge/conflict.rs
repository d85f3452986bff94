//! Names that somebody else has in NPM, in a way that cannot be taken over.

use serde_json::Value as Json;

use super::{Observed, Question, Site, Stop, asked};
use crate::{edge::npm as api, resource::Diff};

/// Stops where `name` belongs to somebody else: before anything is changed,
/// since a request for a certificate already touches every host of its names.
pub(super) fn check(site: &Site, seen: &Observed, name: &str, what: &str) -> Result<(), Stop> {
    let blocked = |why: String, hint: String| Err(Diff::Blocked { why, hint }.into());
    let hosts: Vec<Json> = asked(seen, Question::NpmHosts, what)?;
    if let Some(host) = hosts.iter().find(|host| api::has_name(host, name)) {
        let names = api::names(host);
        let ours = api::is_marked(host, site.config.site());
        if names.len() > 1 {
            let others: Vec<&str> = names.iter().filter(|n| !n.eq_ignore_ascii_case(name)).copied().collect();
            let others = others.join(", ");
            return blocked(
                format!("{name} shares a proxy host in NPM with {others}"),
                if ours {
                    format!(
                        "take {others} out of that host in NPM and give it one of its own: this one leads to the Matrix server"
                    )
                } else {
                    format!("take {name} out of that host in NPM; it then gets one of its own")
                },
            );
        }
        if site.config.apex_host() == Some(name) && !ours {
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
    Ok(())
}
