//! What `backup` says.

use std::path::Path;

use matrix_podman_core::{
    backup::{Manifest, Repository as At, RepositoryName},
    name::AbsPath,
    service::ServiceId,
    stack::Data,
};
use matrix_podman_host::backup::{self, Made, Proof, Snapshot, take};
use serde::Serialize;

use crate::output::{BOLD, GREEN, Printable, RED, Table, Wording, YELLOW, bytes, harmless, styled};

/// What is typed behind a command for a repository that is not the first.
pub fn named(name: &RepositoryName) -> String {
    if name.is_main() { String::new() } else { format!(" {name}") }
}

/// A repository that is new.
#[derive(Serialize)]
pub struct RepositoryCreated<'a> {
    pub event: &'static str,
    pub name: &'a RepositoryName,
    pub repository: String,
    pub password_file: &'a Path,
    pub password_is_new: bool,
}

impl Printable for RepositoryCreated<'_> {
    fn words(&self) -> Wording {
        let named = named(self.name);
        let mut words = Wording::saying(format!(
            "{} The repository{named} is in {}.",
            styled(GREEN, "✓"),
            self.repository
        ));
        words.say(format!("Its password is in {}, for root alone.", self.password_file.display()));
        words.say(styled(
            BOLD,
            "Without the password nothing can ever be restored, not by anybody. If this machine is lost, so is this file.",
        ));
        words.say(format!(
            "Note it now, on paper or in a password safe: `matrix-podman backup key{named}` shows it."
        ));
        words.say("Then make the first backup: matrix-podman backup now");
        words
    }
}

/// A backup that was made.
#[derive(Serialize)]
pub struct BackedUp<'a> {
    event: &'static str,
    repository: &'a RepositoryName,
    backup: &'a Made,
}

impl<'a> BackedUp<'a> {
    /// What was made in the repository `at`.
    pub fn of(at: &'a At, made: &'a Made) -> Self {
        Self { event: "backup", repository: &at.name, backup: made }
    }
}

impl Printable for BackedUp<'_> {
    fn words(&self) -> Wording {
        let Made { snapshot, manifest, .. } = self.backup;
        let mut words = Wording::of(format!("Snapshot {} of {}", styled(BOLD, &snapshot.id), snapshot.time));
        for line in described(manifest) {
            words.data(format!("  {line}"));
        }
        words.data(format!(
            "  {} in all, of which {} had to be written",
            bytes(snapshot.bytes),
            bytes(snapshot.added)
        ));
        words
    }
}

/// What stands in a folder of a snapshot.
#[derive(Serialize)]
#[serde(transparent)]
pub struct StoredFiles {
    pub entries: Vec<take::StoredEntry>,
}

impl Printable for StoredFiles {
    fn words(&self) -> Wording {
        let mut words = Wording::default();
        for take::StoredEntry { name, folder, bytes: size } in &self.entries {
            let slash = if *folder { "/" } else { "" };
            words.data(format!("{:>10}  {}{slash}", bytes(*size), harmless(name)));
        }
        words
    }
}

/// A snapshot, and where it is.
#[derive(Serialize)]
pub struct StoredSnapshot<'a> {
    pub repository: &'a RepositoryName,
    #[serde(flatten)]
    pub snapshot: Snapshot,
}

/// All that can be restored, oldest first.
#[derive(Serialize)]
#[serde(transparent)]
pub struct StoredSnapshots<'a>(pub Vec<StoredSnapshot<'a>>);

impl Printable for StoredSnapshots<'_> {
    fn words(&self) -> Wording {
        if self.0.is_empty() {
            return Wording::saying("There is no snapshot yet; `matrix-podman backup now` makes one.");
        }
        let mut table = Table::new(["SNAPSHOT", "MADE AT", "SERVER", "SIZE", "WRITTEN", "REPOSITORY"]);
        for StoredSnapshot { repository, snapshot: Snapshot { id, time, server_name, bytes: size, added } } in
            &self.0
        {
            let cells = [
                id.clone(),
                time.clone(),
                server_name.clone(),
                bytes(*size),
                bytes(*added),
                repository.to_string(),
            ];
            table.row(cells.map(|cell| (cell, anstyle::Style::new())));
        }
        let mut words = Wording::default();
        words.table(&table);
        words
    }
}

/// What a snapshot holds.
#[derive(Serialize)]
pub struct SnapshotShown {
    pub snapshot: Snapshot,
    pub manifest: Manifest,
}

impl Printable for SnapshotShown {
    fn words(&self) -> Wording {
        let Self { snapshot, manifest } = self;
        let mut words = Wording::of(format!("Snapshot {} of {}", styled(BOLD, &snapshot.id), snapshot.time));
        for line in described(manifest) {
            words.data(format!("  {line}"));
        }
        words
    }
}

/// Whether a repository is whole.
#[derive(Serialize)]
pub struct RepositoryVerified<'a> {
    pub event: &'static str,
    pub repository: &'a RepositoryName,
    pub found: backup::Found,
    #[serde(skip)]
    pub all_data: bool,
}

impl Printable for RepositoryVerified<'_> {
    fn words(&self) -> Wording {
        let mut words = Wording::default();
        for line in &self.found.wrong {
            words.data(format!("{} {}", styled(RED, "✗"), harmless(line)));
        }
        let count = self.found.snapshots;
        if self.found.wrong.is_empty() {
            let how = if self.all_data { "every byte was read" } else { "the content of files was not read" };
            words.data(format!("{} {count} snapshots, all whole; {how}", styled(GREEN, "✓")));
            return words;
        }
        words.say(format!(
            "{} the repository is damaged. Do not prune it. Make a new backup into another folder now \
             (`matrix-podman set backup.repository FOLDER`, `backup init`, `backup now`), look after the disk, and see \
             https://restic.readthedocs.io/en/stable/077_troubleshooting.html for what can be saved of this one.",
            styled(BOLD, "next:")
        ));
        words
    }
}

/// What a drill showed.
#[derive(Serialize)]
pub struct DrillHeld {
    pub event: &'static str,
    pub proof: Proof,
    #[serde(skip)]
    pub proof_file: AbsPath,
}

impl Printable for DrillHeld {
    fn words(&self) -> Wording {
        let proof = &self.proof;
        let snapshot = &proof.snapshot;
        let mut words = Wording::default();
        for line in &proof.wrong {
            words.data(format!("{} {}", styled(RED, "✗"), harmless(line)));
        }
        let (true, Some((id, key))) = (proof.is_good(), &proof.signing_key) else {
            words.say(format!(
                "{} this snapshot would not bring the server back as it was. Make a new one (`matrix-podman backup \
                 now`), drill again, and see `matrix-podman backup verify` for whether the repository is whole.",
                styled(BOLD, "next:")
            ));
            return words;
        };
        words.data(format!(
            "{} Snapshot {} of {} came back whole, in {} s: {} tables and {} media files are as they were, and \
             Synapse started on them, signs with {id} {key}, and a test user logged in.",
            styled(GREEN, "✓"),
            snapshot.id,
            snapshot.time,
            proof.seconds,
            proof.tables,
            proof.media
        ));
        if let Some(signed) = &proof.signature {
            words.say(format!(
                "Its proof is {}, signed with this machine's key, ed25519 {}.",
                self.proof_file, signed.key
            ));
        }
        words
    }
}

/// Single things that were taken out of a snapshot.
#[derive(Serialize)]
pub struct ThingsTaken<'a, R: Serialize> {
    pub event: &'static str,
    pub taken: take::Taken,
    /// The media of one room, where that was asked for.
    pub room: Option<&'a R>,
    #[serde(skip)]
    pub to: &'a Path,
}

impl<R: Serialize> Printable for ThingsTaken<'_, R> {
    fn words(&self) -> Wording {
        Wording::of(format!(
            "{} files, {}, are in {} now, for root alone",
            self.taken.files.len(),
            bytes(self.taken.bytes),
            self.to.display()
        ))
    }
}

/// What went from a repository.
#[derive(Serialize)]
pub struct RepositoryPruned<'a> {
    pub event: &'static str,
    pub repository: &'a RepositoryName,
    pub pruned: backup::Pruned,
}

impl Printable for RepositoryPruned<'_> {
    fn words(&self) -> Wording {
        Wording::of(format!(
            "{} snapshots are kept, {} were removed",
            self.pruned.kept,
            self.pruned.removed.len()
        ))
    }
}

/// The password of a repository, for those who ask for it.
#[derive(Serialize)]
pub struct RepositoryKey<'a> {
    pub repository: &'a RepositoryName,
    pub location: String,
    pub password: &'a str,
}

impl Printable for RepositoryKey<'_> {
    fn words(&self) -> Wording {
        let mut words = Wording::saying(format!("The password of {}:", self.location));
        words.data(self.password);
        words.say(styled(YELLOW, "Keep it where this machine is not. Without it nothing can be restored."));
        words.say(format!(
            "`matrix-podman backup key{} --test` says later whether what you noted is right.",
            named(self.repository)
        ));
        words
    }
}

/// That what was typed is the password.
#[derive(Serialize)]
pub struct KeyIsRight {
    pub right: bool,
}

impl Printable for KeyIsRight {
    fn words(&self) -> Wording {
        Wording::saying(format!("{} That is the password.", styled(GREEN, "✓")))
    }
}

/// What a manifest says, in lines.
pub fn described(manifest: &Manifest) -> Vec<String> {
    let version = |service: ServiceId| {
        let version = manifest.versions.get(service.name()).map(String::as_str);
        format!("{} {}", service.title(), version.unwrap_or("of unknown version"))
    };
    let versions: Vec<String> = Data::Tables.keepers().into_iter().map(version).collect();
    vec![
        format!(
            "{} with {}, schema {}",
            manifest.server_name,
            versions.join(" and "),
            manifest.content.schema
        ),
        format!(
            "{} users, {} rooms, {} events",
            manifest.rows("users"),
            manifest.rows("rooms"),
            manifest.rows("events")
        ),
        format!("{} media files, {}", manifest.media.files, bytes(manifest.media.bytes)),
        format!("signing key {} {}", manifest.content.signing_key.0, manifest.content.signing_key.1),
    ]
}
