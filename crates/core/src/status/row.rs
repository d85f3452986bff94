//! A status as lines: what is said, and how loudly. Who shows them decides what
//! a tone looks like.

use super::{Found, GuestLock, Held, HeldBy, NextTimer, ServiceStatus, Status};
use crate::{
    fact::Side,
    size::{Bytes, Seconds},
};

/// How loudly something is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tone {
    /// As it is.
    Plain,
    /// More important.
    Strong,
    /// Less important.
    Quiet,
    /// It is well.
    Good,
    /// It wants attention.
    Care,
    /// It is wrong.
    Bad,
}

/// A piece of a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Piece {
    /// How loudly.
    pub tone: Tone,
    /// What.
    pub text: String,
}

impl Piece {
    /// A piece.
    pub fn new(tone: Tone, text: impl Into<String>) -> Self {
        Self { tone, text: text.into() }
    }
}

/// One line: what it is about, and what is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// What it is about.
    pub label: String,
    /// What is said.
    pub pieces: Vec<Piece>,
}

impl Row {
    /// A line of one piece.
    pub fn new(label: impl Into<String>, tone: Tone, text: impl Into<String>) -> Self {
        Self { label: label.into(), pieces: vec![Piece::new(tone, text)] }
    }
}

/// From this share of a disk or a memory on, in hundredths, it wants attention.
const NEARLY_FULL: u64 = 85;
/// From this share on, something will soon stop.
const FULL: u64 = 95;
/// From this age on, what was found says little of today.
const OLD: u64 = 8 * 86_400;

impl Status {
    /// The guest in a line.
    pub fn guest_line(&self) -> String {
        let guest = &self.guest;
        let address = guest.address.as_deref().unwrap_or("no address");
        format!("guest {} ({}) {}, {address}", guest.id, guest.backend, guest.state)
    }

    /// Everything below the services.
    pub fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        rows.extend(self.guest.lock.as_ref().map(GuestLock::row));
        rows.extend(self.held.map(|held| Row::new("waits", Tone::Bad, held.words())));
        rows.extend(self.services.iter().filter_map(|service| service.held).map(|held| {
            let (title, seconds, waiting) = (held.service.title(), held.seconds, held.waiting);
            let (tone, each) = match seconds {
                0..60 => (Tone::Plain, "not refused"),
                _ => (Tone::Care, "each is refused after 60 s"),
            };
            Row::new("requests", tone, format!("to {title} are held for {seconds} s, {each}; {waiting} wait"))
        }));
        rows.extend(self.room());
        rows.extend(self.holds());
        rows.extend(self.urls.iter().filter_map(|at| {
            let here = at.here.as_ref()?;
            Some(Row::new(at.label, Tone::Plain, format!("{here} (to be {})", at.public)))
        }));
        rows.extend(self.updated());
        rows.push(if self.updates.auto {
            Row::new("updates", Tone::Quiet, "automatic, on the 1st and the 15th (update.auto)".to_owned())
        } else {
            Row::new("updates", Tone::Quiet, "manual only (update.auto = false)".to_owned())
        });
        if let [_, ..] = self.updates.hold.as_slice() {
            let names: Vec<&str> = self.updates.hold.iter().map(|service| service.name()).collect();
            let text = format!("{} (update.hold)", names.join(", "));
            rows.push(Row::new("held back", Tone::Quiet, text));
        }
        if let [_, ..] = self.timers.as_slice() {
            let words: Vec<String> = self.timers.iter().map(|timer| timer.words(self.at)).collect();
            rows.push(Row::new("next", Tone::Plain, words.join(", ")));
        }
        rows.extend([("doctor", &self.found.doctor), ("verify", &self.found.verify)].map(
            |(command, found)| {
                let (tone, text) = found.as_ref().map_or_else(
                    || (Tone::Quiet, format!("not asked yet: matrix-podman {command}")),
                    |found| match found.overtaken {
                        true => {
                            let text = format!("not asked since the last change: matrix-podman {command}");
                            (Tone::Quiet, text)
                        }
                        false => found.words(self.at),
                    },
                );
                Row::new(command, tone, text)
            },
        ));
        rows
    }

    fn room(&self) -> Option<Row> {
        let mut pieces = Vec::new();
        if let Some(disk) = &self.guest.disk {
            // What is kept for root counts as used: services cannot have it.
            let used = disk.total.saturating_sub(disk.free);
            pieces.push(share("disk", used, disk.total));
        }
        if let Some(memory) = &self.guest.memory {
            if !pieces.is_empty() {
                pieces.push(Piece::new(Tone::Plain, ", "));
            }
            pieces.push(share("memory", memory.used, memory.total));
        }
        (!pieces.is_empty()).then(|| Row { label: "room".to_owned(), pieces })
    }

    fn holds(&self) -> Vec<Row> {
        let Some(contents) = &self.contents else { return Vec::new() };
        let (local, remote) = (contents.local_media.bytes, contents.remote_media.bytes);
        let media = local.saturating_add(remote).saturating_add(contents.thumbnails.bytes);
        let holds = format!(
            "{}, {}, database {}",
            counted(contents.users, "user"),
            counted(contents.rooms, "room"),
            Bytes(contents.database).rounded()
        );
        let media = format!(
            "{}, of which {} are copies from other servers",
            Bytes(media).rounded(),
            Bytes(remote).rounded()
        );
        vec![Row::new("holds", Tone::Plain, holds), Row::new("media", Tone::Plain, media)]
    }

    fn updated(&self) -> Option<Row> {
        if let Some(last) = &self.updates.last
            && self.updates.generation.as_ref().is_none_or(|g| g.at <= last.at)
        {
            let tone = if last.outcome.is_well() { Tone::Quiet } else { Tone::Care };
            return Some(Row::new("last update", tone, last.line()));
        }
        let last = self.updates.generation.as_ref()?;
        let tone = if last.outcome == "kept" { Tone::Quiet } else { Tone::Care };
        let day = last.at.get(..10).unwrap_or(&last.at);
        let before = last.snapshot.as_ref().map(|name| format!(", with the snapshot {name} made before"));
        let text = format!(
            "{day}: generation {} by {}, {}{}",
            last.number,
            last.by,
            last.outcome,
            before.unwrap_or_default()
        );
        Some(Row::new("last update", tone, text))
    }

    /// What to type next, where something is not as it should be.
    pub fn next(&self) -> Option<String> {
        match self.guest.state.as_str() {
            "absent" => Some("`matrix-podman up` makes it".to_owned()),
            "stopped" => Some("`matrix-podman up` starts it".to_owned()),
            _ if self.held.is_some() => self.held.map(|held| format!("`{}` {}", held.then, held.mends())),
            _ => self.services.iter().find(|s| !s.is_well()).map(|bad| match bad.stopped {
                Some(_) => format!("`matrix-podman start {}` starts it again", bad.name),
                None => format!(
                    "`matrix-podman logs {}` says why, `matrix-podman up` mends what it can",
                    bad.name
                ),
            }),
        }
    }
}

impl GuestLock {
    fn row(&self) -> Row {
        let (tone, words) = match self.left {
            true => {
                (Tone::Bad, format!("{}, so Proxmox refuses backups and changes: {}", self.why, self.way_out))
            }
            false => (Tone::Care, self.why.clone()),
        };
        Row::new("locked", tone, words)
    }
}

impl Held {
    /// For a person.
    fn words(self) -> &'static str {
        match self.why {
            HeldBy::WentBack => {
                "Synapse does not start: the data went back in time, and one-time keys in them may have been given out \
                 already"
            }
            HeldBy::Restore => "Synapse does not start: a restore was cut off, and the data is not complete",
        }
    }

    const fn mends(self) -> &'static str {
        match self.why {
            HeldBy::WentBack => "has those keys forgotten and starts it",
            HeldBy::Restore => {
                "goes on with it (after `matrix-podman restore --from`, type that again instead)"
            }
        }
    }
}

impl ServiceStatus {
    /// State and health.
    pub fn state_piece(&self) -> Piece {
        if let Some(seconds) = self.stopped {
            return Piece::new(Tone::Care, format!("stopped by you {}", Seconds(seconds).ago()));
        }
        let tone = match (self.state.as_str(), self.health) {
            ("running", "healthy") => Tone::Good,
            ("running", "starting") => Tone::Care,
            _ => Tone::Bad,
        };
        let health = if self.health == "none" { "" } else { self.health };
        Piece::new(tone, format!("{:<8} {health:<9}", self.state))
    }

    /// Memory, and restarts where there were any.
    pub fn more(&self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        if let Some(memory) = self.memory {
            pieces.push(Piece::new(Tone::Plain, Bytes(memory).rounded()));
        }
        if let Some(restarts @ 1..) = self.restarts {
            let gap = if pieces.is_empty() { "" } else { "   " };
            let text = format!("{gap}{}", counted(u64::from(restarts), "automatic restart"));
            pieces.push(Piece::new(Tone::Care, text));
        }
        pieces
    }
}

impl NextTimer {
    pub(super) fn words(&self, now: u64) -> String {
        let what = match self.unit.as_str() {
            "apt-daily-upgrade.timer" => "Debian packages",
            unit if unit.starts_with("matrix-backup-") => "backup",
            unit if unit.starts_with("matrix-drill-") => "drill",
            unit if unit.starts_with("matrix-update-") => "update",
            unit => unit.trim_end_matches(".timer").trim_start_matches("matrix-"),
        };
        let place = if self.side == Side::Machine { " on the machine" } else { "" };
        format!("{what}{place} in {}", Seconds(self.next.saturating_sub(now)).rounded())
    }
}

impl Found {
    /// What was found, for a person, and how loudly.
    fn words(&self, now: u64) -> (Tone, String) {
        let age = now.saturating_sub(self.at);
        let when = Seconds(age).ago();
        match (self.wrong.as_slice(), self.unknown) {
            ([], 0) if age > OLD => (Tone::Care, format!("nothing was wrong, but that was {when}")),
            ([], 0) => (Tone::Good, format!("nothing was wrong {when}")),
            ([], unknown) => (Tone::Care, format!("{unknown} could not be looked at {when}")),
            ([first], _) => (Tone::Bad, format!("{when}: {}", first.what)),
            ([first, rest @ ..], _) => {
                (Tone::Bad, format!("{when}: {} (and {} more)", first.what, rest.len()))
            }
        }
    }
}

fn share(what: &str, used: u64, total: u64) -> Piece {
    let percent = used.saturating_mul(100).checked_div(total).unwrap_or_default();
    let tone = match percent {
        FULL.. => Tone::Bad,
        NEARLY_FULL.. => Tone::Care,
        _ => Tone::Plain,
    };
    Piece::new(tone, format!("{what} {} of {} used", Bytes(used).rounded(), Bytes(total).rounded()))
}

fn counted(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status::{LastFound, found::Wrong};

    #[test]
    fn what_a_change_has_overtaken_is_dropped() {
        let wrong = vec![Wrong { id: "x".to_owned(), what: "Redis does not run.".to_owned() }];
        let found = |at, wrong| Some(Found { at, wrong, unknown: 0, overtaken: false });
        let mut last = LastFound { doctor: found(100, wrong.clone()), verify: found(100, Vec::new()) };
        last.overtaken_by(99);
        assert!(last.doctor.as_ref().is_some_and(|found| !found.overtaken));
        last.overtaken_by(101);
        assert!(last.doctor.is_some_and(|found| found.overtaken));
        assert!(last.verify.is_some_and(|found| !found.overtaken), "nothing was wrong, and that stays");
    }

    #[test]
    fn what_was_found_says_how_old_it_is() {
        let wrong = |what: &str| Wrong { id: "x".to_owned(), what: what.to_owned() };
        let words =
            |wrong: Vec<Wrong>, unknown, age| Found { at: 0, wrong, unknown, overtaken: false }.words(age);
        assert_eq!(words(vec![], 0, 90), (Tone::Good, "nothing was wrong 1 min ago".to_owned()));
        assert_eq!(words(vec![], 0, OLD + 1).0, Tone::Care);
        assert_eq!(words(vec![], 2, 0).1, "2 could not be looked at just now");
        let (tone, text) = words(vec![wrong("Redis does not run."), wrong("b")], 1, 7200);
        assert_eq!((tone, text.as_str()), (Tone::Bad, "2 hours ago: Redis does not run. (and 1 more)"));
    }

    #[test]
    fn a_lock_that_was_left_is_said_loudly_with_the_way_out() {
        let lock = |left| GuestLock {
            why: "a backup of it was cut off (backup)".to_owned(),
            left,
            way_out: "`pct unlock 100`".to_owned(),
        };
        let row = lock(true).row();
        assert_eq!(row.pieces[0].tone, Tone::Bad);
        assert!(row.pieces[0].text.ends_with("refuses backups and changes: `pct unlock 100`"), "{row:?}");
        assert_eq!(lock(false).row().pieces[0].tone, Tone::Care);
    }

    #[test]
    fn what_is_nearly_full_is_said_loudly() {
        assert_eq!(share("disk", 10, 100).tone, Tone::Plain);
        assert_eq!(share("disk", 90, 100).tone, Tone::Care);
        assert_eq!(share("disk", 99, 100).tone, Tone::Bad);
        assert_eq!(share("disk", 0, 0).tone, Tone::Plain);
    }
}
