//! The apt repository: a tree of files that any web server can serve, in the
//! form of <https://wiki.debian.org/DebianRepository/Format>.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{copy, sign::Signer, source::Source, write};
use crate::phase;

/// The one suite.
const SUITE: &str = "stable";

/// Makes it in a folder.
///
/// # Errors
///
/// A file cannot be written, or apt-ftparchive or gpg fails.
pub fn make(
    source: &Source,
    packages: &[PathBuf],
    root: &Path,
    signer: Option<&Signer>,
) -> Result<(), String> {
    let pool = root.join("pool/main/m/matrix-podman");
    fs::create_dir_all(&pool).map_err(|e| format!("make {}: {e}", pool.display()))?;
    let mut architectures = Vec::new();
    for package in packages {
        let name = package.file_name().ok_or("a package has no name")?;
        copy(package, &pool.join(name))?;
        let architecture =
            phase::output(Command::new("dpkg-deb").arg("--field").arg(package).arg("Architecture"))?;
        architectures.push(architecture.trim().to_owned());
    }
    let suite = root.join("dists").join(SUITE);
    for architecture in &architectures {
        let listed =
            phase::output(ftparchive(source, root).args(["--arch", architecture, "packages", "pool"]))?;
        let packages = suite.join(format!("main/binary-{architecture}/Packages"));
        write(&packages, &listed)?;
        phase::output(Command::new("gzip").args(["--keep", "--best", "--no-name", "--"]).arg(&packages))?;
    }
    let mut release = ftparchive(source, root);
    for (name, value) in [
        ("Origin", "matrix-podman"),
        ("Label", "matrix-podman"),
        ("Suite", SUITE),
        ("Codename", SUITE),
        ("Components", "main"),
        ("Architectures", &architectures.join(" ")),
    ] {
        release.arg("-o").arg(format!("APT::FTPArchive::Release::{name}={value}"));
    }
    let listed = phase::output(release.arg("release").arg(format!("dists/{SUITE}")))?;
    let release = suite.join("Release");
    write(&release, &listed)?;
    let Some(signer) = signer else { return Ok(()) };
    signer.inline(&release, &suite.join("InRelease"))?;
    signer.export_key(&root.join(super::sign::KEYRING))
}

fn ftparchive(source: &Source, root: &Path) -> Command {
    let mut command = Command::new("apt-ftparchive");
    command.current_dir(root).env("SOURCE_DATE_EPOCH", source.epoch.to_string());
    command.args(["-q", "-o", "APT::FTPArchive::DoByHash=false"]);
    command
}
