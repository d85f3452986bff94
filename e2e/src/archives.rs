//! Images and root file systems that the program made earlier, used where a
//! test wants them from somewhere else.

use std::{fs, path::PathBuf, process::Command};

use matrix_podman_images::{BuildOptions, Recipe, build, missing_tools};
use serde_json::Value;

use crate::{Invocation, Lab};

/// The Debian release that the program builds from unless it is told otherwise.
const SUITE: &str = "trixie";

/// Where the program keeps them.
const CACHE: &str = "/var/cache/matrix-podman";

/// The archive of a guest's root file system.
pub(crate) fn rootfs() -> PathBuf {
    PathBuf::from(CACHE).join("rootfs-trixie.tar")
}

/// Where tests keep what no guest of the program's is made from.
const OWN_CACHE: &str = "/var/cache/matrix-podman-e2e";

/// What Proxmox's own Debian template has of what matters here: its network, a way in,
/// a mail server, and nothing that the stack needs.
const TEMPLATE_PACKAGES: &str =
    "systemd,systemd-sysv,dbus,iproute2,ifupdown2,isc-dhcp-client,openssh-server,postfix,cron,locales,less";
/// What the program installs in a guest, which saves a minute where it is there.
const STACK_PACKAGES: &str =
    "aardvark-dns,ca-certificates,crun,netavark,nftables,podman,tzdata,unattended-upgrades";

/// The archive of a template such as Proxmox has, without anything of the
/// program's. The first call on a machine makes it.
#[track_caller]
pub(crate) fn template() -> PathBuf {
    made("template-ifupdown2-trixie.tar", TEMPLATE_PACKAGES)
}

/// The same with what the program would install in it.
#[track_caller]
pub(crate) fn prepared_template() -> PathBuf {
    made("prepared-ifupdown2-trixie.tar", &format!("{TEMPLATE_PACKAGES},{STACK_PACKAGES}"))
}

#[track_caller]
fn made(name: &str, packages: &str) -> PathBuf {
    let place = PathBuf::from(OWN_CACHE).join(name);
    if place.exists() {
        return place;
    }
    install_what_builds();
    fs::create_dir_all(OWN_CACHE).unwrap_or_else(|e| panic!("{OWN_CACHE}: {e}"));
    let partial = place.with_extension(format!("{}.tar", std::process::id()));
    let made = Command::new("mmdebstrap")
        .args(["--mode=root", "--variant=apt", "--dpkgopt=force-unsafe-io"])
        .args(["--aptopt=APT::Install-Recommends \"false\"", "--aptopt=Acquire::Languages \"none\""])
        // A template keeps neither; what it was made with is not how it is used.
        .arg("--customize-hook=rm -f $1/etc/apt/apt.conf.d/99mmdebstrap $1/etc/dpkg/dpkg.cfg.d/99mmdebstrap")
        .arg(format!("--include={packages}"))
        .arg("trixie")
        .arg(&partial)
        .output()
        .unwrap_or_else(|e| panic!("mmdebstrap: {e}"));
    assert!(made.status.success(), "mmdebstrap: {}", String::from_utf8_lossy(&made.stderr));
    fs::rename(&partial, &place).unwrap_or_else(|e| panic!("{}: {e}", place.display()));
    place
}

/// Installs what archives are made with. The program does that by itself, and it is
/// tested that it does; where all its own archives are there, it needs none of it.
#[track_caller]
fn install_what_builds() {
    let missing: Vec<&str> =
        missing_tools(&[Recipe::Postgres]).into_iter().map(|(_, package)| package).collect();
    if missing.is_empty() {
        return;
    }
    // Another file of tests may be at it, or the program itself.
    let install = ["apt-get", "--quiet=2", "--yes", "--option=DPkg::Lock::Timeout=300"];
    let install = install.iter().chain(&["--no-install-recommends", "install"]);
    Invocation::new(install.chain(&missing)).run().ok();
}

/// Sees to it that archives are there: by making a server, if none was made
/// on this machine before.
#[track_caller]
pub fn make_archives() {
    let recipes = ["postgres", "redis", "synapse", "element-web", "coturn", "gateway"];
    let all_there = || rootfs().exists() && recipes.iter().all(|recipe| newest(recipe).is_some());
    if all_there() {
        return;
    }
    let lab = Lab::with_config("archives");
    // Another file of tests may have made them while this one waited for the lab.
    if all_there() {
        return;
    }
    lab.set("[images]", "source", "\"build\"");
    // So that the image of what is off by default is made, too.
    lab.set("[turn]", "server", "true");
    lab.set("[turn]", "address", "\"203.0.113.7\"");
    lab.set("[gateway]", "enabled", "true");
    lab.up();
}

/// The newest archive of `postgres`, `redis`, `synapse` or `element-web`.
#[track_caller]
pub fn archive(recipe: &str) -> PathBuf {
    newest(recipe).unwrap_or_else(|| panic!("{CACHE} has no image of {recipe}"))
}

fn newest(recipe: &str) -> Option<PathBuf> {
    let folder = PathBuf::from(CACHE).join("images");
    let records = fs::read_dir(&folder).ok()?.flatten().filter_map(|entry| {
        let path = entry.path();
        let name = path.file_name()?.to_str()?;
        let key = name.strip_prefix(recipe)?.strip_prefix('-')?.strip_suffix(".json")?;
        // `synapse-packages-….json` is something else.
        let record: Value = serde_json::from_str(&fs::read_to_string(&path).ok()?).ok()?;
        if record["suite"] != SUITE {
            return None;
        }
        let number = record["number"].as_u64()?;
        let tar = folder.join(format!("{recipe}-{key}.tar"));
        tar.exists().then_some((number, tar))
    });
    records.max().map(|(_, tar)| tar)
}

/// The archive of a PostgreSQL of that major version, made from the Debian release
/// that has it, or found where an earlier run made it.
#[track_caller]
pub fn postgres_archive(major: u32) -> PathBuf {
    install_what_builds();
    let options = BuildOptions::new(PathBuf::from(CACHE).join("images"));
    let options = options.with_postgres(major).unwrap_or_else(|| panic!("no Debian has PostgreSQL {major}"));
    // What is tested is the change from one version to another, not whether a
    // mirror is of today.
    let options = BuildOptions { accept_expired: true, ..options };
    let built = build(Recipe::Postgres, &options, &|note| println!("  {note}"));
    let built = built.unwrap_or_else(|e| panic!("build PostgreSQL {major}: {e}"));
    assert!(built.version.starts_with(&format!("{major}.")), "it is {}", built.version);
    built.archive
}
