//! Which site a command is about: its config file, its backend.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use matrix_podman_core::{
    config::{BackendChoice, Config, Defaults, Override, Whose, distrust},
    fact::{Fact, MachineInfo, Value},
    layout,
    name::{Mode, Owner},
    observed::Answer,
    resource::{Backend, Site},
    status::Looked,
};
use matrix_podman_host::{apply::file, backup, failure::Failure, probe, run};

use crate::{args::Settings, error::Error, remote};

/// The config's usual name.
pub const FILE: &str = "matrix.toml";

/// A site that a command found.
pub struct Found {
    /// The site.
    pub site: Site,
    /// Its config file; `None` when it came from flags alone.
    pub file: Option<PathBuf>,
    /// What stood in it.
    pub text: String,
}

impl Found {
    /// Fails when the config file says something else by now: a plan made from
    /// what it said would undo what another run did since.
    pub fn is_still_so(&self) -> Result<(), Error> {
        let Some(file) = &self.file else { return Ok(()) };
        match fs::read_to_string(file) {
            Ok(now) if now == self.text => Ok(()),
            _ => {
                Err(Failure::new("go on with this plan", format!("{} was changed meanwhile", file.display()))
                    .hint("nothing was changed; run the same again")
                    .into())
            }
        }
    }
}

/// What flags may do beside a config file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flags {
    /// They show what would be if the file said so.
    WhatIf,
    /// They must say what the file says: the next command may come without them.
    MustAgree,
}

/// Finds the site that a command is about and reads its config.
pub fn find(config: Option<&Path>, settings: &Settings, flags: Flags) -> Result<Found, Error> {
    let machine = machine()?;
    let defaults = Defaults::with_timezone(machine.timezone.as_deref()).on_proxmox(machine.proxmox);
    let overrides = overrides(settings);
    let Some(file) = locate(config, settings.domain.as_deref())? else {
        if settings.domain.is_none() {
            return Err(Error::usage(
                "there is no matrix.toml here, and no site on this machine",
                "`matrix-podman init` writes one; `matrix-podman up --domain YOUR.DOMAIN` does both at once",
            ));
        }
        let config = Config::parse_with("", "--domain", &overrides, &defaults)?;
        return Ok(Found { site: site(config, &machine, false)?, file: None, text: String::new() });
    };
    let text = fs::read_to_string(&file).map_err(|e| {
        Error::usage(format!("cannot read {}: {e}", file.display()), "name another file with --config")
    })?;
    let shown = file.display().to_string();
    if flags == Flags::MustAgree && !overrides.is_empty() {
        let written = Config::parse_with(&text, &shown, &[], &defaults)?;
        if let Some(flag) = overrides.iter().find(|flag| {
            Config::parse_with(&text, &shown, std::slice::from_ref(*flag), &defaults)
                .map_or(true, |c| c != written)
        }) {
            return Err(Error::usage(
                format!("{} {} is not what {shown} says", flag.flag, flag.value),
                format!(
                    "write {} in {shown}, change to another folder, or name another file with --config",
                    flag.key
                ),
            ));
        }
    }
    let config = Config::parse_with(&text, &shown, &overrides, &defaults)?;
    let config = remote::with_handed_files(config, &file);
    let in_guest = file == Path::new(layout::applied_config().as_str());
    Ok(Found { site: site(config, &machine, in_guest)?, file: Some(file), text })
}

/// The site of a config that is not written yet; it is going to be in `file`.
pub fn of_text(text: String, file: &Path) -> Result<Found, Error> {
    let machine = machine()?;
    let defaults = Defaults::with_timezone(machine.timezone.as_deref()).on_proxmox(machine.proxmox);
    let config = Config::parse_with(&text, &file.display().to_string(), &[], &defaults)?;
    Ok(Found { site: site(config, &machine, false)?, file: Some(file.to_owned()), text })
}

/// Mode of a config that others may read.
pub const SHARED: Mode = Mode(0o644);
/// Mode of a config that only its owner may read.
pub const SECRET: Mode = Mode(0o600);

/// Writes a config that is not there yet, whole or not at all, and never over another one.
pub fn create(file: &Path, text: &str, mode: Mode) -> Result<(), Failure> {
    let me = Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    file::create(file, text.as_bytes(), mode, me)
}

/// Refuses a config in the current folder that somebody else wrote or can write.
pub fn trust(file: &Path) -> Result<(), Error> {
    let looked = || {
        let file = fs::canonicalize(file)?;
        let folder = file.parent().unwrap_or(Path::new("/")).metadata()?;
        Ok::<_, std::io::Error>((file.metadata()?, folder))
    };
    // What cannot be looked at is told about by whoever reads it.
    let Ok((meta, folder)) = looked() else { return Ok(()) };
    let mut me = vec![rustix::process::geteuid().as_raw()];
    // Only root can act for whoever called sudo.
    if me == [0]
        && let Some(caller) = std::env::var("SUDO_UID").ok().and_then(|uid| uid.parse().ok())
    {
        me.push(caller);
    }
    let whose = |meta: &fs::Metadata| Whose { uid: meta.uid(), gid: meta.gid(), mode: meta.mode() & 0o7777 };
    match distrust(whose(&meta), whose(&folder), &me) {
        Some(why) => Err(Error::usage(
            format!("{} in this folder is not acted on: {why}", file.display()),
            format!(
                "read it; if it is right, name it: --config {0}. To be asked no more: chown and chmod go-w the file and \
                 its folder",
                file.display()
            ),
        )),
        None => Ok(()),
    }
}

fn site(config: Config, machine: &MachineInfo, in_guest: bool) -> Result<Site, Error> {
    let backend = match config.guest.backend {
        // Typed inside the guest, everything concerns the machine typed on.
        _ if in_guest => Backend::ThisMachine,
        BackendChoice::Proxmox => Backend::Proxmox,
        BackendChoice::Auto if machine.proxmox => Backend::Proxmox,
        BackendChoice::Lxc => Backend::Lxc,
        BackendChoice::ThisMachine => Backend::ThisMachine,
        BackendChoice::Auto => Backend::Lxc,
    };
    Ok(Site::new(config, backend))
}

/// The defaults that follow from this machine.
pub fn defaults() -> Result<Defaults, Error> {
    Ok(Defaults::with_timezone(machine()?.timezone.as_deref()))
}

/// What this machine is.
pub fn machine() -> Result<MachineInfo, Error> {
    match probe::answer(&Fact::System) {
        Answer::Known(Value::System(info)) => Ok(*info),
        Answer::Known(_) => Err(Failure::new("look at this machine", "unexpected answer").into()),
        Answer::Unknown(why) => Err(Failure::new("look at this machine", why).into()),
    }
}

/// The config file: the one named, else that of this folder, else that of the
/// guest that this is, else that of the only site on this machine.
pub fn locate(config: Option<&Path>, domain: Option<&str>) -> Result<Option<PathBuf>, Error> {
    if let Some(config) = config {
        return Ok(Some(config.to_owned()));
    }
    let here = Path::new(FILE);
    let applied = PathBuf::from(layout::applied_config().as_str());
    if here.exists() {
        trust(here)?;
        return Ok(Some(here.to_owned()));
    }
    if applied.exists() {
        return Ok(Some(applied));
    }
    let mut known = known_sites();
    if let Some(domain) = domain {
        // A domain that no site here has is a new site.
        let own = sites_folder().join(domain).join("config-path");
        let path = fs::read_to_string(own).ok().map(|path| PathBuf::from(path.trim()));
        return Ok(path.filter(|path| known.contains(path)));
    }
    match known.len() {
        0 => Ok(None),
        1 => Ok(known.pop()),
        _ => Err(Error::usage(
            "there are several sites on this machine",
            format!(
                "say which with --config: {}",
                known.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(" ")
            ),
        )),
    }
}

/// Folder with what this machine remembers of a site.
pub fn state_folder(site: &Site) -> PathBuf {
    sites_folder().join(site.config.site())
}

fn sites_folder() -> PathBuf {
    Path::new(run::STATE).join("sites")
}

/// The config files of the sites that were brought up from this machine.
fn known_sites() -> Vec<PathBuf> {
    remembered().into_iter().map(|server| server.config).collect()
}

/// A server that was brought up from this machine.
pub struct Remembered {
    /// What its user ids end with, or its domain.
    pub name: String,
    /// Its config file.
    pub config: PathBuf,
}

/// The servers that were brought up from this machine, by name.
pub fn remembered() -> Vec<Remembered> {
    let Ok(sites) = fs::read_dir(sites_folder()) else { return Vec::new() };
    let mut found: Vec<Remembered> = sites
        .filter_map(|site| {
            let site = site.ok()?;
            let text = fs::read_to_string(site.path().join("config-path")).ok()?;
            let config = PathBuf::from(text.trim());
            config
                .exists()
                .then(|| Remembered { name: site.file_name().to_string_lossy().into_owned(), config })
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    found
}

/// The config of a site as somebody wrote it, where this machine remembers it.
pub fn original(site: &Site) -> Option<PathBuf> {
    let path = fs::read_to_string(state_folder(site).join("config-path")).ok()?;
    Some(PathBuf::from(path.trim())).filter(|path| path.exists())
}

/// Remembers where the config of a site is, and that this machine applied it.
pub fn remember(site: &Site, file: &Path) -> Result<(), Failure> {
    let folder = state_folder(site);
    let place = folder.join("config-path");
    let doing = |e: std::io::Error| Failure::new(format!("write {}", place.display()), e);
    let path = fs::canonicalize(file).map_err(doing)?;
    let text = format!("{}\n", path.display());
    if !fs::read_to_string(&place).is_ok_and(|now| now == text) {
        file::write(&place, text.as_bytes(), Mode(0o600), Owner::ROOT)?;
    }
    backup::keep_applied(site)
}

/// Whether this is a guest, or a machine that is its own.
pub fn is_guest() -> bool {
    Path::new(layout::applied_config().as_str()).exists()
}

/// Forgets a site; its journal is kept.
pub fn forget(site: &Site) {
    for looked in [Looked::Doctor, Looked::Verify] {
        let _ = fs::remove_file(looked.file(site.config.site()).as_str());
    }
    let _ = fs::remove_file(layout::restore_begun(site.config.site()).as_str());
    let _ = fs::remove_file(state_folder(site).join("config-path"));
    let _ = fs::remove_file(layout::machine_applied(site.config.site()).as_str());
}

/// The settings given as flags; `--domain` always comes first.
pub fn overrides(settings: &Settings) -> Vec<Override> {
    let given = [
        ("domain", &settings.domain, "--domain"),
        ("server_name", &settings.server_name, "--server-name"),
        ("guest.backend", &settings.backend, "--backend"),
        ("guest.name", &settings.guest_name, "--guest-name"),
        ("images.source", &settings.images, "--images"),
    ];
    given
        .into_iter()
        .filter_map(|(key, value, flag)| Some(Override::new(key, value.as_deref()?, flag)))
        .collect()
}
