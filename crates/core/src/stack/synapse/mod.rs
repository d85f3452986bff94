//! Synapse: its container, its config and the room for what is uploaded to it.

pub mod homeserver;
mod log_config;
pub mod uploads;

use super::{
    BuildRecipe, ContainerSpec, Endpoint, Facts, Health, Mount, Publish, RoomSecret, SecretOrigin, Service,
    ServiceImage, postgres, redis,
};
use crate::{
    config::{Config, ImageChoice},
    desired::{DesiredFile, DesiredFolder},
    ids::{self, ResourceId},
    layout::{self, Secret},
    lock::LockedImage,
    name::Owner,
    service::ServiceId,
    size::{Bytes, Seconds},
};

/// Its id.
pub const ID: ServiceId = ServiceId::known("synapse");

const SECRETS: &[RoomSecret] = &[
    RoomSecret::made(Secret::Pgpass),
    RoomSecret::made(Secret::Redis),
    RoomSecret::made(Secret::Macaroon),
    RoomSecret::made(Secret::Form),
    RoomSecret::made(Secret::Registration),
    RoomSecret::made_once(
        Secret::SigningKey,
        "without it other servers no longer believe that this is the same server",
    ),
    RoomSecret {
        secret: Secret::Turn,
        origin: SecretOrigin::Given(|config| config.turn.as_ref().map(|turn| &turn.secret_file)),
    },
];

/// Synapse, the Matrix homeserver.
#[derive(Debug)]
pub struct SynapseService;

impl Service for SynapseService {
    fn id(&self) -> ServiceId {
        ID
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
        spec.ports = vec![Publish::tcp(config, config.ports.synapse, homeserver::PORT)];
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

    fn buildable(&self, choice: &ImageChoice, version: &str) -> Result<(), (String, String)> {
        match &choice.build_version {
            Some(pinned) if *pinned != version => Err((
                format!("matrix.toml holds Synapse at {pinned} (images.synapse.build_version)"),
                format!(
                    "`matrix-podman set images.synapse.build_version {version}`, then `matrix-podman update synapse`"
                ),
            )),
            _ => Ok(()),
        }
    }

    fn needs(&self) -> &'static [ServiceId] {
        &[postgres::ID, redis::ID]
    }

    fn secrets(&self) -> &'static [RoomSecret] {
        SECRETS
    }

    fn image(&self) -> ServiceImage {
        ServiceImage {
            recipe: Some(BuildRecipe { name: "synapse", origins: "Debian and PyPI" }),
            within_major: false,
        }
    }

    fn keeps_data(&self) -> bool {
        true
    }

    fn endpoints(&self, config: &Config) -> Vec<Endpoint> {
        vec![Endpoint {
            service: self.id(),
            key: "synapse",
            port: config.ports.synapse,
            ask: "/_matrix/client/versions",
        }]
    }

    fn before_unit(&self) -> &'static [ResourceId] {
        &[ids::SYNAPSE_CONFIG]
    }

    fn before_start(&self) -> &'static [ResourceId] {
        &[ids::DATABASE_ONE_TIME_KEYS, ids::DATABASE_ROLES]
    }

    fn causes(&self) -> &'static str {
        "synapse/"
    }

    fn unit_is(&self) -> &'static str {
        "How systemd and Podman run Synapse"
    }
}
