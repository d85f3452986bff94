//! `backup`: snapshots of the server in repositories that only this machine reaches.

mod unattended;

use std::{
    path::{Path, PathBuf},
    time::Instant,
};

use matrix_podman_core::{
    aside::{self, Aside},
    backup::{Manifest, Repository as At, RepositoryName, place},
    config::Config,
    layout,
    lock::Lock,
    observed::Observed,
    resource,
};
use matrix_podman_host::{
    apply::Sink,
    backup::{self, Made, Password, Place, Pruned, Repository, Snapshot},
    failure::Failure,
    priority,
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
    gives_way(args);
    let (world, found) = super::world(config)?;
    let desk = Desk::new(world, found)?;
    match args {
        args::Backup::Init(at) => desk.init(&desk.one(&at.which)?, at.output.json),
        args::Backup::Now(now) if now.by_itself.unattended => unattended::now(&desk, now),
        args::Backup::Now(now) => desk.each(&now.which, |at| desk.now(at, now.output.json)),
        args::Backup::List(at) => desk.list(&desk.chosen(&at.which)?, at.output.json),
        args::Backup::Show(show) => desk.show(&desk.one(&show.which)?, &show.snapshot, show.output.json),
        args::Backup::Verify(verify) => {
            desk.each(&verify.which, |at| desk.verify(at, !verify.quick, verify.output.json))
        }
        args::Backup::Drill(drill) if drill.by_itself.unattended => unattended::drill(&desk, drill),
        args::Backup::Drill(drill) => {
            desk.drill(&desk.open(&desk.one(&drill.which)?)?, &drill.snapshot, drill.output.json)
        }
        args::Backup::Restore(restore) => desk.restore(restore),
        args::Backup::Prune(at) => desk.each(&at.which, |one| desk.prune(one, at.output.json)),
        args::Backup::Key(key) => {
            desk.key(&desk.one(&args::Which { repository: key.repository.clone() })?, key.test)
        }
    }
}

/// What is done beside the server leaves it its time; for a restore somebody waits.
fn gives_way(args: &args::Backup) {
    let beside = matches!(
        args,
        args::Backup::Now(_) | args::Backup::Verify(_) | args::Backup::Prune(_) | args::Backup::Drill(_)
    );
    if beside && let Err(failure) = priority::give_way() {
        // It is done all the same, only not as quietly.
        output::say(&format!("note: {}", output::one_line(&failure.to_string())));
    }
}

/// The site and its repositories.
pub(super) struct Desk {
    pub world: World,
    pub found: Found,
}

impl Desk {
    fn new(world: World, found: Found) -> Result<Self, Error> {
        if world.site().config.backup.repositories.is_empty() {
            return Err(Error::usage(
                "matrix.toml names no repository for backups",
                "matrix-podman set backup.repository /mnt/DISK/matrix-backup",
            ));
        }
        Ok(Self { world, found })
    }

    pub fn site(&self) -> &str {
        self.world.site().config.site()
    }

    fn names(&self) -> String {
        let all = &self.world.site().config.backup.repositories;
        all.iter().map(|at| at.name.as_str()).collect::<Vec<_>>().join(", ")
    }

    /// The repository that was named, else all of them.
    pub fn chosen(&self, which: &args::Which) -> Result<Vec<At>, Error> {
        let all = &self.world.site().config.backup.repositories;
        let Some(name) = &which.repository else { return Ok(all.clone()) };
        match all.iter().find(|at| at.name.as_str() == name) {
            Some(at) => Ok(vec![at.clone()]),
            None => Err(Error::usage(
                format!("matrix.toml has no repository {name}"),
                format!("those that it has are {}", self.names()),
            )),
        }
    }

    /// The repository that was named, or the only one.
    fn one(&self, which: &args::Which) -> Result<At, Error> {
        let mut chosen = self.chosen(which)?;
        match (chosen.pop(), chosen.is_empty()) {
            (Some(only), true) => Ok(only),
            _ => Err(Error::usage(
                "matrix.toml has several repositories",
                format!("say which: {}", self.names()),
            )),
        }
    }

    /// Does something with each; one that fails keeps nothing from the others.
    fn each(&self, which: &args::Which, act: impl Fn(&At) -> Result<u8, Error>) -> Result<u8, Error> {
        let chosen = self.chosen(which)?;
        let several = chosen.len() > 1;
        let (mut worst, mut failed) = (DONE, Vec::new());
        for at in &chosen {
            if several {
                output::say(&styled(BOLD, &format!("{} ({})", at.name, at.location)));
            }
            match act(at) {
                Ok(code) => worst = worst.max(code),
                Err(error) if several => {
                    output::error(&error, false);
                    failed.push(at.name.as_str());
                }
                Err(error) => return Err(error),
            }
        }
        if failed.is_empty() {
            return Ok(worst);
        }
        Err(Error::Told {
            summary: format!("it did not work with the repository {}", failed.join(", ")),
            hint: "see above; with the others it did".to_owned(),
        })
    }

    fn password_file(&self, at: &At) -> PathBuf {
        PathBuf::from(layout::backup_password(self.site(), &at.name).as_str())
    }

    pub fn password(&self, at: &At) -> Result<Password, Error> {
        Ok(Password::of_site(self.site(), &at.name)?)
    }

    fn open(&self, at: &At) -> Result<Repository, Error> {
        Ok(Repository::open(at, &self.password(at)?, output::say)?)
    }

    fn init(&self, at: &At, json: bool) -> Result<u8, Error> {
        let file = self.password_file(at);
        let fresh = !file.exists();
        let password = Password::make(self.site(), &at.name)?;
        Repository::init(at, &password, output::say)?;
        if json {
            return print(&serde_json::json!({
                "event": "backup-init",
                "name": at.name,
                "repository": at.location.to_string(),
                "password_file": file,
                "password_is_new": fresh,
            }));
        }
        let named = if at.name.is_main() { String::new() } else { format!(" {}", at.name) };
        output::say(&format!("{} The repository{named} is in {}.", styled(GREEN, "✓"), at.location));
        output::say(&format!("Its password is in {}, for root alone.", file.display()));
        output::say(&styled(
            BOLD,
            "Without the password nothing can ever be restored, not by anybody. If this machine is lost, so is this file.",
        ));
        output::say(&format!(
            "Note it now, on paper or in a password safe: `matrix-podman backup key{named}` shows it."
        ));
        output::say("Then make the first backup: matrix-podman backup now");
        super::OK
    }

    fn now(&self, at: &At, json: bool) -> Result<u8, Error> {
        let place = Place::of(at, output::say).and_then(|place| place.is_there().map(|()| place));
        let unreachable = place.is_err();
        let made = place.map_err(Error::from).and_then(|place| self.make(place, at, json));
        // A disk that is not there is a backup that failed, too.
        let failed = made.as_ref().err().map(|error| (error.to_string(), unreachable));
        backup::keep(
            self.site(),
            &at.name,
            made.as_ref().ok().map(|(made, _)| &made.snapshot),
            failed,
            false,
        )?;
        self.tell_guest();
        print_made(at, &made?.0, json)
    }

    /// The guest shows how its backups are to whoever enters it. A guest that is not
    /// there is no reason for a backup to fail that was made.
    pub fn tell_guest(&self) {
        if let Err(failure) = backup::tell_guest(&self.world) {
            output::say(&format!("note: {}", output::one_line(&failure.to_string())));
        }
    }

    pub fn make(&self, place: Place, at: &At, json: bool) -> Result<(Made, Repository), Error> {
        let password = self.password(at)?;
        let what = format!("Back up {}", self.world.site().config.server_name);
        // An update under way would leave its old lock beside its new database.
        up::at_work(&self.world, &self.found, "backup now", json, |journal, _| {
            let made =
                watched("backup", &what, json, |sink| backup::make(&self.world, place, &password, sink))?;
            journal.end(true)?;
            Ok(made)
        })
    }

    fn list(&self, chosen: &[At], json: bool) -> Result<u8, Error> {
        let mut all = Vec::new();
        for at in chosen {
            let snapshots = self.open(at)?.snapshots()?;
            all.extend(snapshots.into_iter().map(|snapshot| Listed { repository: &at.name, snapshot }));
        }
        all.sort_by(|a, b| a.snapshot.time.cmp(&b.snapshot.time));
        if json {
            return print(&all);
        }
        if all.is_empty() {
            output::say("There is no snapshot yet; `matrix-podman backup now` makes one.");
            return super::OK;
        }
        let mut table = Table::new(["SNAPSHOT", "MADE AT", "SERVER", "SIZE", "WRITTEN", "REPOSITORY"]);
        for Listed { repository, snapshot: Snapshot { id, time, server_name, bytes: size, added } } in all {
            let cells = [id, time, server_name, bytes(size), bytes(added), repository.to_string()];
            table.row(cells.map(|cell| (cell, anstyle::Style::new())));
        }
        table.print();
        super::OK
    }

    fn show(&self, at: &At, wanted: &str, json: bool) -> Result<u8, Error> {
        let opened = self.open(at)?.snapshot(wanted)?;
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

    fn verify(&self, at: &At, all_data: bool, json: bool) -> Result<u8, Error> {
        let repository = self.open(at)?;
        let what = format!("Verify {}", at.location);
        let found = watched("verify", &what, json, |sink| repository.verify(all_data, sink))?;
        let code = if found.wrong.is_empty() { DONE } else { FAILED };
        if json {
            print(&serde_json::json!({"event": "backup-verify", "repository": at.name, "found": found}))?;
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

    pub fn drill(&self, repository: &Repository, wanted: &str, json: bool) -> Result<u8, Error> {
        let opened = repository.snapshot(wanted)?;
        let config = Config::parse_with(
            &opened.guests_config()?,
            "the snapshot's matrix.toml",
            &[],
            &site::defaults()?,
        )?;
        let doing = "prepare a drill";
        let lock = Lock::parse(&opened.text(&format!("{}/matrix.lock", place::FILES))?)
            .map_err(|why| Failure::unread(doing, &why))?;
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
                backup::drill::hold(&self.world, repository, &opened, &drill, sink)
            })?;
            journal.end(true)?;
            Ok(proof)
        });
        self.tell_guest();
        let proof = proof?;
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
                    layout::backup_drill(self.site(), repository.name()),
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
        if let Some(name) = &args.back {
            return super::restore::back(self.world, &self.found, name, args.yes);
        }
        let mut at = self.one(&args.which)?;
        at.terms.limits.download = None;
        let repository = self.open(&at)?;
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

    fn prune(&self, at: &At, json: bool) -> Result<u8, Error> {
        let repository = self.open(at)?;
        let pruned = self.pruned(at, &repository, json)?;
        if json {
            return print(
                &serde_json::json!({"event": "backup-prune", "repository": at.name, "pruned": pruned}),
            );
        }
        output::data(&format!("{} snapshots are kept, {} were removed", pruned.kept, pruned.removed.len()));
        super::OK
    }

    pub fn pruned(&self, at: &At, repository: &Repository, json: bool) -> Result<Pruned, Error> {
        let server_name = &self.world.site().config.server_name;
        watched("prune", &format!("Prune {}", at.location), json, |sink| {
            repository.prune(server_name.as_str(), at.terms.keep, sink)
        })
    }

    fn key(&self, at: &At, test: bool) -> Result<u8, Error> {
        let password = self.password(at)?;
        let named = if at.name.is_main() { String::new() } else { format!(" {}", at.name) };
        if !test {
            output::say(&format!("The password of {}:", at.location));
            output::data(password.reveal());
            output::say(&styled(
                YELLOW,
                "Keep it where this machine is not. Without it nothing can be restored.",
            ));
            output::say(&format!(
                "`matrix-podman backup key{named} --test` says later whether what you noted is right."
            ));
            return super::OK;
        }
        if !output::can_ask() {
            return Err(Error::usage("nobody can be asked for the password", "type this on a terminal"));
        }
        let typed = rpassword::prompt_password("The password, as you noted it: ")
            .map_err(|e| Failure::new("ask for the password", e))?;
        if typed.trim() == password.reveal() {
            output::say(&format!("{} That is the password.", styled(GREEN, "✓")));
            return super::OK;
        }
        Err(Error::Told {
            summary: "that is not the password".to_owned(),
            hint: format!("`matrix-podman backup key{named}` shows it; note it anew"),
        })
    }
}

/// A snapshot, and where it is.
#[derive(Serialize)]
struct Listed<'a> {
    repository: &'a RepositoryName,
    #[serde(flatten)]
    snapshot: Snapshot,
}

pub(super) fn print_made(at: &At, made: &Made, json: bool) -> Result<u8, Error> {
    if json {
        return print(&serde_json::json!({"event": "backup", "repository": at.name, "backup": made}));
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
