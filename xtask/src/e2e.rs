//! The end-to-end tests.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use serde_json::Value;

use crate::{
    docs,
    lanes::{self, File},
    phase::{self, cargo, workspace},
    tools,
};

/// Runs them. A filter is a part of a file's name in e2e/tests, else of tests'
/// names. What a filter names is run here, and everything that it prints is
/// seen; all of them are run side by side, a file in each lane.
pub fn run(filter: Option<&str>, allow_not_run: bool) -> Result<(), String> {
    with(filter, allow_not_run, &[])
}

/// Runs all of them but those of which there are others of the same kind; each that is left out is
/// named.
pub fn sample(allow_not_run: bool) -> Result<(), String> {
    with(None, allow_not_run, &[("E2E_SAMPLE", "1".to_owned())])
}

fn with(filter: Option<&str>, allow_not_run: bool, besides: &[(&str, String)]) -> Result<(), String> {
    tools::install()?;
    let list = std::env::temp_dir().join(format!("matrix-podman-not-run-{}", std::process::id()));
    let _ = fs::remove_file(&list);
    let mut surroundings = besides.to_vec();
    surroundings.push(("E2E_NOT_RUN_LIST", list.display().to_string()));
    if allow_not_run {
        surroundings.push(("E2E_ALLOW_NOT_RUN", "1".to_owned()));
    }
    let result = match filter {
        Some(filter) => some(filter, &surroundings),
        None => all(&surroundings),
    };
    lanes::empty_trash();
    let not_run = not_run(&list);
    result?;
    match not_run {
        0 => Ok(()),
        _ if allow_not_run => Ok(()),
        count => Err(format!("{count} tests could not run on this machine")),
    }
}

fn some(filter: &str, surroundings: &[(&str, String)]) -> Result<(), String> {
    let mut command = cargo();
    command.args(["test", "--package", "matrix-podman-e2e", "--no-fail-fast"]);
    command.envs(surroundings.iter().map(|(name, value)| (name, value)));
    let files = files_named(filter)?;
    for file in &files {
        command.args(["--test", file]);
    }
    command.args(["--", "--test-threads=1", "--nocapture"]);
    if files.is_empty() {
        command.arg(filter);
    }
    phase::run(&mut command)
}

/// All files, side by side. What all of them stand on, the program and its
/// archives, is made beforehand, once.
fn all(surroundings: &[(&str, String)]) -> Result<(), String> {
    let program = docs::program()?;
    let mut surroundings = surroundings.to_vec();
    surroundings.push(("MATRIX_PODMAN_BINARY", program.display().to_string()));
    let with = |command: &mut Command| {
        command.envs(surroundings.iter().map(|(name, value)| (name, value)));
    };
    let files = built()?;
    let mut prepare = cargo();
    prepare.args(["run", "--quiet", "--locked", "--package", "matrix-podman-e2e", "--bin", "prepare"]);
    with(&mut prepare);
    phase::run(&mut prepare)?;
    let mut harness = cargo();
    phase::run(harness.args(["test", "--locked", "--package", "matrix-podman-e2e", "--lib", "--bins"]))?;
    lanes::run(files, &with)
}

/// Builds the test files, and says where each is.
fn built() -> Result<Vec<File>, String> {
    let mut build = cargo();
    build.args(["test", "--locked", "--package", "matrix-podman-e2e", "--tests", "--no-run"]);
    let messages = phase::output(build.arg("--message-format=json"))?;
    let tests = messages.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let files: Vec<File> = tests
        .filter(|message| message["target"]["kind"][0] == "test")
        .filter_map(|message| {
            let name = message["target"]["name"].as_str()?.to_owned();
            Some(File { name, executable: PathBuf::from(message["executable"].as_str()?) })
        })
        .collect();
    if files.is_empty() { Err("cargo names no test file".to_owned()) } else { Ok(files) }
}

/// The test files that a filter names.
fn files_named(filter: &str) -> Result<Vec<String>, String> {
    let folder = workspace().join("e2e/tests");
    let entries = fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let names = entries.flatten().filter_map(|entry| {
        let name = entry.file_name().into_string().ok()?;
        name.strip_suffix(".rs").map(str::to_owned)
    });
    let mut files: Vec<String> = names.filter(|name| name.contains(filter)).collect();
    files.sort();
    Ok(files)
}

/// Names the tests that could not run; how many they are.
fn not_run(list: &Path) -> usize {
    let text = fs::read_to_string(list).unwrap_or_default();
    let _ = fs::remove_file(list);
    for line in text.lines() {
        println!("not run: {line}");
    }
    text.lines().count()
}
