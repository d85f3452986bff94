//! The archive that guests are made from.

use std::{fs, path::Path, time::Duration};

use matrix_podman_core::name::AbsPath;

use crate::{
    failure::{Doing, Failure},
    file::{self, folder::Folder},
    process::Program,
    progress::{Saying, Sink},
};

/// How long it may take, all packages fetched over a slow line.
const PATIENCE: Duration = Duration::from_secs(3600);
/// Begins the name of an archive that is not finished.
const PARTIAL: &str = ".rootfs-";
/// What makes a Debian system a guest, besides what the stack needs.
const BASE: [&str; 3] = ["systemd", "systemd-sysv", "dbus"];

/// Makes the archive beside its place with mmdebstrap, from Debian's own
/// mirrors with its updates, then renames it there.
pub(super) fn build(archive: &AbsPath, packages: &[String], sink: &Sink) -> Result<(), Failure> {
    let doing = "make the Debian 13 root file system";
    let archive = Path::new(archive.as_str());
    let folder = archive.parent().unwrap_or(Path::new("/"));
    Folder::make(folder).doing(|| doing)?;
    remove_leftovers(folder);
    let partial =
        tempfile::Builder::new().prefix(PARTIAL).suffix(".tar").tempfile_in(folder).doing(|| doing)?;
    let include: Vec<&str> = BASE.into_iter().chain(packages.iter().map(String::as_str)).collect();
    let argv = [
        "mmdebstrap".to_owned(),
        "--mode=root".to_owned(),
        "--format=tar".to_owned(),
        "--variant=apt".to_owned(),
        format!("--include={}", include.join(",")),
        "--aptopt=APT::Install-Recommends \"false\"".to_owned(),
        "--aptopt=Acquire::Languages \"none\"".to_owned(),
        // The archive is flushed as a whole, or thrown away.
        "--dpkgopt=force-unsafe-io".to_owned(),
        "--dpkgopt=path-exclude=/usr/share/doc/*".to_owned(),
        "--dpkgopt=path-include=/usr/share/doc/*/copyright".to_owned(),
        "--dpkgopt=path-exclude=/usr/share/man/*".to_owned(),
        "--dpkgopt=path-exclude=/usr/share/info/*".to_owned(),
        "--dpkgopt=path-exclude=/usr/share/locale/*".to_owned(),
        "trixie".to_owned(),
        partial.path().display().to_string(),
    ];
    Program::new(argv)
        .ends_with_us()
        .deadline(PATIENCE)
        .run(doing, &|line| sink(Saying::Line(line.trim_start_matches("I: ").to_owned())))
        .map_err(|failure| {
            failure.hint("see that this machine reaches its package source, then run the same again")
        })?;
    partial.as_file().sync_all().doing(|| doing)?;
    partial.persist(archive).map_err(|e| e.error).doing(|| doing)?;
    file::sync_folder(folder).doing(|| doing)
}

/// Removes what killed attempts left. Another site's attempt that is under way
/// on this machine has a young file, which is left alone.
fn remove_leftovers(folder: &Path) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries.filter_map(Result::ok) {
        let ours = entry.file_name().to_string_lossy().starts_with(PARTIAL);
        let modified = entry.metadata().and_then(|m| m.modified());
        let old = modified.is_ok_and(|at| at.elapsed().is_ok_and(|age| age > PATIENCE));
        if ours && old {
            // One that stays only takes room.
            let _ = fs::remove_file(entry.path());
        }
    }
}
