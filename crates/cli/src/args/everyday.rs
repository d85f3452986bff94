//! The arguments of the commands of every day.

use clap::builder::{PossibleValue, StringValueParser, TypedValueParser};
use matrix_podman_core::{config::schema, service::ServiceId, size::Seconds};

use super::service;

/// `watch`
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// How often the server is asked
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = at_least_a_second)]
    pub every: Seconds,
}

/// `logs`
#[derive(Debug, clap::Args)]
pub struct Logs {
    /// Whose [default: all]
    #[arg(value_parser = service())]
    pub service: Option<ServiceId>,
    /// Go on printing what comes
    #[arg(long, short)]
    pub follow: bool,
    /// Only what was said since then: 10m, 2h, 2026-01-31, yesterday
    #[arg(long, value_name = "WHEN")]
    pub since: Option<String>,
    /// Only the last lines
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    pub lines: u32,
}

/// `restart`, `stop`, `start`
#[derive(Debug, clap::Args)]
pub struct Services {
    /// Which
    #[arg(value_parser = service())]
    pub services: Vec<ServiceId>,
}

/// `exec`
#[derive(Debug, clap::Args)]
pub struct Exec {
    /// Whose container
    #[arg(value_parser = service())]
    pub service: ServiceId,
    /// The command and its arguments
    #[arg(last = true, required = true)]
    pub command: Vec<String>,
}

/// `psql`
#[derive(Debug, clap::Args)]
pub struct Psql {
    /// Arguments for psql, as in `psql -- -c 'SELECT count(*) FROM events'`; with `--username=postgres` as the
    /// database's owner instead of Synapse's role
    #[arg(last = true)]
    pub arguments: Vec<String>,
}

/// `set`
#[derive(Debug, clap::Args)]
pub struct Set {
    /// The key with its section: synapse.max_upload_size
    #[arg(value_parser = ConfigKey, hide_possible_values = true)]
    pub key: String,
    /// What it is to say; lists are separated by commas
    #[arg(required_unless_present = "default")]
    pub value: Option<String>,
    /// Leave the key out, so that its default holds
    #[arg(long, conflicts_with = "value")]
    pub default: bool,
}

/// `prune`
#[derive(Debug, clap::Args)]
pub struct Prune {
    /// Also copies of other servers' media that nobody looked at for so long: 30d, 2w
    #[arg(long, value_name = "AGE", value_parser = at_least_a_day)]
    pub remote_media: Option<Seconds>,
    /// Also PostgreSQL's clusters that updates left; `rollback` goes back to none that is gone
    #[arg(long)]
    pub old_clusters: bool,
    /// Only show what would go, and what stays
    #[arg(long)]
    pub dry_run: bool,
    /// Ask nothing
    #[arg(long, short, conflicts_with = "dry_run")]
    pub yes: bool,
}

/// A key of matrix.toml. Shells complete those that there are; any other is taken
/// too, since `set` itself says which one may have been meant.
#[derive(Debug, Clone)]
pub struct ConfigKey;

impl TypedValueParser for ConfigKey {
    type Value = String;

    fn parse_ref(
        &self,
        command: &clap::Command,
        argument: Option<&clap::Arg>,
        value: &std::ffi::OsStr,
    ) -> Result<String, clap::Error> {
        StringValueParser::new().parse_ref(command, argument, value)
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(schema::key_names().into_iter().map(PossibleValue::new)))
    }
}

fn at_least_a_second(text: &str) -> Result<Seconds, String> {
    at_least(text, Seconds(1), "1s")
}

fn at_least_a_day(text: &str) -> Result<Seconds, String> {
    at_least(text, Seconds::days(1), "1d")
}

fn at_least(text: &str, least: Seconds, shown: &str) -> Result<Seconds, String> {
    let span = Seconds::parse(text).map_err(|e| e.to_string())?;
    if span < least { Err(format!("at least {shown}")) } else { Ok(span) }
}
