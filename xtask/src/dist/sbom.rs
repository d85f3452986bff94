//! The list of what is in the program, in CycloneDX's form.

use std::{fs, path::Path, process::Command};

use super::{program, source::Source};
use crate::phase;

/// Writes it.
///
/// # Errors
///
/// The tool is not to be had, or fails.
pub fn write(source: &Source, to: &Path) -> Result<(), String> {
    let name = "matrix-podman-sbom";
    let cli = source.folder.join("crates/cli");
    let mut command = Command::new(program::CYCLONEDX.program()?);
    command.current_dir(&source.folder);
    // Without this, each list has a number and a time of its own.
    command.env("SOURCE_DATE_EPOCH", source.epoch.to_string());
    command.args(["cyclonedx", "--format", "json", "--spec-version", "1.5"]);
    command.args(["--override-filename", name, "--manifest-path"]).arg(cli.join("Cargo.toml"));
    phase::run(&mut command)?;
    let made = cli.join(format!("{name}.json"));
    fs::rename(&made, to).map_err(|e| format!("move {} to {}: {e}", made.display(), to.display()))
}
