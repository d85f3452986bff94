//! Containers of Proxmox VE.
//!
//! Several of Proxmox's commands end with exit code 0 after failing, and some
//! only file a request. So after each act its result is looked at, and that
//! alone decides.

pub mod snapshot;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use matrix_podman_core::{
    effect::{Container, NewContainer},
    fact::{Fact, Value},
    layout,
    name::{ContainerId, Mode, Owner, StorageName, TemplateName},
    observed::Answer as Found,
    proxmox::{Act, Answer, Question, Settings, Status, exec, holds, newest_template, properties},
    resource::Claim,
    size::Bytes,
};

use super::{Sink, file};
use crate::{
    failure::{Doing, Failure},
    guest::{Doorway, wire::Saying},
    probe,
    process::{Input, Program},
    run,
};

/// How long an act may take; a download or a large disk is slow.
const PATIENCE: Duration = Duration::from_secs(1800);
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
    Doorway { prefix: exec(id), guest: id.to_string() }
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
        other => Err(odd(&other)),
    }
}

/// The settings of a container.
pub fn settings(container: &Container) -> Result<Settings, Failure> {
    match ask(Question::Settings { node: container.node.clone(), id: container.id })? {
        Answer::Settings(settings) => Ok(settings),
        other => Err(odd(&other)),
    }
}

/// Whether the cluster has a guest of that number.
pub fn exists(id: ContainerId) -> Result<bool, Failure> {
    match ask(Question::Guests)? {
        Answer::Guests(guests) => Ok(guests.iter().any(|guest| guest.id == id)),
        other => Err(odd(&other)),
    }
}

/// Kinds of the tasks that are at work on a container and do not end in a while.
/// One that was killed is struck off the list when Proxmox comes round.
pub fn busy_with(container: &Container) -> Result<Vec<String>, Failure> {
    let started = Instant::now();
    loop {
        let kinds = match ask(Question::Tasks { node: container.node.clone(), id: container.id })? {
            Answer::Names(kinds) => kinds,
            other => return Err(odd(&other)),
        };
        if kinds.is_empty() || started.elapsed() > COMES_ROUND {
            return Ok(kinds);
        }
        std::thread::sleep(LOOK);
    }
}

fn odd(answer: &Answer) -> Failure {
    Failure::new("read what Proxmox answered", format!("{answer:?} was not expected"))
}

/// Makes a call. That it ended with 0 says little; the lines that it printed
/// come back to be shown if nothing became of it.
pub fn call(act: &Act, doing: &str, sink: &Sink) -> Result<Vec<String>, Failure> {
    call_with(act, doing, Input::None, sink)
}

fn call_with(act: &Act, doing: &str, input: Input, sink: &Sink) -> Result<Vec<String>, Failure> {
    let said = Program::new(act.argv())
        .input(input)
        .deadline(PATIENCE)
        .run_keeping(doing, &|line| sink(Saying::Line(line.to_owned())))
        .map_err(explained)?;
    let lines: Vec<String> = said.lines().filter(|line| !line.trim().is_empty()).map(str::to_owned).collect();
    Ok(lines[lines.len().saturating_sub(15)..].to_vec())
}

/// What to do about the failures that Proxmox's commands know.
fn explained(failure: Failure) -> Failure {
    let all = failure.evidence.join("\n").to_lowercase();
    let hint = if all.contains("is locked (") {
        "something else is at work on the container; wait until it is over, then run the same again"
    } else if all.contains("got timeout") {
        "another of Proxmox's commands held the container's lock; run the same again"
    } else if all.contains("no quorum") || all.contains("not ready - no quorum") {
        "the cluster lost its quorum; `pvecm status` shows which nodes are missing"
    } else if all.contains("already exists") {
        "somebody took that number meanwhile; run the same again"
    } else if all.contains("not most recent snapshot") {
        "this storage goes back to its newest snapshot only; `matrix-podman guest remove-snapshot NAME` removes newer \
         ones, and `matrix-podman guest snapshots` lists them"
    } else if all.contains("snapshot feature is not available") {
        "a storage of its disks makes no snapshots; `matrix-podman backup now` makes a backup to go back to"
    } else if failure.is_full_disk() {
        "the storage is full; make room, or choose another with proxmox.storage"
    } else {
        return failure;
    };
    failure.hint(hint)
}

/// How long an act on a container that was so before may take to show.
fn patience(before: &Status) -> Duration {
    if before.ha { HA_SHOWS } else { SHOWS }
}

/// Looks until `shows` says so.
fn until(
    doing: &str,
    what: &str,
    patience: Duration,
    said: &Result<Vec<String>, Failure>,
    mut shows: impl FnMut() -> Result<bool, Failure>,
) -> Result<(), Failure> {
    let started = Instant::now();
    loop {
        if shows()? {
            return Ok(());
        }
        if let Err(failure) = said {
            return Err(failure.clone());
        }
        if started.elapsed() > patience {
            let lines = said.clone().unwrap_or_default();
            return Err(Failure::new(
                doing,
                format!("Proxmox took it, but {what} after {} s", patience.as_secs()),
            )
            .evidence(lines)
            .hint("the task log of the node in Proxmox's web pages says more"));
        }
        std::thread::sleep(LOOK);
    }
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
                Failure::new(doing, "Proxmox's list of templates has none that fits, and was just refreshed")
                    .evidence(said)
                    .hint("`pveam update` shows whether the list can be reached from this node")
            })?
        }
    };
    let said = call(&Act::Download { storage: storage.clone(), file: file.clone() }, doing, sink)?;
    if there()? {
        return Ok(());
    }
    Err(Failure::new(doing, format!("{file} did not arrive on {storage}")).evidence(said).hint(
        "`pveam download` by hand shows more; a template that was brought there in another way will do as well",
    ))
}

/// Makes a container, after writing down which one it will be.
pub fn create(new: &NewContainer, root_password: Option<&str>, sink: &Sink) -> Result<(), Failure> {
    let (id, doing) = (new.container.id, format!("create the container {}", new.container.id));
    let claim = layout::container_claim(&new.site);
    file::make_dir(Path::new(layout::machine_state(&new.site).as_str()), Mode(0o700), Owner::ROOT)?;
    let text = serde_json::to_string(&Claim { container: new.container.clone() }).doing(|| doing.clone())?;
    file::write(Path::new(claim.as_str()), text.as_bytes(), Mode(0o600), Owner::ROOT)?;
    sink(Saying::WaitsFor("Proxmox to unpack the template".to_owned()));
    let twice = root_password.map(|password| format!("{password}\n{password}\n"));
    let act = Act::Create {
        id,
        template: new.template.clone(),
        options: new.options.clone(),
        password: twice.is_some(),
    };
    let input = twice.as_ref().map_or(Input::None, |text| Input::Bytes(text.as_bytes()));
    let said = call_with(&act, &doing, input, sink);
    if !exists(id)? {
        // Nothing is left of it, so nothing is claimed.
        file::remove(Path::new(claim.as_str()))?;
        return Err(said
            .err()
            .unwrap_or_else(|| Failure::new(doing, "Proxmox took it, and there is no container")));
    }
    let settings = settings(&new.container)?;
    match (settings.site() == Some(new.site.as_str()), settings.lock()) {
        (true, None) => Ok(()),
        _ => {
            let failure = said.err().unwrap_or_else(|| {
                Failure::new(doing.clone(), "Proxmox took it, and the container is not whole")
            });
            Err(if settings.lock() == Some("create") {
                failure.hint(
                    "a part of it is there; `matrix-podman up --remove-failed` removes that and begins again",
                )
            } else {
                failure
            })
        }
    }
}

/// Root's password from the first line of a file.
pub fn password_from(path: &str) -> Result<String, Failure> {
    let doing = || format!("read root's password from {path}");
    let text = std::fs::read_to_string(path).doing(doing)?;
    let password = text.lines().next().unwrap_or_default().to_owned();
    if password.chars().count() < 5 {
        return Err(Failure::new(doing(), "Proxmox takes no password of less than 5 characters"));
    }
    Ok(password)
}

pub(super) fn set(container: &Container, options: &[(String, String)], sink: &Sink) -> Result<(), Failure> {
    let doing = format!("change the settings of the container {}", container.id);
    let act = Act::Set { id: container.id, options: options.to_vec(), delete: Vec::new() };
    let said = call(&act, &doing, sink);
    let now = settings(container)?;
    let missing: Vec<&str> = options
        .iter()
        .filter(|(key, value)| !holds(key, now.get(key), value))
        .map(|(key, _)| key.as_str())
        .collect();
    match (said, missing.is_empty()) {
        (_, true) => Ok(()),
        (Err(failure), false) => Err(failure),
        (Ok(lines), false) => Err(Failure::new(
            doing,
            format!("Proxmox took it, and {} is not what was asked for", missing.join(", ")),
        )
        .evidence(lines)),
    }
}

pub(super) fn grow(container: &Container, volume: &str, size: Bytes, sink: &Sink) -> Result<(), Failure> {
    let doing = format!("make {volume} of the container {} larger", container.id);
    let said = call(&Act::Resize { id: container.id, volume: volume.to_owned(), size }, &doing, sink);
    let now = settings(container)?;
    let has = now
        .get(volume)
        .and_then(|value| Bytes::parse(properties(value).get("size").copied().unwrap_or_default()).ok());
    match said {
        _ if has.is_some_and(|has| has >= size) => Ok(()),
        Err(failure) => Err(failure),
        Ok(lines) => {
            Err(Failure::new(doing, "Proxmox took it, and the disk is as large as before").evidence(lines))
        }
    }
}

/// Starts a container; for one that HA has, that is a request.
pub fn start(container: &Container, sink: &Sink) -> Result<(), Failure> {
    let before = status(container)?;
    if before.running {
        return Ok(());
    }
    let doing = format!("start the container {}", container.id);
    let said = call(&Act::Start { id: container.id }, &doing, sink);
    until(&doing, "it does not run", patience(&before), &said, || Ok(status(container)?.running))
}

/// Restarts a container, which also makes changes hold that wait for that.
pub fn reboot(container: &Container, sink: &Sink) -> Result<(), Failure> {
    let before = status(container)?;
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
    if !run::installed_is_own()? {
        super::program::install()?;
    }
    let partial = format!("{}.new", layout::BINARY);
    let act = Act::Push { id, from: layout::BINARY.to_owned(), to: partial.clone() };
    // It says nothing of a failed copy; the digest does.
    let said = call(&act, &doing, sink)?;
    let doorway = doorway(id);
    let digest = Program::new(doorway.argv(&[&partial, "agent", "--digest"])).deadline(QUICK).output();
    if String::from_utf8_lossy(&digest.stdout).trim() != run::own_digest()? {
        let mut lines = said;
        lines.extend(String::from_utf8_lossy(&digest.stderr).lines().map(str::to_owned));
        return Err(Failure::new(doing, "it did not arrive whole")
            .evidence(lines)
            .hint("the container's disk may be full (`pct df` shows it); then run the same again"));
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
    if unfinished {
        call(&Act::Unlock { id }, &doing, sink)?;
    } else {
        let now = settings(container)?;
        if let Some(lock) = now.lock() {
            return Err(Failure::new(doing, format!("it is locked ({lock})"))
                .hint("wait until what is being done to it is over, then run the same again"));
        }
        let before = status(container)?;
        if before.running {
            let said = call(&Act::Shutdown { id }, &doing, sink);
            until(&doing, "it still runs", patience(&before), &said, || Ok(!status(container)?.running))?;
        }
        if now.get("protection").is_some_and(|on| on != "0") {
            set(container, &[("protection".to_owned(), "0".to_owned())], sink)?;
        }
    }
    let said = call(&Act::Destroy { id }, &doing, sink);
    until(&doing, "it is still there", SHOWS, &said, || Ok(!exists(id)?))
}
