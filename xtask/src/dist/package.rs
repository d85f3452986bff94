//! The Debian package. The program is linked statically, so one package serves
//! every Debian and every Proxmox VE that it supports.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use super::{architecture::Architecture, clear, copy, licences, source::Source, write};
use crate::phase;

/// Where the package keeps what people read.
const DOC: &str = "usr/share/doc/matrix-podman";

/// The shells that it brings completions for, and where each looks for them.
const COMPLETIONS: [(&str, &str); 3] = [
    ("bash", "usr/share/bash-completion/completions/matrix-podman"),
    ("zsh", "usr/share/zsh/vendor-completions/_matrix-podman"),
    ("fish", "usr/share/fish/vendor_completions.d/matrix-podman.fish"),
];

/// Documents of the source that go into it.
const DOCUMENTS: [&str; 3] = ["README.md", "CHANGELOG.md", "docs"];

/// Makes it; `stage` is cleared first. `here` is the program for this machine,
/// which writes its own manual pages and completions.
///
/// # Errors
///
/// A part is missing, or dpkg-deb fails.
pub fn make(
    source: &Source,
    architecture: Architecture,
    program: &Path,
    here: &Path,
    stage: &Path,
    package: &Path,
) -> Result<(), String> {
    clear(stage)?;
    let binary = stage.join("usr/bin/matrix-podman");
    folder(&stage.join("usr/bin"))?;
    copy(program, &binary)?;
    describe(here, stage)?;
    for name in DOCUMENTS {
        copy_tree(&source.folder.join(name), &stage.join(DOC).join(name))?;
    }
    write(&stage.join(DOC).join("copyright"), &licences::copyright(source, architecture)?)?;
    write(&stage.join("DEBIAN/control"), &control(source, architecture, size(stage)?))?;
    write(&stage.join("DEBIAN/prerm"), &source.read("packaging/prerm")?)?;
    modes(stage)?;
    for executable in [binary, stage.join("DEBIAN/prerm")] {
        set_mode(&executable, 0o755)?;
    }
    let mut build = Command::new("dpkg-deb");
    // Its own owners and its own moment, whoever builds it, whenever.
    build.env("SOURCE_DATE_EPOCH", source.epoch.to_string());
    build.args(["--root-owner-group", "-Zxz", "--build"]).arg(stage).arg(package);
    phase::run(&mut build)
}

/// Manual pages and completions, which the program writes by itself.
fn describe(program: &Path, stage: &Path) -> Result<(), String> {
    let pages = stage.join("usr/share/man/man1");
    folder(&pages)?;
    phase::run(Command::new(program).arg("man").arg(&pages))?;
    for page in list(&pages)? {
        gzip(&page)?;
    }
    for (shell, place) in COMPLETIONS {
        let script = phase::output(Command::new(program).args(["completions", shell]))?;
        write(&stage.join(place), &script)?;
    }
    Ok(())
}

/// `DEBIAN/control` (deb-control(5)); `size` in KiB.
fn control(source: &Source, architecture: Architecture, size: u64) -> String {
    let fields = [
        ("Package", "matrix-podman"),
        ("Version", &source.version),
        ("Architecture", architecture.debian()),
        ("Maintainer", "The matrix-podman developers <matrix-podman@localhost>"),
        ("Section", "net"),
        ("Priority", "optional"),
        ("Installed-Size", &size.to_string()),
        // Everything else the program installs itself, when it knows what it needs.
        ("Recommends", "ca-certificates"),
        ("Description", "creates and keeps a self-hosted Matrix server"),
    ];
    let mut text: String = fields.iter().map(|(name, value)| format!("{name}: {value}\n")).collect();
    text.push_str(
        " One program makes an unprivileged Debian system container, installs Podman in\n \
         it, runs PostgreSQL, Redis, the Synapse homeserver and a web client there, and\n \
         keeps them: updates with rollback, backups that are proven to restore, and\n \
         plain words for what is wrong.\n",
    );
    text
}

/// KiB of all files below a folder.
fn size(folder: &Path) -> Result<u64, String> {
    let mut bytes = 0;
    walk(folder, &mut |path| {
        bytes += fs::metadata(path).map_err(|e| format!("look at {}: {e}", path.display()))?.len();
        Ok(())
    })?;
    Ok(bytes.div_ceil(1024))
}

/// What the builder's umask made of modes does not count.
fn modes(folder: &Path) -> Result<(), String> {
    set_mode(folder, 0o755)?;
    for path in list(folder)? {
        if path.is_dir() {
            modes(&path)?;
        } else {
            set_mode(&path, 0o644)?;
        }
    }
    Ok(())
}

fn set_mode(path: &Path, mode: u32) -> Result<(), String> {
    fs::set_permissions(path, fs::Permissions::from_mode(mode))
        .map_err(|e| format!("set the mode of {}: {e}", path.display()))
}

/// Debian wants no time and no name in what it compresses.
fn gzip(file: &Path) -> Result<(), String> {
    phase::output(Command::new("gzip").args(["--best", "--no-name", "--"]).arg(file)).map(drop)
}

fn copy_tree(from: &Path, to: &Path) -> Result<(), String> {
    if !from.is_dir() {
        to.parent().map_or(Ok(()), folder)?;
        return copy(from, to);
    }
    folder(to)?;
    for path in list(from)? {
        if let Some(name) = path.file_name() {
            copy_tree(&path, &to.join(name))?;
        }
    }
    Ok(())
}

fn walk(folder: &Path, each: &mut impl FnMut(&Path) -> Result<(), String>) -> Result<(), String> {
    for path in list(folder)? {
        if path.is_dir() { walk(&path, each)? } else { each(&path)? }
    }
    Ok(())
}

fn folder(path: &Path) -> Result<(), String> {
    fs::create_dir_all(path).map_err(|e| format!("make {}: {e}", path.display()))
}

/// What is in a folder, in order.
fn list(folder: &Path) -> Result<Vec<PathBuf>, String> {
    let doing = |e: std::io::Error| format!("list {}: {e}", folder.display());
    let entries = fs::read_dir(folder).map_err(doing)?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>, _>>().map_err(doing)?;
    paths.sort();
    Ok(paths)
}
