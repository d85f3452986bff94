//! `backup`: snapshots of the server in a repository on this machine.

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use matrix_podman_core::{
    aside::{self, Aside},
    backup::{Manifest, place},
    config::Config,
    layout,
    lock::Lock,
    observed::Observed,
    resource,
};
use matrix_podman_host::{
    apply::Sink,
    backup::{self, Made, Record, Repository, Snapshot},
    failure::Failure,
    run::Event,
    world::World,
};
use serde::Serialize;

use super::up;
use crate::{
    args,
    error::{DONE, Error, FAILED},
    output::{self, BOLD, GREEN, RED, Table, YELLOW, styled},
    site::{self, Found},
};

pub fn run(config: Option<&Path>, args: &args::Backup) -> Result<u8, Error> {
    if let Some(file) = site::locate(config, None)?
        && file == Path::new(layout::applied_config().as_str())
    {
        // With backend this-machine, the machine's own config is wanted.
        return Err(Error::usage(
            "backups are made from outside the guest, which cannot reach them",
            "type the same on the machine, in the folder of its matrix.toml or with --config",
        ));
    }
    let (world, found) = super::world(config)?;
    let desk = Desk::new(world, found)?;
    match args {
        args::Backup::Init(json) => desk.init(json.json),
        args::Backup::Now(json) => desk.now(json.json),
        args::Backup::List(json) => desk.list(json.json),
        args::Backup::Show(show) => desk.show(&show.snapshot, show.output.json),
        args::Backup::Verify(verify) => desk.verify(!verify.quick, verify.output.json),
        args::Backup::Drill(drill) => desk.drill(&drill.snapshot, drill.output.json),
        args::Backup::Restore(restore) => desk.restore(restore),
        args::Backup::Prune(json) => desk.prune(json.json),
        args::Backup::Key(key) => desk.key(key.test),
    }
}

/// The site and where its repository is.
struct Desk {
    world: World,
    found: Found,
    folder: PathBuf,
}

impl Desk {
    fn new(world: World, found: Found) -> Result<Self, Error> {
        let folder = backup::folder(&world.site().config).ok_or_else(|| {
            Error::usage(
                "matrix.toml names no repository for backups",
                "matrix-podman set backup.repository /mnt/DISK/matrix-backup",
            )
        })?;
        Ok(Self { world, found, folder })
    }

    fn site(&self) -> &str {
        self.world.site().config.site()
    }

    fn password_file(&self) -> PathBuf {
        PathBuf::from(layout::backup_password(self.site()).as_str())
    }

    fn open(&self) -> Result<Repository, Error> {
        Ok(Repository::open(&self.folder, &backup::password(&self.password_file())?)?)
    }

    fn init(&self, json: bool) -> Result<u8, Error> {
        let fresh = !self.password_file().exists();
        let password = backup::make_password(self.site())?;
        Repository::init(&self.folder, &password)?;
        if json {
            return print(&serde_json::json!({
                "event": "backup-init",
                "repository": self.folder,
                "password_file": self.password_file(),
                "password_is_new": fresh,
            }));
        }
        output::say(&format!("{} The repository is in {}.", styled(GREEN, "✓"), self.folder.display()));
        output::say(&format!("Its password is in {}, for root alone.", self.password_file().display()));
        output::say(&styled(
            BOLD,
            "Without the password nothing can ever be restored, not by anybody. If this machine is lost, so is this file.",
        ));
        output::say("Note it now, on paper or in a password safe: `matrix-podman backup key` shows it.");
        output::say("Then make the first backup: matrix-podman backup now");
        super::OK
    }

    fn now(&self, json: bool) -> Result<u8, Error> {
        let made = self.make(json);
        // A disk that is not there is a backup that failed, too.
        Record::keep(self.site(), made.as_ref())?;
        let made = made?;
        if json {
            return print(&serde_json::json!({"event": "backup", "backup": made}));
        }
        output::data(&format!("Snapshot {} of {}", styled(BOLD, &made.snapshot.id), made.snapshot.time));
        for line in described(&made.manifest) {
            output::data(&format!("  {line}"));
        }
        output::data(&format!(
            "  {} in all, of which {} had to be written",
            bytes(made.snapshot.bytes),
            bytes(made.snapshot.added)
        ));
        super::OK
    }

    fn make(&self, json: bool) -> Result<Made, Error> {
        let repository = self.open()?;
        let what = format!("Back up {}", self.world.site().config.server_name);
        // An update under way would leave its old lock beside its new database.
        up::at_work(&self.world, &self.found, "backup now", json, |journal, _| {
            let made = watched("backup", &what, json, |sink| backup::make(&self.world, &repository, sink))?;
            journal.end(true)?;
            Ok(made)
        })
    }

    fn list(&self, json: bool) -> Result<u8, Error> {
        let snapshots = self.open()?.snapshots()?;
        if json {
            return print(&snapshots);
        }
        if snapshots.is_empty() {
            output::say("There is no snapshot yet; `matrix-podman backup now` makes one.");
            return super::OK;
        }
        let mut table = Table::new(["SNAPSHOT", "MADE AT", "SERVER", "SIZE", "WRITTEN"]);
        for Snapshot { id, time, server_name, bytes: size, added } in snapshots {
            table.row(
                [id, time, server_name, bytes(size), bytes(added)].map(|cell| (cell, anstyle::Style::new())),
            );
        }
        table.print();
        super::OK
    }

    fn show(&self, wanted: &str, json: bool) -> Result<u8, Error> {
        let opened = self.open()?.snapshot(wanted)?;
        let (snapshot, manifest) = (opened.described(), opened.manifest()?);
        if json {
            return print(&serde_json::json!({"snapshot": snapshot, "manifest": manifest}));
        }
        output::data(&format!("Snapshot {} of {}", styled(BOLD, &snapshot.id), snapshot.time));
        for line in described(&manifest) {
            output::data(&format!("  {line}"));
        }
        super::OK
    }

    fn verify(&self, all_data: bool, json: bool) -> Result<u8, Error> {
        let repository = self.open()?;
        let what = format!("Verify {}", self.folder.display());
        let found = watched("verify", &what, json, |sink| repository.verify(all_data, sink))?;
        let code = if found.wrong.is_empty() { DONE } else { FAILED };
        if json {
            print(&serde_json::json!({"event": "backup-verify", "found": found}))?;
            return Ok(code);
        }
        for line in &found.wrong {
            output::data(&format!("{} {}", styled(RED, "✗"), output::harmless(line)));
        }
        let count = found.snapshots;
        if found.wrong.is_empty() {
            let how = if all_data { "every byte was read" } else { "the content of files was not read" };
            output::data(&format!("{} {count} snapshots, all whole; {how}", styled(GREEN, "✓")));
            return Ok(code);
        }
        output::say(&format!(
            "{} the repository is damaged. Do not prune it. Make a new backup into another folder now \
             (`matrix-podman set backup.repository FOLDER`, `backup init`, `backup now`), look after the disk, and see \
             https://restic.readthedocs.io/en/stable/077_troubleshooting.html for what can be saved of this one.",
            styled(BOLD, "next:")
        ));
        Ok(code)
    }

    fn drill(&self, wanted: &str, json: bool) -> Result<u8, Error> {
        let repository = self.open()?;
        let opened = repository.snapshot(wanted)?;
        let config =
            Config::parse_with(&opened.config()?, "the snapshot's matrix.toml", &[], &site::defaults()?)?;
        let doing = "prepare a drill";
        let lock = Lock::parse(&opened.text(&format!("{}/matrix.lock", place::FILES))?)
            .map_err(|why| Failure::new(doing, why))?;
        let facts = self
            .world
            .look(&mut Observed::default(), |seen| resource::render_facts(self.world.site(), seen))?
            .map_err(|_| {
                Failure::new(doing, "the guest does not say what it is").hint("matrix-podman status")
            })?;
        let drill = aside::containers(Aside::Drill, &config, &lock, &facts)
            .map_err(|why| Failure::new(doing, why))?;
        let what = format!("Drill with snapshot {}", opened.described().id);
        let proof = up::at_work(&self.world, &self.found, "backup drill", json, |journal, _| {
            let proof = watched("drill", &what, json, |sink| {
                backup::drill::hold(&self.world, &repository, &opened, &drill, sink)
            })?;
            journal.end(true)?;
            Ok(proof)
        })?;
        let code = if proof.is_good() { DONE } else { FAILED };
        if json {
            print(&serde_json::json!({"event": "backup-drill", "proof": proof}))?;
            return Ok(code);
        }
        let snapshot = &proof.snapshot;
        for line in &proof.wrong {
            output::data(&format!("{} {}", styled(RED, "✗"), output::harmless(line)));
        }
        if let (true, Some((id, key))) = (proof.is_good(), &proof.signing_key) {
            output::data(&format!(
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
                output::say(&format!(
                    "Its proof is {}, signed with this machine's key, ed25519 {}.",
                    layout::backup_drill(self.site()),
                    signed.key
                ));
            }
        } else {
            output::say(&format!(
                "{} this snapshot would not bring the server back as it was. Make a new one (`matrix-podman backup \
                 now`), drill again, and see `matrix-podman backup verify` for whether the repository is whole.",
                styled(BOLD, "next:")
            ));
        }
        Ok(code)
    }

    fn restore(self, args: &args::BackupRestore) -> Result<u8, Error> {
        let repository = self.open()?;
        let Some(to) = &args.to else {
            return super::restore::in_place(self.world, self.found, &repository, args);
        };
        if args.file.is_empty() && args.room.is_none() {
            return Err(Error::usage(
                "nothing is named that is to be taken out",
                "add --file PATH or --room ROOM",
            ));
        }
        let opened = super::restore::chosen(&repository, &args.snapshot, args.at)?;
        let json = args.output.json;
        let what = format!("Take out of snapshot {}", opened.described().id);
        let (found, taken) = match &args.room {
            None => {
                let mut taken = backup::take::Taken::default();
                watched("take", &what, json, |sink| {
                    args.file
                        .iter()
                        .try_for_each(|path| backup::take::path(&opened, path, to, &mut taken, sink))
                })?;
                (None, taken)
            }
            Some(room) => {
                let both = up::at_work(&self.world, &self.found, "backup restore", json, |journal, _| {
                    let both = watched("take", &what, json, |sink| {
                        backup::take::room(&self.world, &opened, room, to, sink)
                    })?;
                    journal.end(true)?;
                    Ok(both)
                })?;
                (Some(both.0), both.1)
            }
        };
        if json {
            print(&serde_json::json!({"event": "backup-taken", "taken": taken, "room": found}))?;
        } else {
            output::data(&format!(
                "{} files, {}, are in {} now, for root alone",
                taken.files.len(),
                bytes(taken.bytes),
                to.display()
            ));
        }
        let Some(room) = found else { return super::OK };
        if room.events == 0 {
            return Err(Error::Told {
                summary: "the snapshot has no event of that room".to_owned(),
                hint: "a room's id begins with ! and stands in its settings in the client".to_owned(),
            });
        }
        if room.encrypted {
            output::say(
                "The room is encrypted: which media were sent in it since then is known to its members' clients alone. \
                 They are in the snapshot, below synapse/media_store (--file).",
            );
        }
        super::OK
    }

    fn prune(&self, json: bool) -> Result<u8, Error> {
        let repository = self.open()?;
        let config = &self.world.site().config;
        let what = format!("Prune {}", self.folder.display());
        let pruned = watched("prune", &what, json, |sink| {
            repository.prune(config.server_name.as_str(), config.backup.keep, sink)
        })?;
        if json {
            return print(&serde_json::json!({"event": "backup-prune", "pruned": pruned}));
        }
        output::data(&format!("{} snapshots are kept, {} were removed", pruned.kept, pruned.removed.len()));
        super::OK
    }

    fn key(&self, test: bool) -> Result<u8, Error> {
        let password = backup::password(&self.password_file())?;
        if !test {
            output::say(&format!("The password of {}:", self.folder.display()));
            output::data(&password);
            output::say(&styled(
                YELLOW,
                "Keep it where this machine is not. Without it nothing can be restored.",
            ));
            output::say("`matrix-podman backup key --test` says later whether what you noted is right.");
            return super::OK;
        }
        if !output::can_ask() {
            return Err(Error::usage("nobody can be asked for the password", "type this on a terminal"));
        }
        let typed = rpassword::prompt_password("The password, as you noted it: ")
            .map_err(|e| Failure::new("ask for the password", e))?;
        if typed.trim() == password {
            output::say(&format!("{} That is the password.", styled(GREEN, "✓")));
            return super::OK;
        }
        Err(Error::Told {
            summary: "that is not the password".to_owned(),
            hint: "`matrix-podman backup key` shows it; note it anew".to_owned(),
        })
    }
}

/// Does `work` with somebody watching.
pub(super) fn watched<T>(
    id: &str,
    what: &str,
    json: bool,
    work: impl FnOnce(&Sink<'_>) -> Result<T, Failure>,
) -> Result<T, Error> {
    let listener = output::listener(json);
    let started = Instant::now();
    listener.on(&Event::Started { id, what });
    let result = work(&|saying| listener.on(&Event::Said { id, saying: &saying }));
    match &result {
        Ok(_) => {
            let millis = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
            listener.on(&Event::Finished { id, what, millis });
        }
        Err(failure) => listener.on(&Event::Failed { id, what, why: failure.to_string() }),
    }
    Ok(result?)
}

pub(super) fn described(manifest: &Manifest) -> Vec<String> {
    let version = manifest.versions.get("synapse").map(String::as_str).unwrap_or("of unknown version");
    vec![
        format!("{} with Synapse {version}, schema {}", manifest.server_name, manifest.content.schema),
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

/// Bytes as people say them.
fn bytes(count: u64) -> String {
    const UNITS: [&str; 4] = ["KiB", "MiB", "GiB", "TiB"];
    let mut tenths = count.saturating_mul(10);
    let mut unit = "bytes";
    for larger in UNITS {
        if tenths < 10_240 {
            break;
        }
        tenths /= 1024;
        unit = larger;
    }
    if unit == "bytes" { format!("{count} bytes") } else { format!("{}.{} {unit}", tenths / 10, tenths % 10) }
}

fn print<T: Serialize>(value: &T) -> Result<u8, Error> {
    let text = serde_json::to_string(value).map_err(|e| Failure::new("print the answer", e))?;
    output::data(&text);
    super::OK
}

#[cfg(test)]
mod tests {
    #[test]
    fn bytes_are_said_in_the_unit_that_fits() {
        for (count, said) in
            [(0, "0 bytes"), (1023, "1023 bytes"), (1024, "1.0 KiB"), (1536, "1.5 KiB"), (5 << 30, "5.0 GiB")]
        {
            assert_eq!(super::bytes(count), said);
        }
    }
}
