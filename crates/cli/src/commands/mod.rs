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
mod runtime;
mod services;
mod set;
mod status;
mod targets;
mod up;
mod update;
mod verify;
mod watch;

use std::path::Path;

use matrix_podman_core::{check::Check, name::Cidr4, observed::Observed, plan::Plan, resource};
use matrix_podman_host::{apply::names, failure::Failure, world::World};

use crate::{
    args::{Args, Command, Settings},
    error::{DONE, Error},
    output::Reporter,
    remote,
    site::{self, Found},
};

/// Does what was asked; the exit code.
pub fn run(args: Args, out: &Reporter) -> Result<u8, Error> {
    let typed: Vec<String> = std::env::args().skip(1).collect();
    if let Some(code) = remote::relay(&args, &typed)? {
        return Ok(code);
    }
    let config = args.config.as_deref();
    match args.command {
        Command::Init(init) => init::run(config, &init),
        Command::Schema => documents::schema(out),
        Command::Plan(plan) => plan::run(config, &plan),
        Command::Up(up) => up::run(config, &up),
        Command::Status(status) => status::run(config, &status),
        Command::Watch(args) => watch::run(config, &args),
        Command::Prune(args) => prune::run(config, &args),
        Command::Doctor(doctor) => doctor::run(config, &doctor),
        Command::Verify(verify) => verify::run(config, &verify),
        Command::Logs(logs) => logs::run(config, &logs, out),
        Command::Restart(args) => services::run(config, &args, services::Verb::Restart, out),
        Command::Stop(args) => services::run(config, &args, services::Verb::Stop, out),
        Command::Start(args) => services::run(config, &args, services::Verb::Start, out),
        Command::Exec(args) => exec::exec(config, &args, out),
        Command::Psql(args) => exec::psql(config, &args, out),
        Command::Open(_) => addresses::run(config, out),
        Command::Set(args) => set::run(config, &args),
        Command::Update(args) => update::update(config, &args),
        Command::Rollback(args) => update::rollback(config, &args),
        Command::History(_) => history::run(config, out),
        Command::Notify(args) => notify::run(config, &args),
        Command::Render(render) => render::run(config, &render, out),
        Command::Destroy(destroy) => destroy::run(config, &destroy),
        Command::User(user) => people::user::run(config, &user),
        Command::Token(token) => people::token::run(config, &token),
        Command::Backup(backup) => backup::run(config, &backup),
        Command::Restore(args) => restore::run(config, &args),
        Command::Guest(guest) => guest::run(config, &guest),
        Command::Edge(edge) => edge::run(config, &edge),
        Command::Completions { shell } => documents::completions(shell, out),
        Command::Man { folder } => documents::man(&folder, out),
        Command::Agent { digest } => agent::run(digest, out),
        Command::Receive => remote::receive(),
        Command::Motd => motd::run(out),
        Command::MachineStart => up::machine_start(config),
        Command::MachineNames { bridge, address } => {
            let address = Cidr4::parse(&address).map_err(|why| Failure::new("read the address", why))?;
            names::keep(&bridge, address)?;
            OK
        }
    }
}

/// The world of the site that a command is about, found by its config file
/// alone.
fn world(config: Option<&Path>, out: &Reporter) -> Result<(World, Found), Error> {
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

fn world_in_words(config: Option<&Path>) -> Result<(World, Found), Error> {
    world(config, &Reporter::new(crate::output::Form::Words))
}

fn open_in_words(site: resource::Site) -> World {
    open(site, &Reporter::new(crate::output::Form::Words))
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
