//! Synapse: its container, its config and the room for what is uploaded to it.

mod causes;
mod checks;
pub mod homeserver;
mod log_config;
mod releases;
pub mod uploads;

use super::{
    BuildRecipe, ContainerSpec, Data, DatabaseName, Facts, Health, Mount, Note, Publish, RoomDatabase,
    RoomSecret, SecretForm, SecretOrigin, Service, ServiceImage, postgres, redis,
};
use crate::{
    config::{Config, ImageChoice, TurnRelay},
    desired::{DesiredFile, DesiredFolder},
    edge::paths,
    endpoint::{Endpoint, Paths, Reach},
    frame::{RoomCause, RoomCheck},
    ids::{self, ResourceId},
    layout::{self, Secret},
    lock::LockedImage,
    name::Owner,
    service::ServiceId,
    size::{Bytes, Seconds},
};

/// Its id.
pub const ID: ServiceId = ServiceId::known("synapse");

/// Keys that clients upload to be used once. Restored, they would be given out a second time,
/// and what is encrypted to them could not be read; clients upload new ones.
pub const ONE_TIME_KEYS: &str = "e2e_one_time_keys_json";

/// Its database. It accepts no encoding but UTF-8 and no locale but C.
pub const DATABASE: RoomDatabase = RoomDatabase {
    name: DatabaseName::known("synapse"),
    role: DatabaseName::known("synapse"),
    password: Secret::POSTGRES,
    passfile: Secret::PGPASS,
    encoding: "UTF8",
    locale: "C",
    left_out: &[ONE_TIME_KEYS],
};

const SECRETS: &[RoomSecret] = &[
    RoomSecret::made_once(Secret::POSTGRES, SecretForm::Word, "without it Synapse cannot open its database")
        .read_by(postgres::ID),
    RoomSecret::derived(Secret::PGPASS, Secret::POSTGRES, |password| DATABASE.passfile_line(password)),
    RoomSecret::made(Secret::REDIS),
    RoomSecret::made(Secret::MACAROON),
    RoomSecret::made(Secret::FORM),
    RoomSecret::made(Secret::REGISTRATION),
    RoomSecret::made_once(
        Secret::SIGNING_KEY,
        SecretForm::SigningKey,
        "without it other servers no longer believe that this is the same server",
    ),
    RoomSecret {
        secret: Secret::TURN,
        reader: None,
        origin: SecretOrigin::GivenOrMade {
            given: |config| match &config.turn.as_ref()?.relay {
                TurnRelay::Elsewhere { secret_file, .. } => Some(secret_file),
                TurnRelay::Here(_) => None,
            },
            made: |config| config.turn_server().is_some(),
        },
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
        _: &Config,
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
            Mount::write(layout::in_root(layout::MEDIA), format!("{}/media_store", homeserver::DATA)),
            Mount::write(uploads::folder(), uploads::IN_CONTAINER),
        ]);
        // What somebody who died left there is nobody's any more.
        spec.before_start = uploads::clear();
        // The network with a way out first: its gateway becomes the default route.
        spec.networks = vec![layout::edge_network(facts.ipv6), layout::DB_NETWORK];
        spec.health = Health::of(vec![
            "curl".into(),
            "-fsS".into(),
            "-o".into(),
            "/dev/null".into(),
            format!("http://127.0.0.1:{}/health", homeserver::PORT),
        ]);
        // It hands out keys that may be used only once.
        spec.unless = Some(layout::HOLD);
        spec.stop_timeout = Seconds(30);
        // A new version may migrate the database first.
        spec.start_timeout = Seconds(30 * 60);
        // Half of the guest.
        spec.limit(1024, Bytes::mib(facts.guest_memory.as_mib() / 2));
        Ok(())
    }

    fn ports(&self, config: &Config) -> Vec<Publish> {
        vec![Publish::tcp(config, config.ports.synapse, homeserver::PORT)]
    }

    fn files(&self, config: &Config, facts: &Facts) -> Vec<DesiredFile> {
        homeserver::files(config, facts)
    }

    fn folders(&self) -> Vec<DesiredFolder> {
        let owner = self.id().owner();
        let read = Owner { uid: 0, gid: owner.gid };
        vec![
            DesiredFolder::new(layout::in_root("synapse"), 0o750, read),
            DesiredFolder::new(layout::in_root(layout::MEDIA), 0o750, owner),
            DesiredFolder::new(uploads::module_folder(), 0o750, read),
            DesiredFolder::new(uploads::folder(), 0o700, owner),
        ]
    }

    /// What is on its way, and what was fetched from elsewhere and can be again.
    fn unsaved(&self) -> &'static [&'static str] {
        &[
            "synapse/uploads",
            "synapse/media_store/remote_content",
            "synapse/media_store/remote_thumbnail",
            "synapse/media_store/remote_thumbnails",
            "synapse/media_store/url_cache",
            "synapse/media_store/url_cache_thumbnails",
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

    fn databases(&self) -> &'static [RoomDatabase] {
        &[DATABASE]
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

    fn data(&self) -> Data {
        Data::Tables
    }

    fn endpoints(&self, config: &Config) -> Vec<Endpoint> {
        vec![Endpoint {
            service: self.id(),
            label: "homeserver",
            word: "synapse",
            key: "synapse",
            port: config.ports.synapse,
            ask: "/_matrix/client/versions",
            reach: Reach::Proxies,
            url: config.matrix_url.clone(),
            host: config.matrix_host().to_owned(),
            paths: Paths::Below { prefixes: &paths::PUBLIC, allowed: paths::ALLOWED },
        }]
    }

    fn is_deaf_while_starting(&self) -> bool {
        // It is the first process of its container. What it has begun by then is in PostgreSQL's hands.
        true
    }

    fn notable(&self, from: &str, to: &str) -> (Vec<Note>, Option<&'static str>) {
        releases::notable(from, to)
    }

    fn before_unit(&self) -> &'static [ResourceId] {
        &[ids::SYNAPSE_CONFIG]
    }

    fn before_start(&self) -> &'static [ResourceId] {
        &[ids::DATABASE_ONE_TIME_KEYS, ids::DATABASE_ROLES]
    }

    fn family(&self) -> &'static str {
        "synapse/"
    }

    fn causes(&self) -> &'static [RoomCause] {
        causes::CAUSES
    }

    fn checks(&self, _: &Config) -> &'static [RoomCheck] {
        checks::CHECKS
    }

    fn unit_is(&self) -> &'static str {
        "How systemd and Podman run Synapse"
    }
}
