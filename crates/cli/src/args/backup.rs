//! `backup`.

use std::path::PathBuf;

use clap::Subcommand;
use jiff::{
    Timestamp,
    civil::{Date, DateTime},
    tz::TimeZone,
};
use matrix_podman_core::size::Seconds;

/// `backup`
#[derive(Debug, Subcommand)]
pub enum Backup {
    /// Make a repository and its password
    Init(BackupWhere),
    /// Back the server up while it runs, into every repository
    Now(BackupNow),
    /// List what can be restored
    List(BackupWhere),
    /// Show what a snapshot holds
    Show(BackupShow),
    /// List the files in a snapshot, folder by folder
    Ls(BackupLs),
    /// Show whether everything in every repository is whole
    Verify(BackupVerify),
    /// Bring a snapshot back beside the server, without a network, and compare it with what it says of itself
    Drill(BackupDrill),
    /// Restore a snapshot into the server, whose present data is set aside; or take out single things
    Restore(BackupRestore),
    /// Remove what need not be kept any longer from every repository, and make room
    Prune(BackupWhere),
    /// Show a repository's password, to be kept where the machine is not
    Key(BackupKey),
}

/// Which repository.
#[derive(Debug, clap::Args)]
pub struct Which {
    /// The repository's name in matrix.toml; that of `backup.repository` is `main`
    #[arg(long, value_name = "NAME")]
    pub repository: Option<String>,
}

/// `backup init`, `backup list`, `backup prune`
#[derive(Debug, clap::Args)]
pub struct BackupWhere {
    #[command(flatten)]
    pub which: Which,
}

/// What nobody watches.
#[derive(Debug, clap::Args)]
pub struct ByItself {
    /// Do what the schedules in matrix.toml say is due, ask nothing, and wait for a repository that is away: for timers
    #[arg(long)]
    pub unattended: bool,
    /// With --unattended: how long to go on trying to reach a repository, such as 10m
    #[arg(long, value_name = "SPAN", default_value = "30m", value_parser = |text: &str| Seconds::parse(text).map_err(|e| e.0))]
    pub patience: Seconds,
}

/// `backup now`
#[derive(Debug, clap::Args)]
pub struct BackupNow {
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub by_itself: ByItself,
}

/// `backup show`
#[derive(Debug, clap::Args)]
pub struct BackupShow {
    /// The beginning of its id, or `latest`
    #[arg(default_value = "latest")]
    pub snapshot: String,
    #[command(flatten)]
    pub which: Which,
}

/// `backup ls`
#[derive(Debug, clap::Args)]
pub struct BackupLs {
    /// Which folder [default: the guest's /opt/matrix]
    #[arg(value_name = "PATH")]
    pub path: Option<String>,
    /// The beginning of the snapshot's id, or `latest`
    #[arg(long, value_name = "SNAPSHOT", default_value = "latest")]
    pub snapshot: String,
    #[command(flatten)]
    pub which: Which,
}

/// `backup drill`
#[derive(Debug, clap::Args)]
pub struct BackupDrill {
    /// The beginning of its id, or `latest`
    #[arg(default_value = "latest")]
    pub snapshot: String,
    #[command(flatten)]
    pub which: Which,
    #[command(flatten)]
    pub by_itself: ByItself,
}

/// `backup verify`
#[derive(Debug, clap::Args)]
pub struct BackupVerify {
    /// Only the structure: every index, folder and file's parts, not their content
    #[arg(long)]
    pub quick: bool,
    #[command(flatten)]
    pub which: Which,
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
    #[command(flatten)]
    pub which: Which,
    /// Ask nothing
    #[arg(long, short)]
    pub yes: bool,
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
    /// The repository's name in matrix.toml
    #[arg(value_name = "NAME")]
    pub repository: Option<String>,
    /// Ask for the password instead, and say whether what was noted is right
    #[arg(long)]
    pub test: bool,
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
