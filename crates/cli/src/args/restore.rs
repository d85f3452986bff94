//! `restore`.

use std::path::PathBuf;

use super::backup::Moment;

/// `restore`
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// Where the repository is: a folder, or sftp:, s3: or rclone: as in matrix.toml
    #[arg(long, value_name = "PLACE")]
    pub from: String,
    /// A file with the repository's password, which only its owner can read [default: ask for it]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// The beginning of the snapshot's id, or `latest`
    #[arg(long, value_name = "ID", default_value = "latest", conflicts_with = "at")]
    pub snapshot: String,
    /// The newest that was made until then: 2026-05-01, 2026-05-01T12:30 or RFC 3339
    #[arg(long, value_name = "WHEN")]
    pub at: Option<Moment>,
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
}
