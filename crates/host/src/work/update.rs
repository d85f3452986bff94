//! Updates: new images are in place before anything stops, the database is
//! dumped, only what changes is replaced, and what fails is rolled back.
//!
//! The lock keeps naming the old images until the new ones have shown that they
//! do. A run that is killed before that leaves a server that the next run puts
//! back: everything that it has to know for that is in the history.

mod back;
mod major;
mod outlived;
mod precaution;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use matrix_podman_core::{
    check::{self, Check, Group, Scope, Verdict},
    effect::{Effect, Local, TwoSided},
    fact::{Database, ImageState, Side},
    federation::Net,
    ids::{self, ResourceId},
    lock::{Lock, LockedImage},
    name::{AbsPath, Mode, Owner},
    observed::Observed,
    plan::Plan,
    resource::{self, Resource, Risk, Site},
    service::Service,
    stack::Data,
    update::{self, Ended, Generation, History, Outcome, Precaution, Schema, Unattended, Undo, Wanted},
};

pub use outlived::room_runs_out;

use crate::{
    failure::Failure,
    journal::Journal,
    progress::{Event, Listener, millis},
    world::{World, see},
};

/// How long checks that held before may take to hold again.
const SETTLES: Duration = Duration::from_secs(60);
/// How many lines of a log a report shows.
const LOG_LINES: usize = 12;
/// The name of an update in events and the journal.
pub(super) const ID: &str = "update";

/// A run of an update.
pub struct Update<'a> {
    /// The two sides.
    pub world: &'a World,
    /// The journal.
    pub journal: &'a Journal,
    /// Who watches.
    pub listener: &'a dyn Listener,
    /// Who or what asked for it.
    pub by: String,
}

/// One service of a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Which service.
    pub service: Service,
    /// What runs.
    pub from: LockedImage,
    /// What is to run.
    pub to: LockedImage,
}

/// What is about to be done.
#[derive(Debug, Clone)]
pub struct Proposal {
    /// The services that change.
    pub changes: Vec<Change>,
    /// How it can be taken back.
    pub undo: Undo,
    /// The dump that has to be put back for it.
    pub restore: Option<AbsPath>,
    /// The number that it gets.
    pub number: u32,
    /// What is done for the guest as a whole before.
    pub precaution: Precaution,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Report {
    /// The generation, as it is in the history.
    pub generation: Generation,
    /// Checks that held before and still did not after everything was put back.
    pub still_ill: Vec<String>,
    /// Why the snapshot was not made that was to be.
    pub without_snapshot: Option<String>,
    /// How long the replaced services were away, in milliseconds.
    pub millis: u64,
}

impl Report {
    /// Of a generation that all is well with.
    fn of(generation: Generation) -> Self {
        Self { generation, still_ill: Vec::new(), without_snapshot: None, millis: 0 }
    }
}

/// The lock of a server that was made.
pub fn lock(world: &World) -> Result<Lock, Failure> {
    see(world, "read matrix.lock", resource::read_lock)?.ok_or_else(|| {
        Failure::new("read matrix.lock", "there is no server here yet").hint("`matrix-podman up` makes it")
    })
}

/// What ran on the server.
pub fn history(world: &World) -> Result<History, Failure> {
    let doing = format!("read {}", update::history_file());
    let text = see(world, &doing, |seen| {
        Ok(seen.file(Side::Guest, &update::history_file())?.map(|f| f.content.clone().unwrap_or_default()))
    })?;
    text.map_or(Ok(History::default()), |text| {
        History::parse(&text).map_err(|why| {
            let hint = why.hint().unwrap_or("it is only a record: moved away, a new one is begun");
            Failure::new(doing, &why).hint(hint)
        })
    })
}

fn now() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// The number of the generation that comes behind what the lock says, which is noted
/// first where it is new.
fn next(world: &World, lock: &Lock) -> Result<u32, Failure> {
    let mut history = history(world)?;
    history.note(lock, &now(), "up");
    Ok(history.next())
}

/// Notes in the history what the lock says, if that is new.
pub fn note(world: &World, by: &str) -> Result<(), Failure> {
    let mut history = history(world)?;
    if history.note(&lock(world)?, &now(), by) {
        write_history(world, &history)?;
    }
    Ok(())
}

fn write_history(world: &World, history: &History) -> Result<(), Failure> {
    let path = update::history_file();
    let content = history.render().map_err(|e| Failure::new(format!("write {path}"), e))?;
    let (mode, owner) = (Mode(0o644), Owner::ROOT);
    world.apply(&Effect::Here(Local::WriteFile { side: Side::Guest, path, content, mode, owner }), &|_| {})
}

/// Writes down what came of an update that nobody typed.
pub fn record(world: &World, outcome: Ended, what: String) -> Result<(), Failure> {
    let path = update::unattended_file();
    let record = Unattended { at: now(), outcome, what };
    let content = record.render().map_err(|e| Failure::new(format!("write {path}"), e))?;
    let (mode, owner) = (Mode(0o644), Owner::ROOT);
    world.apply(&Effect::Here(Local::WriteFile { side: Side::Guest, path, content, mode, owner }), &|_| {})
}

pub(crate) fn schema_of(world: &World, image: &LockedImage) -> Option<Schema> {
    let read = see(world, "read the image's schema", |seen| seen.image_schema(&image.run));
    read.ok().flatten().or_else(|| update::known(&image.version))
}

/// What the database demands of who opens it.
fn demanded(world: &World) -> Result<Option<u32>, Failure> {
    match see(world, "ask the database", |seen| seen.database().cloned())? {
        Database::Answers(state) => Ok(state.compat),
        Database::Refuses(why) => Err(Failure::new("ask the database", why)),
    }
}

impl Update<'_> {
    /// Does one act, told and written down.
    pub fn act(&self, what: &str, effect: &Effect) -> Result<(), Failure> {
        super::act(self.world, self.journal, self.listener, ID, what, effect)
    }

    /// Gets the images that are wanted into the guest, and says what they would
    /// change; `None` when what is there is what is wanted. Nothing that runs is
    /// touched.
    pub fn propose(&self, wanted: &[Wanted]) -> Result<Option<Proposal>, Failure> {
        let lock = lock(self.world)?;
        let number = next(self.world, &lock)?;
        let mut changes = Vec::new();
        for wanted in wanted {
            let service = wanted.service;
            let Some(from) = lock.images.get(&service).cloned() else {
                return Err(Failure::new(format!("update {service}"), "matrix.lock does not know it")
                    .hint("`matrix-podman up` writes it"));
            };
            if let Some(text) = wanted.caution() {
                self.listener.on(&Event::Note { text });
            }
            let tag = update::tag_of(service, number);
            let effect =
                Effect::Both(TwoSided::ObtainImage { service, from: wanted.from.clone(), tag: tag.clone() });
            let named = || {
                see(self.world, "look at the image", |seen| Ok(seen.image(&tag, [tag.as_str()])?.cloned()))
            };
            let before = named()?;
            self.act(&format!("Get the image of {}", service.title()), &effect)?;
            let image =
                named()?.ok_or_else(|| Failure::new("look at the image", format!("{tag} is not there")))?;
            self.remove_replaced(before.as_ref(), &image);
            let to = locked(wanted, &image);
            if let (Some(asked), Some(got)) = (wanted.major, to.major())
                && asked != got
            {
                return Err(Failure::new(
                    format!("update PostgreSQL to {asked}"),
                    format!("what [images.postgres] names is PostgreSQL {got}"),
                )
                .hint("nothing was changed; give an image of that version there"));
            }
            let differ = major::majors(Some(&from), Some(&to)).filter(|_| Data::Cluster.is_kept_by(service));
            if let (None, Some((runs, there))) = (wanted.major, differ) {
                let text = if there > runs {
                    format!(
                        "PostgreSQL {there} is there, and {runs} goes on running: `matrix-podman update \
                         {service}={there}` moves the data"
                    )
                } else {
                    format!(
                        "[images.postgres] names PostgreSQL {there}, and {runs} runs: name that, to get its newer \
                         versions"
                    )
                };
                self.listener.on(&Event::Note { text });
                continue;
            }
            if image.id != from.id {
                changes.push(Change { service, from, to });
            }
        }
        if changes.is_empty() {
            return Ok(None);
        }
        let mut proposal = self.proposal(changes, number, None, false)?;
        proposal.precaution = self.precaution(&proposal)?;
        Ok(Some(proposal))
    }

    fn proposal(
        &self,
        mut changes: Vec<Change>,
        number: u32,
        dump: Option<AbsPath>,
        back: bool,
    ) -> Result<Proposal, Failure> {
        if let Some(change) = changes.iter().find(|c| Data::Cluster.is_kept_by(c.service))
            && change.from.major() != change.to.major()
        {
            return self.other_major(changes, number, back);
        }
        // In the order in which they need each other.
        changes.sort_by_key(|change| change.service);
        let (mut undo, mut restore) = (Undo::Image, None);
        if let Some(change) = changes.iter().find(|c| Data::Tables.is_kept_by(c.service)) {
            let demanded = demanded(self.world)?;
            let (before, after) = (schema_of(self.world, &change.from), schema_of(self.world, &change.to));
            restore = dump.filter(|_| update::undo(demanded, after) == Undo::Dump);
            if restore.is_none() && update::undo(demanded, after) == Undo::Dump {
                return Err(Failure::new(
                    format!("go from Synapse {} to {}", change.from.version, change.to.version),
                    match after {
                        Some(after) => format!(
                            "it knows data up to version {}, and these demand {}",
                            after.version,
                            demanded.map_or_else(|| "an unknown one".to_owned(), |d| d.to_string())
                        ),
                        None => "the image does not say which data it can open".to_owned(),
                    },
                )
                .hint("nothing was changed; choose a newer version"));
            }
            // What the new one will demand, it writes at its first start.
            let will = match (demanded, after) {
                (Some(demanded), Some(after)) => Some(demanded.max(after.compat)),
                _ => None,
            };
            undo = update::undo(will, before);
        }
        if restore.is_some() {
            undo = Undo::Dump;
        }
        Ok(Proposal { changes, undo, restore, number, precaution: Precaution::Needless })
    }

    /// Replaces the services, one after the other, and keeps the new ones if
    /// everything holds that held before; otherwise puts the old ones back.
    pub fn carry_out(&self, proposal: &Proposal, patience: Duration) -> Result<Report, Failure> {
        let lock = lock(self.world)?;
        let green = self.green(self.world.site())?;
        // A cluster that is left stays as it is, which is better than a dump.
        let dumps = proposal.undo != Undo::Cluster && proposal.touches_data();
        let dump = dumps.then(|| update::dump_of(proposal.number));
        if let Some(to) = &dump {
            self.act("Dump the database", &Effect::Here(Local::DumpDatabase { to: to.clone() }))?;
        }
        let mut images = lock.images.clone();
        images.extend(proposal.changes.iter().map(|change| (change.service, change.to.clone())));
        let (snapshot, without_snapshot) = self.make_snapshot(proposal)?;
        let mut history = history(self.world)?;
        history.note(&lock, &now(), "up");
        let generation = Generation {
            number: history.next(),
            at: now(),
            by: self.by.clone(),
            images,
            dump,
            snapshot,
            restores: proposal.restore.clone(),
            undo: Some(proposal.undo),
            outcome: Outcome::UnderWay,
        };
        history.push(generation.clone());
        write_history(self.world, &history)?;
        let started = Instant::now();
        let report = match self.attempt(proposal, generation.number, &green, patience) {
            Ok(()) => {
                let millis = millis(started);
                let generation = self.close(Outcome::Kept)?;
                self.remove_outlived(proposal, generation.snapshot.as_ref());
                self.remove_older_generations(None);
                Report { millis, ..Report::of(generation) }
            }
            Err(failure) => {
                self.listener.on(&Event::Note { text: format!("{failure}. The old version is put back.") });
                let log = self.evidence(proposal, &failure);
                let report = self.take_back(&generation, failure.to_string(), log, &green)?;
                if report.still_ill.is_empty() {
                    self.remove_older_generations(Some(generation.number));
                }
                report
            }
        };
        Ok(Report { without_snapshot, ..report })
    }

    /// Tries the new images; commits to them when everything holds.
    fn attempt(
        &self,
        proposal: &Proposal,
        generation: u32,
        green: &BTreeSet<&'static str>,
        patience: Duration,
    ) -> Result<(), Failure> {
        let mut site = self.world.site().clone();
        for change in &proposal.changes {
            site.trial.insert(change.service, change.to.clone());
            if let Some(majors) = proposal.majors() {
                self.change_cluster(&site, change, majors, generation, patience)?;
                continue;
            }
            if let Some(from) = proposal.restore.clone().filter(|_| Data::Tables.is_kept_by(change.service)) {
                self.restore(from, update::database_replaced(proposal.number))?;
            }
            self.replace(&site, change.service, Some(patience))?;
        }
        let failing = self.failing_checks(&site, green)?;
        if let Some(first) = failing.first() {
            return Err(Failure::new(
                "keep the new version",
                format!("what was well before is not any more: {}", failing.join("; ")),
            )
            .hint(first.clone()));
        }
        // From here on it is what should be.
        self.settle(&site, &[ids::LOCK, ids::EXPORT_COMPOSE, ids::EXPORT_CONFIG])
    }

    /// Has the unit and the container of `service` be what `site` says.
    fn replace(&self, site: &Site, service: Service, patience: Option<Duration>) -> Result<(), Failure> {
        self.settle(site, &[ids::unit(service)])?;
        match patience {
            None => self.settle(site, &[ids::service(service)])?,
            Some(patience) => self.act(
                &format!("Replace {}", service.title()),
                &Effect::Here(Local::StartService {
                    service,
                    restart: true,
                    timeout: matrix_podman_core::size::Seconds(patience.as_secs()),
                }),
            )?,
        }
        // A cluster that served before may be one that an older version made.
        if Data::Cluster.is_kept_by(service) { self.settle(site, &[ids::DATABASE_ROLES]) } else { Ok(()) }
    }

    fn stop_one(&self, service: Service) -> Result<(), Failure> {
        self.act(&format!("Stop {}", service.title()), &Effect::Here(Local::StopService { service }))
    }

    /// Stops whoever keeps `data`.
    fn stop(&self, data: Data) -> Result<(), Failure> {
        data.keepers().into_iter().rev().try_for_each(|service| self.stop_one(service))
    }

    /// Brings these resources to where `site` wants them.
    fn settle(&self, site: &Site, ids: &[ResourceId]) -> Result<(), Failure> {
        let resources = called(resource::all(site), ids)?;
        let plan = self.world.look(&mut Observed::default(), |seen| Plan::make(&resources, seen))?;
        let ended = super::run(&resources, &plan, self.world, self.journal, Risk::Outage, self.listener)?;
        ended.failed.into_iter().next().map_or(Ok(()), |(_, failure)| Err(failure))
    }

    fn close(&self, outcome: Outcome) -> Result<Generation, Failure> {
        let mut history = history(self.world)?;
        let Some(last) = history.generations.last_mut() else {
            return Err(Failure::new("write the history", "it is empty"));
        };
        last.outcome = outcome;
        let generation = last.clone();
        write_history(self.world, &history)?;
        Ok(generation)
    }

    /// All checks of `verify`.
    fn verify(&self, site: &Site) -> Result<Vec<Check>, Failure> {
        let scope = Scope { groups: Group::ALL.to_vec(), slow: false, net: Net::default() };
        let groups = self.world.look(&mut Observed::default(), |seen| check::verify(site, &scope, seen))?;
        Ok(groups.into_iter().flat_map(|group| group.checks).collect())
    }

    /// The checks that hold now.
    fn green(&self, site: &Site) -> Result<BTreeSet<&'static str>, Failure> {
        let checks = self.verify(site)?;
        Ok(checks.iter().filter(|c| matches!(c.verdict, Verdict::Pass { .. })).map(|c| c.id).collect())
    }

    /// What of `green` does not hold, once it had time to.
    fn failing_checks(&self, site: &Site, green: &BTreeSet<&'static str>) -> Result<Vec<String>, Failure> {
        let what = "Ask whether everything is as well as before";
        let started = Instant::now();
        self.listener.on(&Event::Started { id: ID, what });
        loop {
            let ill: Vec<String> = self
                .verify(site)?
                .iter()
                .filter(|check| green.contains(check.id) && !check.holds())
                .map(|check| match &check.verdict {
                    Verdict::Fail { why, .. } | Verdict::Unknown { why } => format!("{}: {why}", check.id),
                    _ => check.id.to_owned(),
                })
                .collect();
            if ill.is_empty() {
                self.listener.on(&Event::Finished { id: ID, what, millis: millis(started) });
                return Ok(ill);
            }
            if started.elapsed() > SETTLES {
                self.listener.on(&Event::Failed { id: ID, what, why: ill.join("; ") });
                return Ok(ill);
            }
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    /// The lines that show why it failed: those that came with the failure,
    /// else the last ones of the services that were replaced.
    fn evidence(&self, proposal: &Proposal, failure: &Failure) -> Vec<String> {
        let lines = if failure.evidence.is_empty() {
            let looked = see(self.world, "read the log", |seen| {
                let mut lines = Vec::new();
                for change in &proposal.changes {
                    lines.extend(seen.journal(&change.service.unit())?.iter().cloned());
                }
                Ok(lines)
            });
            looked.unwrap_or_default()
        } else {
            failure.evidence.clone()
        };
        update::telling(&lines, LOG_LINES)
    }
}

/// What says that whoever keeps `data` runs.
fn running(data: Data) -> Vec<ResourceId> {
    data.keepers().into_iter().map(ids::service).collect()
}

/// Those of `all` that `ids` names; each has to be there, or it would count as settled.
fn called(all: Vec<Box<dyn Resource>>, ids: &[ResourceId]) -> Result<Vec<Box<dyn Resource>>, Failure> {
    match ids.iter().find(|id| all.iter().all(|resource| resource.id() != **id)) {
        Some(id) => Err(Failure::new(format!("settle {id}"), "this site has no resource of that name")),
        None => Ok(all.into_iter().filter(|resource| ids.contains(&resource.id())).collect()),
    }
}

fn locked(wanted: &Wanted, image: &ImageState) -> LockedImage {
    LockedImage {
        wanted: wanted.words.clone(),
        run: resource::run_name(&wanted.from, image),
        digest: image.digest.clone(),
        id: image.id.clone(),
        version: image.version.clone(),
    }
}

#[cfg(test)]
mod tests {
    use matrix_podman_core::{
        config::{Config, Defaults},
        resource::BackendId,
    };

    use super::*;

    #[test]
    fn what_is_not_there_is_not_settled() {
        let config = Config::from_domain("chat.home.arpa", &Defaults::default()).unwrap();
        let site = Site::new(config, BackendId::Lxc);
        let found = |ids: &[ResourceId]| called(resource::all(&site), ids);
        assert_eq!(found(&[ids::LOCK, ids::DATABASE_ROLES]).unwrap().len(), 2);
        let failure = found(&[ids::LOCK, ids::zone_setting("none")]).map(|_| ()).unwrap_err();
        assert!(failure.to_string().contains("edge/cloudflare/setting/none"), "{failure}");
    }
}
