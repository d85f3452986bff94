//! `backup`: snapshots of the server in repositories that only this machine reaches.

mod drill;
mod take;
mod unattended;
mod words;

use std::path::{Path, PathBuf};

use matrix_podman_core::{backup::Repository as At, layout};
use matrix_podman_host::{
    backup::{self, Made, Password, Place, Pruned, Repository},
    failure::Failure,
    priority,
    progress::{Sink, told},
    world::World,
};

use super::up;
use crate::{
    args,
    error::{DONE, Error, FAILED},
    output::{self, BOLD, Reporter, styled},
    site::{self, FoundSite},
};

pub(super) use words::described;

pub fn run(config: Option<&Path>, args: &args::Backup, out: &Reporter) -> Result<u8, Error> {
    if let Some(file) = site::locate(config, None)?
        && file == Path::new(layout::applied_config().as_str())
    {
        // With backend this-machine, the machine's own config is wanted.
        return Err(Error::usage(
            "backups are made from outside the guest, which cannot reach them",
            "type the same on the machine, in the folder of its matrix.toml or with --config",
        ));
    }
    gives_way(args, out);
    let (world, found) = super::world(config, out)?;
    let site = SiteBackups::new(world, found, out)?;
    match args {
        args::Backup::Init(at) => site.init(&site.one(&at.which)?),
        args::Backup::Now(now) if now.by_itself.unattended => unattended::now(&site, now),
        args::Backup::Now(now) => site.each(&now.which, |at| site.now(at)),
        args::Backup::List(at) => site.list(&site.chosen(&at.which)?),
        args::Backup::Show(show) => site.show(&site.one(&show.which)?, &show.snapshot),
        args::Backup::Ls(ls) => {
            let opened = site.open(&site.one(&ls.which)?)?.snapshot(&ls.snapshot)?;
            let entries = backup::take::list(&opened, ls.path.as_deref())?;
            out.report(&words::StoredFiles { entries })?;
            super::OK
        }
        args::Backup::Verify(verify) => site.each(&verify.which, |at| site.verify(at, !verify.quick)),
        args::Backup::Drill(drill) if drill.by_itself.unattended => unattended::drill(&site, drill),
        args::Backup::Drill(drill) => site.drill(&site.open(&site.one(&drill.which)?)?, &drill.snapshot),
        args::Backup::Restore(restore) => site.restore(restore),
        args::Backup::Prune(at) => site.each(&at.which, |one| site.prune(one)),
        args::Backup::Key(key) => {
            site.key(&site.one(&args::Which { repository: key.repository.clone() })?, key.test)
        }
    }
}

/// What is done beside the server leaves it its time; for a restore somebody waits.
fn gives_way(args: &args::Backup, out: &Reporter) {
    let beside = matches!(
        args,
        args::Backup::Now(_) | args::Backup::Verify(_) | args::Backup::Prune(_) | args::Backup::Drill(_)
    );
    if beside && let Err(failure) = priority::give_way() {
        // It is done all the same, only not as quietly.
        out.note(&failure);
    }
}

/// The site and its repositories.
pub(super) struct SiteBackups {
    pub world: World,
    pub found: FoundSite,
    pub out: Reporter,
}

impl SiteBackups {
    fn new(world: World, found: FoundSite, out: &Reporter) -> Result<Self, Error> {
        if world.site().config.backup.repositories.is_empty() {
            return Err(Error::usage(
                "matrix.toml names no repository for backups",
                "matrix-podman set backup.repository /mnt/DISK/matrix-backup",
            ));
        }
        Ok(Self { world, found, out: out.clone() })
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
                self.out.say(&styled(BOLD, &format!("{} ({})", at.name, at.location)));
            }
            match act(at) {
                Ok(code) => worst = worst.max(code),
                Err(error) if several => {
                    self.out.error(&error);
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

    fn init(&self, at: &At) -> Result<u8, Error> {
        let file = self.password_file(at);
        let fresh = !file.exists();
        let password = Password::make(self.site(), &at.name)?;
        Repository::init(at, &password, output::say)?;
        self.out.report(&words::RepositoryCreated {
            event: "backup-init",
            name: &at.name,
            repository: at.location.to_string(),
            password_file: &file,
            password_is_new: fresh,
        })?;
        super::OK
    }

    fn now(&self, at: &At) -> Result<u8, Error> {
        let place = Place::of(at, output::say).and_then(|place| place.is_there().map(|()| place));
        let unreachable = place.is_err();
        let made = place.map_err(Error::from).and_then(|place| self.make(place, at));
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
        self.out.report(&words::BackedUp::of(at, &made?.0))?;
        super::OK
    }

    /// The guest shows how its backups are to whoever enters it. A guest that is not
    /// there is no reason for a backup to fail that was made.
    pub fn tell_guest(&self) {
        if let Err(failure) = backup::tell_guest(&self.world) {
            self.out.note(&failure);
        }
    }

    pub fn make(&self, place: Place, at: &At) -> Result<(Made, Repository), Error> {
        let password = self.password(at)?;
        let what = format!("Back up {}", self.world.site().config.server_name);
        // An update under way would leave its old lock beside its new database.
        up::at_work(&self.world, &self.found, "backup now", &self.out, |journal, _| {
            let made = watched("backup", &what, &self.out, |sink| {
                backup::make(&self.world, place, &password, sink)
            })?;
            journal.end(true)?;
            Ok(made)
        })
    }

    fn list(&self, chosen: &[At]) -> Result<u8, Error> {
        let mut all = Vec::new();
        for at in chosen {
            let snapshots = self.open(at)?.snapshots()?;
            all.extend(
                snapshots
                    .into_iter()
                    .map(|snapshot| words::StoredSnapshot { repository: &at.name, snapshot }),
            );
        }
        all.sort_by(|a, b| a.snapshot.time.cmp(&b.snapshot.time));
        self.out.report(&words::StoredSnapshots(all))?;
        super::OK
    }

    fn show(&self, at: &At, wanted: &str) -> Result<u8, Error> {
        let opened = self.open(at)?.snapshot(wanted)?;
        self.out
            .report(&words::SnapshotShown { snapshot: opened.described(), manifest: opened.manifest()? })?;
        super::OK
    }

    fn verify(&self, at: &At, all_data: bool) -> Result<u8, Error> {
        let repository = self.open(at)?;
        let what = format!("Verify {}", at.location);
        let found = watched("verify", &what, &self.out, |sink| repository.verify(all_data, sink))?;
        let code = if found.wrong.is_empty() { DONE } else { FAILED };
        self.out.report(&words::RepositoryVerified {
            event: "backup-verify",
            repository: &at.name,
            found,
            all_data,
        })?;
        Ok(code)
    }

    fn prune(&self, at: &At) -> Result<u8, Error> {
        let repository = self.open(at)?;
        let pruned = self.pruned(at, &repository)?;
        self.out.report(&words::RepositoryPruned { event: "backup-prune", repository: &at.name, pruned })?;
        super::OK
    }

    pub fn pruned(&self, at: &At, repository: &Repository) -> Result<Pruned, Error> {
        let server_name = &self.world.site().config.server_name;
        watched("prune", &format!("Prune {}", at.location), &self.out, |sink| {
            repository.prune(server_name.as_str(), at.terms.keep, sink)
        })
    }

    fn key(&self, at: &At, test: bool) -> Result<u8, Error> {
        let password = self.password(at)?;
        if !test {
            self.out.report(&words::RepositoryKey {
                repository: &at.name,
                location: at.location.to_string(),
                password: password.reveal(),
            })?;
            return super::OK;
        }
        if !self.out.can_ask() {
            return Err(Error::usage(
                "there is no terminal to ask for the password on",
                "type this on a terminal",
            ));
        }
        let typed = self.out.ask_secret("The password, as you noted it: ")?;
        if typed.trim() == password.reveal() {
            self.out.report(&words::KeyIsRight { right: true })?;
            return super::OK;
        }
        Err(Error::Told {
            summary: "that is not the password".to_owned(),
            hint: format!("`matrix-podman backup key{}` shows it; note it anew", words::named(&at.name)),
        })
    }
}

/// Does `work` with somebody watching.
pub(super) fn watched<T>(
    id: &str,
    what: &str,
    out: &Reporter,
    work: impl FnOnce(&Sink<'_>) -> Result<T, Failure>,
) -> Result<T, Error> {
    Ok(told(out.listener().as_ref(), id, what, work)?)
}
