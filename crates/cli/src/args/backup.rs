//! `backup`.

use std::path::PathBuf;

use clap::Subcommand;
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};

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
    /// Bring a snapshot back into the server, whose present data are set aside; or take out single things
    Restore(BackupRestore),
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

/// `backup restore`
#[derive(Debug, clap::Args)]
pub struct BackupRestore {
    /// The beginning of its id, or `latest`
    #[arg(default_value = "latest", conflicts_with = "at")]
    pub snapshot: String,
    /// The newest that was made until then: 2026-05-01, 2026-05-01T12:30 or RFC 3339
    #[arg(long, value_name = "WHEN")]
    pub at: Option<Moment>,
    /// Only take this file or folder out, below the guest's /opt/matrix; may be repeated
    #[arg(long, value_name = "PATH", requires = "to")]
    pub file: Vec<String>,
    /// Only take the media of this room out
    #[arg(long, value_name = "ROOM", requires = "to", conflicts_with = "file")]
    pub room: Option<String>,
    /// The folder on this machine that single things are written into
    #[arg(long, value_name = "FOLDER")]
    pub to: Option<PathBuf>,
    /// Bring back what a restore set aside instead: the last, or that of this name
    #[arg(long, value_name = "NAME", num_args = 0..=1, default_missing_value = "",
          conflicts_with_all = ["snapshot", "at", "file", "room", "to"])]
    pub back: Option<String>,
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
    #[command(flatten)]
    pub output: Json,
}

/// A moment that somebody names; one without a time is that day's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(pub Timestamp);

impl std::str::FromStr for Moment {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::in_zone(text, &TimeZone::system())
    }
}

impl Moment {
    fn in_zone(text: &str, zone: &TimeZone) -> Result<Self, String> {
        if let Ok(at) = text.parse::<Timestamp>() {
            return Ok(Self(at));
        }
        let here = |at: DateTime| {
            at.to_zoned(zone.clone()).map(|at| Self(at.timestamp())).map_err(|e| e.to_string())
        };
        let whole_day = !text.contains([':', 'T']);
        match (text.parse::<Date>(), text.parse::<DateTime>()) {
            (Ok(day), _) if whole_day => here(day.at(23, 59, 59, 999_999_999)),
            (_, Ok(at)) => here(at),
            _ => Err("write it as 2026-05-01, 2026-05-01T12:30 or 2026-05-01T12:30:00Z".to_owned()),
        }
    }
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
            Backup::Restore(restore) => restore.output.json,
            Backup::Verify(verify) => verify.output.json,
            Backup::Key(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_read_as_people_write_them() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        for (text, at) in [
            ("2026-05-01", "2026-05-01T21:59:59.999999999Z"),
            ("2026-05-01T12:30", "2026-05-01T10:30:00Z"),
            ("2026-05-01 12:30:15", "2026-05-01T10:30:15Z"),
            ("2026-05-01T12:30:00Z", "2026-05-01T12:30:00Z"),
        ] {
            assert_eq!(Moment::in_zone(text, &zone), Ok(Moment(at.parse().unwrap())), "{text}");
        }
        for text in ["", "yesterday", "2026-13-01", "12:30"] {
            assert!(Moment::in_zone(text, &zone).is_err(), "{text}");
        }
    }
}
