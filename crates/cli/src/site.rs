//! Which site a command is about: its config file, its backend.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
};

use matrix_podman_core::{
    config::{Config, Defaults, Override, Whose, distrust, renamed},
    fact::{Fact, MachineInfo, Value},
    layout,
    name::{Domain, Mode, Owner},
    observed::Answer,
    resource::{BackendId, Site},
    status::Looked,
};
use matrix_podman_host::{backup, failure::Failure, file, probe, state};

use crate::{
    args::Settings,
    error::Error,
    handed,
    output::{YELLOW, say, styled},
};

/// The config's usual name.
pub const FILE: &str = "matrix.toml";

/// A site that a command found.
pub struct FoundSite {
    /// The site.
    pub site: Site,
    /// Its config file; `None` when it came from flags alone.
    pub file: Option<PathBuf>,
    /// What stood in it.
    pub text: String,
}

impl FoundSite {
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
pub fn find(config: Option<&Path>, settings: &Settings, flags: Flags) -> Result<FoundSite, Error> {
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
        return Ok(FoundSite { site: site(config, &machine, false)?, file: None, text: String::new() });
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
    for line in renamed::old_names(&text, &shown) {
        say(&format!("{} {line}", styled(YELLOW, "note:")));
    }
    let config = handed::with_files(config, &file);
    let in_guest = file == Path::new(layout::applied_config().as_str());
    let site = site(config, &machine, in_guest)?;
    // Nothing may be concluded from what only a newer program understands.
    state::written_by(site.config.site())?;
    Ok(FoundSite { site, file: Some(file), text })
}

/// The site of a config that is not written yet; it is going to be in `file`.
pub fn of_text(text: String, file: &Path) -> Result<FoundSite, Error> {
    let machine = machine()?;
    let defaults = Defaults::with_timezone(machine.timezone.as_deref()).on_proxmox(machine.proxmox);
    let config = Config::parse_with(&text, &file.display().to_string(), &[], &defaults)?;
    Ok(FoundSite { site: site(config, &machine, false)?, file: Some(file.to_owned()), text })
}

/// The site of a config on this machine, whether or not anything was made of it.
pub fn of_config(config: Config) -> Result<Site, Error> {
    site(config, &machine()?, false)
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
    // What cannot be looked at is reported by the code that reads it.
    let Ok((meta, folder)) = looked() else { return Ok(()) };
    let mut me = vec![rustix::process::geteuid().as_raw()];
    // Only root can act for sudo's caller.
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
    let backend = BackendId::choose(config.guest.backend, machine.proxmox, in_guest);
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
    let applied = PathBuf::from(layout::applied_config().as_str());
    locate_in(config, domain, Path::new(FILE), &applied, &sites_folder())
}

fn locate_in(
    config: Option<&Path>,
    domain: Option<&str>,
    here: &Path,
    applied: &Path,
    sites: &Path,
) -> Result<Option<PathBuf>, Error> {
    if let Some(config) = config {
        return Ok(Some(config.to_owned()));
    }
    if here.exists() {
        trust(here)?;
        return Ok(Some(here.to_owned()));
    }
    if applied.exists() {
        return Ok(Some(applied.to_owned()));
    }
    if let Some(domain) = domain {
        // A domain that no site here has is a new site; one that is none is told of
        // by whoever reads the config that it would make.
        let Ok(domain) = Domain::parse(&as_domain(domain)) else { return Ok(None) };
        return Ok(config_of(&sites.join(domain.as_str())));
    }
    let mut known = known_sites(sites)?;
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
    Path::new(layout::STATE).join("sites")
}

/// The config files of the sites that were brought up from this machine.
fn known_sites(folder: &Path) -> Result<Vec<PathBuf>, Error> {
    Ok(servers_in(folder)?.into_iter().map(|server| server.config).collect())
}

/// A server that was brought up from this machine.
pub struct Remembered {
    /// What its user ids end with, or its domain.
    pub name: String,
    /// Its config file.
    pub config: PathBuf,
}

/// The servers that were brought up from this machine, by name.
pub fn remembered() -> Result<Vec<Remembered>, Error> {
    servers_in(&sites_folder())
}

fn servers_in(folder: &Path) -> Result<Vec<Remembered>, Error> {
    let sites = match fs::read_dir(folder) {
        Ok(sites) => sites,
        // Not that there is none: nobody but root can see.
        Err(e) if e.kind() == std::io::ErrorKind::PermissionDenied => {
            return Err(Error::usage(
                format!("only root can see which sites are on this machine ({})", folder.display()),
                "run the same with sudo, or name the site's config with --config",
            ));
        }
        Err(_) => return Ok(Vec::new()),
    };
    let mut found: Vec<Remembered> = sites
        .filter_map(|site| {
            let site = site.ok()?;
            let config = config_of(&site.path())?;
            Some(Remembered { name: site.file_name().to_string_lossy().into_owned(), config })
        })
        .collect();
    found.sort_by(|one, other| one.name.cmp(&other.name));
    Ok(found)
}

/// The config of the site with this folder, where that is still there.
fn config_of(folder: &Path) -> Option<PathBuf> {
    let path = fs::read_to_string(folder.join("config-path")).ok()?;
    Some(PathBuf::from(path.trim())).filter(|path| path.exists())
}

/// The config of a site as somebody wrote it, where this machine remembers it.
pub fn original(site: &Site) -> Option<PathBuf> {
    config_of(&state_folder(site))
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

/// A domain as people type it: with capitals, the dot at the end, or out of an address bar.
pub fn as_domain(typed: &str) -> String {
    let typed = typed.trim().to_lowercase();
    let bare = typed.trim_start_matches("https://").trim_start_matches("http://");
    bare.trim_end_matches('/').trim_end_matches('.').to_owned()
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
        .filter_map(|(key, value, flag)| {
            let value = value.as_deref()?;
            // A domain is taken as people type it.
            let value = if key == "domain" { as_domain(value) } else { value.to_owned() };
            Some(Override::new(key, &value, flag))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine with these sites, and an empty folder to type in.
    struct Machine {
        folder: tempfile::TempDir,
    }

    impl Machine {
        fn with(sites: &[&str]) -> Self {
            let machine = Self { folder: tempfile::tempdir().unwrap() };
            fs::create_dir_all(machine.path("sites")).unwrap();
            for site in sites {
                let config = machine.path(&format!("{site}.toml"));
                fs::write(&config, format!("domain = \"{site}\"\n")).unwrap();
                let state = machine.path("sites").join(site);
                fs::create_dir_all(&state).unwrap();
                fs::write(state.join("config-path"), format!("{}\n", config.display())).unwrap();
            }
            machine
        }

        fn path(&self, name: &str) -> PathBuf {
            self.folder.path().join(name)
        }

        fn locate(&self, domain: Option<&str>) -> Result<Option<PathBuf>, Error> {
            let (here, applied) = (self.path("matrix.toml"), self.path("applied.toml"));
            locate_in(None, domain, &here, &applied, &self.path("sites"))
        }
    }

    #[test]
    fn a_domain_says_which_site_however_many_there_are() {
        for sites in [&[][..], &["a.home.arpa"], &["a.home.arpa", "b.home.arpa", "c.home.arpa"]] {
            let machine = Machine::with(sites);
            assert_eq!(machine.locate(Some("new.home.arpa")).unwrap(), None, "{sites:?}");
            // Mistakes are for whoever reads the config: none is hidden, and none leads elsewhere.
            for mistake in ["example.com", "not a domain", "../sites/a.home.arpa", "", "/"] {
                assert_eq!(machine.locate(Some(mistake)).unwrap(), None, "{mistake:?}");
            }
            for site in sites {
                assert_eq!(machine.locate(Some(site)).unwrap(), Some(machine.path(&format!("{site}.toml"))));
            }
        }
    }

    #[test]
    fn without_a_domain_one_site_is_meant_and_several_are_named() {
        assert_eq!(Machine::with(&[]).locate(None).unwrap(), None);
        let one = Machine::with(&["a.home.arpa"]);
        assert_eq!(one.locate(None).unwrap(), Some(one.path("a.home.arpa.toml")));
        let three = Machine::with(&["a.home.arpa", "b.home.arpa", "c.home.arpa"]);
        let error = three.locate(None).unwrap_err();
        let hint = error.hint().unwrap();
        assert!(error.to_string().contains("several sites") && hint.contains("b.home.arpa.toml"), "{hint}");
        // A config that is gone is no site any more.
        fs::remove_file(three.path("a.home.arpa.toml")).unwrap();
        fs::remove_file(three.path("b.home.arpa.toml")).unwrap();
        assert_eq!(three.locate(None).unwrap(), Some(three.path("c.home.arpa.toml")));
        // The folder's own config comes first.
        fs::write(three.path("matrix.toml"), "").unwrap();
        assert_eq!(three.locate(None).unwrap(), Some(three.path("matrix.toml")));
    }
}
