//! What `up` asks before a container of Proxmox's is made: which storage or
//! bridge, where the default is not there, and root's password.

use matrix_podman_core::{
    check::{self, Choice},
    config::{Config, Defaults, RootPassword},
    effect::Effect,
    observed::{Gap, Observed},
    plan::Plan,
    resource::{Backend, Diff},
};
use matrix_podman_host::{failure::Failure, file, world::World};

use super::up::ask;
use crate::{args, error::Error, output, site::Found};

fn can_ask(args: &args::Up) -> bool {
    !args.yes && !args.output.json && output::can_ask()
}

/// Asks what is open and writes the answers into the config; whether there
/// were any.
pub fn choose(world: &World, found: &Found, args: &args::Up) -> Result<bool, Error> {
    let Some(file) =
        found.file.as_ref().filter(|_| can_ask(args) && world.site().backend == Backend::Proxmox)
    else {
        return Ok(false);
    };
    let open = match world.look(&mut Observed::default(), |seen| check::choices(world.site(), seen))? {
        Ok(open) => open,
        // The checks say what cannot be known.
        Err(Gap::Unknown(_) | Gap::NotAsked) => return Ok(false),
    };
    if open.is_empty() {
        return Ok(false);
    }
    let mut text = found.text.clone();
    for choice in &open {
        let Some(value) = answer(choice)? else { return Ok(false) };
        text = with_key(&text, choice.key, &value);
    }
    let shown = file.display().to_string();
    if Config::parse_with(&text, &shown, &[], &Defaults::default().on_proxmox(true)).is_err() {
        return Err(Error::usage(
            format!("{shown} is written in a way that the answer does not fit into"),
            format!("write it yourself: {}", open[0].key),
        ));
    }
    file::replace(file, text.as_bytes())?;
    output::say(&format!("wrote that into {shown}"));
    Ok(true)
}

fn answer(choice: &Choice) -> Result<Option<String>, Error> {
    output::say(&choice.question);
    for (number, (value, words)) in choice.answers.iter().enumerate() {
        output::say(&format!("  {}) {value}   {words}", number + 1));
    }
    loop {
        let Some(typed) = ask("Choose: ")? else { return Ok(None) };
        let number = typed.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        if let Some((value, _)) = number.and_then(|number| choice.answers.get(number)) {
            return Ok(Some(value.clone()));
        }
        output::say(&format!("  type a number from 1 to {}", choice.answers.len()));
    }
}

/// The config with `key = "value"` in its section.
fn with_key(text: &str, key: &str, value: &str) -> String {
    let (section, name) = key.rsplit_once('.').unwrap_or(("", key));
    let header = format!("[{section}]");
    let line = format!("{name} = {value:?}");
    let mut lines: Vec<&str> = text.lines().collect();
    match lines.iter().position(|line| line.trim() == header) {
        Some(at) => lines.insert(at + 1, &line),
        None => lines.extend(["", header.as_str(), line.as_str()]),
    }
    lines.join("\n") + "\n"
}

/// Asks for root's password where one is to be set, and the container is still
/// to be made.
pub fn root_password(world: &World, plan: &Plan, args: &args::Up) -> Result<(), Error> {
    let makes = plan.entries.iter().any(|entry| match &entry.diff {
        Diff::Change(step) => step.effects.iter().any(|effect| matches!(effect, Effect::CreateContainer(_))),
        Diff::Later { .. } => entry.id.as_str() == "guest/container",
        _ => false,
    });
    if !makes || world.site().config.proxmox.root_password != RootPassword::Ask {
        return Ok(());
    }
    if args.output.json || !output::can_ask() {
        return Err(Error::usage(
            "proxmox.root_password = \"ask\", and nobody can be asked",
            "run it on a terminal, or write the path of a file with the password there",
        ));
    }
    let prompt = |words: &str| {
        rpassword::prompt_password(words).map_err(|e| Failure::new("ask for root's password", e))
    };
    loop {
        let first = prompt("Password of root in the container: ")?;
        if first.chars().count() < 5 {
            output::say("  Proxmox takes no password of less than 5 characters");
        } else if prompt("Once more: ")? == first {
            world.give_root_password(first);
            return Ok(());
        } else {
            output::say("  these two differ");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_written_into_its_section() {
        let text = "domain = \"a.de\"\n[proxmox]\nid = 120\n";
        assert_eq!(
            with_key(text, "proxmox.storage", "zfs"),
            "domain = \"a.de\"\n[proxmox]\nstorage = \"zfs\"\nid = 120\n"
        );
        assert_eq!(
            with_key("domain = \"a.de\"\n", "guest.network.bridge", "vmbr1"),
            "domain = \"a.de\"\n\n[guest.network]\nbridge = \"vmbr1\"\n"
        );
    }
}
