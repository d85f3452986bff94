//! The end-to-end tests.

use std::{fs, path::Path};

use crate::{
    phase::{self, cargo, workspace},
    tools,
};

/// Where the tests put guests that they are done with.
const TRASH: &str = "/var/lib/lxc/.matrix-podman-e2e-trash";

/// Runs them, one after the other: they are about one machine. A filter is a
/// part of a file's name in e2e/tests, else of tests' names.
pub fn run(filter: Option<&str>, allow_not_run: bool) -> Result<(), String> {
    tools::install()?;
    let list = std::env::temp_dir().join(format!("matrix-podman-not-run-{}", std::process::id()));
    let _ = fs::remove_file(&list);
    let mut command = cargo();
    command.args(["test", "--package", "matrix-podman-e2e", "--no-fail-fast"]).env("E2E_NOT_RUN_LIST", &list);
    if allow_not_run {
        command.env("E2E_ALLOW_NOT_RUN", "1");
    }
    let files = files_named(filter)?;
    for file in &files {
        command.args(["--test", file]);
    }
    command.args(["--", "--test-threads=1", "--nocapture"]);
    if let (true, Some(filter)) = (files.is_empty(), filter) {
        command.arg(filter);
    }
    let result = phase::run(&mut command);
    // What the tests are done with and left for the end, because deleting it
    // would have slowed the next ones (`cleaning` in e2e says why).
    let _ = fs::remove_dir_all(TRASH);
    let not_run = not_run(&list);
    result?;
    match not_run {
        0 => Ok(()),
        _ if allow_not_run => Ok(()),
        count => Err(format!("{count} tests could not run on this machine")),
    }
}

/// The test files that a filter names.
fn files_named(filter: Option<&str>) -> Result<Vec<String>, String> {
    let Some(filter) = filter else { return Ok(Vec::new()) };
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
