//! Everything that must pass, fast things first.

use std::process::Command;

use crate::{
    dependencies, docs, e2e, fuzz,
    phase::{self, Phases, cargo, workspace},
    tools,
};

/// The release binary must stay below this.
const MAX_SIZE: u64 = 25_000_000;
/// Packages with tests that need nothing but the compiler.
const UNIT: [&str; 6] = [
    "matrix-podman-core",
    "matrix-podman-host",
    "matrix-podman-images",
    "matrix-podman",
    "matrix-podman-fuzz",
    "xtask",
];
/// How long the parsers are given inputs, all of them together.
const FUZZ_SECONDS: &str = "30";

/// Runs all phases and sums them up.
pub fn run(allow_not_run: bool) -> Result<(), String> {
    let mut phases = Phases::default();
    phases.run("format", || phase::run(cargo().args(["fmt", "--all", "--check"])));
    phases.run("licences, sources and duplicates of dependencies", dependencies::check);
    phases.run("known holes in dependencies", dependencies::advisories);
    phases.run("tools that the tests need", tools::install);
    phases.run("workflow files", workflows);
    phases.run("clippy", || {
        phase::run(cargo().args([
            "clippy",
            "--workspace",
            "--all-targets",
            "--locked",
            "--",
            "--deny",
            "warnings",
        ]))
    });
    phases.run("unit tests", || {
        let mut command = cargo();
        command.args(["test", "--locked"]);
        for package in UNIT {
            command.args(["--package", package]);
        }
        // A snapshot that differs is a failure, never a new snapshot.
        phase::run(command.env("INSTA_UPDATE", "no").env("CI", "true"))
    });
    phases.run("parsers of what others send", || fuzz::run(&[FUZZ_SECONDS]));
    phases.run("release build", || {
        phase::run(cargo().args(["build", "--release", "--locked", "--package", "matrix-podman"]))
    });
    phases.run("size of the program", size);
    phases.run("generated documents are current", docs::check);
    phases.run("end-to-end tests", || e2e::sample(allow_not_run));
    phases.end()
}

/// The forge's workflow files, as far as they can be looked at without the forge.
fn workflows() -> Result<(), String> {
    let mut lint = Command::new("go");
    lint.current_dir(workspace());
    phase::run(lint.args(["run", "github.com/rhysd/actionlint/cmd/actionlint@v1.7.12", "-color"]))
}

fn size() -> Result<(), String> {
    let program = docs::program()?;
    let size = std::fs::metadata(&program).map_err(|e| format!("{}: {e}", program.display()))?.len();
    println!("{} has {:.1} MB of {:.0} MB", program.display(), size as f64 / 1e6, MAX_SIZE as f64 / 1e6);
    if size < MAX_SIZE { Ok(()) } else { Err("the program is too large".to_owned()) }
}
