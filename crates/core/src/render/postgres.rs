//! PostgreSQL: tuning, the making of a cluster and who may log in.
//!
//! The tuning follows the guest's memory with the formulas of pgtune (web
//! application, SSD), of which PostgreSQL gets half.

use super::Facts;
use crate::{
    config::Config,
    layout::Secret,
    lock::LockedImage,
    name::{Mode, Owner},
    render::homeserver::DATABASE,
    service::Service,
    size::Bytes,
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
    let connections = u64::from(config.postgres.max_connections);
    let buffers = config.postgres.shared_buffers.map_or(share / 4, Bytes::as_mib).max(16);
    let cores = facts.cores.clamp(2, 8);
    // A sixteenth of the disk for the log of changes, within reason.
    let wal = (config.guest.disk.as_mib() / 16).clamp(512, 4096);
    let mib = |n: u64| format!("{n}MB");
    vec![
        ("listen_addresses", "*".into()),
        ("unix_socket_directories", SOCKETS.into()),
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
    let options = settings.into_iter().flat_map(|(name, value)| ["-c".to_owned(), format!("{name}={value}")]);
    std::iter::once("postgres".to_owned()).chain(options).collect()
}

/// The health check: over TCP, which answers only once start-up and recovery
/// are over; on the Unix socket a server that is being made answers too.
pub fn health_command() -> Vec<String> {
    ["pg_isready", "--quiet", "--host=127.0.0.1", "--username=synapse", "--dbname=synapse"]
        .map(str::to_owned)
        .to_vec()
}

/// What makes an empty cluster in `pgdata`, run in the container as its user.
/// Synapse accepts no locale but C and no encoding but UTF-8.
pub fn initdb(pgdata: &str) -> Vec<String> {
    [
        "initdb",
        "--encoding=UTF8",
        "--locale=C",
        "--data-checksums",
        "--auth-local=trust",
        "--auth-host=scram-sha-256",
    ]
    .map(str::to_owned)
    .into_iter()
    .chain([
        format!("--username={DATABASE}"),
        format!("--pwfile={}", Secret::Postgres.in_container()),
        "-D".to_owned(),
        pgdata.to_owned(),
    ])
    .collect()
}

/// `initdb` options for images that make the cluster themselves
/// (`POSTGRES_INITDB_ARGS`): the same cluster as [`initdb`] makes.
pub const INITDB_ARGS: &str = "--encoding=UTF8 --locale=C --data-checksums";

/// `pg_hba.conf`: the socket is inside the container, where only PostgreSQL
/// itself and `podman exec` are; over the network nobody without the password.
/// The same as the official image's entry point writes.
pub fn pg_hba() -> String {
    let rule = |kind: &str, address: &str, method: &str| {
        format!("{kind:<7} {:<11} {:<7} {address:<7} {method}\n", "all", "all")
    };
    format!(
        "# Written by matrix-podman when the cluster was made.\n{}{}",
        rule("local", "", "trust"),
        rule("host", "all", "scram-sha-256"),
    )
}

/// Mode and owner of `pg_hba.conf`.
pub const PG_HBA_FILE: (Mode, Owner) = (Mode(0o600), Service::Postgres.owner());

#[cfg(test)]
mod tests {
    use super::*;
    use crate::render::testing::{changed_config, default_config, facts, weak_facts};

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
    fn a_cluster() {
        insta::assert_snapshot!(format!(
            "{}\n{}",
            initdb("/var/lib/postgresql/18/docker").join(" "),
            pg_hba()
        ));
    }
}
