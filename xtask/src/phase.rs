//! Running commands, and phases with a heading, a time and a verdict.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::{Duration, Instant},
};

/// The workspace's folder.
pub fn workspace() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

/// cargo, as it was called. What `cargo run` tells this program about its own
/// package is left out: build scripts of dependencies follow these variables,
/// and would run again whenever cargo is called from elsewhere.
pub fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    for (name, _) in std::env::vars_os() {
        if name.to_str().is_some_and(|n| n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_")) {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command, which prints for itself.
pub fn run(command: &mut Command) -> Result<(), String> {
    println!("$ {}", shown(command));
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{} ended with {status}", shown(command))),
        Err(error) => Err(format!("cannot run {}: {error}", shown(command))),
    }
}

/// Runs a command and gives back what it printed on standard output.
pub fn output(command: &mut Command) -> Result<String, String> {
    let output = command
        .stderr(std::process::Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run {}: {error}", shown(command)))?;
    if !output.status.success() {
        return Err(format!("{} ended with {}", shown(command), output.status));
    }
    String::from_utf8(output.stdout).map_err(|_| format!("{} did not print text", shown(command)))
}

fn shown(command: &Command) -> String {
    let program =
        Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let arguments = command.get_args().map(|a| a.to_string_lossy().into_owned());
    [program].into_iter().chain(arguments).collect::<Vec<_>>().join(" ")
}

/// The phases of a run and how each went.
#[derive(Default)]
pub struct Phases {
    done: Vec<(&'static str, Result<(), String>, Duration)>,
}

impl Phases {
    /// Runs one phase. Once one has failed, the rest are not begun.
    pub fn run(&mut self, name: &'static str, act: impl FnOnce() -> Result<(), String>) {
        if self.done.iter().any(|(_, result, _)| result.is_err()) {
            return;
        }
        println!("\n=== {name}");
        let started = Instant::now();
        let result = act();
        if let Err(why) = &result {
            println!("{why}");
        }
        self.done.push((name, result, started.elapsed()));
    }

    /// The summary: a line for each phase; the whole fails when one did.
    pub fn end(self) -> Result<(), String> {
        println!("\n=== summary");
        let mut total = Duration::ZERO;
        let mut failure = Ok(());
        for (name, result, took) in self.done {
            let word = if result.is_ok() { "ok" } else { "FAILED" };
            println!("{word:<7}{:>8.1} s  {name}", took.as_secs_f32());
            total += took;
            if let Err(why) = result {
                failure = Err(format!("{name}: {why}"));
            }
        }
        println!("{:<7}{:>8.1} s  all", "", total.as_secs_f32());
        failure
    }
}
