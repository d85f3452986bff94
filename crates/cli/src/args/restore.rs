//! `restore`.

use std::path::PathBuf;

/// `restore`
#[derive(Debug, clap::Args)]
pub struct Restore {
    /// The folder of the repository
    #[arg(long, value_name = "FOLDER")]
    pub from: PathBuf,
    /// A file with the repository's password, which only its owner can read [default: ask for it]
    #[arg(long, value_name = "FILE")]
    pub password_file: Option<PathBuf>,
    /// The beginning of the snapshot's id, or `latest`
    #[arg(long, value_name = "ID", default_value = "latest")]
    pub snapshot: String,
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
}
