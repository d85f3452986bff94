//! Newer versions of what containers run by, let in only after a container ran
//! with them: an upgrade of crun has broken containers in nested guests before.
//!
//! The newer packages are unpacked beside those that are installed, and a
//! container is run with them in a network namespace of its own. Nothing of
//! that touches what runs: no address, no rule and no container of theirs is
//! seen from there.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use matrix_podman_core::{
    fact::{Fact, Value},
    name::{Mode, Owner},
    observed::Answer,
    render::system,
    update::{NewerPackage, RUNTIME},
};

use super::apt;
use crate::{
    failure::{Doing, Failure},
    file, probe,
    process::Program,
    progress::{Saying, Sink},
};

/// Where the newer packages are unpacked and tried.
const PLACE: &str = "/var/lib/matrix-podman/runtime-trial";
/// How long a container that prints one number may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// A kernel setting that the container is given, and that no other has: setting
/// one is what failed where it failed.
const SETTING: &str = "net.ipv4.ip_default_ttl";
const VALUE: &str = "63";

/// Brings what containers run by to the newest version, if a container of
/// `image` can be run with it.
pub(super) fn upgrade(image: &str, sink: &Sink) -> Result<(), Failure> {
    let _one = apt::alone(sink)?;
    apt::update(sink)?;
    let newer = newer()?;
    if newer.is_empty() {
        return Ok(());
    }
    let place = Path::new(PLACE);
    file::remove_partial(place)?;
    let tried = try_and_install(&newer, place, image, sink);
    // Whatever came of it; what a run leaves that is cut off, the next one removes.
    let removed = file::remove_partial(place);
    tried.and(removed)
}

/// Installs the newer packages, if a container of `image` runs with them.
fn try_and_install(newer: &[NewerPackage], place: &Path, image: &str, sink: &Sink) -> Result<(), Failure> {
    let names: Vec<String> = newer.iter().map(|p| format!("{} {}", p.name, p.to)).collect();
    let names = names.join(", ");
    let exact: Vec<String> = newer.iter().map(|p| format!("{}={}", p.name, p.to)).collect();
    let before: Vec<String> = newer.iter().map(|p| format!("{}={}", p.name, p.from)).collect();
    let (packages, root, old) = (place.join("packages"), place.join("root"), place.join("before"));
    for folder in [place, &packages, &packages.join("partial"), &root, &old, &old.join("partial")] {
        file::make_dir(folder, Mode(0o700), Owner::ROOT)?;
    }
    apt::fetch(&exact, &packages, sink)?;
    // From a source on this disk apt takes packages where they are: there would be
    // nothing to try, and what was not tried is not let in.
    if let Some(missing) = newer.iter().find(|package| !is_there(&package.name, &packages)) {
        let why = format!("apt did not put {} {} into it", missing.name, missing.to);
        return Err(Failure::new(format!("fetch packages into {}", packages.display()), why)
            .hint("a source that begins with file: has to begin with copy: in /etc/apt/sources.list.d"));
    }
    for package in fs::read_dir(&packages).doing(|| format!("read {}", packages.display()))?.flatten() {
        let package = package.path();
        if package.extension().is_some_and(|kind| kind == "deb") {
            Program::new(["dpkg-deb", "--extract", &shown(&package), &shown(&root)])
                .deadline(PATIENCE)
                .run(&format!("unpack {}", package.display()), &|_| {})?;
        }
    }
    sink(Saying::WaitsFor(format!("a container to be run with {names}")));
    canary(Some(&root), image).map_err(|failure| {
        Failure { doing: format!("run a container with {names}"), ..failure }
            .hint("nothing was changed: what is installed goes on; try again when there is a newer one still")
    })?;
    // A source may have nothing but the newest: then there is no automatic way back.
    let kept = apt::fetch_installed(&before, &old, sink);
    apt::install_fetched(&exact, &packages, sink)?;
    let Err(failure) = canary(None, image) else { return Ok(()) };
    let failure = Failure { doing: format!("run a container with {names}, once installed"), ..failure };
    sink(Saying::WaitsFor("the packages before to be put back".to_owned()));
    let back = kept.and_then(|()| apt::put_back(&before, &old, sink)).and_then(|()| canary(None, image));
    Err(failure.hint(match back {
        Ok(()) => format!(
            "{} put back, and a container ran again: nothing is left to do; try again when there is a newer one still",
            before.join(" ")
        ),
        Err(why) => format!(
            "the packages before could not be put back ({why}): services run until they are restarted; find a source that \
             has them, then in the guest `apt-get install --allow-downgrades {}`",
            before.join(" ")
        ),
    }))
}

/// What of the packages that containers run by has a newer version.
fn newer() -> Result<Vec<NewerPackage>, Failure> {
    let doing = "look for newer packages";
    match probe::answer(&Fact::NewerPackages) {
        Answer::Known(Value::Lines(lines)) => Ok(lines
            .iter()
            .filter_map(|line| NewerPackage::parse(line))
            .filter(|package| RUNTIME.contains(&package.name.as_str()))
            .collect()),
        Answer::Known(_) => Err(Failure::new(doing, "unexpected answer")),
        Answer::Unknown(why) => Err(Failure::new(doing, why)),
    }
}

/// Runs a container with the programs below `root`, else with those installed.
fn canary(root: Option<&Path>, image: &str) -> Result<(), Failure> {
    let place = Path::new(PLACE);
    let program = |path: &str| -> PathBuf {
        let own = root.map(|root| root.join(path)).filter(|own| own.exists());
        own.unwrap_or_else(|| Path::new("/").join(path))
    };
    let (podman, crun, conmon) =
        (program("usr/bin/podman"), program("usr/bin/crun"), program("usr/bin/conmon"));
    let own_folders = root.map(|root| root.join("usr/lib/podman")).into_iter();
    let folders: Vec<String> = own_folders
        .chain(["/usr/lib/podman".into(), "/usr/libexec/podman".into()])
        .map(|p| shown(&p))
        .collect();
    let settings = place.join("containers.conf");
    file::write(&settings, system::trial_conf(&folders).as_bytes(), Mode(0o600), Owner::ROOT)?;
    let setting = format!("{SETTING}={VALUE}");
    let printed_by = format!("/proc/sys/{}", SETTING.replace('.', "/"));
    let argv = [
        // Neither the addresses and rules nor the mounts of what runs are reached from here,
        // and nothing of it outlives this process, whatever it waits for.
        "setpriv",
        "--pdeathsig=KILL",
        "--",
        "unshare",
        "--net",
        "--mount",
        "--pid",
        "--fork",
        "--kill-child",
        "--mount-proc",
        "--",
        &shown(&podman),
        "--root",
        &shown(&place.join("storage")),
        "--runroot",
        &shown(&place.join("run")),
        // Else it would share what Podman notes of the boot, which a /proc of its own says anew.
        "--tmpdir",
        &shown(&place.join("tmp")),
        "--network-config-dir",
        &shown(&place.join("networks")),
        "--runtime",
        &shown(&crun),
        "--conmon",
        &shown(&conmon),
        // Read-only: the image itself is not copied.
        "--storage-opt",
        "additionalimagestore=/var/lib/containers/storage",
        "run",
        "--rm",
        "--pull=never",
        "--read-only",
        "--cap-drop=all",
        "--security-opt=no-new-privileges",
        "--log-driver=none",
        "--cgroups=disabled",
        "--network=podman",
        "--sysctl",
        &setting,
        "--entrypoint=cat",
        image,
        &printed_by,
    ];
    let output = Program::new(argv)
        .env("CONTAINERS_CONF_OVERRIDE", &shown(&settings))
        .env("LD_LIBRARY_PATH", &libraries(root))
        .deadline(PATIENCE)
        .output();
    let printed = String::from_utf8_lossy(&output.stdout);
    if output.status == Some(0) && printed.trim() == VALUE {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<String> = said.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    let why = lines.last().cloned().unwrap_or_else(|| match output.status {
        Some(0) => format!("the container has {SETTING} {:?} instead of {VALUE}", printed.trim()),
        Some(code) => format!("it ended with exit code {code} and said nothing"),
        None => "it could not be started, or did not end in time".to_owned(),
    });
    Err(Failure::new("run a container", why).evidence(lines))
}

/// Whether a package was fetched into a folder.
fn is_there(name: &str, folder: &Path) -> bool {
    let begins = format!("{name}_");
    fs::read_dir(folder).is_ok_and(|mut files| {
        files.any(|file| file.is_ok_and(|file| file.file_name().to_string_lossy().starts_with(&begins)))
    })
}

/// Libraries that came with the newer packages.
fn libraries(root: Option<&Path>) -> String {
    let Some(root) = root else { return String::new() };
    let folders = fs::read_dir(root.join("usr/lib")).into_iter().flatten().flatten().map(|e| e.path());
    let own = folders.filter(|path| shown(path).ends_with("-linux-gnu")).map(|path| shown(&path));
    own.collect::<Vec<_>>().join(":")
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}
