//! The container: made, ours, and with the settings that it should have.

use super::{
    lock::{self, Locked},
    place::{Claim, Place, claim, find_container, node, unexpected, was_finished},
    template::chosen_template,
};
use crate::{
    effect::{Container, Effect, Local, NewContainer, TwoSided},
    fact::Side,
    layout,
    name::{AbsPath, ContainerId, Mode, Owner},
    observed::{Observed, Seen},
    proxmox::{
        Answer, Change, Growth, Holds, Question, Settings, Wrong, changes, create_options, growth, waiting,
    },
    resource::{Diff, FileChange, Risk, Site, Step},
    stack,
};

/// The container: there, ours, and with the settings that it should have.
pub(super) struct Made<'a> {
    pub(super) site: &'a Site,
}

impl Made<'_> {
    /// How it differs.
    pub(super) fn diff(&self, seen: &Observed) -> Seen<Diff> {
        match find_container(self.site, seen)? {
            Place::Absent => self.create(seen),
            Place::Here { container, settings } => self.change(container, settings, seen),
            Place::Unfinished { container } => self.unfinished(&container, seen),
            Place::Refused { why, hint } => Ok(Diff::Blocked { why, hint }),
        }
    }

    fn create(&self, seen: &Observed) -> Seen<Diff> {
        let config = &self.site.config;
        let id = match config.proxmox.container_id() {
            Some(id) => id,
            None => match seen.proxmox(Question::NextId)? {
                Answer::Id(id) => *id,
                other => return Err(unexpected(other)),
            },
        };
        let what = format!("Create the container {id}, called {}", config.guest.name);
        let node = node(seen)?;
        let Some(template) = chosen_template(self.site, seen)? else {
            return Ok(Diff::later(what, "the template is not there yet"));
        };
        Ok(Diff::quiet(
            what,
            format!("there is none: an unprivileged Debian 13 container on {}", config.proxmox.storage),
            vec![Effect::Both(TwoSided::CreateContainer(NewContainer {
                container: Container { id, node },
                site: config.site().to_owned(),
                template,
                options: create_options(config, &stack::endpoints(config)),
                root_password: config.proxmox.root_password.clone(),
            }))],
        ))
    }

    /// A creation that nobody waited for to its end.
    fn unfinished(&self, container: &Container, seen: &Observed) -> Seen<Diff> {
        let (site, id) = (self.site, container.id);
        let tasks = lock::tasks(seen, container)?;
        if !tasks.is_empty() {
            return Ok(Diff::Blocked {
                why: format!("Proxmox is still at the creation of the container {id} ({})", tasks.join(", ")),
                hint: "wait until that is over, then run the same again".to_owned(),
            });
        }
        if was_finished(site, seen, container)?
            && let Some(claim) = claim(site, seen)?
        {
            return Ok(Diff::quiet(
                format!("Take over the container {id}"),
                "a run was cut off while Proxmox made it, and Proxmox finished it",
                vec![Effect::Here(Local::WriteFile {
                    side: Side::Machine,
                    path: layout::container_claim(site.config.site()),
                    content: Claim { made: true, ..claim }.render(),
                    mode: Mode(0o600),
                    owner: Owner::ROOT,
                })],
            ));
        }
        Ok(Diff::Blocked {
            why: format!("the creation of the container {id} was cut off, and a part of it is there"),
            hint:
                "`matrix-podman up --remove-failed` removes that part, which holds no data, and begins again"
                    .to_owned(),
        })
    }

    fn change(&self, container: Container, settings: &Settings, seen: &Observed) -> Seen<Diff> {
        let config = &self.site.config;
        let id = container.id;
        let (changes, grows) = (changes(config, settings), growth(config, settings));
        let grows = match grows {
            Ok(grows) => grows,
            Err(wrong) => return Ok(cannot(id, &wrong)),
        };
        let mark = layout::container_restart(config.site());
        // A run was cut off before the restart that its changes need.
        let due = seen.meta(Side::Machine, &mark)?.is_some();
        let waiting = waiting(config, settings);
        let differs = !(changes.is_empty() && grows.is_empty() && waiting.is_empty()) || due;
        if let Some(lock) = settings.lock() {
            let locked = lock::locked(seen, &container, lock)?;
            if locked.is_left() && !locked.ours.is_empty() {
                return Ok(remove_remains(&locked));
            }
            if differs {
                return Ok(Diff::Blocked {
                    why: format!("the container {id} is to be changed, and is locked: {}", locked.reason()),
                    hint: locked.way_out(),
                });
            }
            return Ok(Diff::settled(format!(
                "the container {id} has the settings that it should have; it is locked: {}",
                locked.reason()
            )));
        }
        if !differs {
            return Ok(Diff::settled(format!("the container {id} has the settings that it should have")));
        }
        Ok(Diff::Change(self.step(container, &changes, &grows, &waiting, due)))
    }

    fn step(
        &self,
        container: Container,
        changes: &[Change],
        grows: &[Growth],
        waiting: &[&'static str],
        due: bool,
    ) -> Step {
        let id = container.id;
        let mark = layout::container_restart(self.site.config.site());
        let restarts = due || !waiting.is_empty() || changes.iter().any(|c| c.holds == Holds::AfterRestart);
        let mut effects = Vec::new();
        if restarts {
            // Written first: afterwards nothing shows that the guest has not got it yet.
            effects.push(Effect::Here(Local::WriteFile {
                side: Side::Machine,
                path: mark.clone(),
                content: String::new(),
                mode: Mode(0o600),
                owner: Owner::ROOT,
            }));
        }
        if !changes.is_empty() {
            let set = |c: &Change| Some((c.key.to_owned(), c.after.clone()?));
            let gone = changes.iter().filter(|c| c.after.is_none());
            effects.push(Effect::Here(Local::SetContainer {
                container: container.clone(),
                options: changes.iter().filter_map(set).collect(),
                delete: gone.map(|c| c.key.to_owned()).collect(),
            }));
        }
        for Growth { volume, to, .. } in grows {
            effects.push(Effect::Both(TwoSided::GrowDisk {
                container: container.clone(),
                volume: (*volume).to_owned(),
                size: *to,
            }));
        }
        if restarts {
            effects.push(Effect::Here(Local::RebootContainer { container }));
            effects.push(Effect::Here(Local::RemoveFile { side: Side::Machine, path: mark }));
        }
        let mut keys: Vec<&str> =
            changes.iter().map(|c| c.key).chain(grows.iter().map(|g| g.volume)).collect();
        if keys.is_empty() {
            keys = waiting.to_vec();
        }
        let net = changes.iter().find(|c| c.key == "net0");
        let why = match net {
            Some(net) if net.holds == Holds::AfterRestart => {
                "its settings are not those of matrix.toml; what changes of its interface reaches the guest only when \
                 it starts"
            }
            _ if keys.is_empty() => "settings that it got wait for that",
            _ => "its settings are not those of matrix.toml",
        };
        Step {
            what: what(id, &keys, changes, restarts),
            why: why.to_owned(),
            risk: match restarts {
                true => Risk::Outage,
                false if net.is_some() => Risk::Interrupts,
                false => Risk::None,
            },
            changes: if keys.is_empty() { Vec::new() } else { vec![shown(id, changes, grows)] },
            effects,
        }
    }
}

fn what(id: ContainerId, keys: &[&str], changes: &[Change], restarts: bool) -> String {
    let later = changes.iter().any(|c| c.holds == Holds::AtNextStart);
    match (keys, restarts) {
        ([], _) => format!("Restart the container {id}"),
        (_, true) => format!("Change {} of the container {id}, and restart it", keys.join(", ")),
        (["hostname"], false) => {
            format!("Change hostname of the container {id}, which counts from its next start on")
        }
        (_, false) if later => format!(
            "Change {} of the container {id}, while it runs; hostname counts from its next start on",
            keys.join(", ")
        ),
        (_, false) => format!("Change {} of the container {id}, while it runs", keys.join(", ")),
    }
}

/// What is left of snapshots of ours goes, with the lock that keeps backups away.
fn remove_remains(locked: &Locked) -> Diff {
    let container = &locked.container;
    let removed = locked
        .ours
        .iter()
        .map(|name| Effect::Here(Local::RemoveSnapshot { container: container.clone(), name: name.clone() }));
    Diff::quiet(
        "Remove what is left of a snapshot",
        format!("{}, and the container {} is still locked", locked.reason(), container.id),
        removed.collect(),
    )
}

/// The lines of the container's config that change.
fn shown(id: ContainerId, changes: &[Change], grows: &[Growth]) -> FileChange {
    let line = |key: &str, value: Option<&str>| value.map(|v| format!("{key}: {v}\n")).unwrap_or_default();
    let mut before: String = changes.iter().map(|c| line(c.key, c.before.as_deref())).collect();
    let mut after: String = changes.iter().map(|c| line(c.key, c.after.as_deref())).collect();
    for grow in grows {
        before.push_str(&line(grow.volume, Some(&format!("size={}", grow.from))));
        after.push_str(&line(grow.volume, Some(&format!("size={}", grow.to))));
    }
    FileChange {
        side: Side::Machine,
        path: AbsPath::known(format!("/etc/pve/lxc/{id}.conf")),
        before: Some(before),
        after,
    }
}

fn cannot(id: ContainerId, wrong: &Wrong) -> Diff {
    match wrong {
        Wrong::Shrinks { key, has, wanted } => Diff::Blocked {
            why: format!(
                "{key} is {wanted}, and that disk of the container {id} has {has}: disks can only grow"
            ),
            hint: format!("write {key} = \"{has}\", or more"),
        },
        Wrong::NoVolume => Diff::Blocked {
            why: format!(
                "the container {id} was made without a data volume, and its data is on its own disk"
            ),
            hint: "take proxmox.data_volume out again; a new server can have one".to_owned(),
        },
    }
}
