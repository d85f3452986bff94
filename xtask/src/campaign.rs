//! Campaigns, which take long: cut off at many moments; taken over from an earlier program.

use std::{path::PathBuf, process::Command};

use crate::{
    docs,
    phase::{self, cargo, workspace},
    tools,
};

/// Where an earlier program is built.
const BEFORE: &str = "target/before";

/// Runs a campaign with a program that is built for it, or the one that
/// `MATRIX_PODMAN_BINARY` names; `arguments` are handed on, with the program in the place
/// of the commit where there is one.
pub fn run(arguments: &[String]) -> Result<(), String> {
    tools::install()?;
    let mut arguments = arguments.to_vec();
    if let [name, commit] = arguments.as_mut_slice()
        && name == "takeover"
    {
        *commit = program_of(commit)?.display().to_string();
    }
    let mut command = cargo();
    command.args(["run", "--quiet", "--locked", "--package", "matrix-podman-e2e", "--bin", "campaign", "--"]);
    if std::env::var_os("MATRIX_PODMAN_BINARY").is_none() {
        command.env("MATRIX_PODMAN_BINARY", docs::program()?);
    }
    phase::run(command.args(arguments))
}

/// The program of an earlier commit, built as that says.
fn program_of(commit: &str) -> Result<PathBuf, String> {
    let tree = workspace().join(BEFORE).join("tree");
    let git = |words: &[&str]| phase::run(Command::new("git").args(words).current_dir(workspace()));
    let path = tree.display().to_string();
    if tree.exists() {
        git(&["-C", &path, "checkout", "--quiet", "--detach", commit])?;
    } else {
        git(&["worktree", "add", "--quiet", "--detach", &path, commit])?;
    }
    let target = workspace().join(BEFORE).join("target");
    let mut build = cargo();
    build.args(["build", "--release", "--locked"]).current_dir(&tree).env("CARGO_TARGET_DIR", &target);
    phase::run(&mut build)?;
    let built = std::fs::read_dir(&target).map_err(|e| format!("{}: {e}", target.display()))?;
    built
        .flatten()
        .map(|entry| entry.path().join("release/matrix-podman"))
        .find(|program| program.exists())
        .ok_or_else(|| format!("no program in {}", target.display()))
}
