//! The programs that a build calls: are they there, and calling them.

use std::env;
use std::ffi::OsStr;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Output};

use crate::error::Error;
use crate::recipe::Recipe;

/// How many of a failed program's last lines an error shows.
const TAIL_LINES: usize = 12;

/// What the building of `recipes` needs and this machine lacks: command and Debian package.
///
/// Commands are looked for, not packages: a newer `npm` from elsewhere is as good.
#[must_use]
pub fn missing_tools(recipes: &[Recipe]) -> Vec<(&'static str, &'static str)> {
    let mut wanted = vec![
        ("mmdebstrap", "mmdebstrap"),
        ("apt-get", "apt"),
        ("dpkg", "dpkg"),
        ("chroot", "coreutils"),
        ("setpriv", "util-linux"),
    ];
    if recipes.contains(&Recipe::Synapse) {
        wanted.push(("python3", "python3"));
    }
    if recipes.contains(&Recipe::WebClient) {
        wanted.push(("npm", "npm"));
    }
    let mut missing: Vec<_> = wanted.into_iter().filter(|(command, _)| !is_in_path(command)).collect();
    // pip is a module of a particular Python; only that Python can say whether it is there.
    if recipes.contains(&Recipe::Synapse) && is_in_path("python3") && !has_pip() {
        missing.push(("pip", "python3-pip"));
    }
    missing
}

/// Fails with the first tool that is missing.
pub(crate) fn require(recipe: Recipe) -> Result<(), Error> {
    match missing_tools(&[recipe]).first() {
        None => Ok(()),
        Some((command, package)) => Err(Error::MissingTool {
            doing: format!("build the image {recipe}"),
            command: (*command).into(),
            package: (*package).into(),
        }),
    }
}

fn has_pip() -> bool {
    Command::new("python3").args(["-m", "pip", "--version"]).output().is_ok_and(|out| out.status.success())
}

fn is_in_path(command: &str) -> bool {
    // Administrators' programs (chroot) are not in everybody's PATH.
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path).chain(SYSTEM_DIRS.iter().map(Into::into)).any(|dir| {
        std::fs::metadata(dir.join(command))
            .is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
    })
}

const SYSTEM_DIRS: [&str; 4] = ["/usr/local/sbin", "/usr/sbin", "/usr/bin", "/sbin"];

/// A command that dies with this process, speaks English and finds administrators' programs.
pub(crate) fn command(program: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM", program]);
    let mut path = env::var_os("PATH").unwrap_or_default();
    for dir in SYSTEM_DIRS {
        path.push(":");
        path.push(dir);
    }
    command.env("PATH", path).env("LC_ALL", "C.UTF-8").stdin(std::process::Stdio::null());
    command
}

/// Runs a command made by [`command`] and wants it to succeed.
pub(crate) fn run(mut command: Command, doing: &str, advice: &str) -> Result<Output, Error> {
    // The first three are setpriv's own, see `command`.
    let program = command.get_args().nth(2).map(OsStr::to_string_lossy).unwrap_or_default().into_owned();
    let failed = |status: String, output: String| Error::Command {
        doing: doing.to_owned(),
        command: program.clone(),
        status,
        output,
        advice: advice.to_owned(),
    };
    let output =
        command.output().map_err(|err| failed(format!("could not be started: {err}"), String::new()))?;
    if output.status.success() {
        return Ok(output);
    }
    let text = if output.stderr.is_empty() { &output.stdout } else { &output.stderr };
    Err(failed(output.status.to_string(), tail(&String::from_utf8_lossy(text))))
}

/// The last lines of a text, indented.
fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    let from = lines.len().saturating_sub(TAIL_LINES);
    lines[from..].iter().map(|line| format!("  {line}")).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_ends_with_the_last_lines_and_advice() {
        let text: String = (1..=40).map(|n| format!("line {n}\n\n")).collect();
        let shown = tail(&text);
        assert_eq!(shown.lines().count(), TAIL_LINES);
        assert!(shown.ends_with("  line 40"), "{shown}");
        let mut listing = command("ls");
        listing.arg("/does/not/exist");
        let err = run(listing, "look", "Do look elsewhere.").unwrap_err().to_string();
        assert!(err.starts_with("look: `ls` failed"), "{err}");
        assert!(err.contains("No such file"), "{err}");
        assert!(err.ends_with("Do look elsewhere."), "{err}");
    }

    #[test]
    fn a_command_that_is_not_there_is_missing() {
        assert!(is_in_path("ls"));
        assert!(!is_in_path("surely-no-such-command"));
    }
}
