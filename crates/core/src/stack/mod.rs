//! The services: each is a room in a folder of its own, and one table names them.
//!
//! What everybody does with a service (print its unit, build its image, back it up)
//! walks the table and asks the room. The Quadlet units and the compose file are two
//! printings of one [`ContainerSpec`], so that they cannot drift apart.

pub mod coturn;
mod database;
pub mod element;
mod front;
pub mod gateway;
mod kept;
pub mod postgres;
pub mod redis;
mod secret;
mod spec;
pub mod synapse;

use indexmap::IndexMap;
use serde_json::Value as Json;
use sha2::{Digest as _, Sha256};

use crate::{
    backup,
    config::{Config, ImageChoice},
    desired::{DesiredFile, DesiredFolder, DesiredSecretFile},
    endpoint::Endpoint,
    frame::{RoomCause, RoomCheck},
    ids::ResourceId,
    layout,
    lock::{Lock, LockedImage},
    name::{AbsPath, Digest, Owner},
    service::ServiceId,
    size::{Bytes, Seconds},
};

pub use database::{DatabaseName, RoomDatabase, database, databases};
pub(crate) use database::{listed, sizes};
pub(crate) use element::config_flaw as web_config_flaw;
pub use front::{ASK_STAT, Behind, Front, front, fronts, held, parse_stat};
pub use kept::{Data, cluster_major, psql, units_wait_for, wait_for};
pub use postgres::roles::OWNER as CLUSTER_OWNER;
pub use secret::{
    RoomSecret, SecretForm, SecretOrigin, given_secrets, made_secrets, read_secrets, reader, secret_origin,
    secret_owner, secrets_of,
};
pub use spec::{
    BuildRecipe, ContainerSpec, Facts, Health, MissingImage, Mount, Note, PortHolder, Protocol, Publish,
    RoomNetwork, ServiceImage, Tmpfs,
};

/// The homeserver: what clients and other servers speak with.
pub const HOMESERVER: ServiceId = synapse::ID;
/// The server of the databases.
pub const DATABASE_SERVER: ServiceId = postgres::ID;

/// Everything that the program knows about one service.
pub trait Service: Sync {
    /// Which one it is.
    fn id(&self) -> ServiceId;

    /// Completes its container. What every container has is there already; the error
    /// says what the image lacks.
    fn container(
        &self,
        spec: &mut ContainerSpec,
        config: &Config,
        image: &LockedImage,
        facts: &Facts,
    ) -> Result<(), String>;

    /// The config files that it reads, apart from its unit.
    fn files(&self, config: &Config, facts: &Facts) -> Vec<DesiredFile>;

    /// Config files that count only once the service itself accepts them: [`Service::trial`] has it read
    /// each beside its place, under the name that ends with [`layout::CANDIDATE`].
    fn tried_files(&self, _: &Config) -> Vec<DesiredFile> {
        Vec::new()
    }

    /// The files that it reads which hold secrets.
    fn secret_files(&self, _: &Config) -> Vec<DesiredSecretFile> {
        Vec::new()
    }

    /// The ports of its container that are published.
    fn ports(&self, _: &Config) -> Vec<Publish> {
        Vec::new()
    }

    /// What it is to the others where it stands before them: their ports that reverse proxies reach are
    /// held by systemd and handed to it, and it holds requests while they are away.
    fn front(&self) -> Option<&'static Front> {
        None
    }

    /// A network of its own.
    fn network(&self) -> Option<&'static RoomNetwork> {
        None
    }

    /// What it needs in Synapse's config, whether or not it is on: keys of
    /// `homeserver.yaml`, each of which one room alone may claim.
    fn homeserver(&self, _: &Config) -> Vec<(&'static str, Json)> {
        Vec::new()
    }

    /// What is removed from the guest once it is switched off, besides its unit.
    fn leftovers(&self) -> Vec<AbsPath> {
        Vec::new()
    }

    /// The folders that its mounts and files need, each after the one that it is in.
    fn folders(&self) -> Vec<DesiredFolder> {
        Vec::new()
    }

    /// What in its folders no backup needs, as paths below `/opt/matrix`.
    fn unsaved(&self) -> &'static [&'static str] {
        &[]
    }

    /// The secrets that it reads, in the order in which they are mounted, and those that it has
    /// others read.
    fn secrets(&self) -> &'static [RoomSecret] {
        &[]
    }

    /// Its databases in PostgreSQL: made, granted to their roles, dumped, restored, counted and
    /// moved with all others.
    fn databases(&self) -> &'static [RoomDatabase] {
        &[]
    }

    /// The services that it needs, which are started before it.
    fn needs(&self) -> &'static [ServiceId] {
        &[]
    }

    /// Whether there is one with this config.
    fn is_on(&self, _: &Config) -> bool {
        true
    }

    /// Its image, whatever the config says.
    fn image(&self) -> ServiceImage;

    /// What it may be called at the command line, besides its id.
    fn also_called(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether its image is built in a version that somebody asks for; what is wrong
    /// with that, and what to do, where it is not.
    fn buildable(&self, _: &ImageChoice, _: &str) -> Result<(), (String, String)> {
        let service = self.id();
        Err((
            format!("{} is built from the packages of Debian and npm as they are", service.title()),
            format!("`matrix-podman update {service}` takes the newest"),
        ))
    }

    /// What it keeps.
    fn data(&self) -> Data {
        Data::Nothing
    }

    /// Where it is reached from outside the guest.
    fn endpoints(&self, _: &Config) -> Vec<Endpoint> {
        Vec::new()
    }

    /// The ids of resources that must be settled before its unit is written, besides
    /// those that every unit stands behind.
    fn before_unit(&self) -> &'static [ResourceId] {
        &[]
    }

    /// The ids of resources that must be settled before it is started, besides its unit
    /// and what it needs.
    fn before_start(&self) -> &'static [ResourceId] {
        &[]
    }

    /// What to run in its container to learn whether its settings can be: it fails where
    /// they cannot. Nothing where the program alone wrote them.
    fn trial(&self, _: &Config, _: &Facts) -> Option<Vec<String>> {
        None
    }

    /// What the ids of doctor's causes begin with that explain why it is away.
    fn family(&self) -> &'static str;

    /// Why it may be away, most fundamental first.
    fn causes(&self) -> &'static [RoomCause] {
        &[]
    }

    /// What `verify` asks about it, whether or not it is on, in the order in which a person wants to read it.
    fn checks(&self, _: &Config) -> &'static [RoomCheck] {
        &[]
    }

    /// Whether it hears no signal before it serves, so that one that starts is ended at once.
    fn is_deaf_while_starting(&self) -> bool {
        false
    }

    /// Whether nobody can make an account with what that image has in it.
    fn cannot_register(&self, _: &LockedImage) -> bool {
        false
    }

    /// What people should know of its releases behind `from`, up to `to`; and where to read about
    /// those that this program knows nothing of.
    fn notable(&self, _from: &str, _to: &str) -> (Vec<Note>, Option<&'static str>) {
        Default::default()
    }

    /// What its unit is for, for the plan.
    fn unit_is(&self) -> &'static str;
}

/// The rooms, each at the place of its id: with one too few or too many this does not compile.
pub static ALL: [&dyn Service; ServiceId::ALL.len()] = [
    &postgres::PostgresService,
    &redis::RedisService,
    &synapse::SynapseService,
    &element::ElementService,
    &coturn::CoturnService,
    &gateway::GatewayService,
];

/// What is known about the service with that id.
pub fn room(id: ServiceId) -> &'static dyn Service {
    ALL[id.position()]
}

/// The service that is called so at the command line.
pub fn called(name: &str) -> Option<ServiceId> {
    let is_it = |room: &&dyn Service| room.id().name() == name || room.also_called().contains(&name);
    ALL.into_iter().find(is_it).map(Service::id)
}

/// The rooms of the services that are on, in the order in which they start.
pub fn rooms(config: &Config) -> impl Iterator<Item = &'static dyn Service> {
    ALL.into_iter().filter(|room| room.is_on(config))
}

/// The services that are on, in the order in which they start.
pub fn services(config: &Config) -> Vec<ServiceId> {
    rooms(config).map(Service::id).collect()
}

/// The services that are on, those first whose images take longest to get: everything
/// else has time until they are there.
pub fn by_image(config: &Config) -> Vec<ServiceId> {
    ServiceId::by_image().into_iter().filter(|service| room(*service).is_on(config)).collect()
}

/// The ports that this config publishes.
pub fn published(config: &Config) -> Vec<Publish> {
    rooms(config).flat_map(|room| front::ports(room, config)).collect()
}

/// What the rooms need in Synapse's config.
pub fn homeserver_settings(config: &Config) -> IndexMap<&'static str, Json> {
    ALL.into_iter().flat_map(|room| room.homeserver(config)).collect()
}

/// Where the services of this config are reached from outside the guest.
pub fn endpoints(config: &Config) -> Vec<Endpoint> {
    rooms(config).flat_map(|room| room.endpoints(config)).collect()
}

/// The folders of the stack, each after the one that it is in.
pub fn folders(config: &Config) -> Vec<DesiredFolder> {
    let folder = |path, mode| DesiredFolder::new(AbsPath::known(path), mode, Owner::ROOT);
    [folder(layout::ROOT, 0o755), folder(layout::SECRETS, 0o700)]
        .into_iter()
        .chain(rooms(config).flat_map(Service::folders))
        .chain([folder(layout::QUADLET, 0o755)])
        .collect()
}

/// Whether a backup saves what is at `path` below `/opt/matrix`.
pub fn is_saved(path: &str) -> bool {
    backup::belongs(path, ALL.into_iter().flat_map(|room| room.unsaved()).copied())
}

/// Digest over everything that `service` reads and its unit does not say: its
/// config files and its image. It stands in the unit as a label, so a change of
/// any of them changes the unit of exactly the services that it concerns.
pub fn service_config_digest(
    service: ServiceId,
    config: &Config,
    image: &LockedImage,
    facts: &Facts,
) -> Digest {
    let mut hash = Sha256::new();
    let mut add = |text: &str| {
        hash.update((text.len() as u64).to_be_bytes());
        hash.update(text.as_bytes());
    };
    add(image.id.as_str());
    let files = room(service).files(config, facts).into_iter().chain(room(service).tried_files(config));
    for DesiredFile { path, content, .. } in files {
        add(path.as_str());
        add(&content);
    }
    for DesiredSecretFile { path, template, .. } in &room(service).secret_files(config) {
        add(path.as_str());
        add(&template.shown());
    }
    Digest::of_sha256(hash.finalize().as_slice())
}

/// The container of `service`.
pub fn container(
    service: ServiceId,
    config: &Config,
    lock: &Lock,
    facts: &Facts,
) -> Result<ContainerSpec, MissingImage> {
    let missing = |why: &str| MissingImage { service, why: why.to_owned() };
    let image = lock.images.get(&service).ok_or_else(|| missing("the lock has no image for it"))?;
    let mut spec = ContainerSpec {
        service,
        image: image.run.clone(),
        entrypoint: None,
        command: Vec::new(),
        environment: vec![("TZ", config.timezone.to_string())],
        mounts: Vec::new(),
        tmpfs: vec![Tmpfs { target: "/tmp", size: Bytes::mib(64) }],
        networks: Vec::new(),
        own_network: room(service).network(),
        joined: Vec::new(),
        ports: front::ports(room(service), config),
        handed: Vec::new(),
        before_start: Vec::new(),
        unless: None,
        health: Health::of(Vec::new()),
        after: room(service).needs(),
        stop_signal: None,
        stop_timeout: Seconds(10),
        start_timeout: Seconds(120),
        shm_size: None,
        pids_limit: facts.pids_limits.then_some(128),
        memory_max: facts.memory_limits.then_some(Bytes::mib(128)),
        config_digest: service_config_digest(service, config, image, facts),
    };
    match front(config) {
        Some(_) if room(service).front().is_some() => {
            spec.handed = held(config).into_iter().map(|(_, port)| port).collect();
        }
        Some(front) if spec.ports.iter().any(|port| port.held_by == PortHolder::Systemd) => {
            spec.joined.push((&front.network, front.address(service)));
        }
        _ => {}
    }
    room(service).container(&mut spec, config, image, facts).map_err(|why| missing(&why))?;
    for secret in secrets_of(service, config) {
        spec.mounts.push(Mount::read(layout::secret(secret), secret.in_container()));
    }
    Ok(spec)
}

/// The containers of the services that are on, in the order in which they start.
pub fn containers(config: &Config, lock: &Lock, facts: &Facts) -> Result<Vec<ContainerSpec>, MissingImage> {
    rooms(config).map(|room| container(room.id(), config, lock, facts)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_the_list_of_ids() {
        let ids: Vec<ServiceId> = ALL.iter().map(|room| room.id()).collect();
        assert_eq!(ids, ServiceId::ALL);
        for (position, room) in ALL.iter().enumerate() {
            assert!(room.needs().iter().all(|need| ids[..position].contains(need)), "{}", room.id());
        }
    }
    use crate::testing::{config_with, default_config, facts, lock};

    fn digests(config: &Config) -> Vec<Digest> {
        containers(config, &lock(), &facts()).unwrap().into_iter().map(|spec| spec.config_digest).collect()
    }

    #[test]
    fn keys_configs_and_own_media_are_saved() {
        for path in [
            "matrix.toml",
            "matrix.lock",
            "secrets/signing.key",
            "secrets",
            "synapse/homeserver.yaml",
            "synapse/media_store",
            "synapse/media_store/local_content/aa/bb/cc",
            "synapse/media_store/local_thumbnails/aa/bb/cc/32-32-image-png-crop",
            "redistribution",
        ] {
            assert!(is_saved(path), "{path}");
        }
    }

    #[test]
    fn what_is_made_or_fetched_anew_is_not() {
        for path in [
            "dumps/restore.dump",
            "postgresdata",
            "postgresdata/18/docker/base/1",
            "redis/dump.rdb",
            "set-aside/20260101T000000Z/secrets/signing.key",
            ".matrix-podman-drill/secrets",
            "synapse/media_store/remote_content/a.org/x",
            "synapse/media_store/remote_thumbnail/a.org/x",
            "synapse/media_store/url_cache/2026-01-01/x",
            "secrets/.matrix-podman-x",
        ] {
            assert!(!is_saved(path), "{path}");
        }
    }

    #[test]
    fn one_room_alone_claims_a_key_of_homeserver_yaml() {
        let config = crate::testing::changed_config();
        let claimed: Vec<&str> =
            ALL.into_iter().flat_map(|room| room.homeserver(&config)).map(|(key, _)| key).collect();
        assert_eq!(claimed.len(), homeserver_settings(&config).len(), "{claimed:?}");
        assert!(!claimed.is_empty());
    }

    #[test]
    fn a_change_concerns_only_its_reader() {
        let before = digests(&default_config());
        let changed = |key, value| {
            let after = digests(&config_with(&[(key, value)]));
            ServiceId::ALL
                .into_iter()
                .zip(before.iter().zip(after))
                .filter(|(_, (a, b))| *a != b)
                .map(|(s, _)| s)
                .collect::<Vec<_>>()
        };
        assert_eq!(changed("web.brand", "Element"), []);
        assert_eq!(changed("synapse.presence", "false"), [synapse::ID]);
        assert_eq!(changed("web.brand", "X"), [element::ID]);
        assert_eq!(changed("web.custom_servers", "true"), [element::ID]);
    }

    #[test]
    fn another_image_is_another_digest() {
        let mut lock = lock();
        let image = lock.images.get_mut(&redis::ID).unwrap();
        let digest =
            |image: &LockedImage| service_config_digest(redis::ID, &default_config(), image, &facts());
        let before = digest(image);
        image.id = Digest::of_sha256(&[9; 32]);
        assert_ne!(before, digest(image));
    }

    #[test]
    fn what_the_lock_lacks() {
        let mut lock = lock();
        lock.images.get_mut(&postgres::ID).unwrap().version = "devel".into();
        let error = container(postgres::ID, &default_config(), &lock, &facts()).unwrap_err();
        insta::assert_snapshot!(error.to_string(), @r#"cannot write the unit of postgres_db: its version "devel" does not begin with a number"#);
        lock.images.clear();
        let error = container(element::ID, &default_config(), &lock, &facts()).unwrap_err();
        insta::assert_snapshot!(error.to_string(), @"cannot write the unit of element-web: the lock has no image for it");
    }
}
