//! `backup`.

use clap::Subcommand;

use super::Json;

/// `backup`
#[derive(Debug, Subcommand)]
pub enum Backup {
    /// Make the repository and its password
    Init(Json),
    /// Back the server up while it runs
    Now(Json),
    /// List what can be restored
    List(Json),
    /// Show what a snapshot holds
    Show(BackupShow),
    /// Show whether everything in the repository is whole
    Verify(BackupVerify),
    /// Bring a snapshot back beside the server, without a network, and compare it with what it says of itself
    Drill(BackupShow),
    /// Remove what need not be kept any longer, and make room
    Prune(Json),
    /// Show the password, to be kept where the machine is not
    Key(BackupKey),
}

/// `backup show`, `backup drill`
#[derive(Debug, clap::Args)]
pub struct BackupShow {
    /// The beginning of its id, or `latest`
    #[arg(default_value = "latest")]
    pub snapshot: String,
    #[command(flatten)]
    pub output: Json,
}

/// `backup verify`
#[derive(Debug, clap::Args)]
pub struct BackupVerify {
    /// Only the structure: every index, folder and file's parts, not their content
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub output: Json,
}

/// `backup key`
#[derive(Debug, clap::Args)]
pub struct BackupKey {
    /// Ask for the password instead, and say whether what was noted is right
    #[arg(long)]
    pub test: bool,
}

impl Backup {
    /// Whether JSON was asked for.
    pub fn json(&self) -> bool {
        match self {
            Backup::Init(json) | Backup::Now(json) | Backup::List(json) | Backup::Prune(json) => json.json,
            Backup::Show(show) | Backup::Drill(show) => show.output.json,
            Backup::Verify(verify) => verify.output.json,
            Backup::Key(_) => false,
        }
    }
}
