//! The arguments of `update`, `rollback` and `history`.

use matrix_podman_core::{service::ServiceId, size::Seconds, update::Target};

use super::service;

/// `update`
#[derive(Debug, clap::Args)]
pub struct Update {
    /// Which services, and to which version, as in synapse=v1.163.2; `debian` is the guest's
    /// packages that containers run by [default: all, to the newest]
    #[arg(value_name = "SERVICE[=VERSION]")]
    pub targets: Vec<Target>,
    /// Leave this one as it is this time; may be repeated. What update.hold in matrix.toml names
    /// is skipped unless named explicitly
    #[arg(long, value_name = "SERVICE", value_parser = service())]
    pub hold: Vec<ServiceId>,
    /// Get the new images and say what they would change; replace nothing
    #[arg(long)]
    pub check: bool,
    /// Get the new images and try them on a copy of the data, in containers without a network;
    /// replace nothing
    #[arg(long, conflicts_with_all = ["check", "unattended"])]
    pub rehearse: bool,
    /// How long a new version may take until it answers; a large database is migrated meanwhile
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = seconds)]
    pub within: Seconds,
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
    /// As the timer does: ask nothing, leave alone what could not be taken back without losing
    /// what people wrote, and write down what came of it
    #[arg(long, conflicts_with_all = ["check", "yes"])]
    pub unattended: bool,
}

/// `rollback`
#[derive(Debug, clap::Args)]
pub struct Rollback {
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
}

fn seconds(text: &str) -> Result<Seconds, String> {
    Seconds::parse(text).map_err(|e| e.to_string())
}
