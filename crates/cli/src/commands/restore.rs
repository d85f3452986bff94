//! `restore`: a server made anew from a repository and its password.

mod config;

use std::{
    fs,
    path::{Path, PathBuf},
};

use matrix_podman_core::{
    backup::{Location, Manifest, Repository as At, RepositoryName, Terms},
    config::Config,
    fact::Side,
    ids::{self, ResourceId},
    layout,
    name::{AbsPath, Mode, Owner},
    observed::{Gap, Observed},
    plan::Plan,
    resource::{self, Risk},
    stack::Data,
};
use matrix_podman_host::{
    backup::{Opened, Password, Repository, Snapshot, restore},
    decide::restore::{Reached, RestoreStep, Traces, needed_for},
    failure::Failure,
    file,
    guest::calls::Incoming,
    progress::Sink,
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
    output::{self, AtStake, BOLD, Confirmation, Otherwise, Reporter, piped_text, styled},
    site::{self, Flags, FoundSite},
};

pub fn run(config: Option<&Path>, args: &args::Restore, out: &Reporter) -> Result<u8, Error> {
    let password = password(args, out)?;
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
    let world = super::open(found.site.clone(), out);
    Restoring {
        out: out.clone(),
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
    found: FoundSite,
    repository: &Repository,
    args: &args::BackupRestore,
    out: &Reporter,
) -> Result<u8, Error> {
    let file = file_of(&found)?;
    let opened = chosen(repository, &args.snapshot, args.at)?;
    Restoring {
        out: out.clone(),
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
    out: Reporter,
    world: World,
    found: FoundSite,
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
        let (world, found, out) = (&self.world, &self.found, &self.out);
        let begun = RestoreBegun::of(found);
        let mut begun_before = begun.snapshot();
        let mut reached = look(world, begun_before.is_some())?;
        if reached.changed_nothing(begun_before.is_some()) {
            out.say("An earlier restore was cut off before anything was changed: the old data is in place.");
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
        let guest = &found.site.config.guest.name;
        if reached.is_in_the_way(self.replace) {
            return Err(is_there(guest.as_str()));
        }
        self.show(&snapshot, &manifest, reached, begun_before.is_some());
        agree(self.yes, out)?;
        if let Some(proposal) = &self.proposal {
            proposal.write(out)?;
        }
        if let Some((from, password)) = &self.from {
            keep_password(&found.site.config, from, password)?;
        }
        if reached != Reached::Server {
            begun.note(&snapshot.id)?;
        }
        carry_out(world, found, &ids::SERVER_NAME, out)?;
        // What a guest holds that did not run is known only now.
        reached = look(world, begun_before.is_some()).inspect_err(|_| {
            if begun_before.is_none() {
                let _ = begun.end();
            }
        })?;
        if reached.is_in_the_way(self.replace) {
            if begun_before.is_none() {
                begun.end()?;
            }
            return Err(is_there(guest.as_str()));
        }
        for step in reached.remaining() {
            self.take(*step, reached, &begun, &opened)?;
            // What took its place may have been a whole server, set aside before.
            if *step == RestoreStep::Switch && look(world, true)? == Reached::Filled {
                break;
            }
        }
        site::remember(world.site(), &self.file)?;
        begun.end()?;
        let Self { file, world, out, .. } = self;
        // It holds the guest's lock, which `up` takes for itself.
        drop(world);
        up::to_the_end(&file, &out)
    }

    fn take(
        &self,
        step: RestoreStep,
        reached: Reached,
        begun: &RestoreBegun,
        opened: &Opened,
    ) -> Result<(), Error> {
        let (world, found, out) = (&self.world, &self.found, &self.out);
        match step {
            RestoreStep::Put => {
                at_work(world, found, "Put files and media back", out, |sink| {
                    restore::put(world, opened, sink)
                })?;
                begun.note(&opened.described().id)?;
            }
            RestoreStep::Switch => {
                let what = if reached == Reached::Server {
                    "Set the present data aside"
                } else {
                    "Give them their place"
                };
                at_work(world, found, what, out, |sink| {
                    restore::switch(world, Incoming::Restored, self.replace, sink)
                })?;
            }
            RestoreStep::Fill => {
                for service in Data::Cluster.keepers() {
                    carry_out(world, found, &ids::service(service), out)?;
                }
                at_work(world, found, "Fill the database and count what came back", out, |sink| {
                    restore::fill(world, opened, sink)
                })?;
            }
        }
        Ok(())
    }

    /// Shows what is going to be done.
    fn show(&self, snapshot: &Snapshot, manifest: &Manifest, reached: Reached, begun: bool) {
        let (out, continues) = (&self.out, reached.continues(begun));
        out.narrate(&format!(
            "{} snapshot {} of {} into {} {}:",
            styled(BOLD, if continues { "Going on to restore" } else { "Restoring" }),
            snapshot.id,
            snapshot.time,
            if continues || reached == Reached::Server { "the guest" } else { "a new guest" },
            self.found.site.config.guest.name,
        ));
        for line in described(manifest) {
            out.narrate(&format!("  {line}"));
        }
        if reached == Reached::Server {
            out.narrate(&format!(
                "What was said and sent since {} is not in it. The present data is set aside in the guest, not deleted; \
                 `matrix-podman backup restore --back` brings them back. The server is away meanwhile.",
                snapshot.time
            ));
        } else if !self.replace {
            out.narrate("The server that it is a copy of must not run any more: two with one key harm both.");
        }
        if let Some(proposal) = &self.proposal {
            proposal.show(out);
        }
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

fn file_of(found: &FoundSite) -> Result<PathBuf, Error> {
    found.file.clone().ok_or_else(|| Error::usage("there is no matrix.toml", "add --config"))
}

/// `backup restore --back`: brings back what a restore set aside; no repository is needed for it.
pub(super) fn back(
    world: World,
    found: &FoundSite,
    name: &str,
    yes: bool,
    out: &Reporter,
) -> Result<u8, Error> {
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
    out.narrate(&format!(
        "{} the data that was set aside at {chosen}. The present data is set aside in its place, not deleted. The \
         server is away meanwhile.",
        styled(BOLD, "Bringing back")
    ));
    agree(yes, out)?;
    at_work(&world, found, "Bring back what was set aside", out, |sink| {
        restore::switch(&world, Incoming::SetAside(chosen.clone()), true, sink)
    })?;
    RestoreBegun::of(found).end()?;
    drop(world);
    up::to_the_end(&file, out)
}

/// Does `work` under the locks of both sides, with somebody watching.
fn at_work(
    world: &World,
    found: &FoundSite,
    what: &str,
    out: &Reporter,
    work: impl FnOnce(&Sink<'_>) -> Result<(), Failure>,
) -> Result<(), Error> {
    up::at_work(world, found, "restore", out, |journal, _| {
        watched("restore", what, out, work)?;
        Ok(journal.end(true)?)
    })
}

/// The note that a restore has begun, on this machine: until it is done, nothing
/// but a restore goes on with the guest.
struct RestoreBegun(PathBuf);

impl RestoreBegun {
    fn of(found: &FoundSite) -> Self {
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

/// What is in the guest; `begun` says whether a restore was begun on this machine.
fn look(world: &World, begun: bool) -> Result<Reached, Error> {
    let seen = world.look(&mut Observed::default(), |seen| {
        let [dump, switch, hold, lock] =
            [layout::restore_dump(), layout::switch(), layout::hold(), layout::lock_file()]
                .map(|path| seen.meta(Side::Guest, &path).map(|meta| meta.is_some()));
        Ok::<_, Gap>(Traces { switch: switch?, dump: dump?, hold: hold?, lock: lock? })
    })?;
    // A guest that does not run yet is started before anything is put there.
    Ok(Reached::of(seen.unwrap_or_default(), begun))
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

fn password(args: &args::Restore, out: &Reporter) -> Result<Password, Error> {
    let typed = match args.password_file.as_deref() {
        Some(path) if path != Path::new("-") => return Ok(Password::of_file(path)?),
        Some(_) => piped_text().map_err(|e| Failure::new("read the password", e))?,
        None if out.can_ask() => out.ask_secret("The repository's password: ")?,
        None => {
            return Err(Error::usage(
                "there is no terminal to ask for the password on",
                "add --password-file FILE",
            ));
        }
    };
    Ok(Password::typed(&typed))
}

fn agree(yes: bool, out: &Reporter) -> Result<(), Error> {
    out.confirm(&Confirmation {
        question: "Go on?",
        at_stake: AtStake::Something,
        yes,
        otherwise: Otherwise::unchanged(
            "to restore with another config (guest, network): write matrix.toml here, then run the same again",
        ),
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
fn carry_out(world: &World, found: &FoundSite, last: &ResourceId, out: &Reporter) -> Result<(), Error> {
    let resources = needed_for(last, resource::all(world.site()));
    let plan = world.look(&mut Observed::default(), |seen| Plan::make(&resources, seen))?;
    if let Some((id, why, hint)) = plan.blocked().next() {
        return Err(Failure::new(format!("restore, because of {id}"), why).hint(hint).into());
    }
    up::carry_out(world, found, &resources, &plan, Risk::Outage, "restore", out)
}
