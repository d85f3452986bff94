//! The names of resources. They stand in plans and journals, so they are part of the
//! program's interface; code names a resource by its constant.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Serialize};

use crate::service::ServiceId;

/// The stable name of a resource: `aspect` or `family/aspect`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ResourceId(Cow<'static, str>);

impl ResourceId {
    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The database cluster.
pub const DATABASE: ResourceId = ResourceId(Cow::Borrowed("database"));
/// Keys that were given out before a rollback.
pub const DATABASE_ONE_TIME_KEYS: ResourceId = ResourceId(Cow::Borrowed("database/one-time-keys"));
/// Who may do what in the database.
pub const DATABASE_ROLES: ResourceId = ResourceId(Cow::Borrowed("database/roles"));
/// Cloudflare can be spoken with.
pub const EDGE_CLOUDFLARE_ACCESS: ResourceId = ResourceId(Cow::Borrowed("edge/cloudflare/access"));
/// The rule for the cache.
pub const EDGE_CLOUDFLARE_CACHE_RULE: ResourceId = ResourceId(Cow::Borrowed("edge/cloudflare/cache-rule"));
/// The tunnel's routes.
pub const EDGE_CLOUDFLARE_ROUTES: ResourceId = ResourceId(Cow::Borrowed("edge/cloudflare/routes"));
/// The tunnel.
pub const EDGE_CLOUDFLARE_TUNNEL: ResourceId = ResourceId(Cow::Borrowed("edge/cloudflare/tunnel"));
/// NPM can be spoken with.
pub const EDGE_NPM_ACCESS: ResourceId = ResourceId(Cow::Borrowed("edge/npm/access"));
/// The proxy host of the domain itself.
pub const EDGE_NPM_APEX: ResourceId = ResourceId(Cow::Borrowed("edge/npm/apex"));
/// The certificate.
pub const EDGE_NPM_CERTIFICATE: ResourceId = ResourceId(Cow::Borrowed("edge/npm/certificate"));
/// The proxy host of the web client.
pub const EDGE_NPM_CLIENT: ResourceId = ResourceId(Cow::Borrowed("edge/npm/client"));
/// The proxy host of Synapse.
pub const EDGE_NPM_MATRIX: ResourceId = ResourceId(Cow::Borrowed("edge/npm/matrix"));
/// The exported compose file.
pub const EXPORT_COMPOSE: ResourceId = ResourceId(Cow::Borrowed("export/compose"));
/// The config in the guest.
pub const EXPORT_CONFIG: ResourceId = ResourceId(Cow::Borrowed("export/config"));
/// The guest's address.
pub const GUEST_ADDRESS: ResourceId = ResourceId(Cow::Borrowed("guest/address"));
/// The container.
pub const GUEST_CONTAINER: ResourceId = ResourceId(Cow::Borrowed("guest/container"));
/// What people see of the container in Proxmox.
pub const GUEST_DESCRIPTION: ResourceId = ResourceId(Cow::Borrowed("guest/description"));
/// The guest's disk, or the file systems on its disks.
pub const GUEST_DISK: ResourceId = ResourceId(Cow::Borrowed("guest/disk"));
/// The guest's interface.
pub const GUEST_INTERFACE: ResourceId = ResourceId(Cow::Borrowed("guest/interface"));
/// Settings of the guest's kernel.
pub const GUEST_KERNEL: ResourceId = ResourceId(Cow::Borrowed("guest/kernel"));
/// What is shown at login.
pub const GUEST_MOTD: ResourceId = ResourceId(Cow::Borrowed("guest/motd"));
/// The guest's packages.
pub const GUEST_PACKAGES: ResourceId = ResourceId(Cow::Borrowed("guest/packages"));
/// Podman's settings.
pub const GUEST_PODMAN: ResourceId = ResourceId(Cow::Borrowed("guest/podman"));
/// Who may speak to the published ports.
pub const GUEST_PORTS: ResourceId = ResourceId(Cow::Borrowed("guest/ports"));
/// The program in the guest.
pub const GUEST_PROGRAM: ResourceId = ResourceId(Cow::Borrowed("guest/program"));
/// The restart at the end of the first run.
pub const GUEST_REBOOTED: ResourceId = ResourceId(Cow::Borrowed("guest/rebooted"));
/// The archive that guests are made from.
pub const GUEST_ROOTFS: ResourceId = ResourceId(Cow::Borrowed("guest/rootfs"));
/// The guest runs.
pub const GUEST_RUNNING: ResourceId = ResourceId(Cow::Borrowed("guest/running"));
/// Settings of the guest's system.
pub const GUEST_SETTINGS: ResourceId = ResourceId(Cow::Borrowed("guest/settings"));
/// What Podman keeps.
pub const GUEST_STORAGE: ResourceId = ResourceId(Cow::Borrowed("guest/storage"));
/// The template that the container is made from.
pub const GUEST_TEMPLATE: ResourceId = ResourceId(Cow::Borrowed("guest/template"));
/// The guest's time zone.
pub const GUEST_TIMEZONE: ResourceId = ResourceId(Cow::Borrowed("guest/timezone"));
/// What the guest does not need.
pub const GUEST_UNWANTED: ResourceId = ResourceId(Cow::Borrowed("guest/unwanted"));
/// The guest's first upgrade.
pub const GUEST_UPGRADED: ResourceId = ResourceId(Cow::Borrowed("guest/upgraded"));
/// Which images run.
pub const LOCK: ResourceId = ResourceId(Cow::Borrowed("lock"));
/// The machine makes backups.
pub const MACHINE_BACKUPS: ResourceId = ResourceId(Cow::Borrowed("machine/backups"));
/// The guest starts with the machine.
pub const MACHINE_BOOT: ResourceId = ResourceId(Cow::Borrowed("machine/boot"));
/// The ids that the guest's users have on the machine.
pub const MACHINE_IDS: ResourceId = ResourceId(Cow::Borrowed("machine/ids"));
/// The guests' bridge.
pub const MACHINE_NETWORK: ResourceId = ResourceId(Cow::Borrowed("machine/network"));
/// What the machine needs of Debian.
pub const MACHINE_PACKAGES: ResourceId = ResourceId(Cow::Borrowed("machine/packages"));
/// The program on the machine.
pub const MACHINE_PROGRAM: ResourceId = ResourceId(Cow::Borrowed("machine/program"));
/// The machine updates.
pub const MACHINE_UPDATES: ResourceId = ResourceId(Cow::Borrowed("machine/updates"));
/// The secrets.
pub const SECRETS: ResourceId = ResourceId(Cow::Borrowed("secrets"));
/// The files with secrets in them.
pub const SECRET_FILES: ResourceId = ResourceId(Cow::Borrowed("secrets/files"));
/// The server's name, which everything in the guest stands behind.
pub const SERVER_NAME: ResourceId = ResourceId(Cow::Borrowed("server-name"));
/// The stack starts with the guest.
pub const STACK_BOOT: ResourceId = ResourceId(Cow::Borrowed("stack/boot"));
/// Services that are switched off.
pub const STACK_OFF: ResourceId = ResourceId(Cow::Borrowed("stack/off"));
/// The files that services read.
pub const STACK_FILES: ResourceId = ResourceId(Cow::Borrowed("stack/files"));
/// Synapse's config, read by Synapse itself.
pub const SYNAPSE_CONFIG: ResourceId = ResourceId(Cow::Borrowed("synapse/config"));
/// The networks and the unit of the whole stack.
pub const UNIT_STACK: ResourceId = ResourceId(Cow::Borrowed("unit/stack"));
/// An update that was cut off.
pub const UPDATE: ResourceId = ResourceId(Cow::Borrowed("update"));
/// The timer that updates.
pub const UPDATE_TIMER: ResourceId = ResourceId(Cow::Borrowed("update/timer"));

fn member(family: &str, of: impl fmt::Display) -> ResourceId {
    ResourceId(Cow::Owned(format!("{family}/{of}")))
}

/// The image of a service.
pub fn image(service: ServiceId) -> ResourceId {
    member("image", service)
}

/// The unit of a service.
pub fn unit(service: ServiceId) -> ResourceId {
    member("unit", service)
}

/// A service runs.
pub fn service(service: ServiceId) -> ResourceId {
    member("service", service)
}

/// What Cloudflare's name servers say of a host.
pub fn dns_record(host: impl fmt::Display) -> ResourceId {
    member("edge/cloudflare/dns", host)
}

/// A setting of a zone at Cloudflare.
pub fn zone_setting(setting: impl fmt::Display) -> ResourceId {
    member("edge/cloudflare/setting", setting)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_its_text() {
        assert_eq!(service(crate::stack::postgres::ID).as_str(), "service/postgres_db");
        assert_eq!(dns_record("chat.home.arpa").as_str(), "edge/cloudflare/dns/chat.home.arpa");
        let written = serde_json::to_string(&DATABASE_ROLES).unwrap();
        assert_eq!(written, "\"database/roles\"");
        assert_eq!(serde_json::from_str::<ResourceId>(&written).unwrap(), DATABASE_ROLES);
    }
}
