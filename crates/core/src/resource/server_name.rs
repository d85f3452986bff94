//! The server's name, which can never change.

use super::{Backend, Diff, Resource, ResourceId, Site, image};
use crate::{
    fact::Side,
    layout,
    name::ServerName,
    observed::{Observed, Seen},
};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![Box::new(Name { site: site.clone() })]
}

/// The id of this resource, which everything in the guest stands behind:
/// nothing of a server may be written under another's name.
pub(super) fn id() -> ResourceId {
    ResourceId::new("server-name")
}

struct Name {
    site: Site,
}

impl Resource for Name {
    fn id(&self) -> ResourceId {
        id()
    }

    fn needs(&self) -> Vec<ResourceId> {
        match self.site.backend {
            Backend::Proxmox | Backend::Lxc => vec![ResourceId::new("guest/program")],
            Backend::ThisMachine => Vec::new(),
        }
    }

    fn diff(&self, seen: &Observed) -> Seen<Diff> {
        let wanted = &self.site.config.server_name;
        let begun = layout::restore_begun(self.site.config.site());
        if seen.meta(Side::Machine, &begun)?.is_some()
            || seen.meta(Side::Guest, &layout::restore_dump())?.is_some()
        {
            return Ok(Diff::Blocked {
                why: "a restore into this guest was cut off, so its data are not whole yet".to_owned(),
                hint: "run the same `matrix-podman restore` again; it goes on from there".to_owned(),
            });
        }
        let now = match image::read_lock(seen)? {
            Some(lock) => Some(lock.server_name),
            None => in_config(seen)?,
        };
        Ok(match now {
            None => Diff::settled(format!("there is no server yet; it will be {wanted}")),
            Some(now) if now == *wanted => Diff::settled(format!("the server was made as {now}")),
            Some(now) => Diff::Blocked {
                why: format!(
                    "this server was made as {now}, and the config now says {wanted}; the name is part of every \
                     user id, room and signature, so it can never change"
                ),
                hint: format!(
                    "write server_name = \"{now}\" again, or make a second site with another guest.name"
                ),
            },
        })
    }
}

/// The name in Synapse's own config: a first run that was cut off may have
/// started Synapse and written no lock yet.
fn in_config(seen: &Observed) -> Seen<Option<ServerName>> {
    let file = seen.file(Side::Guest, &layout::in_root("synapse/homeserver.yaml"))?;
    let text = file.and_then(|f| f.content.as_deref()).unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("server_name:"));
    Ok(name.and_then(|name| ServerName::parse(name.trim().trim_matches(['"', '\''])).ok()))
}
