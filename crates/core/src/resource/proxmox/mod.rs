//! The guest as a container of Proxmox VE.

mod description;
mod inside;
mod lock;
mod made;
mod place;
mod running;
mod template;

use super::{Resource, Site};

pub use inside::file_system_size;
pub use lock::{Locked, container_lock};
pub use place::{Claim, Place, find_container, node, was_finished};
pub(super) use place::{guest_address, guest_state};

pub(super) fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    vec![
        Box::new(template::Template { site: site.clone() }),
        Box::new(made::Made { site: site.clone() }),
        Box::new(running::Running { site: site.clone() }),
        Box::new(running::Program { site: site.clone() }),
        Box::new(inside::Address { site: site.clone() }),
        Box::new(inside::Interface { site: site.clone() }),
        Box::new(inside::FileSystems { site: site.clone() }),
        Box::new(description::Description { site: site.clone() }),
    ]
}

/// The restart at the end of the first run, behind everything else.
pub(super) fn rebooted(site: &Site, others: &[Box<dyn Resource>]) -> Box<dyn Resource> {
    let needs = others.iter().map(|other| other.id()).collect();
    Box::new(running::Rebooted { site: site.clone(), needs })
}
