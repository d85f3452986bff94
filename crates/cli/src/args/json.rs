//! `--json`: every command has it, unless it is on the list of those without data.

use clap::{Arg, ArgAction, ArgMatches, Command, CommandFactory as _};

use super::{Args, help};
use crate::output::OutputForm;

/// Commands without data of their own, and why that is.
pub const WITHOUT_DATA: [(&str, &str); 11] = [
    ("schema", "prints JSON whatever is asked for"),
    ("watch", "draws a screen"),
    ("exec", "what runs in the container prints"),
    ("psql", "psql prints"),
    ("completions", "prints a script for a shell"),
    ("man", "writes files for man"),
    ("agent", "its output is one side of a connection"),
    ("receive", "only the program on the other machine reads what it says"),
    ("motd", "prints for people who log in"),
    ("machine-start", "runs at boot, for the machine's log"),
    ("machine-names", "runs as long as the bridge is there"),
];

/// What `--json` means where it is not ours alone to say.
const MEANINGS: [(&str, &str); 1] = [("logs", "One JSON object a line, in journald's own form")];

/// The command line as a whole.
pub fn command() -> Command {
    help::grouped(with_json(Args::command(), ""))
}

fn with_json(mut command: Command, path: &str) -> Command {
    let names: Vec<String> = command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names {
        let below = if path.is_empty() { name.clone() } else { format!("{path} {name}") };
        command = command.mut_subcommand(name, |sub| with_json(sub, &below));
    }
    command = help::with_example(command, path);
    let only_a_family = command.is_subcommand_required_set();
    let has_it = command.get_arguments().any(|arg| arg.get_id() == "json");
    if only_a_family || has_it || WITHOUT_DATA.iter().any(|(name, _)| *name == path) {
        return command;
    }
    let meaning = MEANINGS.iter().find(|(name, _)| *name == path).map_or("Print JSON", |(_, help)| *help);
    command.arg(Arg::new("json").long("json").action(ArgAction::SetTrue).help(meaning))
}

/// How the command that was typed is to print.
pub fn form(matches: &ArgMatches) -> OutputForm {
    match matches.subcommand() {
        Some((_, below)) => form(below),
        None => match matches.try_get_one::<bool>("json") {
            Ok(Some(true)) => OutputForm::Json,
            _ => OutputForm::Words,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_set_to_something() {
        let refused = |words: &[&str]| command().try_get_matches_from(words).is_err();
        assert!(refused(&["matrix-podman", "token", "set", "word"]));
        assert!(refused(&["matrix-podman", "token", "set", "word", "--json"]));
        assert!(!refused(&["matrix-podman", "token", "set", "word", "--uses", "3", "--expires", "7d"]));
    }

    /// Every command that can be typed, with its words.
    fn leaves(command: &Command, path: &str, found: &mut Vec<(String, bool)>) {
        if !command.is_subcommand_required_set() {
            let has_json = command.get_arguments().any(|arg| arg.get_long() == Some("json"));
            found.push((path.to_owned(), has_json));
        }
        for sub in command.get_subcommands().filter(|sub| sub.get_name() != "help") {
            leaves(sub, format!("{path} {}", sub.get_name()).trim(), found);
        }
    }

    fn all() -> Vec<(String, bool)> {
        let (mut found, mut command) = (Vec::new(), command());
        command.build();
        leaves(&command, "", &mut found);
        found
    }

    #[test]
    fn the_command_line_is_sound() {
        command().debug_assert();
    }

    #[test]
    fn every_command_that_has_data_prints_it_as_json() {
        let all = all();
        assert!(all.len() > 50, "{all:?}");
        for (path, has_json) in &all {
            let without = WITHOUT_DATA.iter().any(|(name, _)| name == path);
            assert_eq!(*has_json, !without, "`{path}`");
        }
        for (name, why) in WITHOUT_DATA {
            assert!(all.iter().any(|(path, _)| path == name), "{name} is no command");
            assert!(!why.is_empty());
        }
    }

    #[test]
    fn json_counts_where_it_is_typed() {
        let of = |line: &str| {
            let words = std::iter::once("matrix-podman").chain(line.split_whitespace());
            command().try_get_matches_from(words).map(|matches| form(&matches)).map_err(|e| e.kind())
        };
        for line in
            ["status --json", "backup list --json", "verify --json", "verify federation a.example --json"]
        {
            assert_eq!(of(line), Ok(OutputForm::Json), "{line}");
        }
        for line in ["status", "verify federation", "psql", "exec redis -- redis-cli --json"] {
            assert_eq!(of(line), Ok(OutputForm::Words), "{line}");
        }
        for line in ["psql --json", "token new --qr --json", "doctor --fix --json"] {
            assert!(of(line).is_err(), "{line}");
        }
    }
}
