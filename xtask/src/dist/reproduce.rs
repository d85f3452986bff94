//! `cargo xtask campaign reproduce`: whether anybody who builds a commit gets the
//! same bytes. It is built twice, in two folders, on two days.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use super::{
    architecture::Architecture,
    clear, package,
    program::{self, Day},
    source::Source,
};
use crate::phase;

/// Outside of the workspace, whose own path is one of those that must not matter.
const ROOT: &str = "/var/tmp/matrix-podman-reproduce";

/// Builds and compares.
///
/// # Errors
///
/// A build fails, or the two differ: then both stay where the error says.
pub fn run() -> Result<(), String> {
    let first = made(&Path::new(ROOT).join("a"), Day::Today)?;
    let second = made(&Path::new(ROOT).join("b/at-some-other-place"), Day::Tomorrow)?;
    for (one, other) in first.iter().zip(&second) {
        let read = |path: &PathBuf| fs::read(path).map_err(|e| format!("read {}: {e}", path.display()));
        if read(one)? != read(other)? {
            return Err(format!("{} and {} differ; diffoscope shows where", one.display(), other.display()));
        }
        let sum = phase::output(std::process::Command::new("sha256sum").arg("--").arg(one))?;
        println!("the same bytes twice: {}", sum.trim());
    }
    clear(Path::new(ROOT))
}

/// The program and its package, made in `folder`.
fn made(folder: &Path, day: Day) -> Result<[PathBuf; 2], String> {
    clear(folder)?;
    let began = Instant::now();
    let source = Source::export(&folder.join("source"), true)?;
    let program = program::build(&source, Architecture::HERE, &folder.join("build"), day)?;
    let package = folder.join("matrix-podman.deb");
    package::make(&source, Architecture::HERE, &program, &program, &folder.join("stage"), &package)?;
    println!("built in {} in {:.0} s", folder.display(), began.elapsed().as_secs_f32());
    Ok([program, package])
}
