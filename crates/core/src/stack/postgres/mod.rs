//! PostgreSQL: tuning and the making of a cluster; who may log in is in [`roles`].
//!
//! The tuning follows the guest's memory with the formulas of pgtune (web
//! application, SSD), of which PostgreSQL gets half.

mod causes;
mod checks;
pub mod roles;

use super::{
    BuildRecipe, ContainerSpec, Data, Facts, Health, Mount, Service, ServiceImage, Tmpfs, databases, synapse,
};
use crate::{
    cluster::NewCluster,
    config::{Config, ImageChoice},
    desired::{DesiredFile, DesiredFolder},
    frame::{RoomCause, RoomCheck},
    ids::{self, ResourceId},
    layout::{self, Secret},
    lock::LockedImage,
    name::Owner,
    service::ServiceId,
    size::{Bytes, Seconds},
};

/// Where the container sees `/opt/matrix/postgresdata`. Never `…/data`: the
/// image of version 18 refuses to start when that is a mount.
pub const MOUNT: &str = "/var/lib/postgresql";
/// Folder of PostgreSQL's Unix socket.
pub const SOCKETS: &str = "/var/run/postgresql";

/// The cluster's folder in the container, as the official image has it from
/// version 18 on; given to older ones too. `None` without a version number.
pub fn pgdata(image: &LockedImage) -> Option<String> {
    image.major().map(|major| format!("{MOUNT}/{major}/docker"))
}

/// `name=value` settings for PostgreSQL's command line.
pub fn settings(config: &Config, facts: &Facts) -> Vec<(&'static str, String)> {
    let share = facts.guest_memory.as_mib() / 2;
    let connections = u64::from(config.postgres.max_connections.get());
    let buffers = config.postgres.shared_buffers.map_or(share / 4, |size| size.as_mib()).max(16);
    let cores = facts.cores.clamp(2, 8);
    // A sixteenth of the disk for the log of changes, within reason.
    let wal = (config.guest.expected_disk().as_mib() / 16).clamp(512, 4096);
    let mib = |n: u64| format!("{n}MB");
    vec![
        ("listen_addresses", "*".into()),
        ("unix_socket_directories", SOCKETS.into()),
        ("hba_file", roles::HBA.into()),
        ("ident_file", roles::IDENT.into()),
        ("password_encryption", "scram-sha-256".into()),
        ("max_connections", connections.to_string()),
        ("shared_buffers", mib(buffers)),
        ("effective_cache_size", mib((share * 3 / 4).max(256))),
        ("maintenance_work_mem", mib((share / 16).clamp(32, 2048))),
        ("work_mem", mib((share.saturating_sub(buffers) / (connections * 3).max(1)).clamp(4, 64))),
        ("wal_buffers", mib(16)),
        ("min_wal_size", mib(wal / 4)),
        ("max_wal_size", mib(wal)),
        ("wal_compression", "lz4".into()),
        ("checkpoint_completion_target", "0.9".into()),
        ("random_page_cost", "1.1".into()),
        ("effective_io_concurrency", "200".into()),
        ("max_worker_processes", cores.max(4).to_string()),
        ("max_parallel_workers", cores.to_string()),
        ("max_parallel_workers_per_gather", (cores / 2).to_string()),
        ("max_parallel_maintenance_workers", (cores / 2).to_string()),
        // Synapse's queries are short; compiling them takes longer than running.
        ("jit", "off".into()),
        ("huge_pages", "off".into()),
    ]
}

/// The server's command line: `postgres -c name=value …`.
pub fn command(config: &Config, facts: &Facts) -> Vec<String> {
    let settings = settings(config, facts);
    let extra = &config.postgres.extra;
    let replaced = |name: &str| extra.settings().any(|(other, _)| other == name);
    let ours = settings.into_iter().filter(|(name, _)| !replaced(name));
    let theirs = extra
        .settings()
        .map(|(name, value)| (name, value.as_str().map_or_else(|| value.to_string(), str::to_owned)));
    let options = ours.chain(theirs).flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]);
    std::iter::once("postgres".to_owned()).chain(options).collect()
}

/// The health check: over TCP, which answers only once start-up and recovery
/// are over; on the Unix socket a server that is being made answers too.
pub fn health_command() -> Vec<String> {
    let asked = ["pg_isready", "--quiet", "--host=127.0.0.1"].map(str::to_owned);
    // It comes in nowhere; without them PostgreSQL's log would name a role that is not there.
    asked.into_iter().chain(synapse::DATABASE.login()).collect()
}

/// What makes an empty cluster in `pgdata`, run in the container as its user.
/// Each database has an encoding and a locale of its own besides.
fn initdb(pgdata: &str) -> Vec<String> {
    [
        "initdb",
        "--encoding=UTF8",
        "--locale=C",
        "--data-checksums",
        // Until our own rules stand there.
        "--auth-local=peer",
        "--auth-host=reject",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([format!("--username={}", roles::OWNER), "-D".to_owned(), pgdata.to_owned()])
    .collect()
}

/// `initdb` options for images that make the cluster themselves
/// (`POSTGRES_INITDB_ARGS`): the same cluster as [`initdb`] makes.
pub const INITDB_ARGS: &str = "--encoding=UTF8 --locale=C --data-checksums";

/// Its id.
pub const ID: ServiceId = ServiceId::known("postgres_db");

impl NewCluster {
    /// A cluster of that major version.
    pub fn of(major: u32) -> Self {
        let databases = databases();
        Self {
            initdb: initdb(&format!("{MOUNT}/{major}/docker")),
            files: vec![
                ("pg_hba.conf".to_owned(), roles::pg_hba(&databases)),
                ("pg_ident.conf".to_owned(), roles::pg_ident(&databases)),
            ],
            statements: roles::first_statements(&databases),
        }
    }
}

/// PostgreSQL: everything that must not be lost but media and keys.
#[derive(Debug)]
pub struct PostgresService;

impl Service for PostgresService {
    fn id(&self) -> ServiceId {
        ID
    }

    fn container(
        &self,
        spec: &mut ContainerSpec,
        config: &Config,
        image: &LockedImage,
        facts: &Facts,
    ) -> Result<(), String> {
        let pgdata = pgdata(image)
            .ok_or_else(|| format!("its version {:?} does not begin with a number", image.version))?;
        spec.command = command(config, facts);
        // These act only on an empty folder, and never hold the password itself.
        spec.environment.extend([
            ("PGDATA", pgdata),
            ("POSTGRES_USER", roles::OWNER.to_owned()),
            ("POSTGRES_PASSWORD_FILE", Secret::POSTGRES.in_container()),
            ("POSTGRES_INITDB_ARGS", INITDB_ARGS.to_owned()),
        ]);
        spec.mounts.push(Mount::write(layout::in_root("postgresdata"), MOUNT));
        for (name, target) in
            [("pg_hba.conf", roles::HBA), ("pg_ident.conf", roles::IDENT), ("first.sql", roles::FIRST)]
        {
            spec.mounts.push(Mount::read(layout::in_root(&format!("postgres/{name}")), target));
        }
        spec.tmpfs.push(Tmpfs { target: SOCKETS, size: Bytes::mib(1) });
        spec.networks = vec![layout::DB_NETWORK];
        spec.health = Health::of(health_command());
        // SIGTERM would wait for Synapse to hang up; SIGINT is a fast, clean end.
        spec.stop_signal = Some("SIGINT");
        spec.stop_timeout = Seconds(120);
        // Recovery after a power cut replays at most `max_wal_size` twice.
        spec.start_timeout = Seconds(15 * 60);
        spec.shm_size = Some(Bytes::mib(256));
        // Three eighths of the guest: its page cache counts, but can be taken back.
        spec.limit(1024, Bytes::mib(facts.guest_memory.as_mib() * 3 / 8));
        Ok(())
    }

    fn files(&self, _: &Config, _: &Facts) -> Vec<DesiredFile> {
        roles::files()
    }

    fn folders(&self) -> Vec<DesiredFolder> {
        let owner = self.id().owner();
        vec![
            DesiredFolder::new(layout::in_root("postgres"), 0o750, Owner { uid: 0, gid: owner.gid }),
            DesiredFolder::new(layout::in_root("postgresdata"), 0o700, owner),
        ]
    }

    /// The dump is what counts.
    fn unsaved(&self) -> &'static [&'static str] {
        &["postgresdata"]
    }

    fn image(&self) -> ServiceImage {
        ServiceImage { recipe: Some(BuildRecipe { name: "postgres", origins: "Debian" }), within_major: true }
    }

    fn also_called(&self) -> &'static [&'static str] {
        &["postgres"]
    }

    fn buildable(&self, _: &ImageChoice, version: &str) -> Result<(), (String, String)> {
        if version.chars().all(|c| c.is_ascii_digit()) {
            return Ok(());
        }
        Err((
            "PostgreSQL is built from the packages of the Debian release that has its major version"
                .to_owned(),
            format!("give that alone, as in `matrix-podman update {ID}=18`"),
        ))
    }

    fn data(&self) -> Data {
        Data::Cluster
    }

    fn before_unit(&self) -> &'static [ResourceId] {
        // A unit whose image is of another major version than the data would make an
        // empty cluster at the guest's next start.
        &[ids::DATABASE]
    }

    fn trial(&self, config: &Config, facts: &Facts) -> Option<Vec<String>> {
        if config.postgres.extra.is_empty() {
            return None;
        }
        // It reads all settings before it prints one, beside a server that runs (its manual, `postgres -C`).
        let mut argv = command(config, facts);
        argv.extend(["-C", "work_mem"].map(str::to_owned));
        Some(argv)
    }

    fn family(&self) -> &'static str {
        "database/"
    }

    fn causes(&self) -> &'static [RoomCause] {
        causes::CAUSES
    }

    fn checks(&self, _: &Config) -> &'static [RoomCheck] {
        checks::CHECKS
    }

    fn unit_is(&self) -> &'static str {
        "How systemd and Podman run PostgreSQL"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{changed_config, default_config, facts, weak_facts};

    #[test]
    fn tuning_follows_memory() {
        let mut table = String::new();
        for gib in [1, 2, 4, 8, 16] {
            let facts = Facts { guest_memory: Bytes::gib(gib), ..facts() };
            let settings = settings(&default_config(), &facts);
            let wanted = ["shared_buffers", "effective_cache_size", "maintenance_work_mem", "work_mem"];
            let shown: Vec<String> = settings
                .iter()
                .filter(|(k, _)| wanted.contains(k))
                .map(|(k, v)| format!("{k}={v}"))
                .collect();
            table.push_str(&format!("{gib:>2} GiB: {}\n", shown.join(" ")));
        }
        insta::assert_snapshot!(table);
    }

    #[test]
    fn command_lines() {
        insta::assert_snapshot!(command(&default_config(), &facts()).join(" "));
        insta::assert_snapshot!(command(&changed_config(), &weak_facts()).join(" "));
    }

    #[test]
    fn settings_besides_take_the_place_of_ours() {
        let text =
            "domain = \"chat.home.arpa\"\n[postgres.extra]\nwork_mem = \"7MB\"\nlog_lock_waits = true\n";
        let config = Config::parse(text, "matrix.toml").unwrap();
        let line = command(&config, &facts()).join(" ");
        assert!(line.ends_with(" -c log_lock_waits=true -c work_mem=7MB"), "{line}");
        assert_eq!(line.matches("work_mem=").count(), 2, "maintenance_work_mem is another: {line}");
    }

    #[test]
    fn a_cluster() {
        insta::assert_snapshot!(NewCluster::of(18).initdb.join(" "));
    }
}
