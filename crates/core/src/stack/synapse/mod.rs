//! Synapse: its container, its config and the room for what is uploaded to it.

pub mod homeserver;
mod log_config;
pub mod uploads;

use super::{ContainerSpec, Facts, Health, Mount, Publish, Service};
use crate::{
    config::Config,
    desired::{DesiredFile, DesiredFolder},
    layout,
    lock::LockedImage,
    name::Owner,
    service::ServiceId,
    size::{Bytes, Seconds},
};

/// Synapse, the Matrix homeserver.
#[derive(Debug)]
pub struct Synapse;

impl Service for Synapse {
    fn id(&self) -> ServiceId {
        ServiceId::Synapse
    }

    fn container(
        &self,
        spec: &mut ContainerSpec,
        config: &Config,
        _: &LockedImage,
        facts: &Facts,
    ) -> Result<(), String> {
        spec.environment.extend([
            ("SYNAPSE_CONFIG_DIR", homeserver::DATA.to_owned()),
            ("SYNAPSE_CONFIG_PATH", format!("{}/homeserver.yaml", homeserver::DATA)),
            ("TMPDIR", uploads::IN_CONTAINER.to_owned()),
            ("PYTHONPATH", uploads::MODULES.to_owned()),
        ]);
        spec.mounts.extend([
            Mount::read(layout::in_root("synapse"), homeserver::DATA),
            Mount::write(layout::in_root("synapse/media_store"), format!("{}/media_store", homeserver::DATA)),
            Mount::write(uploads::folder(), uploads::IN_CONTAINER),
        ]);
        // What somebody who died left there is nobody's any more.
        spec.before_start = uploads::clear();
        // The network with a way out first: its gateway becomes the default route.
        spec.networks = vec![layout::edge_network(facts.ipv6), layout::DB_NETWORK];
        spec.port = Some(Publish {
            bind: config.ports.bind,
            host: config.ports.synapse,
            container: homeserver::PORT,
        });
        spec.health = Health::of(vec![
            "curl".into(),
            "-fsS".into(),
            "-o".into(),
            "/dev/null".into(),
            format!("http://127.0.0.1:{}/health", homeserver::PORT),
        ]);
        spec.stop_timeout = Seconds(30);
        // A new version may migrate the database first.
        spec.start_timeout = Seconds(30 * 60);
        // Half of the guest.
        spec.limit(1024, Bytes::mib(facts.guest_memory.as_mib() / 2));
        Ok(())
    }

    fn files(&self, config: &Config, facts: &Facts) -> Vec<DesiredFile> {
        homeserver::files(config, facts)
    }

    fn folders(&self) -> Vec<DesiredFolder> {
        let owner = self.id().owner();
        let read = Owner { uid: 0, gid: owner.gid };
        vec![
            DesiredFolder::new(layout::in_root("synapse"), 0o750, read),
            DesiredFolder::new(layout::in_root("synapse/media_store"), 0o750, owner),
            DesiredFolder::new(uploads::module_folder(), 0o750, read),
            DesiredFolder::new(uploads::folder(), 0o700, owner),
        ]
    }

    fn needs(&self) -> &'static [ServiceId] {
        &[ServiceId::Postgres, ServiceId::Redis]
    }
}
