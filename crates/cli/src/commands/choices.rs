//! What `up` asks before a Proxmox container is made: which storage or
//! bridge, where the default is not there, and root's password.

use matrix_podman_core::{
    check::{self, Choice},
    config::{
        Defaults, RootPassword,
        edit::{Edit, edit},
    },
    effect::{Effect, TwoSided},
    ids,
    observed::{Gap, Observed},
    plan::Plan,
    resource::Diff,
};
use matrix_podman_host::{file, world::World};

use crate::{args, error::Error, output::Reporter, site::FoundSite};

/// Asks what is open and writes the answers into the config; whether there
/// were any.
pub fn choose(world: &World, found: &FoundSite, args: &args::Up, out: &Reporter) -> Result<bool, Error> {
    let asks = !args.yes && out.may_ask();
    let Some(file) = found.file.as_ref().filter(|_| asks) else {
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
    let shown = file.display().to_string();
    let defaults = Defaults::default().on_proxmox(true);
    let mut text = found.text.clone();
    for choice in &open {
        let Some(value) = answer(choice, out)? else { return Ok(false) };
        text = edit(&text, &shown, choice.key, Edit::Value(&value), &defaults)?;
    }
    file::replace(file, text.as_bytes())?;
    out.say(&format!("wrote that into {shown}"));
    Ok(true)
}

fn answer(choice: &Choice, out: &Reporter) -> Result<Option<String>, Error> {
    out.say(&choice.question);
    for (number, (value, words)) in choice.answers.iter().enumerate() {
        out.say(&format!("  {}) {value}   {words}", number + 1));
    }
    loop {
        let Some(typed) = out.ask("Choose: ")? else { return Ok(None) };
        let number = typed.trim().parse::<usize>().ok().and_then(|number| number.checked_sub(1));
        if let Some((value, _)) = number.and_then(|number| choice.answers.get(number)) {
            return Ok(Some(value.clone()));
        }
        out.say(&format!("  type a number from 1 to {}", choice.answers.len()));
    }
}

/// Asks for root's password where one is to be set, and the container is still
/// to be made.
pub fn root_password(world: &World, plan: &Plan, out: &Reporter) -> Result<(), Error> {
    let makes = plan.entries.iter().any(|entry| match &entry.diff {
        Diff::Change(step) => {
            step.effects.iter().any(|effect| matches!(effect, Effect::Both(TwoSided::CreateContainer(_))))
        }
        Diff::Later { .. } => entry.id == ids::GUEST_CONTAINER,
        _ => false,
    });
    if !makes || world.site().config.proxmox.root_password != RootPassword::Ask {
        return Ok(());
    }
    if !out.may_ask() {
        return Err(Error::usage(
            "proxmox.root_password = \"ask\", and there is no terminal to ask on",
            "run it on a terminal, or write the path of a file with the password there",
        ));
    }
    loop {
        let first = out.ask_secret("Password of root in the container: ")?;
        if first.chars().count() < 5 {
            out.say("  Proxmox takes no password of less than 5 characters");
        } else if out.ask_secret("Once more: ")? == first {
            world.give_root_password(first);
            return Ok(());
        } else {
            out.say("  these two differ");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::output::{
        OutputForm,
        testing::{Heard, Recorded},
    };

    #[test]
    fn a_number_that_is_none_is_asked_for_again() {
        let choice = Choice {
            key: "proxmox.storage",
            question: "no storage local-lvm. Which one?".to_owned(),
            answers: vec![("tank".to_owned(), "large".to_owned()), ("nvme".to_owned(), "fast".to_owned())],
        };
        let console = Recorded::new(&[Some("0"), Some("3"), Some("nvme"), Some(" 2 ")]);
        assert_eq!(answer(&choice, &console.reporter(OutputForm::Words)).unwrap().as_deref(), Some("nvme"));
        let again = console
            .said()
            .iter()
            .filter(|said| matches!(said, Heard::Beside(text) if text == "  type a number from 1 to 2"))
            .count();
        assert_eq!(again, 3);
        assert_eq!(answer(&choice, &Recorded::new(&[None]).reporter(OutputForm::Words)).unwrap(), None);
    }
}
