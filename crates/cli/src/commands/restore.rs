//! `restore`: a server made anew from a repository and its password.

mod config;

use std::{
    collections::BTreeSet,
    fs,
    io::{IsTerminal as _, Read as _, stdin},
    path::{Path, PathBuf},
};

use matrix_podman_core::{
    backup::{Location, Repository as At, RepositoryName, Terms},
    config::Config,
    fact::Side,
    layout,
    name::{AbsPath, Mode, Owner},
    observed::Observed,
    plan::Plan,
    resource::{self, Resource, ResourceId, Risk},
};
use matrix_podman_host::{
    apply::{Sink, file},
    backup::{Incoming, Opened, Password, Repository, restore},
    failure::Failure,
    world::World,
};

use self::config::{Choice, Proposal};
use super::{
    backup::{described, watched},
    up,
};
use crate::{
    args,
    error::Error,
    output::{self, BOLD, styled},
    site::{self, Flags, Found},
};

pub fn run(config: Option<&Path>, args: &args::Restore) -> Result<u8, Error> {
    let password = password(args)?;
    let at = place(&args.from)?;
    let repository = Repository::open(&at, &password, output::say)?;
    let opened = chosen(&repository, &args.snapshot, args.at)?;
    let (found, file, proposal) = match config::choose(config, args, &opened)? {
        Choice::Here(file) => {
            let found = site::find(Some(&file), &args::Settings::default(), Flags::MustAgree)?;
            (found, file, None)
        }
        Choice::Proposed(proposal) => {
            let file = proposal.file().to_owned();
            (site::of_text(proposal.text().to_owned(), &file)?, file, Some(proposal))
        }
    };
    let world = super::open_in_words(found.site.clone());
    Restoring {
        world,
        found,
        file,
        proposal,
        from: Some((at.location, password)),
        latest: args.snapshot == "latest" && args.at.is_none(),
        replace: false,
        yes: args.yes,
    }
    .carry_out(&repository, opened)
}

/// `backup restore`: into the guest of this site, whatever is there.
pub(super) fn in_place(
    world: World,
    found: Found,
    repository: &Repository,
    args: &args::BackupRestore,
) -> Result<u8, Error> {
    let file = file_of(&found)?;
    let opened = chosen(repository, &args.snapshot, args.at)?;
    Restoring {
        world,
        found,
        file,
        proposal: None,
        from: None,
        latest: args.snapshot == "latest" && args.at.is_none(),
        replace: true,
        yes: args.yes,
    }
    .carry_out(repository, opened)
}

/// The snapshot that somebody names.
pub(super) fn chosen(
    repository: &Repository,
    wanted: &str,
    at: Option<args::Moment>,
) -> Result<Opened, Error> {
    Ok(match at {
        Some(args::Moment(at)) => repository.snapshot_until(at)?,
        None => repository.snapshot(wanted)?,
    })
}

/// A restore, from the choice of a snapshot on.
struct Restoring {
    world: World,
    found: Found,
    file: PathBuf,
    /// What is going to be matrix.toml, where there is none.
    proposal: Option<Box<Proposal>>,
    /// The repository and its password, where the site may not have it yet.
    from: Option<(Location, Password)>,
    /// Whether no certain snapshot was asked for.
    latest: bool,
    /// Whether data that are there may be set aside.
    replace: bool,
    yes: bool,
}

impl Restoring {
    fn carry_out(self, repository: &Repository, mut opened: Opened) -> Result<u8, Error> {
        let (world, found) = (&self.world, &self.found);
        let begun = Begun::of(found);
        let mut begun_before = begun.snapshot();
        let mut before = reached(world, begun_before.is_some())?;
        if before == Reached::Server && begun_before.is_some() {
            output::say(
                "An earlier restore was cut off before anything was changed: the data are the old ones.",
            );
            begun.end()?;
            begun_before = None;
        }
        if let Some(id) = &begun_before {
            opened = self.go_on(repository, id, opened)?;
        }
        let (snapshot, manifest) = (opened.described(), opened.manifest()?);
        if found.site.config.server_name != manifest.server_name {
            return Err(Error::usage(
                format!(
                    "{} is about {}, and the snapshot is of {}; a server's name can never change",
                    self.file.display(),
                    found.site.config.server_name,
                    manifest.server_name
                ),
                "run this in an empty folder: matrix.toml is then taken from the snapshot",
            ));
        }
        let goes_on = begun_before.is_some() || matches!(before, Reached::Switching | Reached::Files);
        let guest = &found.site.config.guest.name;
        if before == Reached::Server && !self.replace {
            return Err(is_there(guest.as_str()));
        }
        output::say(&format!(
            "{} snapshot {} of {} into {} {guest}:",
            styled(BOLD, if goes_on { "Going on to restore" } else { "Restoring" }),
            snapshot.id,
            snapshot.time,
            if goes_on || before == Reached::Server { "the guest" } else { "a new guest" },
        ));
        for line in described(&manifest) {
            output::say(&format!("  {line}"));
        }
        if before == Reached::Server {
            output::say(&format!(
                "What was said and sent since {} is not in it. The present data are set aside in the guest, not deleted; \
                 `matrix-podman backup restore --back` brings them back. The server is away meanwhile.",
                snapshot.time
            ));
        } else if !self.replace {
            output::say("The server that it is a copy of must not run any more: two with one key harm both.");
        }
        if let Some(proposal) = &self.proposal {
            proposal.show();
        }
        agree(self.yes)?;
        if let Some(proposal) = &self.proposal {
            proposal.write()?;
        }
        if let Some((from, password)) = &self.from {
            keep_password(&found.site.config, from, password)?;
        }
        if before != Reached::Server {
            begun.note(&snapshot.id)?;
        }
        carry_out(world, found, "server-name")?;
        // What a guest holds that did not run is known only now.
        before = reached(world, begun_before.is_some()).inspect_err(|_| {
            if begun_before.is_none() {
                let _ = begun.end();
            }
        })?;
        if before == Reached::Server && !self.replace {
            if begun_before.is_none() {
                begun.end()?;
            }
            return Err(is_there(guest.as_str()));
        }
        if matches!(before, Reached::Nothing | Reached::Server) {
            at_work(world, found, "Put files and media back", |sink| restore::put(world, &opened, sink))?;
            begun.note(&snapshot.id)?;
        }
        if matches!(before, Reached::Nothing | Reached::Server | Reached::Switching) {
            let what = if before == Reached::Server {
                "Set the present data aside"
            } else {
                "Give them their place"
            };
            at_work(world, found, what, |sink| {
                restore::switch(world, Incoming::Restored, self.replace, sink)
            })?;
            before = reached(world, true)?;
        }
        if before != Reached::Filled {
            carry_out(world, found, "service/postgres_db")?;
            at_work(world, found, "Fill the database and count what came back", |sink| {
                restore::fill(world, &opened, sink)
            })?;
        }
        site::remember(world.site(), &self.file)?;
        begun.end()?;
        let file = self.file;
        // It holds the guest's lock, which `up` takes for itself.
        drop(self.world);
        up(&file)
    }

    /// The snapshot that was begun with: what is in the guest is of that one.
    fn go_on(&self, repository: &Repository, id: &str, wanted: Opened) -> Result<Opened, Error> {
        if wanted.described().id == id {
            return Ok(wanted);
        }
        if !self.latest {
            return Err(Error::usage(
                format!("a restore of the snapshot {id} was cut off here"),
                "finish that one, or `matrix-podman destroy` first to begin with another",
            ));
        }
        Ok(repository.snapshot(id)?)
    }
}

/// Says that there is a server, and what else can be done.
fn is_there(guest: &str) -> Error {
    Error::usage(
        format!("the guest {guest} has a server already, which is left alone"),
        "`matrix-podman backup restore` brings a snapshot back into it and sets aside what is there; or restore into \
         another guest: write another guest.name in matrix.toml",
    )
}

fn file_of(found: &Found) -> Result<PathBuf, Error> {
    found.file.clone().ok_or_else(|| Error::usage("there is no matrix.toml", "add --config"))
}

/// `backup restore --back`: brings back what a restore set aside; no repository is needed for it.
pub(super) fn back(world: World, found: &Found, name: &str, yes: bool) -> Result<u8, Error> {
    let file = file_of(found)?;
    let all = restore::set_aside(&world)?;
    let chosen = if name.is_empty() { all.last() } else { all.iter().find(|aside| *aside == name) };
    let Some(chosen) = chosen.cloned() else {
        let (why, hint) = match all.is_empty() {
            true => {
                ("no restore set anything aside here".to_owned(), "nothing has to be brought back".to_owned())
            }
            false => (
                format!("nothing was set aside under the name {name}"),
                format!("there is: {}", all.join(", ")),
            ),
        };
        return Err(Error::usage(why, hint));
    };
    output::say(&format!(
        "{} the data that were set aside at {chosen}. The present data are set aside in their place, not deleted. The \
         server is away meanwhile.",
        styled(BOLD, "Bringing back")
    ));
    agree(yes)?;
    at_work(&world, found, "Bring back what was set aside", |sink| {
        restore::switch(&world, Incoming::SetAside(chosen.clone()), true, sink)
    })?;
    Begun::of(found).end()?;
    drop(world);
    up(&file)
}

/// Makes the rest of the server what the config says.
fn up(file: &Path) -> Result<u8, Error> {
    up::run(
        Some(file),
        &args::Up {
            settings: args::Settings::default(),
            yes: true,
            remove_failed: false,
            output: args::Json { json: false },
        },
    )
}

/// Does `work` under the locks of both sides, with somebody watching.
fn at_work(
    world: &World,
    found: &Found,
    what: &str,
    work: impl FnOnce(&Sink<'_>) -> Result<(), Failure>,
) -> Result<(), Error> {
    up::at_work(world, found, "restore", false, |journal, _| {
        watched("restore", what, false, work)?;
        Ok(journal.end(true)?)
    })
}

/// The note that a restore has begun, on this machine: until it is done, nothing
/// but a restore goes on with the guest.
struct Begun(PathBuf);

impl Begun {
    fn of(found: &Found) -> Self {
        Self(PathBuf::from(layout::restore_begun(found.site.config.site()).as_str()))
    }

    /// The snapshot of the restore that has begun.
    fn snapshot(&self) -> Option<String> {
        fs::read_to_string(&self.0).ok().map(|id| id.trim().to_owned())
    }

    fn note(&self, id: &str) -> Result<(), Failure> {
        file::write(&self.0, format!("{id}\n").as_bytes(), Mode(0o600), Owner::ROOT)
    }

    fn end(&self) -> Result<(), Failure> {
        file::remove(&self.0)
    }
}

/// What is in the guest.
#[derive(Clone, Copy, PartialEq)]
enum Reached {
    /// Nothing of a server.
    Nothing,
    /// A server.
    Server,
    /// Some of the old data and some of the new; nothing runs on them.
    Switching,
    /// Files and dump are in their place.
    Files,
    /// The database is filled too, and was found right.
    Filled,
}

/// What is in the guest; `begun` says whether a restore was begun on this machine.
fn reached(world: &World, begun: bool) -> Result<Reached, Error> {
    let seen = world.look(&mut Observed::default(), |seen| {
        let [dump, switch, hold, lock] =
            [layout::restore_dump(), layout::switch(), layout::hold(), layout::lock_file()]
                .map(|path| seen.meta(Side::Guest, &path).map(|meta| meta.is_some()));
        Ok::<_, matrix_podman_core::observed::Gap>((switch?, dump?, hold?, lock?))
    })?;
    Ok(match seen {
        Ok((true, ..)) => Reached::Switching,
        Ok((_, true, ..)) => Reached::Files,
        // The dump is removed at the very end, and what holds Synapse back only then.
        Ok((.., true, true)) if begun => Reached::Filled,
        Ok((.., true)) => Reached::Server,
        // A guest that does not run yet is started before anything is put there.
        Ok(_) | Err(_) => Reached::Nothing,
    })
}

/// The repository that was typed; a folder may be named from where one stands.
fn place(from: &str) -> Result<At, Error> {
    let location = match Location::parse(from) {
        Ok(location @ (Location::Sftp(_) | Location::S3(_) | Location::Rclone(_))) => location,
        Err(why) if ["sftp:", "s3:", "rclone:"].iter().any(|kind| from.starts_with(kind)) => {
            return Err(Error::usage(
                format!("--from {from}: {why}"),
                "write it as it stood in backup.repository",
            ));
        }
        _ => {
            let doing = || format!("find {from}");
            let folder = fs::canonicalize(from).map_err(|e| Failure::new(doing(), e))?;
            let folder = AbsPath::parse(&folder.display().to_string());
            Location::Folder(folder.map_err(|why| Failure::new(doing(), why))?)
        }
    };
    Ok(At { name: RepositoryName::main(), location, terms: Terms::default() })
}

fn password(args: &args::Restore) -> Result<Password, Error> {
    if let Some(path) = &args.password_file
        && path != Path::new("-")
    {
        return Ok(Password::of_file(path)?);
    }
    let typed = if args.password_file.is_none() && stdin().is_terminal() {
        rpassword::prompt_password("The repository's password: ")
            .map_err(|e| Failure::new("ask for the password", e))?
    } else if args.password_file.is_some() {
        let mut text = String::new();
        stdin().read_to_string(&mut text).map_err(|e| Failure::new("read the password", e))?;
        text
    } else {
        return Err(Error::usage("nobody can be asked for the password", "add --password-file FILE"));
    };
    Ok(Password::typed(&typed))
}

fn agree(yes: bool) -> Result<(), Error> {
    if up::agrees(yes)? {
        return Ok(());
    }
    Err(Error::Told {
        summary: "nothing was changed".to_owned(),
        hint:
            "to restore with another config (guest, network): write matrix.toml here, then run the same again"
                .to_owned(),
    })
}

/// The restored server is backed up into the same repository.
fn keep_password(config: &Config, from: &Location, password: &Password) -> Result<(), Error> {
    let same = config.backup.repositories.iter().find(|at| at.location == *from);
    let name = same.map_or_else(RepositoryName::main, |at| at.name.clone());
    if !Path::new(layout::backup_password(config.site(), &name).as_str()).exists() {
        password.save(config.site(), &name)?;
    }
    Ok(())
}

/// Makes all that `last` needs, and itself, what it should be. The resource that
/// keeps others out while a restore is under way is not asked.
fn carry_out(world: &World, found: &Found, last: &str) -> Result<(), Error> {
    let all = resource::all(world.site());
    let needs = |id: &ResourceId| {
        all.iter().find(|resource| resource.id() == *id).map(|resource| resource.needs()).unwrap_or_default()
    };
    let mut wanted: BTreeSet<ResourceId> = BTreeSet::new();
    let mut open = vec![ResourceId::new(last)];
    while let Some(id) = open.pop() {
        if wanted.insert(id.clone()) {
            open.extend(needs(&id));
        }
    }
    wanted.remove(&ResourceId::new("server-name"));
    let resources: Vec<Box<dyn Resource>> =
        all.into_iter().filter(|resource| wanted.contains(&resource.id())).collect();
    let plan = world.look(&mut Observed::default(), |seen| Plan::make(&resources, seen))?;
    if let Some((id, why, hint)) = plan.blocked().next() {
        return Err(Failure::new(format!("restore, because of {id}"), why).hint(hint).into());
    }
    up::carry_out(world, found, &resources, &plan, Risk::Outage, "restore", false)
}
