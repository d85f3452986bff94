//! Debian packages: which would be installed now, and a root file system made of them.
//!
//! A directory in the cache is the state of an apt of its own: package lists that cost next to
//! nothing to refresh, and the packages themselves, fetched once for all images. Which mirror they
//! come from is mmdebstrap's business.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use crate::BuildOptions;
use crate::assets;
use crate::error::{Error, IoContext, unexpected};
use crate::layers::Packages;
use crate::oci::EPOCH;
use crate::python;
use crate::recipe::Recipe;
use crate::tools::{command, run};

/// Package lists younger than this are not asked for again.
const FRESH: Duration = Duration::from_secs(120);
const ADVICE: &str = "Check that this machine reaches its Debian mirror (`apt-get update`), then try again.";

/// The apt state in the cache, locked for this process.
pub(crate) struct Apt {
    dir: PathBuf,
    suite: String,
    accept_expired: bool,
    _lock: File,
}

impl Apt {
    /// Opens the state and brings its package lists up to date.
    pub(crate) fn open(cache: &Path, options: &BuildOptions) -> Result<Self, Error> {
        let BuildOptions { suite, accept_expired, .. } = options;
        let dir = cache.join(format!("apt-{suite}"));
        fs::create_dir_all(&dir).during("create", &dir)?;
        let path = dir.join("lock");
        let lock = File::create(&path).during("create", &path)?;
        lock.lock().during("lock", &path)?;
        let apt = Self { dir, suite: suite.clone(), accept_expired: *accept_expired, _lock: lock };
        apt.refresh()?;
        Ok(apt)
    }

    fn refresh(&self) -> Result<(), Error> {
        let stamp = self.dir.join("updated");
        let updated = fs::metadata(&stamp).and_then(|meta| meta.modified());
        if updated.is_ok_and(|then| SystemTime::now().duration_since(then).is_ok_and(|age| age < FRESH)) {
            return Ok(());
        }
        let doing = format!("fetch the package lists of Debian {}", self.suite);
        if self.dir.join("etc/apt/sources.list").exists() && stamp.exists() {
            let mut update = self.apt_get()?;
            update.args(["--error-on=any", "update"]);
            run(update, &doing, ADVICE)?;
        } else {
            let work = tempfile::tempdir_in(&self.dir).during("create a directory in", &self.dir)?;
            let hook = assets::place(&assets::KEEP_LISTS, work.path())?;
            let mut first = command("mmdebstrap");
            first.env("TMPDIR", work.path()).env("STATE", &self.dir);
            first.args(["--quiet", "--variant=custom", "--format=null"]);
            if self.accept_expired {
                first.arg("--aptopt=Acquire::Check-Valid-Until false");
            }
            first.arg(option("--customize-hook=", &hook)).arg(&self.suite);
            run(first, &doing, ADVICE)?;
            for dir in ["var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "var/lib/dpkg"] {
                let dir = self.dir.join(dir);
                fs::create_dir_all(&dir).during("create", &dir)?;
            }
            // An empty list of installed packages: a plan starts from nothing.
            let status = self.dir.join("var/lib/dpkg/status");
            File::create(&status).during("create", &status)?;
        }
        File::create(&stamp).during("create", &stamp)?;
        Ok(())
    }

    fn apt_get(&self) -> Result<Command, Error> {
        let mut apt = command("apt-get");
        for (key, value) in [("Dir", ""), ("Dir::State::status", "var/lib/dpkg/status")] {
            apt.arg("-o").arg(option(&format!("{key}="), &self.dir.join(value)));
        }
        for setting in [
            "Dir::Etc::Trusted=/etc/apt/trusted.gpg",
            "Dir::Etc::TrustedParts=/etc/apt/trusted.gpg.d",
            "APT::Sandbox::User=root",
            "APT::Install-Recommends=false",
            "Acquire::Languages=none",
        ] {
            apt.args(["-o", setting]);
        }
        apt.arg("-o").arg(format!("APT::Architecture={}", architecture()?));
        if self.accept_expired {
            apt.args(["-o", "Acquire::Check-Valid-Until=false"]);
        }
        Ok(apt)
    }

    /// What an installation of a recipe's packages would install today.
    pub(crate) fn plan(&self, recipe: Recipe) -> Result<Packages, Error> {
        let doing = format!("find out which Debian packages {recipe} needs");
        let mut simulate = self.apt_get()?;
        simulate.args(["--simulate", "install", "?essential"]).args(recipe.packages());
        let output = run(simulate, &doing, ADVICE)?;
        let plan = parse_plan(&String::from_utf8_lossy(&output.stdout));
        if plan.is_empty() {
            return Err(unexpected(doing, "apt-get named no package", ADVICE));
        }
        Ok(plan)
    }

    /// Fetches a recipe's packages and forgets those that the mirror no longer has.
    pub(crate) fn download(&self, recipe: Recipe) -> Result<(), Error> {
        let mut autoclean = self.apt_get()?;
        autoclean.arg("autoclean");
        run(autoclean, "tidy the cache of Debian packages", ADVICE)?;
        let mut download = self.apt_get()?;
        download.args(["--yes", "--download-only", "install", "?essential"]).args(recipe.packages());
        run(download, &format!("fetch the Debian packages of {recipe}"), ADVICE).map(drop)
    }

    /// Gives the package lists and packages to a root file system's own apt.
    fn copy_to(&self, work: &Path) -> Result<PathBuf, Error> {
        let copy = work.join("apt");
        let pairs = [("var/lib/apt/lists", "lists"), ("var/cache/apt/archives", "archives")];
        for (from, to) in pairs {
            let (from, to) = (self.dir.join(from), copy.join(to));
            fs::create_dir_all(&to).during("create", &to)?;
            for entry in fs::read_dir(&from).during("read", &from)? {
                let entry = entry.during("read", &from)?;
                if entry.file_type().is_ok_and(|kind| kind.is_file()) && entry.file_name() != "lock" {
                    let to = to.join(entry.file_name());
                    fs::hard_link(entry.path(), &to).during("link", &to)?;
                }
            }
        }
        Ok(copy)
    }

    /// Installs a recipe's packages into a root file system of their own and packs it.
    ///
    /// `stage` is laid over it.
    pub(crate) fn rootfs(self, recipe: Recipe, work: &Path, stage: &Path) -> Result<PathBuf, Error> {
        let copy = self.copy_to(work)?;
        let suite = self.suite.clone();
        // Others may use the state from here on: what is needed is linked.
        drop(self);
        let (name, uid, gid, home) = recipe.user();
        let tar = work.join("rootfs.tar");
        let mut build = command("mmdebstrap");
        build.args(["--quiet", "--variant=essential", "--format=tar", "--mode=root"]);
        build.arg("--skip=update,output/dev,cleanup/run");
        build.args(["--dpkgopt=force-unsafe-io", "--aptopt=APT::Install-Recommends false"]);
        build.env("TMPDIR", work).env("SOURCE_DATE_EPOCH", EPOCH.to_string());
        build.env("APT_COPY", &copy).env("STAGE", stage);
        build.env("USER_NAME", name).env("USER_ID", uid.to_string());
        build.env("EXTRAS", python::EXTRAS);
        build.env("GROUP_ID", gid.to_string()).env("USER_HOME", home);
        build.arg(option("--setup-hook=", &assets::place(&assets::GIVE_APT, work)?));
        build.arg(option("--essential-hook=", &assets::place(&assets::ADD_USER, work)?));
        build.arg(option("--customize-hook=", &assets::place(&assets::LAY_STAGE, work)?));
        build.arg(option("--customize-hook=", &assets::place(assets::finish(recipe), work)?));
        build.arg(format!("--include={}", recipe.packages().join(",")));
        build.arg(suite).arg(&tar);
        run(build, &format!("install the Debian packages of {recipe}"), ADVICE)?;
        Ok(tar)
    }
}

/// `--key=` and a path, which need not be UTF-8.
fn option(key: &str, path: &Path) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(key);
    option.push(path);
    option
}

/// Debian's name of this machine's architecture, which is OCI's too.
pub(crate) fn architecture() -> Result<&'static str, Error> {
    match std::env::consts::ARCH {
        "x86_64" => Ok("amd64"),
        "aarch64" => Ok("arm64"),
        other => Err(unexpected(
            "find out this machine's architecture",
            format!("images for {other} are not made"),
            "use a machine with amd64 or arm64",
        )),
    }
}

/// `Inst libc6 (2.41-12 Debian:13.1/stable [amd64])` → `libc6`, `2.41-12`.
fn parse_plan(text: &str) -> Packages {
    let lines = text.lines().filter_map(|line| line.strip_prefix("Inst "));
    lines
        .filter_map(|line| {
            let (name, rest) = line.split_once(' ')?;
            let version = rest.split_once('(')?.1.split(' ').next()?;
            Some((name.to_owned(), version.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_read_from_what_apt_would_do() {
        let text = "Reading package lists...\nInst base-files (13.8 Debian:13.1/stable [amd64]) []\n\
            Inst libc6 [2.41-1] (2.41-12 Debian:13.1/stable [amd64])\nConf base-files (13.8 Debian:13.1/stable [amd64])\n";
        let plan = parse_plan(text);
        assert_eq!(plan.len(), 2);
        assert_eq!(plan["base-files"], "13.8");
        assert_eq!(plan["libc6"], "2.41-12");
    }
}
