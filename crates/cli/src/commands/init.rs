//! `init`: write a commented matrix.toml, after a conversation where somebody can be asked.

mod conversation;

use std::path::Path;

use matrix_podman_core::{
    config::{
        Config, Defaults, Override,
        init::{InitAnswers, render_init},
    },
    fact::GuestState,
    name::{Mode, Owner},
    observed::Observed,
    resource::{self, BackendId},
};
use matrix_podman_host::file;
use serde::Serialize;

use super::plan;
use crate::{
    args,
    error::Error,
    output::{BOLD, Printable, Reporter, Wording, styled},
    site,
};

/// Somebody at this process's terminal.
struct AtTerminal<'a>(&'a Reporter);

impl conversation::Dialogue for AtTerminal<'_> {
    fn say(&mut self, line: &str) {
        self.0.say(line);
    }

    fn ask(&mut self, question: &str) -> Result<Option<String>, Error> {
        self.0.ask(question)
    }
}

pub fn run(config: Option<&Path>, args: &args::Init, out: &Reporter) -> Result<u8, Error> {
    let path = config.unwrap_or(Path::new(site::FILE));
    if path.exists() && !args.force {
        return Err(Error::usage(
            format!("{} is there already", path.display()),
            "edit it, or write over it with --force",
        ));
    }
    let machine = site::machine()?;
    let defaults = Defaults::with_timezone(machine.timezone.as_deref()).on_proxmox(machine.proxmox);
    let asking = !args.yes && out.may_ask();
    let mut overrides = site::overrides(&args.settings);
    if asking {
        out.say(&format!(
            "This asks a few questions and writes {}; nothing else is changed. Enter alone takes what is in [brackets].",
            path.display()
        ));
        overrides = conversation::hold(&mut AtTerminal(out), overrides, &defaults)?;
        out.say("");
    } else if args.settings.domain.is_none() {
        return Err(Error::usage("no domain was given", "add --domain YOUR.DOMAIN"));
    }
    if args.settings.guest_name.is_none()
        && let Some(name) = free_guest_name(&overrides, &defaults, out)?
    {
        out.say(&format!("This machine has another guest of the usual name, so this one is called {name}."));
        overrides.push(Override::new("guest.name", &name, "guest.name"));
    }
    let config = Config::parse_with("", "init", &overrides, &defaults)?;
    let chosen = overrides.iter().map(|o| o.key.clone()).collect();
    let answers = InitAnswers { config, chosen };
    let me = Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    file::write(&absolute(path), render_init(&answers).as_bytes(), Mode(0o644), me)?;
    out.report(&ConfigWritten {
        event: "init",
        file: path,
        user_id: answers.config.user_id("anna"),
        updates_itself: answers.config.update.auto,
        plan_follows: asking,
    })?;
    if asking {
        show_plan(path, out);
        out.say("next: `matrix-podman up` does this; edit the file first where something is to be otherwise");
    }
    super::OK
}

/// A name for the guest, where the usual one is another one's already.
fn free_guest_name(
    overrides: &[Override],
    defaults: &Defaults,
    out: &Reporter,
) -> Result<Option<String>, Error> {
    let named = |name: Option<&str>| {
        let mut overrides = overrides.to_vec();
        overrides.extend(name.map(|name| Override::new("guest.name", name, "guest.name")));
        Config::parse_with("", "init", &overrides, defaults)
    };
    let usual = named(None)?;
    let domain = usual.domain.clone();
    let is_free = |config: Config| -> Result<bool, Error> {
        let world = super::open(site::of_config(config)?, out);
        let site = world.site();
        if site.backend.id() != BackendId::Lxc {
            return Ok(true);
        }
        // What cannot be looked at, as without root, is told by `up`.
        let state = world.look(&mut Observed::default(), |seen| resource::guest_state(site, seen))?;
        Ok(state
            .map_or(true, |state| state == GuestState::Absent || state.site() == Some(site.config.site())))
    };
    if is_free(usual)? {
        return Ok(None);
    }
    for name in guest_names(domain.as_str()) {
        if let Ok(config) = named(Some(&name))
            && is_free(config)?
        {
            return Ok(Some(name));
        }
    }
    Ok(None)
}

/// Names for the guest of a domain, the best first.
fn guest_names(domain: &str) -> impl Iterator<Item = String> {
    let label = domain.split('.').next().unwrap_or_default().to_owned();
    let numbered = label.clone();
    std::iter::once(label).chain((2..10).map(move |number| format!("{numbered}-{number}")))
}

/// A config that is new.
#[derive(Serialize)]
struct ConfigWritten<'a> {
    event: &'static str,
    file: &'a Path,
    /// What user ids look like.
    user_id: String,
    updates_itself: bool,
    #[serde(skip)]
    plan_follows: bool,
}

impl Printable for ConfigWritten<'_> {
    fn words(&self) -> Wording {
        let mut words = Wording::saying(format!("wrote {}", self.file.display()));
        words.say(format!(
            "User ids will look like {} forever; to change that, edit server_name before the first `up`.",
            styled(BOLD, &self.user_id)
        ));
        if self.updates_itself {
            words.say(
                "The server will update itself on the 1st and the 15th; `auto = false` in [update] leaves that to you.",
            );
        }
        if !self.plan_follows {
            words.say(
                "next: read it, then `matrix-podman plan` shows what it would do, and `matrix-podman up` does it",
            );
        }
        words
    }
}

/// Shows what `up` would do. What keeps that from being known is told; the file is written.
fn show_plan(path: &Path, out: &Reporter) {
    out.say("\nThe plan:");
    let shown =
        args::Plan { settings: args::Settings::default(), exit_code: false, diff: false, brief: true };
    if let Err(error) = plan::run(Some(path), &shown, out) {
        out.error(&error);
    }
}

fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_guest_is_called_after_its_domain_where_the_usual_name_is_taken() {
        let names: Vec<String> = super::guest_names("family.home.arpa").take(3).collect();
        assert_eq!(names, ["family", "family-2", "family-3"]);
    }
}
