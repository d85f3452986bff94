//! `up`: make the server what the config says.

use std::path::{Path, PathBuf};

use matrix_podman_core::{
    check::Check,
    config::{
        Config,
        init::{InitAnswers, render_init},
    },
    endpoint::Endpoint,
    ids, layout,
    missing::StillMissing,
    observed::Observed,
    plan::{Plan, PlanText},
    resource::{self, Resource, Risk, Site},
    service::capitalized,
    stack,
};
use matrix_podman_host::{
    check,
    failure::{Failure, Kind},
    journal::{Journal, SiteRuns, UP},
    lock::{LockHolder, RunLock},
    progress::{Event, Listener},
    state,
    work::{self, Ended},
    world::World,
};
use serde::{Serialize, Serializer};

use super::{Look, choices, failed, look, plan, runs, update};
use crate::{
    args,
    error::{DONE, Error},
    interrupt::Interruptible,
    output::{AtStake, BOLD, Confirmation, GREEN, Otherwise, Printable, Reporter, Wording, one_line, styled},
    site::{self, Flags, FoundSite},
};

/// How often others may take what was free when the plan was made.
const CHOICES: usize = 5;

pub fn run(config: Option<&Path>, args: &args::Up, out: &Reporter) -> Result<u8, Error> {
    let mut found = site::find(config, &args.settings, Flags::MustAgree)?;
    let mut world = super::open(found.site.clone(), out);
    if choices::choose(&world, &found, args, out)? {
        found = site::find(config, &args.settings, Flags::MustAgree)?;
        world = super::open(found.site.clone(), out);
    }
    failed::clear(&world, args, out)?;
    update::settle(&world, &found, out)?;
    let now = look(&world)?;
    refuse(&world, &now, out)?;
    if now.plan.is_settled() {
        return nothing_to_do(&world, &found, &now, out);
    }
    for line in plan::check_lines(&now.checks) {
        out.narrate(&line);
    }
    let text = PlanText { plan: &now.plan, reasons: false, diffs: false, settled: false };
    out.narrate(text.to_string().trim_end());
    out.narrate(&runs::forecast(&world, &now.plan));
    out.confirm(&confirmation(now.plan.risk(), args.yes))?;
    choices::root_password(&world, &now.plan, out)?;
    let file = config_file(&found, args, out)?;
    let resources = resource::all(world.site());
    let agreed = now.plan.agreed();
    let work = |plan: &Plan| carry_out(&world, &found, &resources, plan, agreed, UP, out);
    let mut done = work(&now.plan);
    // What was cut off together with the guest shows only once that runs.
    if done.is_err() && update::settle(&world, &found, out)? {
        done = work(&look(&world)?.plan);
    }
    for _ in 0..CHOICES {
        if !matches!(&done, Err(Error::Failed(failure)) if failure.kind == Kind::Taken) {
            break;
        }
        out.narrate("Another server on this machine took what was free a moment ago; choosing anew.");
        done = work(&look(&world)?.plan);
    }
    done.or_else(|error| failed::offer(&world, args, out).and(Err(error)))?;
    site::remember(world.site(), &file)?;
    // What was being removed is there again.
    let _ = std::fs::remove_file(layout::destroy_begun(world.site().config.site()).as_str());
    let urls = world.look(&mut Observed::default(), |seen| addresses(world.site(), seen))?;
    prove(urls.as_deref().unwrap_or_default())?;
    let led = world.site().config.edge.cloudflare.is_some() || world.site().config.edge.npm.is_some();
    out.report(&ServerUp {
        event: "up",
        site: world.site().config.site(),
        urls,
        config: &world.site().config,
        led,
        missing: runs::missing_of(world.site()),
    })?;
    Ok(DONE)
}

/// Makes the rest of the server what the config in `file` says, without a question.
pub fn to_the_end(file: &Path, out: &Reporter) -> Result<u8, Error> {
    run(Some(file), &args::Up { settings: args::Settings::default(), yes: true, remove_failed: false }, out)
}

/// Refuses what cannot be done, before anything is changed.
pub fn refuse(world: &World, look: &Look, out: &Reporter) -> Result<(), Error> {
    if look.checks.iter().any(Check::stops) {
        for line in plan::check_lines(&look.checks) {
            out.say(&line);
        }
        return Err(Error::Told {
            summary: "nothing was changed".to_owned(),
            hint: "mend what is named above, then run the same again".to_owned(),
        });
    }
    let mut blocked = look.plan.blocked();
    if let Some((id, why, hint)) = blocked.next() {
        // A config that cannot be, for a server that exists, is wrong use.
        return Err(if *id == ids::SERVER_NAME {
            Error::usage(why, hint)
        } else {
            Failure::new(format!("make {} what the config says", world.site().config.site()), why)
                .hint(hint)
                .into()
        });
    }
    Ok(())
}

fn nothing_to_do(world: &World, found: &FoundSite, look: &Look, out: &Reporter) -> Result<u8, Error> {
    if let Some(file) = &found.file {
        site::remember(world.site(), file)?;
    }
    if SiteRuns::of(&site::state_folder(world.site())).failed.is_some() {
        // What the last `up` failed at is right by now. Where somebody else is at work, the next `up` notes it.
        let _ = at_work(world, found, UP, out, |journal, _| Ok(journal.end(true)?));
    }
    let count = look.plan.entries.len();
    out.report(&AlreadySettled { event: "settled", site: world.site().config.site(), count })?;
    Ok(DONE)
}

/// Nobody notices what stops nothing; anything else wants a yes that is typed.
fn confirmation(risk: Risk, yes: bool) -> Confirmation<'static> {
    let (question, at_stake) = match risk {
        Risk::None => ("Do this?", AtStake::Nothing),
        Risk::Interrupts => ("Do this, and have a service away for some seconds?", AtStake::Something),
        Risk::Outage => ("Do this, and have the server away for some seconds?", AtStake::Something),
    };
    let otherwise = Otherwise::unchanged("`matrix-podman plan --diff` shows every line that would change");
    Confirmation { question, at_stake, yes, otherwise }
}

/// The config file; one is written when the site came from flags alone.
fn config_file(found: &FoundSite, args: &args::Up, out: &Reporter) -> Result<PathBuf, Error> {
    if let Some(file) = &found.file {
        return Ok(file.clone());
    }
    let file = PathBuf::from(site::FILE);
    let chosen = site::overrides(&args.settings).iter().map(|o| o.key.clone()).collect();
    let text = render_init(&InitAnswers { config: found.site.config.clone(), chosen });
    site::create(&file, &text, site::SHARED)?;
    out.narrate(&format!("wrote {}: it is the site's config from now on", file.display()));
    Ok(file)
}

/// Runs resources under the lock, with the journal.
pub fn carry_out(
    world: &World,
    found: &FoundSite,
    resources: &[Box<dyn Resource>],
    plan: &Plan,
    allowed: Risk,
    command: &str,
    out: &Reporter,
) -> Result<(), Error> {
    let ended = at_work(world, found, command, out, |journal, listener| {
        let ended = work::run(resources, plan, world, journal, allowed, listener)?;
        match ended.failed.first() {
            Some((_, failure)) => journal.end_failed(&failure.to_string())?,
            None => journal.end(true)?,
        }
        Ok(ended)
    })?;
    told(ended, command, out)
}

/// Works under the locks of both sides, with the journal.
pub fn at_work<T>(
    world: &World,
    found: &FoundSite,
    command: &str,
    out: &Reporter,
    work: impl FnOnce(&Journal, &dyn Listener) -> Result<T, Error>,
) -> Result<T, Error> {
    let listener = out.listener();
    let _interruptible = Interruptible::begin(command, out);
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
    if let Err(error) = &result {
        // What failed is told; the next run need not speak of it as cut off.
        journal.end_failed(&error.to_string())?;
    }
    result
}

fn told(ended: Ended, command: &str, out: &Reporter) -> Result<(), Error> {
    let mut failed = ended.failed.into_iter();
    let Some((_, first)) = failed.next() else { return Ok(()) };
    for (id, failure) in failed {
        out.say(&format!("also: {id}: {}", one_line(&failure.to_string())));
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

/// Asks what is published from outside the guest, as clients would.
fn prove(urls: &[HereUrl]) -> Result<(), Error> {
    for HereUrl { endpoint, url } in urls {
        check::answers(&format!("{url}{}", endpoint.ask))?;
    }
    Ok(())
}

/// Where the endpoints are, seen from this machine.
pub fn addresses(site: &Site, seen: &Observed) -> Option<Vec<HereUrl>> {
    let address = resource::guest_address(site, seen).ok().flatten()?;
    let url = |endpoint: Endpoint| HereUrl { url: format!("http://{address}:{}", endpoint.port), endpoint };
    Some(stack::endpoints(&site.config).into_iter().map(url).collect())
}

/// There was nothing to do.
#[derive(Serialize)]
struct AlreadySettled<'a> {
    event: &'static str,
    site: &'a str,
    #[serde(skip)]
    count: usize,
}

impl Printable for AlreadySettled<'_> {
    fn words(&self) -> Wording {
        Wording::saying(format!(
            "{} Nothing to do: all {} things are as matrix.toml says.",
            styled(GREEN, "✓"),
            self.count
        ))
    }
}

/// Where an endpoint is, seen from this machine.
pub struct HereUrl {
    pub endpoint: Endpoint,
    pub url: String,
}

/// One object: what JSON calls each, and where it is.
pub fn as_json<S: Serializer>(urls: &Option<Vec<HereUrl>>, serializer: S) -> Result<S::Ok, S::Error> {
    match urls {
        Some(urls) => serializer.collect_map(urls.iter().map(|at| (at.endpoint.word, &at.url))),
        None => serializer.serialize_none(),
    }
}

/// A server that is up.
#[derive(Serialize)]
struct ServerUp<'a> {
    event: &'static str,
    site: &'a str,
    #[serde(serialize_with = "as_json")]
    urls: Option<Vec<HereUrl>>,
    #[serde(skip)]
    config: &'a Config,
    /// Whether the way in is the program's to make.
    #[serde(skip)]
    led: bool,
    /// What the server lacks.
    #[serde(skip)]
    missing: Vec<StillMissing>,
}

impl Printable for ServerUp<'_> {
    fn words(&self) -> Wording {
        let config = self.config;
        let mut words = Wording::of(format!("\n{}", styled(BOLD, &format!("{} is up.", config.server_name))));
        words.data(format!("  User ids      {}", config.user_id("anna")));
        if let Some(urls) = &self.urls {
            for HereUrl { endpoint, url } in urls.iter().rev() {
                words.data(format!("  {:<12}  {url}", capitalized(endpoint.label)));
            }
            if self.led {
                words.data(format!("  From outside  {}, led to {}", config.chat_url, config.matrix_url));
            } else {
                words.data(format!("  Public names  {} for the homeserver,", config.matrix_url));
                words.data(format!(
                    "                {} for the web client, once a way in leads here",
                    config.chat_url
                ));
            }
        }
        let missing = self.missing.as_slice();
        if !missing.is_empty() {
            words.data(format!("\n{}", styled(BOLD, "Still missing")));
        }
        for missing in missing.iter().copied() {
            words.data(format!("  {}", missing.words()));
            words.data(format!("    {}", missing.command()));
        }
        words.data(format!("\n{}", styled(BOLD, "Next")));
        words.data("  matrix-podman user add NAME --admin   make yourself an account");
        words.data("  matrix-podman status                  see how the server is");
        words.data("  matrix-podman plan                    see what a change of matrix.toml would do");
        words
    }
}

/// Brings up network and guest, and nothing else: at the machine's boot.
pub fn machine_start(config: Option<&Path>, out: &Reporter) -> Result<u8, Error> {
    let (world, found) = super::world(config, out)?;
    let wanted = [ids::MACHINE_NETWORK, ids::GUEST_DISK, ids::GUEST_RUNNING];
    let resources: Vec<Box<dyn Resource>> =
        resource::all(world.site()).into_iter().filter(|r| wanted.contains(&r.id())).collect();
    let plan = world.look(&mut Observed::default(), |seen| Plan::make(&resources, seen))?;
    carry_out(&world, &found, &resources, &plan, Risk::None, "machine-start", out)?;
    super::OK
}
