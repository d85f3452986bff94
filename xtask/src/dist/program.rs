//! The program, the same bytes wherever and whenever it is built.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use super::{architecture::Architecture, source::Source};
use crate::phase::{self, workspace};

/// Where tools of cargo's are installed.
const TOOLS: &str = "target/tools";

/// A tool of cargo's and its version.
pub struct Tool {
    name: &'static str,
    version: &'static str,
}

/// Puts the list of crates into the program, where scanners find it.
const AUDITABLE: Tool = Tool { name: "cargo-auditable", version: "0.7.7" };
/// Writes the list of what is in a program.
pub const CYCLONEDX: Tool = Tool { name: "cargo-cyclonedx", version: "0.5.9" };

impl Tool {
    /// Installs it where it is not there, and gives back its program.
    ///
    /// # Errors
    ///
    /// cargo cannot install it.
    pub fn program(&self) -> Result<PathBuf, String> {
        let root = workspace().join(TOOLS).join(format!("{}-{}", self.name, self.version));
        let program = root.join("bin").join(self.name);
        if !program.exists() {
            let mut install = phase::cargo();
            // Outside of the workspace: its linking is for programs that go into guests.
            install.current_dir(std::env::temp_dir());
            install.args(["install", "--locked", "--quiet", "--root"]).arg(&root);
            phase::run(install.args(["--version", self.version, self.name]))?;
        }
        Ok(program)
    }
}

/// When the compiler believes to be at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Day {
    /// Now.
    Today,
    /// More than a day from now.
    Tomorrow,
}

/// Builds it; `build` keeps what can be used again.
///
/// # Errors
///
/// It does not compile, or a tool is not to be had.
pub fn build(source: &Source, architecture: Architecture, build: &Path, day: Day) -> Result<PathBuf, String> {
    let home = cargo_home()?;
    // Paths of the machine that builds stand in panics and in C's asserts.
    let mapped = [(source.folder.as_path(), "/source"), (build, "/build"), (home.as_path(), "/cargo")];
    let mut flags =
        vec!["-Ctarget-feature=+crt-static".to_owned(), "-Clink-arg=-Wl,--build-id=none".to_owned()];
    flags.extend(mapped.iter().map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display())));
    let c: Vec<String> =
        mapped.iter().map(|(from, to)| format!("-ffile-prefix-map={}={to}", from.display())).collect();
    let target = architecture.target();
    let linker = format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_"));

    let auditable = AUDITABLE.program()?;
    let mut command = Command::new(auditable);
    if day == Day::Tomorrow {
        command.env("LD_PRELOAD", later()?);
    }
    command.current_dir(&source.folder);
    command.args(["auditable", "build", "--release", "--locked", "--package", "matrix-podman"]);
    command.args(["--target", target, "--target-dir"]).arg(build);
    command.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"));
    command.env("CFLAGS", c.join(" ")).env("SOURCE_DATE_EPOCH", source.epoch.to_string());
    command.env(linker, architecture.linker());
    phase::run(&mut command)?;
    Ok(build.join(target).join("release/matrix-podman"))
}

/// A library that tells whoever preloads it that it is more than a day later.
fn later() -> Result<PathBuf, String> {
    const SOURCE: &str = include_str!("later.c");
    let tools = workspace().join(TOOLS);
    let (source, library) = (tools.join("later.c"), tools.join("later.so"));
    fs::create_dir_all(&tools).map_err(|e| format!("make {}: {e}", tools.display()))?;
    fs::write(&source, SOURCE).map_err(|e| format!("write {}: {e}", source.display()))?;
    let mut compile = Command::new("cc");
    phase::run(compile.args(["-shared", "-fPIC", "-O2", "-Wall", "-o"]).arg(&library).arg(&source))?;
    let now = |preloaded: bool| -> Result<u64, String> {
        let mut date = Command::new("date");
        date.arg("+%s");
        if preloaded {
            date.env("LD_PRELOAD", &library);
        }
        phase::output(&mut date)?.trim().parse().map_err(|e| format!("read what date says: {e}"))
    };
    // A library that does nothing would make the comparison one of two builds on one day.
    if now(true)? < now(false)? + 24 * 60 * 60 {
        return Err(format!("{} does not set the clock of what preloads it", library.display()));
    }
    Ok(library)
}

fn cargo_home() -> Result<PathBuf, String> {
    if let Some(home) = std::env::var_os("CARGO_HOME") {
        return Ok(PathBuf::from(home));
    }
    let home = std::env::var_os("HOME").ok_or("neither CARGO_HOME nor HOME is set")?;
    Ok(PathBuf::from(home).join(".cargo"))
}
