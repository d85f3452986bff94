//! `guest`: snapshots of the whole guest, on Proxmox, and back to them.

use std::path::Path;

use anstyle::Style;
use jiff::Timestamp;
use matrix_podman_core::{
    effect::Container,
    name::SnapshotName,
    proxmox::{Snapshot, why_no_snapshots},
};
use matrix_podman_host::{
    apply::proxmox::{self, snapshot},
    failure::Failure,
    work::snapshot::{Work, since},
    world::World,
};
use serde::Serialize;

use super::up;
use crate::{
    args,
    error::Error,
    output::{
        AtStake, BOLD, Confirmation, GREEN, Otherwise, Printable, RED, Reporter, Table, Wording, ago, styled,
    },
    site::FoundSite,
};

pub fn run(config: Option<&Path>, args: &args::Guest, out: &Reporter) -> Result<u8, Error> {
    let (world, found) = super::world(config, out)?;
    on_proxmox(&world)?;
    let container = world.container()?;
    let there = snapshot::all(&container)?;
    let guest = Snapshots { world, found, container, there, out: out.clone() };
    match args {
        args::Guest::Snapshot(args) => guest.make(args.name.clone()),
        args::Guest::Snapshots => guest.list(),
        args::Guest::Rollback(args) => guest.roll_back(&args.name, args.yes),
        args::Guest::RemoveSnapshot(args) => guest.remove(&args.name, args.yes),
    }
}

/// Elsewhere there are none, and something else does.
fn on_proxmox(world: &World) -> Result<(), Error> {
    let instead =
        "`matrix-podman backup now` makes a backup to go back to, and `backup restore` brings it back";
    match world.site().backend.no_snapshots(world.site()) {
        None => Ok(()),
        Some(none) => Err(Error::usage(none.refusal, none.instead.unwrap_or(instead))),
    }
}

/// The snapshots of a guest.
struct Snapshots {
    out: Reporter,
    world: World,
    found: FoundSite,
    container: Container,
    there: Vec<Snapshot>,
}

impl Snapshots {
    fn at_work(
        &self,
        command: &str,
        work: impl FnOnce(&Work<'_>) -> Result<(), Failure>,
    ) -> Result<(), Error> {
        up::at_work(&self.world, &self.found, command, &self.out, |journal, listener| {
            work(&Work { world: &self.world, journal, listener, container: &self.container })?;
            Ok(journal.end(true)?)
        })
    }

    fn named(&self, name: &SnapshotName) -> Result<&Snapshot, Error> {
        self.there.iter().find(|snapshot| snapshot.name == *name).ok_or_else(|| {
            let names: Vec<&str> = self.there.iter().map(|snapshot| snapshot.name.as_str()).collect();
            Error::usage(
                format!("there is no snapshot {name}"),
                match names.as_slice() {
                    [] => "there is none at all; `matrix-podman guest snapshot` makes one".to_owned(),
                    names => format!("there is: {}", names.join(", ")),
                },
            )
        })
    }

    fn make(&self, name: Option<SnapshotName>) -> Result<u8, Error> {
        let name = match name {
            Some(name) => name,
            None => {
                let name = Timestamp::now().strftime("matrix-%Y%m%dT%H%M%SZ").to_string();
                SnapshotName::parse(&name).map_err(|why| Failure::new("name the snapshot", why))?
            }
        };
        if self.there.iter().any(|snapshot| snapshot.name == name) {
            return Err(Error::usage(format!("there is a snapshot {name} already"), "choose another name"));
        }
        if !snapshot::can(&self.container)? {
            let why = why_no_snapshots(&proxmox::settings(&self.container)?);
            return Err(Error::Told {
                summary: format!("no snapshot was made: {why}"),
                hint: "`matrix-podman backup now` makes a backup to go back to, whatever the storage"
                    .to_owned(),
            });
        }
        self.at_work("guest snapshot", |work| work.make(&name, None))?;
        self.out.report(&SnapshotMade { event: "guest-snapshot", name: &name })?;
        super::OK
    }

    fn list(&self) -> Result<u8, Error> {
        let listed = self.there.iter().map(ShownSnapshot::of).collect();
        self.out.report(&SnapshotList { listed, there: &self.there })?;
        super::OK
    }

    fn agree(&self, yes: bool) -> Result<(), Error> {
        self.out.confirm(&Confirmation {
            question: "Go on?",
            at_stake: AtStake::Something,
            yes,
            otherwise: Otherwise::unchanged("the snapshot stays"),
        })
    }

    fn roll_back(self, name: &SnapshotName, yes: bool) -> Result<u8, Error> {
        let snapshot = self.named(name)?;
        if let Some(state) = &snapshot.under_way {
            return Err(Error::usage(
                format!("the snapshot {name} is not whole ({state})"),
                "wait until Proxmox is done with it, or choose another",
            ));
        }
        if !snapshot.is_held() {
            return Err(Error::usage(
                format!(
                    "the snapshot {name} was not made by matrix-podman: Synapse would start in it at once and give out \
                     one-time keys a second time, which breaks the encryption between devices"
                ),
                "choose one that `matrix-podman guest snapshot` made, or bring a backup back with `matrix-podman backup \
                 restore`",
            ));
        }
        let file =
            self.found.file.clone().ok_or_else(|| Error::usage("there is no matrix.toml", "add --config"))?;
        for line in self.losses(snapshot) {
            self.out.narrate(&line);
        }
        self.agree(yes)?;
        self.at_work("guest rollback", |work| work.roll_back(name))?;
        // It holds the guest's lock, which `up` takes for itself.
        drop(self.world);
        up::to_the_end(&file, &self.out)
    }

    /// What a rollback takes away.
    fn losses(&self, snapshot: &Snapshot) -> Vec<String> {
        let now = u64::try_from(Timestamp::now().as_second()).unwrap_or_default();
        let mut lines = vec![
            styled(
                RED,
                &format!(
                    "This brings the whole guest back to {}, made {} ({}):",
                    snapshot.name,
                    moment(snapshot.at),
                    ago(now.saturating_sub(snapshot.at))
                ),
            ),
            match since(&self.world, snapshot.at) {
                Ok(since) => format!(
                    "  - what was made here since is lost (messages: {}, accounts: {}, files: {})",
                    since.messages, since.accounts, since.files
                ),
                Err(failure) => format!(
                    "  - all that people wrote and sent since is lost; how much that is, is not known: {}",
                    failure.why
                ),
            },
            "  - versions, config and secrets in the guest are those of then; `up` brings the config up to date"
                .to_owned(),
            "  - other servers remember what this one said since: rooms with people elsewhere may need time to agree"
                .to_owned(),
            "  - the server is away for some minutes".to_owned(),
        ];
        let newer: Vec<&str> = self
            .there
            .iter()
            .skip_while(|other| other.name != snapshot.name)
            .skip(1)
            .map(|other| other.name.as_str())
            .collect();
        if !newer.is_empty() {
            lines.push(format!(
                "Newer snapshots: {}. On ZFS they have to be removed first.",
                newer.join(", ")
            ));
        }
        lines
    }

    fn remove(&self, name: &SnapshotName, yes: bool) -> Result<u8, Error> {
        let snapshot = self.named(name)?;
        self.out.narrate(&format!("This removes the snapshot {name}, made {}.", moment(snapshot.at)));
        self.agree(yes)?;
        self.at_work("guest remove-snapshot", |work| work.remove(name))?;
        self.out.report(&SnapshotGone { event: "guest-snapshot-removed", name })?;
        super::OK
    }
}

/// A snapshot that is new.
#[derive(Serialize)]
struct SnapshotMade<'a> {
    event: &'static str,
    name: &'a SnapshotName,
}

impl Printable for SnapshotMade<'_> {
    fn words(&self) -> Wording {
        let name = self.name;
        let mut words =
            Wording::of(format!("{} Snapshot {} is made.", styled(GREEN, "✓"), styled(BOLD, name.as_str())));
        words.say(format!(
            "`matrix-podman guest rollback {name}` goes back to it. It is no backup: it is on the same disk."
        ));
        words
    }
}

/// A snapshot that is gone.
#[derive(Serialize)]
struct SnapshotGone<'a> {
    event: &'static str,
    name: &'a SnapshotName,
}

impl Printable for SnapshotGone<'_> {
    fn words(&self) -> Wording {
        Wording::saying(format!("{} Snapshot {} is removed.", styled(GREEN, "✓"), self.name))
    }
}

/// A snapshot, as programs read it.
#[derive(Serialize)]
struct ShownSnapshot {
    name: SnapshotName,
    made_at: String,
    ours: bool,
    before_update: Option<u32>,
    under_way: Option<String>,
    description: String,
}

impl ShownSnapshot {
    fn of(snapshot: &Snapshot) -> Self {
        Self {
            name: snapshot.name.clone(),
            made_at: moment(snapshot.at),
            ours: snapshot.is_held(),
            before_update: snapshot.before_update(),
            under_way: snapshot.under_way.clone(),
            description: snapshot.description.clone(),
        }
    }
}

/// All of them.
#[derive(Serialize)]
#[serde(transparent)]
struct SnapshotList<'a> {
    listed: Vec<ShownSnapshot>,
    #[serde(skip)]
    there: &'a [Snapshot],
}

impl Printable for SnapshotList<'_> {
    fn words(&self) -> Wording {
        if self.there.is_empty() {
            return Wording::saying("There is no snapshot; `matrix-podman guest snapshot` makes one.");
        }
        let mut table = Table::new(["SNAPSHOT", "MADE AT", "BY"]);
        for snapshot in self.there {
            let by = match (&snapshot.under_way, snapshot.before_update(), snapshot.is_held()) {
                (Some(state), ..) => format!("not whole ({state})"),
                (None, Some(number), _) => format!("matrix-podman, before update {number}"),
                (None, None, true) => "matrix-podman".to_owned(),
                (None, None, false) => "somebody else".to_owned(),
            };
            let cells = [snapshot.name.to_string(), moment(snapshot.at), by];
            table.row(cells.map(|cell| (cell, Style::new())));
        }
        let mut words = Wording::default();
        words.table(&table);
        if self.there.iter().any(|snapshot| snapshot.before_update().is_some()) {
            words.say(
                "What an update made goes when a later one does; to keep it, write something else as its description \
                 in Proxmox.",
            );
        }
        for left in self.there.iter().filter(|snapshot| snapshot.under_way.is_some()) {
            words.say(format!(
                "{0} is being made or removed, or was cut off at that; then `matrix-podman guest remove-snapshot {0}` \
                 removes it.",
                left.name
            ));
        }
        words
    }
}

fn moment(at: u64) -> String {
    let at = i64::try_from(at).ok().and_then(|at| Timestamp::from_second(at).ok());
    at.map_or_else(|| "at an unknown time".to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
