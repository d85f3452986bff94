//! What the log of a service says, without what systemd and Podman say around it.

use crate::service::ServiceId;

/// How many lines of a log are shown.
const LINES: usize = 3;
/// Longest line that is shown.
const WIDTH: usize = 240;

/// What the kernel, SQLite, PostgreSQL, apt, Podman, Proxmox and stores of backups
/// print, in small letters. Each was seen, or stands in the source of who prints it.
const SAID: [&str; 16] = [
    // The kernel's ENOSPC, in C's, Go's, Python's and Rust's words, and as a number.
    "no space left on device",
    "os error 28",
    "errno 28",
    "enospc",
    // Its EDQUOT.
    "disk quota exceeded",
    "os error 122",
    "errno 122",
    "edquot",
    // SQLite's SQLITE_FULL, which Podman hands on.
    "database or disk is full",
    // PostgreSQL, when the kernel wrote less than it was given.
    "could not extend file",
    "check free disk space",
    // apt, before it fetches anything.
    "you don't have enough free space",
    // Proxmox and LVM.
    "not enough free space",
    "insufficient free space",
    // Stores: HTTP's status 507, and SFTP's SSH_FX_NO_SPACE_ON_FILESYSTEM.
    "insufficient storage",
    "no space on filesystem",
];

/// Whether a line says that a disk is full.
pub fn says_full(line: &str) -> bool {
    let line = line.to_lowercase();
    SAID.iter().any(|said| line.contains(said))
}

/// What a service's log has of the tries since it last came up: what stands
/// before that was overcome.
pub fn latest(log: &[String], service: ServiceId) -> &[String] {
    let up = format!("Started {}", service.unit());
    match log.iter().rposition(|line| line.starts_with(&up)) {
        Some(at) => &log[at + 1..],
        None => log,
    }
}

/// The last lines of a log that say something about the program itself, not
/// about systemd's and Podman's work around it.
pub fn last_words(log: &[String]) -> Vec<String> {
    let mut lines: Vec<String> =
        log.iter().rev().filter(|line| is_said(line)).take(LINES).map(|line| shorten(line)).collect();
    lines.reverse();
    lines
}

/// Whether a line is what the program said.
fn is_said(line: &str) -> bool {
    let text = line.trim();
    let hash = |word: &str| word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit());
    !(text.is_empty()
        || text.starts_with("***")
        || text.starts_with("conmon ")
        || text.contains(".service: ")
        || ["Starting ", "Started ", "Stopping ", "Stopped ", "Failed to start "]
            .iter()
            .any(|word| text.starts_with(word) && text.contains(".service"))
        || text.split_whitespace().any(hash))
}

/// A line that fits a terminal.
pub fn shorten(line: &str) -> String {
    let line = line.trim();
    match line.char_indices().nth(WIDTH) {
        Some((at, _)) => format!("{}…", &line[..at]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stack::{element, redis};

    #[test]
    fn what_was_overcome_is_left_out() {
        let log = ["FATAL: old", "Started redis.service - Matrix: Redis.", "FATAL: new"].map(str::to_owned);
        assert_eq!(latest(&log, redis::ID), ["FATAL: new"]);
        assert_eq!(latest(&log, element::ID).len(), 3);
    }

    #[test]
    fn a_log_is_cleared_of_what_systemd_and_podman_say() {
        let log = [
            "Starting synapse.service - Matrix: Synapse...",
            "2026-11-23 08:09:31.69 +0000 UTC m=+0.09 container remove fda24fb663cf66f682a0d928ab8f23032bcc5acdcb87feaf144f02c49896c98f (image=localhost/x)",
            "psycopg2.OperationalError: connection refused",
            "",
            "conmon dd5ff1007e42a415d102 <nwarn>: Failed to add inotify watch",
            "synapse.service: Main process exited, code=exited, status=1/FAILURE",
            "Failed to start synapse.service - Matrix: Synapse.",
            "fda24fb663cf66f682a0d928ab8f23032bcc5acdcb87feaf144f02c49896c98f",
        ]
        .map(str::to_owned);
        assert_eq!(last_words(&log), ["psycopg2.OperationalError: connection refused"]);
    }
}
