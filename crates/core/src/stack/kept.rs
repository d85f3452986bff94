//! What services keep, and who stands behind what.

use std::collections::BTreeMap;

use super::{ALL, Service, postgres, synapse};
use crate::{ids::ResourceId, lock::LockedImage, service::ServiceId};

/// What a service keeps, and with it what an update or a way back has to mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// Nothing that anybody would miss.
    Nothing,
    /// Copies of what is in the database, which are stale once that goes back in time.
    Copies,
    /// The database's cluster: each major version of its program has one of its own.
    Cluster,
    /// Tables in the database, whose form its program changes when it is a newer one.
    Tables,
}

impl Data {
    /// Whether an update may change them, so that they are dumped before.
    pub fn is_precious(self) -> bool {
        matches!(self, Data::Cluster | Data::Tables)
    }

    /// Whether that is what `service` keeps.
    pub fn is_kept_by(self, service: ServiceId) -> bool {
        super::room(service).data() == self
    }

    /// Who keeps such data, in the order in which they start.
    pub fn keepers(self) -> Vec<ServiceId> {
        rooms(|room| room.data() == self)
    }

    /// Where to read why it cannot be had.
    pub fn log_hint(self) -> String {
        let logs: Vec<String> =
            self.keepers().iter().map(|service| format!("`matrix-podman logs {service}`")).collect();
        format!("{} says why", logs.join(" or "))
    }
}

/// psql in Synapse's database: in whose container, and the command.
pub fn psql() -> (ServiceId, Vec<String>) {
    let login = synapse::DATABASE.login();
    (postgres::ID, ["psql".to_owned()].into_iter().chain(login).collect())
}

/// The services that are not started before the resource `id` is settled.
pub fn wait_for(id: &ResourceId) -> Vec<ServiceId> {
    rooms(|room| room.before_start().contains(id))
}

/// The services whose units are not written before the resource `id` is settled.
pub fn units_wait_for(id: &ResourceId) -> Vec<ServiceId> {
    rooms(|room| room.before_unit().contains(id))
}

/// The major version of the cluster that serves with these images.
pub fn cluster_major(images: &BTreeMap<ServiceId, LockedImage>) -> Option<u32> {
    Data::Cluster.keepers().iter().find_map(|service| images.get(service)?.major())
}

fn rooms(wanted: impl Fn(&dyn Service) -> bool) -> Vec<ServiceId> {
    ALL.into_iter().filter(|room| wanted(*room)).map(Service::id).collect()
}
