//! What `--help` shows besides clap's own: commands in groups, an example for each, and
//! suggestions that never lead to something that destroys.

use clap::{
    Command,
    error::{ContextKind, ContextValue},
};
use matrix_podman_core::stack;

/// The commands in the groups in which people look for them.
const GROUPS: [(&str, &[&str]); 7] = [
    ("Start", &["init", "plan", "up"]),
    (
        "Every day",
        &["status", "open", "watch", "doctor", "verify", "logs", "restart", "stop", "start", "set"],
    ),
    ("Users", &["user", "token"]),
    ("Backups", &["backup", "restore"]),
    ("Updates", &["update", "rollback", "history", "notify", "guest"]),
    ("Access", &["edge"]),
    ("Expert", &["exec", "psql", "prune", "render", "schema", "destroy", "completions", "man", "help"]),
];

/// An example of each command: what is typed behind its name. `SERVICE` becomes one that there is.
const EXAMPLES: [(&str, &str); 59] = [
    ("init", "--domain family.home.arpa"),
    ("schema", "> matrix.schema.json"),
    ("plan", "--diff"),
    ("up", ""),
    ("status", ""),
    ("watch", "--every 5s"),
    ("doctor", "--fix"),
    ("verify", "--only client,federation"),
    ("verify federation", "matrix.org"),
    ("logs", "SERVICE --follow"),
    ("restart", "SERVICE"),
    ("stop", "SERVICE"),
    ("start", "SERVICE"),
    ("exec", "SERVICE -- env"),
    ("psql", "-- -c 'SELECT count(*) FROM users'"),
    ("open", ""),
    ("set", "timezone Europe/Berlin"),
    ("prune", ""),
    ("update", "--check"),
    ("rollback", ""),
    ("history", ""),
    ("notify test", ""),
    ("notify check", ""),
    ("render", "./files"),
    ("destroy", ""),
    ("user add", "anna --admin"),
    ("user list", ""),
    ("user show", "anna"),
    ("user set-password", "anna"),
    ("user promote", "anna"),
    ("user demote", "anna"),
    ("user lock", "bert"),
    ("user unlock", "bert"),
    ("user deactivate", "bert"),
    ("user devices", "anna"),
    ("user logout", "anna"),
    ("user service-account", ""),
    ("token new", "--uses 1 --expires 7d"),
    ("token list", ""),
    ("token show", "WORD"),
    ("token set", "WORD --uses 5"),
    ("token delete", "WORD"),
    ("backup init", ""),
    ("backup now", ""),
    ("backup list", ""),
    ("backup show", "latest"),
    ("backup ls", "secrets"),
    ("backup verify", ""),
    ("backup drill", ""),
    ("backup restore", ""),
    ("backup prune", ""),
    ("backup key", ""),
    ("restore", "--from /mnt/disk2/matrix-backup"),
    ("guest snapshot", "before-move"),
    ("guest snapshots", ""),
    ("guest rollback", "before-move"),
    ("guest remove-snapshot", "before-move"),
    ("edge guide", ""),
    ("edge show", "caddy"),
];

/// Commands that lose something: nobody is led to them by a slip.
const DESTROYS: [&str; 9] = [
    "destroy",
    "uninstall",
    "deactivate",
    "delete",
    "prune",
    "remove",
    "rollback",
    "remove-snapshot",
    "logout",
];

/// The whole command line with its groups.
pub(super) fn grouped(command: Command) -> Command {
    let list = listed(&command);
    let template = format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\nCommands:\n{list}\nOptions:\n{{options}}{{after-help}}"
    );
    command.help_template(template)
}

/// The commands, group by group.
fn listed(command: &Command) -> String {
    let about = |name: &str| match name {
        "help" => "Print this message or the help of a command".to_owned(),
        _ => command
            .find_subcommand(name)
            .and_then(Command::get_about)
            .map(ToString::to_string)
            .unwrap_or_default(),
    };
    let mut text = String::new();
    for (title, names) in GROUPS {
        text.push_str(&format!(" {title}\n"));
        for name in names {
            text.push_str(&format!("  {name:<12} {}\n", about(name)));
        }
    }
    text
}

/// The command at `path` with its example.
pub(super) fn with_example(command: Command, path: &str) -> Command {
    let Some((_, more)) = EXAMPLES.iter().find(|(name, _)| *name == path) else { return command };
    let more = more.replace("SERVICE", stack::ALL[0].id().name());
    let example = format!("Example: {}", format!("matrix-podman {path} {more}").trim_end());
    match command.get_after_help().map(ToString::to_string) {
        Some(before) => command.after_help(format!("{example}\n\n{before}")),
        None => command.after_help(example),
    }
}

/// The same error without suggestions that destroy something.
pub fn harmless(mut error: clap::Error) -> clap::Error {
    let kept = match error.get(ContextKind::SuggestedSubcommand) {
        Some(ContextValue::Strings(names)) => {
            names.iter().filter(|name| !DESTROYS.contains(&name.as_str())).cloned().collect()
        }
        Some(ContextValue::String(name)) if DESTROYS.contains(&name.as_str()) => Vec::new(),
        _ => return error,
    };
    if kept.is_empty() {
        error.remove(ContextKind::SuggestedSubcommand);
    } else {
        error.insert(ContextKind::SuggestedSubcommand, ContextValue::Strings(kept));
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args;

    /// The commands that can be typed and are shown.
    fn leaves(command: &Command, path: &str, found: &mut Vec<String>) {
        let shown = command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help");
        for sub in shown {
            let path = format!("{path} {}", sub.get_name()).trim().to_owned();
            if !sub.is_subcommand_required_set() {
                found.push(path.clone());
            }
            leaves(sub, &path, found);
        }
    }

    #[test]
    fn every_command_has_an_example_that_can_be_typed() {
        let mut all = Vec::new();
        leaves(&args::command(), "", &mut all);
        // What nobody needs an example for, and what has it in its own help.
        let without = ["completions", "man", "edge remove"];
        for path in all.iter().filter(|path| !without.contains(&path.as_str())) {
            assert!(EXAMPLES.iter().any(|(name, _)| name == path), "`{path}` has no example");
        }
        for (path, more) in EXAMPLES {
            assert!(all.iter().any(|known| known == path), "`{path}` is no command");
            let more = more.replace("SERVICE", stack::ALL[0].id().name());
            let line = format!("matrix-podman {path} {more}");
            let words = line.split_whitespace().take_while(|word| *word != ">");
            args::command().try_get_matches_from(words).unwrap_or_else(|e| panic!("`{line}`: {e}"));
        }
    }

    #[test]
    fn every_command_stands_in_one_group_and_no_line_is_too_long() {
        let command = args::command();
        for sub in command.get_subcommands().filter(|sub| !sub.is_hide_set() && sub.get_name() != "help") {
            let count = GROUPS.iter().filter(|(_, names)| names.contains(&sub.get_name())).count();
            assert_eq!(count, 1, "{}", sub.get_name());
        }
        let help = args::command().render_help().to_string();
        for line in help.lines() {
            let is_command = line.starts_with("  ") && !line.starts_with("   ") && !line.starts_with("  -");
            assert!(line.chars().count() <= if is_command { 80 } else { 100 }, "{line}");
        }
        assert!(help.contains("\n Start\n  init ") && help.contains("\nOptions:\n"), "{help}");
        assert!(help.contains("Exit codes: 0 done"), "{help}");
    }

    #[test]
    fn what_people_type_is_understood() {
        for line in [
            "user create anna",
            "user new anna",
            "user ls",
            "user remove anna",
            "token ls",
            "backup ls",
            "invite",
            "upgrade",
            "uninstall",
            "remove",
        ] {
            let words = std::iter::once("matrix-podman").chain(line.split_whitespace());
            args::command().try_get_matches_from(words).unwrap_or_else(|e| panic!("`{line}`: {e}"));
        }
    }

    #[test]
    fn a_slip_leads_to_nothing_that_destroys() {
        let told = |line: &str| {
            let words = std::iter::once("matrix-podman").chain(line.split_whitespace());
            harmless(args::command().try_get_matches_from(words).unwrap_err()).to_string()
        };
        assert!(told("statsu").contains("'status'"), "{}", told("statsu"));
        for line in [
            "install",
            "reinstall",
            "destory",
            "destro",
            "user deactivat anna",
            "prun",
            "token delet word",
            "rolback",
        ] {
            let told = told(line);
            let tip = told.lines().find(|line| line.contains("similar")).unwrap_or_default();
            assert!(!DESTROYS.iter().any(|name| tip.contains(name)), "{line}: {told}");
        }
    }
}
