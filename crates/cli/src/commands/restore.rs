//! `restore`: a server made anew from a repository and its password.

use std::{
    collections::BTreeSet,
    fs,
    io::{IsTerminal as _, Read as _, stdin},
    path::{Path, PathBuf},
};

use matrix_podman_core::{
    config::{
        Config,
        edit::{Edit, edit},
    },
    fact::Side,
    layout,
    name::{Mode, Owner},
    observed::Observed,
    plan::Plan,
    resource::{self, Resource, ResourceId, Risk},
};
use matrix_podman_host::{
    apply::{Sink, file},
    backup::{self, Opened, Repository, restore},
    failure::Failure,
    world::World,
};

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
    let repository = Repository::open(&args.from, &password)?;
    let mut opened = repository.snapshot(&args.snapshot)?;
    let (file, wrote) = config_file(config, args, &opened)?;
    let found = site::find(Some(&file), &args::Settings::default(), Flags::MustAgree)?;
    let world = super::open(found.site.clone());
    let begun = Begun::of(&found);
    if let Some(id) = begun.snapshot() {
        opened = begun.go_on(&repository, &id, args)?;
    }
    let (snapshot, manifest) = (opened.described(), opened.manifest()?);
    if found.site.config.server_name != manifest.server_name {
        return Err(Error::usage(
            format!(
                "{} is about {}, and the snapshot is of {}; a server's name can never change",
                file.display(),
                found.site.config.server_name,
                manifest.server_name
            ),
            "run this in an empty folder: matrix.toml is then taken from the snapshot",
        ));
    }
    let begun_before = begun.snapshot().is_some();
    let goes_on = reached(&world, begun_before)? == Reached::Files || begun_before;
    output::say(&format!(
        "{} snapshot {} of {} into {} {}:",
        styled(BOLD, if goes_on { "Going on to restore" } else { "Restoring" }),
        snapshot.id,
        snapshot.time,
        if goes_on { "the guest" } else { "a new guest" },
        found.site.config.guest.name
    ));
    for line in described(&manifest) {
        output::say(&format!("  {line}"));
    }
    output::say("The server that it is a copy of must not run any more: two with one key harm both.");
    agree(args, wrote.then_some(&file))?;
    keep_password(found.site.config.site(), &password)?;
    begun.note(&snapshot.id)?;
    carry_out(&world, &found, "server-name")?;
    // What a guest holds that did not run is known only now.
    let reached = reached(&world, begun_before).inspect_err(|_| {
        if !begun_before {
            let _ = begun.end();
        }
    })?;
    if reached == Reached::Nothing {
        at_work(&world, &found, "Put files and media back", |sink| restore::put(&world, &opened, sink))?;
    }
    if reached != Reached::Database {
        carry_out(&world, &found, "service/postgres_db")?;
        at_work(&world, &found, "Fill the database and count what came back", |sink| {
            restore::fill(&world, &opened, sink)
        })?;
    }
    site::remember(world.site(), &file)?;
    begun.end()?;
    // It holds the guest's lock, which `up` takes for itself.
    drop(world);
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

    /// The snapshot that was begun with: what is in the guest is of that one.
    fn go_on(&self, repository: &Repository, id: &str, args: &args::Restore) -> Result<Opened, Error> {
        if args.snapshot != "latest" && !id.starts_with(&args.snapshot) && !args.snapshot.starts_with(id) {
            return Err(Error::usage(
                format!("a restore of the snapshot {id} was cut off here"),
                "finish that one, or `matrix-podman destroy` first to begin with another",
            ));
        }
        Ok(repository.snapshot(id)?)
    }

    fn note(&self, id: &str) -> Result<(), Failure> {
        file::write(&self.0, format!("{id}\n").as_bytes(), Mode(0o600), Owner::ROOT)
    }

    fn end(&self) -> Result<(), Failure> {
        file::remove(&self.0)
    }
}

/// How far a restore is in the guest.
#[derive(Clone, Copy, PartialEq)]
enum Reached {
    /// There is nothing of a server.
    Nothing,
    /// Files and dump are in their place.
    Files,
    /// The database is filled too, and was found right.
    Database,
}

/// How far a restore is; refuses where there is a server that no restore made.
fn reached(world: &World, begun: bool) -> Result<Reached, Error> {
    let seen = world.look(&mut Observed::default(), |seen| {
        let dump = seen.meta(Side::Guest, &layout::restore_dump()).map(|meta| meta.is_some());
        let lock = seen.meta(Side::Guest, &layout::lock_file()).map(|meta| meta.is_some());
        Ok::<_, matrix_podman_core::observed::Gap>((dump?, lock?))
    })?;
    match seen {
        Ok((true, _)) => Ok(Reached::Files),
        // The dump came with the lock, and is removed at the very end.
        Ok((false, true)) if begun => Ok(Reached::Database),
        Ok((false, true)) => Err(Error::usage(
            format!("the guest {} has a server already, which is left alone", world.site().config.guest.name),
            "restore into another guest: write another guest.name in matrix.toml; or `matrix-podman destroy` first",
        )),
        // A guest that does not run yet is started before anything is put there.
        Ok((false, false)) | Err(_) => Ok(Reached::Nothing),
    }
}

fn password(args: &args::Restore) -> Result<String, Error> {
    if let Some(path) = &args.password_file
        && path != Path::new("-")
    {
        return Ok(backup::password(path)?);
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
    Ok(typed.trim().to_owned())
}

/// The config that is given or is here, else the snapshot's, written here; and
/// whether it was written.
fn config_file(
    config: Option<&Path>,
    args: &args::Restore,
    opened: &Opened,
) -> Result<(PathBuf, bool), Error> {
    let file = config.map_or_else(|| PathBuf::from(site::FILE), Path::to_owned);
    if file.exists() {
        return Ok((file, false));
    }
    if config.is_some() {
        return Err(Error::usage(
            format!("there is no {}", file.display()),
            "name another file with --config",
        ));
    }
    let text = opened.config()?;
    let lines = text.lines().skip_while(|line| line.starts_with('#'));
    let text = format!(
        "# Restored from {}, every value explicit. This is the site's config from now on.\n\
         # What stood under [edge] is not in a backup.\n{}\n",
        args.from.display(),
        lines.collect::<Vec<_>>().join("\n")
    );
    // What cannot be used is better known before anything is written.
    let shown = file.display().to_string();
    let defaults = site::defaults()?;
    let config = Config::parse_with(&text, &shown, &[], &defaults)?;
    let text = match backup::folder(&config) {
        Some(folder) if folder.exists() => text,
        // Backups go on where they were found.
        _ => {
            let from = fs::canonicalize(&args.from)
                .map_err(|e| Failure::new(format!("find {}", args.from.display()), e))?;
            let value = from.display().to_string();
            edit(&text, &shown, "backup.repository", Edit::Value(&value), &defaults)?
        }
    };
    fs::write(&file, text).map_err(|e| Failure::new(format!("write {}", file.display()), e))?;
    output::say(&format!("wrote {} as it was when the backup was made", file.display()));
    Ok((file, true))
}

fn agree(args: &args::Restore, wrote: Option<&PathBuf>) -> Result<(), Error> {
    if args.yes {
        return Ok(());
    }
    if !output::can_ask() {
        return Err(Error::usage("nobody can be asked whether to do this", "add --yes"));
    }
    let answer = up::ask("Go on? [y/N] ")?;
    if answer.as_deref().is_some_and(|answer| matches!(answer.trim(), "y" | "Y" | "yes")) {
        return Ok(());
    }
    Err(Error::Told {
        summary: match wrote {
            Some(file) => format!("nothing was changed, but {} was written", file.display()),
            None => "nothing was changed".to_owned(),
        },
        hint: "another guest or network can be named in matrix.toml; then run the same again".to_owned(),
    })
}

/// The restored server is backed up into the same repository.
fn keep_password(site: &str, password: &str) -> Result<(), Error> {
    let path = layout::backup_password(site);
    let path = Path::new(path.as_str());
    if !path.exists() {
        file::write(path, format!("{password}\n").as_bytes(), Mode(0o400), Owner::ROOT)?;
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
