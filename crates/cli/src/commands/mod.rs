//! The commands, one file each.

mod addresses;
mod agent;
mod backup;
mod backup_status;
mod choices;
mod destroy;
mod doctor;
mod documents;
mod edge;
mod exec;
mod failed;
mod guest;
mod history;
mod init;
mod logs;
mod motd;
mod notify;
mod outlook;
pub mod overview;
mod people;
mod plan;
mod prune;
mod rehearse;
mod render;
mod restore;
mod runs;
mod runtime;
mod services;
mod set;
mod status;
mod up;
mod update;
mod verify;
mod watch;

use std::path::Path;

use matrix_podman_core::{check::Check, name::Cidr4, observed::Observed, plan::Plan, resource};
use matrix_podman_host::{apply::names, failure::Failure, world::World};

use crate::{
    args::{Args, Command, Settings, Token},
    error::{DONE, Error},
    output::Reporter,
    remote,
    site::{self, FoundSite},
};

/// Does what was asked; the exit code.
pub fn run(args: Args, out: &Reporter) -> Result<u8, Error> {
    let typed: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = remote::relay(&args, &typed, out)? {
        return Ok(code);
    }
    if args.command.needs_root() && !rustix::process::geteuid().is_root() {
        return Err(Error::usage("this needs root", format!("sudo matrix-podman {}", pasted(&typed))));
    }
    let config = args.config.as_deref();
    match args.command {
        Command::Init(init) => init::run(config, &init, out),
        Command::Schema => documents::schema(out),
        Command::Plan(plan) => plan::run(config, &plan, out),
        Command::Up(up) => up::run(config, &up, out),
        Command::Status => status::run(config, out),
        Command::Watch(args) => watch::run(config, &args, out),
        Command::Prune(args) => prune::run(config, &args, out),
        Command::Doctor(doctor) => doctor::run(config, &doctor, out),
        Command::Verify(verify) => verify::run(config, &verify, out),
        Command::Logs(logs) => logs::run(config, &logs, out),
        Command::Restart(args) => services::run(config, &args, services::Verb::Restart, out),
        Command::Stop(args) => services::run(config, &args, services::Verb::Stop, out),
        Command::Start(args) => services::run(config, &args, services::Verb::Start, out),
        Command::Exec(args) => exec::exec(config, &args, out),
        Command::Psql(args) => exec::psql(config, &args, out),
        Command::Open => addresses::run(config, out),
        Command::Set(args) => set::run(config, &args, out),
        Command::Update(args) => update::update(config, &args, out),
        Command::Rollback(args) => update::rollback(config, &args, out),
        Command::History => history::run(config, out),
        Command::Notify(args) => notify::run(config, &args, out),
        Command::Render(render) => render::run(config, &render, out),
        Command::Destroy(destroy) => destroy::run(config, &destroy, out),
        Command::User(user) => people::user::run(config, &user, out),
        Command::Invite(new) => people::token::run(config, &Token::New(new), out),
        Command::Token(token) => people::token::run(config, &token, out),
        Command::Backup(backup) => backup::run(config, &backup, out),
        Command::Restore(args) => restore::run(config, &args, out),
        Command::Guest(guest) => guest::run(config, &guest, out),
        Command::Edge(edge) => edge::run(config, &edge, out),
        Command::Completions { shell } => documents::completions(shell, out),
        Command::Man { folder } => documents::man(&folder, out),
        Command::Agent { digest, release, after } => agent::run(digest, release.zip(after), out),
        Command::Receive => remote::receive(),
        Command::Motd => motd::run(out),
        Command::MachineStart => up::machine_start(config, out),
        Command::MachineNames { bridge, address } => {
            let address = Cidr4::parse(&address).map_err(|why| Failure::new("read the address", why))?;
            names::keep(&bridge, address)?;
            OK
        }
    }
}

/// What was typed, as a shell reads it again.
fn pasted(typed: &[String]) -> String {
    let plain = |word: &str| {
        !word.is_empty() && word.chars().all(|c| c.is_ascii_alphanumeric() || "-_=./:,@%+".contains(c))
    };
    let words = typed.iter().map(|word| match plain(word) {
        true => word.clone(),
        false => format!("'{}'", word.replace('\'', r"'\''")),
    });
    words.collect::<Vec<_>>().join(" ")
}

/// The world of the site that a command is about, found by its config file
/// alone.
fn world(config: Option<&Path>, out: &Reporter) -> Result<(World, FoundSite), Error> {
    let found = site::find(config, &Settings::default(), site::Flags::MustAgree)?;
    Ok((open(found.site.clone(), out), found))
}

/// The world of a site; a person at a terminal may be asked for a code.
fn open(site: resource::Site, out: &Reporter) -> World {
    let mut world = World::new(site);
    if out.can_ask() {
        let out = out.clone();
        world.ask_with(Box::new(move |question| out.ask(question).ok().flatten()));
    }
    world
}

/// Everything that is known before a run.
struct Look {
    checks: Vec<Check>,
    plan: Plan,
}

/// Looks at the world and compares it with the config; changes nothing.
fn look(world: &World) -> Result<Look, Error> {
    let resources = resource::all(world.site());
    let mut seen = Observed::default();
    let (checks, plan) = world.look(&mut seen, |seen| {
        (matrix_podman_core::check::preflight(world.site(), seen), Plan::make(&resources, seen))
    })?;
    Ok(Look { checks, plan })
}

/// Shorthand for a command that did what it should.
const OK: Result<u8, Error> = Ok(DONE);

#[cfg(test)]
mod tests {
    #[test]
    fn what_was_typed_can_be_pasted() {
        let pasted =
            |words: &[&str]| super::pasted(&words.iter().map(|w| (*w).to_owned()).collect::<Vec<_>>());
        assert_eq!(pasted(&["logs", "synapse", "--since=1h"]), "logs synapse --since=1h");
        assert_eq!(pasted(&["set", "web.brand", "It's ours"]), r"set web.brand 'It'\''s ours'");
        assert_eq!(pasted(&["set", "web.brand", ""]), "set web.brand ''");
    }
}
