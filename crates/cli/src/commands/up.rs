//! `up`: make the server what the config says.

use std::{
    io::{Write as _, stderr, stdin},
    path::{Path, PathBuf},
};

use matrix_podman_core::{
    check::Check,
    config::init::{InitAnswers, render_init},
    layout,
    observed::Observed,
    plan::{Plan, PlanText},
    resource::{self, Resource, Risk, Site},
};
use matrix_podman_host::{
    check,
    failure::Failure,
    run::{self, Ended, Event, Journal, Listener, LockHolder, RunLock},
    state,
    world::World,
};

use super::{Look, choices, failed, look, plan, update};
use crate::{
    args,
    error::{DONE, Error},
    output::{self, BOLD, GREEN, styled},
    site::{self, Flags, Found},
};

pub fn run(config: Option<&Path>, args: &args::Up) -> Result<u8, Error> {
    let mut found = site::find(config, &args.settings, Flags::MustAgree)?;
    let mut world = super::open(found.site.clone());
    if choices::choose(&world, &found, args)? {
        found = site::find(config, &args.settings, Flags::MustAgree)?;
        world = super::open(found.site.clone());
    }
    failed::clear(&world, args)?;
    update::settle(&world, &found, args.output.json)?;
    let now = look(&world)?;
    refuse(&world, &now)?;
    if now.plan.is_settled() {
        return nothing_to_do(&world, &found, &now, args);
    }
    if !args.output.json {
        plan::checks(&now.checks, &output::say);
        let text = PlanText { plan: &now.plan, reasons: false, diffs: false, settled: false };
        output::say(text.to_string().trim_end());
    }
    confirm(&now.plan, args)?;
    choices::root_password(&world, &now.plan, args)?;
    let file = config_file(&found, args)?;
    let resources = resource::all(world.site());
    let agreed = now.plan.agreed();
    let work = |plan: &Plan| carry_out(&world, &found, &resources, plan, agreed, "up", args.output.json);
    let mut done = work(&now.plan);
    // What was cut off together with the guest shows only once that runs.
    if done.is_err() && update::settle(&world, &found, args.output.json)? {
        done = work(&look(&world)?.plan);
    }
    done.or_else(|error| failed::offer(&world, args).and(Err(error)))?;
    site::remember(world.site(), &file)?;
    // What was being removed is there again.
    let _ = std::fs::remove_file(layout::destroy_begun(world.site().config.site()).as_str());
    let urls = world.look(&mut Observed::default(), |seen| addresses(world.site(), seen))?;
    prove(urls.as_ref())?;
    summary(world.site(), urls, args.output.json);
    Ok(DONE)
}

/// Refuses what cannot be done, before anything is changed.
pub fn refuse(world: &World, look: &Look) -> Result<(), Error> {
    if look.checks.iter().any(Check::stops) {
        plan::checks(&look.checks, &output::say);
        return Err(Error::Told {
            summary: "nothing was changed".to_owned(),
            hint: "mend what is named above, then run the same again".to_owned(),
        });
    }
    let mut blocked = look.plan.blocked();
    if let Some((id, why, hint)) = blocked.next() {
        // A config that cannot be, for a server that exists, is wrong use.
        return Err(if id.as_str() == "server-name" {
            Error::usage(why, hint)
        } else {
            Failure::new(format!("make {} what the config says", world.site().config.site()), why)
                .hint(hint)
                .into()
        });
    }
    Ok(())
}

fn nothing_to_do(world: &World, found: &Found, look: &Look, args: &args::Up) -> Result<u8, Error> {
    if let Some(file) = &found.file {
        site::remember(world.site(), file)?;
    }
    if args.output.json {
        output::data(
            &serde_json::json!({"event": "settled", "site": world.site().config.site()}).to_string(),
        );
    } else {
        let count = look.plan.entries.len();
        output::say(&format!(
            "{} Nothing to do: all {count} things are as matrix.toml says.",
            styled(GREEN, "✓")
        ));
    }
    Ok(DONE)
}

fn confirm(plan: &Plan, args: &args::Up) -> Result<(), Error> {
    if args.yes {
        return Ok(());
    }
    if args.output.json || !output::can_ask() {
        return Err(Error::usage(
            "there is something to do, and nobody can be asked whether it should be done",
            "add --yes",
        ));
    }
    let question = match plan.risk() {
        Risk::None => "Do this?",
        Risk::Interrupts => "Do this, and have a service away for some seconds?",
        Risk::Outage => "Do this, and have the server away for some seconds?",
    };
    if ask(&format!("{question} [Y/n] "))?
        .is_some_and(|answer| matches!(answer.trim().to_lowercase().as_str(), "" | "y" | "yes"))
    {
        return Ok(());
    }
    Err(Error::Told {
        summary: "nothing was changed".to_owned(),
        hint: "`matrix-podman plan` shows every line that would change".to_owned(),
    })
}

/// Whether somebody agrees to what is shown, to which no is the usual answer.
pub fn agrees(yes: bool) -> Result<bool, Error> {
    if yes {
        return Ok(true);
    }
    if !output::can_ask() {
        return Err(Error::usage("nobody can be asked whether to do this", "add --yes"));
    }
    let answer = ask("Go on? [y/N] ")?;
    Ok(answer.as_deref().is_some_and(|answer| matches!(answer.trim(), "y" | "Y" | "yes")))
}

/// Asks a question on the terminal; `None` at the end of input.
pub fn ask(question: &str) -> Result<Option<String>, Error> {
    let failed = |e: std::io::Error| Failure::new("ask on the terminal", e);
    let mut err = stderr();
    write!(err, "{question}").and_then(|()| err.flush()).map_err(failed)?;
    let mut answer = String::new();
    let read = stdin().read_line(&mut answer).map_err(failed)?;
    Ok((read > 0).then(|| answer.trim_end_matches('\n').to_owned()))
}

/// The config file; one is written when the site came from flags alone.
fn config_file(found: &Found, args: &args::Up) -> Result<PathBuf, Error> {
    if let Some(file) = &found.file {
        return Ok(file.clone());
    }
    let file = PathBuf::from(site::FILE);
    let chosen = site::overrides(&args.settings).iter().map(|o| o.key.clone()).collect();
    let text = render_init(&InitAnswers { config: found.site.config.clone(), chosen });
    site::create(&file, &text, site::SHARED)?;
    if !args.output.json {
        output::say(&format!("wrote {}: it is the site's config from now on", file.display()));
    }
    Ok(file)
}

/// Runs resources under the lock, with the journal.
pub fn carry_out(
    world: &World,
    found: &Found,
    resources: &[Box<dyn Resource>],
    plan: &Plan,
    allowed: Risk,
    command: &str,
    json: bool,
) -> Result<(), Error> {
    let ended = at_work(world, found, command, json, |journal, listener| {
        let ended = run::run(resources, plan, world, journal, allowed, listener)?;
        journal.end(ended.failed.is_empty())?;
        Ok(ended)
    })?;
    told(ended, command)
}

/// Works under the locks of both sides, with the journal.
pub fn at_work<T>(
    world: &World,
    found: &Found,
    command: &str,
    json: bool,
    work: impl FnOnce(&Journal, &dyn Listener) -> Result<T, Error>,
) -> Result<T, Error> {
    let listener = output::listener(json);
    let folder = site::state_folder(world.site());
    let holder = LockHolder::this(command);
    let note = |text: String| listener.on(&Event::Note { text });
    let waits = |saying| listener.on(&Event::Said { id: "lock", saying: &saying });
    let _lock = RunLock::take(&folder.join("run.lock"), &holder, &waits)?;
    world.hold(&holder, &waits)?;
    found.is_still_so()?;
    if let Some(told) = state::take_over(world.site().config.site())? {
        note(told);
    }
    let (journal, unfinished) = Journal::open(&folder.join("journal.jsonl"), command)?;
    if let Some(unfinished) = unfinished {
        let acts = if unfinished.acts.is_empty() {
            "between two acts".to_owned()
        } else {
            format!("at: {}", unfinished.acts.join("; "))
        };
        note(format!(
            "`{}` of {} was cut off {acts}. Going on from what is there.",
            unfinished.command, unfinished.since
        ));
    }
    // A power cut a second after "done" must not take it back.
    let result =
        work(&journal, listener.as_ref()).and_then(|done| world.flush().map(|()| done).map_err(Error::from));
    if result.is_err() {
        // What failed is told; the next run need not speak of it as cut off.
        journal.end(false)?;
    }
    result
}

fn told(ended: Ended, command: &str) -> Result<(), Error> {
    let mut failed = ended.failed.into_iter();
    let Some((_, first)) = failed.next() else { return Ok(()) };
    for (id, failure) in failed {
        output::say(&format!("also: {id}: {}", output::one_line(&failure.to_string())));
    }
    let again = match command {
        "restore" => "what is there is left as it is; run the same `matrix-podman restore` again to go on",
        _ => "what is there is left as it is, and `matrix-podman up` goes on from it",
    };
    Err(Error::Failed(match &first.hint {
        Some(hint) => Failure { hint: Some(format!("{hint}; {again}")), ..first },
        None => first.hint(again),
    }))
}

/// Asks both services from outside the guest, as clients would.
fn prove(urls: Option<&(String, String)>) -> Result<(), Error> {
    let Some((synapse, web)) = urls else { return Ok(()) };
    check::answers(&format!("{synapse}/_matrix/client/versions"))?;
    check::answers(&format!("{web}/config.json"))?;
    Ok(())
}

/// Addresses of Synapse and of the web client, seen from this machine.
pub fn addresses(site: &Site, seen: &Observed) -> Option<(String, String)> {
    let address = resource::guest_address(site, seen).ok().flatten()?;
    let ports = &site.config.ports;
    Some((format!("http://{address}:{}", ports.synapse), format!("http://{address}:{}", ports.web)))
}

fn summary(site: &Site, addresses: Option<(String, String)>, json: bool) {
    if json {
        let urls = addresses.map(|(synapse, web)| serde_json::json!({"synapse": synapse, "client": web}));
        output::data(
            &serde_json::json!({"event": "up", "site": site.config.site(), "urls": urls}).to_string(),
        );
        return;
    }
    let config = &site.config;
    output::data(&format!("\n{}", styled(BOLD, &format!("{} is up.", config.server_name))));
    output::data(&format!("  User ids      {}", config.user_id("anna")));
    if let Some((synapse, web)) = &addresses {
        output::data(&format!("  Web client    {web}"));
        output::data(&format!("  Homeserver    {synapse}"));
        if config.edge.cloudflare.is_some() || config.edge.npm.is_some() {
            output::data(&format!("  From outside  {}, led to {}", config.chat_url, config.matrix_url));
        } else {
            output::data(&format!("  To be led here from outside: {} to the homeserver,", config.matrix_url));
            output::data(&format!("  {} to the web client (matrix-podman edge guide)", config.chat_url));
        }
    }
    output::data(&format!("\n{}", styled(BOLD, "Next")));
    output::data("  matrix-podman user add NAME --admin   make yourself an account");
    output::data("  matrix-podman status                  see how the server is");
    output::data("  matrix-podman plan                    see what a change of matrix.toml would do");
}

/// Brings up network and guest, and nothing else: at the machine's boot.
pub fn machine_start(config: Option<&Path>) -> Result<u8, Error> {
    let (world, found) = super::world(config)?;
    let wanted = ["machine/network", "guest/disk", "guest/running"];
    let resources: Vec<Box<dyn Resource>> =
        resource::all(world.site()).into_iter().filter(|r| wanted.contains(&r.id().as_str())).collect();
    let plan = world.look(&mut Observed::default(), |seen| Plan::make(&resources, seen))?;
    carry_out(&world, &found, &resources, &plan, Risk::None, "machine-start", false)?;
    super::OK
}
