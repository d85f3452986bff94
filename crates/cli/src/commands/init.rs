//! `init`: write a commented matrix.toml, after a conversation where somebody can be asked.

mod conversation;

use std::path::Path;

use matrix_podman_core::{
    config::{
        Config, Defaults,
        init::{InitAnswers, render_init},
    },
    name::{Mode, Owner},
};
use matrix_podman_host::apply::file;

use super::{plan, up};
use crate::{
    args,
    error::Error,
    output::{self, BOLD, styled},
    site,
};

/// Somebody at this process's terminal.
struct AtTerminal;

impl conversation::Person for AtTerminal {
    fn say(&mut self, line: &str) {
        output::say(line);
    }

    fn ask(&mut self, question: &str) -> Result<Option<String>, Error> {
        up::ask(question)
    }
}

pub fn run(config: Option<&Path>, args: &args::Init) -> Result<u8, Error> {
    let path = config.unwrap_or(Path::new(site::FILE));
    if path.exists() && !args.force {
        return Err(Error::usage(
            format!("{} is there already", path.display()),
            "edit it, or write over it with --force",
        ));
    }
    let machine = site::machine()?;
    let defaults = Defaults::with_timezone(machine.timezone.as_deref()).on_proxmox(machine.proxmox);
    let asking = !args.yes && output::can_ask();
    let mut overrides = site::overrides(&args.settings);
    if asking {
        output::say(&format!(
            "This asks a few questions and writes {}; nothing else is changed. Enter alone takes what is in [brackets].",
            path.display()
        ));
        overrides = conversation::hold(&mut AtTerminal, overrides, &defaults)?;
        output::say("");
    } else if args.settings.domain.is_none() {
        return Err(Error::usage("no domain was given", "add --domain YOUR.DOMAIN"));
    }
    let config = Config::parse_with("", "init", &overrides, &defaults)?;
    let chosen = overrides.iter().map(|o| o.key.clone()).collect();
    let answers = InitAnswers { config, chosen };
    let me = Owner { uid: rustix::process::geteuid().as_raw(), gid: rustix::process::getegid().as_raw() };
    file::write(&absolute(path), render_init(&answers).as_bytes(), Mode(0o644), me)?;
    output::say(&format!("wrote {}", path.display()));
    output::say(&format!(
        "User ids will look like {} for ever; to change that, edit server_name before the first `up`.",
        styled(BOLD, &answers.config.user_id("anna"))
    ));
    if answers.config.update.auto {
        output::say(
            "The server will update itself on the 1st and the 15th; `auto = false` in [update] leaves that to you.",
        );
    }
    if asking {
        show_plan(path);
        output::say(
            "next: `matrix-podman up` does this; edit the file first where something is to be otherwise",
        );
    } else {
        output::say(
            "next: read it, then `matrix-podman plan` shows what it would do, and `matrix-podman up` does it",
        );
    }
    super::OK
}

/// Shows what `up` would do. What keeps that from being known is told; the file is written.
fn show_plan(path: &Path) {
    output::say("\nThe plan:");
    let shown = args::Plan {
        settings: args::Settings::default(),
        exit_code: false,
        brief: true,
        output: args::Json { json: false },
    };
    if let Err(error) = plan::run(Some(path), &shown) {
        output::error(&error, false);
    }
}

fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}
