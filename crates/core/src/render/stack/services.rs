//! What is particular about each of the four containers.

use super::{ContainerSpec, Health, Mount, Publish, Tmpfs};
use crate::{
    config::Config,
    layout::{self, Secret},
    render::{Facts, element, homeserver, postgres as postgres_conf, redis as redis_conf, roles, uploads},
    service::Service,
    size::{Bytes, Seconds},
};

pub(super) fn postgres(spec: &mut ContainerSpec, config: &Config, facts: &Facts, pgdata: String) {
    spec.command = postgres_conf::command(config, facts);
    // These act only on an empty folder, and never hold the password itself.
    spec.environment.extend([
        ("PGDATA", pgdata),
        ("POSTGRES_USER", roles::OWNER.to_owned()),
        ("POSTGRES_PASSWORD_FILE", Secret::Postgres.in_container()),
        ("POSTGRES_INITDB_ARGS", postgres_conf::INITDB_ARGS.to_owned()),
    ]);
    spec.mounts.push(Mount::write(layout::in_root("postgresdata"), postgres_conf::MOUNT));
    for (name, target) in
        [("pg_hba.conf", roles::HBA), ("pg_ident.conf", roles::IDENT), ("first.sql", roles::FIRST)]
    {
        spec.mounts.push(Mount::read(layout::in_root(&format!("postgres/{name}")), target));
    }
    spec.tmpfs.push(Tmpfs { target: postgres_conf::SOCKETS, size: Bytes::mib(1) });
    spec.networks = vec![layout::DB_NETWORK];
    spec.health = Health::of(postgres_conf::health_command());
    // SIGTERM would wait for Synapse to hang up; SIGINT is a fast, clean end.
    spec.stop_signal = Some("SIGINT");
    spec.stop_timeout = Seconds(120);
    // Recovery after a power cut replays at most `max_wal_size` twice.
    spec.start_timeout = Seconds(15 * 60);
    spec.shm_size = Some(Bytes::mib(256));
}

pub(super) fn redis(spec: &mut ContainerSpec) {
    // The image's entry point would load every module that it ships.
    spec.entrypoint = Some("redis-server");
    spec.command = vec![redis_conf::CONF.to_owned()];
    spec.mounts.push(Mount::read(layout::in_root("redis/redis.conf"), redis_conf::CONF));
    spec.tmpfs.push(Tmpfs { target: "/data", size: Bytes::mib(1) });
    spec.networks = vec![layout::DB_NETWORK];
    spec.health = Health::of(redis_conf::health_command());
}

pub(super) fn synapse(spec: &mut ContainerSpec, config: &Config, facts: &Facts) {
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
    spec.port =
        Some(Publish { bind: config.ports.bind, host: config.ports.synapse, container: homeserver::PORT });
    spec.health = Health::of(vec![
        "curl".into(),
        "-fsS".into(),
        "-o".into(),
        "/dev/null".into(),
        format!("http://127.0.0.1:{}/health", homeserver::PORT),
    ]);
    spec.after = vec![Service::Postgres, Service::Redis];
    spec.stop_timeout = Seconds(30);
    // A new version may migrate the database first.
    spec.start_timeout = Seconds(30 * 60);
}

pub(super) fn web(spec: &mut ContainerSpec, config: &Config, facts: &Facts) {
    spec.environment.extend([
        ("ELEMENT_WEB_PORT", element::PORT.to_string()),
        // The server below is complete; with a folder that is not there the
        // image leaves its own template alone.
        ("NGINX_ENVSUBST_TEMPLATE_DIR", "/nonexistent".to_owned()),
    ]);
    spec.mounts.extend([
        Mount::read(layout::in_root("element-config.json"), element::CONFIG),
        Mount::read(layout::in_root("element-nginx.conf"), element::NGINX),
    ]);
    spec.networks = vec![layout::edge_network(facts.ipv6)];
    spec.port = Some(Publish { bind: config.ports.bind, host: config.ports.web, container: element::PORT });
    spec.health = Health::of(
        ["wget", "-q", "-O", "/dev/null", "http://127.0.0.1:8080/config.json"].map(str::to_owned).to_vec(),
    );
}

/// Far above what is normal, far below what would stop the guest.
pub(super) fn pids_limit(service: Service) -> u32 {
    match service {
        Service::Postgres | Service::Synapse => 1024,
        Service::Redis | Service::Web => 128,
    }
}

/// Half of the guest for Synapse, three eighths for PostgreSQL, whose page cache
/// counts but can be taken back; the rest is small.
pub(super) fn memory_max(service: Service, guest: Bytes) -> Bytes {
    let guest = guest.as_mib();
    Bytes::mib(match service {
        Service::Synapse => guest / 2,
        Service::Postgres => guest * 3 / 8,
        Service::Redis | Service::Web => 128,
    })
}
