//! `init`: write a commented matrix.toml.

use std::path::Path;

use matrix_podman_core::{
    config::{
        Config, Defaults, Override,
        init::{InitAnswers, render_init, user_id_preview},
    },
    name::{Domain, Mode, Owner},
};
use matrix_podman_host::file;
use serde::Serialize;

use crate::{
    args,
    error::Error,
    output::{BOLD, Printable, Reporter, Wording, styled},
    site,
};

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
    let mut overrides = site::overrides(&args.settings);
    let asking = !args.yes && out.may_ask();
    if args.settings.domain.is_none() {
        if !asking {
            return Err(Error::usage("no domain was given", "add --domain YOUR.DOMAIN"));
        }
        let domain = ask_domain(out)?;
        overrides.insert(0, Override::new("domain", domain.as_str(), "domain"));
    }
    if asking && args.settings.server_name.is_none() {
        ask_server_name(&mut overrides, &defaults, out)?;
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
    })?;
    super::OK
}

/// A config that is new.
#[derive(Serialize)]
struct ConfigWritten<'a> {
    event: &'static str,
    file: &'a Path,
    /// What user ids look like.
    user_id: String,
    updates_itself: bool,
}

impl Printable for ConfigWritten<'_> {
    fn words(&self) -> Wording {
        let mut words = Wording::saying(format!("wrote {}", self.file.display()));
        words.say(format!(
            "User ids will look like {} for ever; to change that, edit server_name before the first `up`.",
            styled(BOLD, &self.user_id)
        ));
        if self.updates_itself {
            words.say(
                "The server will update itself on the 1st and the 15th; `auto = false` in [update] leaves that to you.",
            );
        }
        words.say(
            "next: read it, then `matrix-podman plan` shows what it would do, and `matrix-podman up` does it",
        );
        words
    }
}

fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

fn ask_domain(out: &Reporter) -> Result<Domain, Error> {
    loop {
        let Some(answer) = out.ask("Your domain (the server will be matrix.DOMAIN): ")? else {
            return Err(Error::usage("no domain was given", "add --domain YOUR.DOMAIN"));
        };
        match Domain::parse(answer.trim()) {
            Ok(domain) => return Ok(domain),
            Err(why) => out.say(&format!("  {why}")),
        }
    }
}

/// Asks for the one decision that can never be changed.
fn ask_server_name(overrides: &mut Vec<Override>, defaults: &Defaults, out: &Reporter) -> Result<(), Error> {
    let config = Config::parse_with("", "init", overrides, defaults)?;
    let choices = user_id_preview(&config.domain);
    out.say("What should user ids look like? This can never be changed.");
    for (number, choice) in choices.iter().enumerate() {
        out.say(&format!("  {}) {}   {}", number + 1, styled(BOLD, &choice.user_id), choice.needs));
    }
    loop {
        match out.ask("Choose [1]: ")?.as_deref().map(str::trim) {
            None | Some("" | "1") => return Ok(()),
            Some("2") => {
                overrides.push(Override::new("server_name", choices[1].server_name.as_str(), "server_name"));
                return Ok(());
            }
            Some(_) => out.say("  type 1 or 2"),
        }
    }
}
