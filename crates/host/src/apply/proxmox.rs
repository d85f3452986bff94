//! Containers of Proxmox VE.
//!
//! Several of Proxmox's commands end with exit code 0 after failing, and some
//! only file a request. So after each act its result is looked at, and that
//! alone decides.

mod act;
mod create;
mod disk;
pub mod snapshot;

use std::time::{Duration, Instant};

use matrix_podman_core::{
    effect::Container,
    fact::{Fact, Value},
    layout,
    name::{ContainerId, StorageName, TemplateName},
    observed::Answer as Found,
    proxmox::{
        Act, Answer, Question, Settings, Status, at_work, exec, holds, left_lock_reason, lock_reason,
        newest_template, way_out,
    },
};

use crate::{
    failure::Failure,
    guest::Doorway,
    own_program, probe,
    process::Program,
    progress::{Saying, Sink},
};

use act::{call, look, until};
pub use create::{create, password_from, sweep};
pub use disk::grow;

/// How long a file system may take to become larger.
const ENLARGING: Duration = Duration::from_secs(1800);
/// How long it may take until an act shows that was done at once.
const SHOWS: Duration = Duration::from_secs(15);
/// The same for one that was only asked for. HA looks every ten seconds.
const HA_SHOWS: Duration = Duration::from_secs(240);
/// How long the list of tasks may lag behind: `pvestatd` looks every ten seconds.
const COMES_ROUND: Duration = Duration::from_secs(30);
/// Between two looks: each is the start of a large Perl program.
const LOOK: Duration = Duration::from_millis(500);
/// How long a command in the container may take on the way of the program.
const QUICK: Duration = Duration::from_secs(120);

/// The way into a container.
pub fn doorway(id: ContainerId) -> Doorway {
    Doorway { prefix: exec(id), guest: id.to_string(), lxc: id.to_string() }
}

fn ask(question: Question) -> Result<Answer, Failure> {
    let doing = format!("ask Proxmox ({})", question.argv().join(" "));
    match probe::answer(&Fact::Proxmox(question)) {
        Found::Known(Value::Proxmox(answer)) => Ok(*answer),
        Found::Known(_) => Err(Failure::new(doing, "the answer has an unexpected form")),
        Found::Unknown(why) => Err(Failure::new(doing, why)),
    }
}

/// How a container is.
pub fn status(container: &Container) -> Result<Status, Failure> {
    match ask(Question::Status { node: container.node.clone(), id: container.id })? {
        Answer::Status(status) => Ok(status),
        other => Err(unexpected(&other)),
    }
}

/// The settings of a container.
pub fn settings(container: &Container) -> Result<Settings, Failure> {
    match ask(Question::Settings { node: container.node.clone(), id: container.id })? {
        Answer::Settings(settings) => Ok(settings),
        other => Err(unexpected(&other)),
    }
}

/// Whether the cluster has a guest of that number.
pub fn exists(id: ContainerId) -> Result<bool, Failure> {
    match ask(Question::Guests)? {
        Answer::Guests(guests) => Ok(guests.iter().any(|guest| guest.id == id)),
        other => Err(unexpected(&other)),
    }
}

/// Why a container that is locked is left alone, and what to do about that.
fn refuse(container: &Container, lock: &str, doing: &str) -> Failure {
    let id = container.id;
    match busy_with(container) {
        Ok(tasks) if tasks.is_empty() => Failure::new(
            doing,
            format!("it is locked, and nothing is at work on it: {}", left_lock_reason(lock)),
        )
        .hint(way_out(id, lock, None)),
        Ok(tasks) => {
            Failure::new(doing, format!("it is locked, {} ({})", lock_reason(lock), tasks.join(", ")))
                .hint("wait until what is being done to it is over, then run the same again")
        }
        Err(failure) => failure,
    }
}

/// Kinds of the tasks that are at work on a container and do not end in a while.
/// One that was killed is struck off the list when Proxmox comes round.
pub fn busy_with(container: &Container) -> Result<Vec<String>, Failure> {
    let started = Instant::now();
    loop {
        let kinds = match ask(Question::Tasks { node: container.node.clone(), id: container.id })? {
            Answer::Names(kinds) => at_work(&kinds).into_iter().map(str::to_owned).collect::<Vec<_>>(),
            other => return Err(unexpected(&other)),
        };
        if kinds.is_empty() || started.elapsed() > COMES_ROUND {
            return Ok(kinds);
        }
        std::thread::sleep(LOOK);
    }
}

fn unexpected(answer: &Answer) -> Failure {
    Failure::new("read what Proxmox answered", format!("{answer:?} was not expected"))
}

/// How long an act on a container that was so before may take to show.
fn patience(before: &Status) -> Duration {
    if before.ha { HA_SHOWS } else { SHOWS }
}

/// Sees to it that the storage has a template.
pub(super) fn fetch_template(
    storage: &StorageName,
    template: Option<&TemplateName>,
    arch: &str,
    sink: &Sink,
) -> Result<(), Failure> {
    let doing = "download a template of Debian 13";
    let there = || -> Result<bool, Failure> {
        let Answer::Names(volumes) = ask(Question::Templates { storage: storage.clone() })? else {
            return Ok(false);
        };
        Ok(match template {
            Some(file) => volumes.iter().any(|volume| *volume == format!("{storage}:vztmpl/{file}")),
            None => newest_template(&volumes, arch).is_some(),
        })
    };
    if there()? {
        return Ok(());
    }
    let offered = || -> Result<Option<String>, Failure> {
        let Answer::Names(files) = ask(Question::Offered)? else { return Ok(None) };
        Ok(match template {
            Some(file) => files.into_iter().find(|offer| offer == file.as_str()),
            None => newest_template(&files, arch).map(str::to_owned),
        })
    };
    let file = match offered()? {
        Some(file) => file,
        None => {
            let said = call(&Act::UpdateOffers, doing, sink)?;
            offered()?.ok_or_else(|| {
                said.nothing_came(
                    doing,
                    "Proxmox's list of templates has none that fits, and was just refreshed",
                )
                .hint("`pveam update` shows whether the list can be reached from this node")
            })?
        }
    };
    let said = call(&Act::Download { storage: storage.clone(), file: file.clone() }, doing, sink)?;
    if there()? {
        return Ok(());
    }
    Err(said.nothing_came(doing, format!("{file} did not arrive on {storage}")).hint(
        "`pveam download` by hand shows more; a template that was brought there in another way will do as well",
    ))
}

pub(super) fn set(
    container: &Container,
    options: &[(String, String)],
    delete: &[String],
    sink: &Sink,
) -> Result<(), Failure> {
    let doing = format!("change the settings of the container {}", container.id);
    let act = Act::Set { id: container.id, options: options.to_vec(), delete: delete.to_vec() };
    let said = call(&act, &doing, sink);
    let now = settings(container)?;
    let missing: Vec<&str> = options
        .iter()
        .filter(|(key, value)| !holds(key, now.get(key), value))
        .map(|(key, _)| key.as_str())
        .chain(delete.iter().map(String::as_str).filter(|key| now.get(key).is_some()))
        .collect();
    match (said, missing.is_empty()) {
        (_, true) => Ok(()),
        (Err(failure), false) => Err(failure),
        (Ok(said), false) => Err(said.nothing_came(
            &doing,
            format!("Proxmox took it, and {} is not what was asked for", missing.join(", ")),
        )),
    }
}

/// Starts a container; for one that HA has, that is a request.
pub fn start(container: &Container, sink: &Sink) -> Result<(), Failure> {
    let before = look(|| status(container))?;
    if before.running {
        return Ok(());
    }
    let doing = format!("start the container {}", container.id);
    let said = call(&Act::Start { id: container.id }, &doing, sink);
    until(&doing, "it does not run", patience(&before), &said, || Ok(status(container)?.running))
}

/// Restarts a container, which also makes changes hold that wait for that.
pub fn reboot(container: &Container, sink: &Sink) -> Result<(), Failure> {
    let before = look(|| status(container))?;
    if !before.running {
        return start(container, sink);
    }
    let doing = format!("restart the container {}", container.id);
    sink(Saying::WaitsFor("the services in it to stop".to_owned()));
    let begun = Instant::now();
    let said = call(&Act::Reboot { id: container.id }, &doing, sink);
    until(&doing, "it was not restarted", patience(&before), &said, || {
        let now = status(container)?;
        Ok(now.running
            && now.uptime <= begun.elapsed().as_secs()
            && now.uptime < before.uptime + begun.elapsed().as_secs())
    })
}

/// Copies the program into the container, sees that it runs there and is
/// whole, then puts it in place.
pub fn push(id: ContainerId, sink: &Sink) -> Result<(), Failure> {
    let doing = format!("put matrix-podman into the container {id}");
    if !own_program::is_installed()? {
        super::program::install()?;
    }
    let partial = format!("{}.new", layout::BINARY);
    let act = Act::Push { id, from: layout::BINARY.to_owned(), to: partial.clone() };
    // It says nothing of a failed copy; the digest does.
    let said = call(&act, &doing, sink)?;
    let doorway = doorway(id);
    let digest = Program::new(doorway.argv(&[&partial, "agent", "--digest"])).deadline(QUICK).output();
    if String::from_utf8_lossy(&digest.stdout).trim() != own_program::digest()? {
        let complaint = String::from_utf8_lossy(&digest.stderr).trim().to_owned();
        let failure = said.nothing_came(&doing, "it did not arrive whole");
        let mut lines = failure.evidence.clone();
        lines.extend(complaint.lines().map(str::to_owned));
        return Err(failure.evidence(lines).hint(
            "the container's disk may be full (`pct df` shows it), of which Proxmox says nothing; then run the same again",
        ));
    }
    // A program that a power cut empties could not be spoken to.
    Program::new(doorway.argv(&["sync", "--", &partial])).deadline(QUICK).run(&doing, &|_| {})?;
    Program::new(doorway.argv(&["mv", "--force", "--", &partial, layout::BINARY]))
        .deadline(QUICK)
        .run(&doing, &|_| {})
}

/// Removes a container and its disks. The caller has seen that it is ours.
pub fn destroy(container: &Container, unfinished: bool, sink: &Sink) -> Result<(), Failure> {
    let id = container.id;
    let doing = format!("remove the container {id}");
    let now = settings(container)?;
    if unfinished {
        create::unmount(id)?;
        if now.lock().is_some() {
            call(&Act::Unlock { id }, &doing, sink)?;
        }
    } else {
        if let Some(lock) = now.lock() {
            return Err(refuse(container, lock, &doing));
        }
        let before = look(|| status(container))?;
        if before.running {
            let said = call(&Act::Shutdown { id }, &doing, sink);
            until(&doing, "it still runs", patience(&before), &said, || Ok(!status(container)?.running))?;
        }
    }
    if now.get("protection").is_some_and(|on| on != "0") {
        set(container, &[("protection".to_owned(), "0".to_owned())], &[], sink)?;
    }
    let said = call(&Act::Destroy { id }, &doing, sink);
    until(&doing, "it is still there", SHOWS, &said, || Ok(!exists(id)?))
}
