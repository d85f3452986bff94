//! `guest`: snapshots of the whole guest, on Proxmox, and back to them.

use std::path::Path;

use anstyle::Style;
use jiff::Timestamp;
use matrix_podman_core::{
    config::BackendChoice,
    effect::Container,
    name::SnapshotName,
    proxmox::{Snapshot, why_no_snapshots},
    resource::Backend,
    status::ago,
};
use matrix_podman_host::{
    apply::proxmox::{self, snapshot},
    failure::Failure,
    snapshot::{Work, since},
    world::World,
};
use serde_json::json;

use super::up;
use crate::{
    args,
    error::Error,
    output::{self, BOLD, GREEN, RED, Table, styled},
    site::Found,
};

pub fn run(config: Option<&Path>, args: &args::Guest) -> Result<u8, Error> {
    let (world, found) = super::world_in_words(config)?;
    on_proxmox(&world)?;
    let container = world.container()?;
    let there = snapshot::all(&container)?;
    let guest = Guest { world, found, container, there };
    match args {
        args::Guest::Snapshot(args) => guest.make(args.name.clone()),
        args::Guest::Snapshots(args) => guest.list(args.json),
        args::Guest::Rollback(args) => guest.roll_back(&args.name, args.yes),
        args::Guest::RemoveSnapshot(args) => guest.remove(&args.name, args.yes),
    }
}

/// Elsewhere there are none, and something else does.
fn on_proxmox(world: &World) -> Result<(), Error> {
    let instead =
        "`matrix-podman backup now` makes a backup to go back to, and `backup restore` brings it back";
    Err(match world.site().backend {
        Backend::Proxmox => return Ok(()),
        Backend::Lxc => {
            Error::usage("snapshots are Proxmox's, and this guest is one of plain LXC's", instead)
        }
        Backend::ThisMachine if world.site().config.guest.backend == BackendChoice::ThisMachine => {
            Error::usage("snapshots are Proxmox's, and this machine is its own guest", instead)
        }
        Backend::ThisMachine => {
            Error::usage("snapshots are made from outside the guest", "type it on the Proxmox node")
        }
    })
}

struct Guest {
    world: World,
    found: Found,
    container: Container,
    there: Vec<Snapshot>,
}

impl Guest {
    fn at_work(
        &self,
        command: &str,
        work: impl FnOnce(&Work<'_>) -> Result<(), Failure>,
    ) -> Result<(), Error> {
        up::at_work(&self.world, &self.found, command, false, |journal, listener| {
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
        output::data(&format!("{} Snapshot {} is made.", styled(GREEN, "✓"), styled(BOLD, name.as_str())));
        output::say(&format!(
            "`matrix-podman guest rollback {name}` goes back to it. It is no backup: it is on the same disk."
        ));
        super::OK
    }

    fn list(&self, json: bool) -> Result<u8, Error> {
        if json {
            let all: Vec<_> = self
                .there
                .iter()
                .map(|s| {
                    json!({"name": s.name, "made_at": moment(s.at), "ours": s.is_held(),
                           "before_update": s.before_update(), "under_way": s.under_way,
                           "description": s.description})
                })
                .collect();
            output::data(&json!(all).to_string());
            return super::OK;
        }
        if self.there.is_empty() {
            output::say("There is no snapshot; `matrix-podman guest snapshot` makes one.");
            return super::OK;
        }
        let mut table = Table::new(["SNAPSHOT", "MADE AT", "BY"]);
        for snapshot in &self.there {
            let by = match (&snapshot.under_way, snapshot.before_update(), snapshot.is_held()) {
                (Some(state), ..) => format!("not whole ({state})"),
                (None, Some(number), _) => format!("matrix-podman, before update {number}"),
                (None, None, true) => "matrix-podman".to_owned(),
                (None, None, false) => "somebody else".to_owned(),
            };
            let cells = [snapshot.name.to_string(), moment(snapshot.at), by];
            table.row(cells.map(|cell| (cell, Style::new())));
        }
        table.print();
        if self.there.iter().any(|snapshot| snapshot.before_update().is_some()) {
            output::say(
                "What an update made goes when a later one does; to keep it, write something else as its description \
                 in Proxmox.",
            );
        }
        for left in self.there.iter().filter(|snapshot| snapshot.under_way.is_some()) {
            output::say(&format!(
                "{0} is being made or removed, or was cut off at that; then `matrix-podman guest remove-snapshot {0}` \
                 removes it.",
                left.name
            ));
        }
        super::OK
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
            output::say(&line);
        }
        agree(yes)?;
        self.at_work("guest rollback", |work| work.roll_back(name))?;
        // It holds the guest's lock, which `up` takes for itself.
        drop(self.world);
        up::run(
            Some(&file),
            &args::Up {
                settings: args::Settings::default(),
                yes: true,
                remove_failed: false,
                output: args::Json { json: false },
            },
        )
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
        output::say(&format!("This removes the snapshot {name}, made {}.", moment(snapshot.at)));
        agree(yes)?;
        self.at_work("guest remove-snapshot", |work| work.remove(name))?;
        output::say(&format!("{} Snapshot {name} is removed.", styled(GREEN, "✓")));
        super::OK
    }
}

fn agree(yes: bool) -> Result<(), Error> {
    if up::agrees(yes)? {
        return Ok(());
    }
    Err(Error::Told { summary: "nothing was changed".to_owned(), hint: "the snapshot stays".to_owned() })
}

fn moment(at: u64) -> String {
    let at = i64::try_from(at).ok().and_then(|at| Timestamp::from_second(at).ok());
    at.map_or_else(|| "at an unknown time".to_owned(), |at| at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string())
}
