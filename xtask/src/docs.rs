//! Documents generated from the program: `docs/reference/config.md` from the
//! table of the config's keys, `docs/reference/proxmox-calls.md` from the
//! calls of Proxmox's commands, `docs/reference/cli.md` from the help of every
//! command.

use std::{fs, path::PathBuf, process::Command};

use serde_json::Value;

use crate::phase::{cargo, output, workspace};

const CLI_INTRO: &str = "\
<!-- Generated from the program's own help; `cargo xtask docs` writes it anew. -->

# The commands

Data goes to standard output, everything else to standard error. Without a terminal nothing is asked, and nothing is
coloured; `NO_COLOR` turns colours off everywhere.
";

/// Writes them anew.
pub fn write() -> Result<(), String> {
    for (path, content) in documents()? {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
        }
        fs::write(&path, content).map_err(|e| format!("{}: {e}", path.display()))?;
        println!("wrote {}", path.display());
    }
    Ok(())
}

/// Fails when one of them is not what would be written now.
pub fn check() -> Result<(), String> {
    for (path, content) in documents()? {
        if fs::read_to_string(&path).ok().as_ref() != Some(&content) {
            return Err(format!("{} is not current: cargo xtask docs", path.display()));
        }
        println!("{} is current", path.display());
    }
    Ok(())
}

fn documents() -> Result<Vec<(PathBuf, String)>, String> {
    let folder = workspace().join("docs/reference");
    Ok(vec![
        (folder.join("config.md"), matrix_podman_core::config::reference::render()),
        (folder.join("proxmox-calls.md"), matrix_podman_core::proxmox::reference::render()),
        (folder.join("cli.md"), cli()?),
    ])
}

/// The release build of the program.
pub fn program() -> Result<PathBuf, String> {
    let printed =
        output(cargo().args(["build", "--release", "--package", "matrix-podman", "--message-format=json"]))?;
    printed
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .filter(|message| message["target"]["name"] == "matrix-podman")
        .find_map(|message| Some(PathBuf::from(message["executable"].as_str()?)))
        .ok_or_else(|| "cargo names no program".to_owned())
}

fn cli() -> Result<String, String> {
    let program = program()?;
    let help = |command: &[String]| {
        output(Command::new(&program).args(command).arg("--help").env("COLUMNS", "100").env("NO_COLOR", "1"))
    };
    let mut page = CLI_INTRO.to_owned();
    let mut open: Vec<Vec<String>> = vec![Vec::new()];
    while let Some(command) = open.pop() {
        let text = help(&command)?;
        let mut below: Vec<Vec<String>> =
            subcommands(&text).map(|name| [command.as_slice(), &[name.to_owned()]].concat()).collect();
        below.reverse();
        open.extend(below);
        let name = [&["matrix-podman".to_owned()], command.as_slice()].concat().join(" ");
        page.push_str(&format!("\n## `{name}`\n\n```text\n{}\n```\n", text.trim_end()));
    }
    Ok(page)
}

/// The names below `Commands:` in a help text.
fn subcommands(help: &str) -> impl Iterator<Item = &str> {
    help.lines()
        .skip_while(|line| *line != "Commands:")
        .skip(1)
        .take_while(|line| !line.is_empty())
        .filter_map(|line| {
            line.strip_prefix("  ")?.split_whitespace().next().filter(|_| !line.starts_with("   "))
        })
        .filter(|name| *name != "help")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_found_in_a_help_text() {
        let help = "Creates.\n\nUsage: x\n\nCommands:\n  init    Write\n           it\n  user    People\n  help    Print\n\nOptions:\n  -c";
        assert_eq!(subcommands(help).collect::<Vec<_>>(), ["init", "user"]);
    }
}
