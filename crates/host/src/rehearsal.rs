//! Rehearsals of updates: the new images on a copy of the data, beside the
//! server, in containers without a network.

use std::{
    fs::File,
    io::{BufReader, Write},
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use matrix_podman_core::{
    aside::Aside,
    fact::{Database, Side},
    layout,
    lock::Lock,
    name::{AbsPath, Mode, Owner},
    resource,
    service::Service,
    stack::synapse::homeserver::DATABASE,
    update::{self as rules, Progress, Rehearsal, Rehearsed, Undo, rehearsal, rehearsal_needs},
};

use crate::{
    apply::file,
    aside,
    backup::{self, Call, guest},
    bounded, dump,
    failure::{Doing, Failure},
    guest::wire::Saying,
    room,
    run::Event,
    update::{Proposal, Update, lock, millis, schema_of, see},
};

/// Between two looks at what is rewritten.
const LOOK: Duration = Duration::from_millis(500);

impl Update<'_> {
    /// Does to a copy of the data what `proposal` would do, and removes it again.
    /// What does not start, or loses something, is a failure. The server is not
    /// touched.
    pub fn rehearse(&self, proposal: &Proposal, within: Duration) -> Result<Rehearsed, Failure> {
        let doing = "rehearse the update";
        let what = "Rehearse it on a copy of the data";
        let site = self.world.site();
        let mut images: Lock = lock(self.world)?;
        images.images.extend(proposal.changes.iter().map(|change| (change.service, change.to.clone())));
        let facts = see(self.world, doing, |seen| resource::render_facts(site, seen))?;
        let rehearsal = rehearsal(&site.config, &images, &facts, within.as_secs())
            .map_err(|missing| Failure::new(doing, missing))?;
        let started = Instant::now();
        self.listener.on(&Event::Started { id: crate::update::ID, what });
        let act = self.journal.intent(crate::update::ID, doing)?;
        let result = self.hold(rehearsal).and_then(|done| match done.lost() {
            lost if lost.is_empty() => Ok(done),
            lost => Err(Failure::new(doing, "what people have would be lost").evidence(lost)),
        });
        let result = result.map_err(|failure| match self.world.about_room(failure, Side::Guest) {
            failure if failure.hint.is_some() => failure,
            failure => failure.hint(
                "the server was not touched and runs as before; the copy is gone. An update to another version \
                 may do: `matrix-podman update synapse=VERSION --rehearse`",
            ),
        });
        self.journal.outcome(act, &result.as_ref().map(|_| ()).map_err(Failure::clone))?;
        match &result {
            Ok(_) => {
                self.listener.on(&Event::Finished { id: crate::update::ID, what, millis: millis(started) })
            }
            Err(failure) => {
                self.listener.on(&Event::Failed { id: crate::update::ID, what, why: failure.to_string() });
            }
        }
        result
    }

    /// Why there is no room for a rehearsal that nobody asked for, where there is none.
    pub fn no_room_to_rehearse(&self) -> Result<Option<String>, Failure> {
        let doing = "look for room for a rehearsal";
        let site = self.world.site();
        let place = layout::in_root("postgresdata");
        let (database, disk, memory, facts) = see(self.world, doing, |seen| {
            let (database, disk) = (seen.database(), seen.room(Side::Guest, &place));
            let memory = seen.memory(Service::ALL.map(Service::unit));
            let facts = resource::render_facts(site, seen)?;
            Ok((database?.clone(), disk?, memory?.clone(), facts))
        })?;
        let size = match database {
            Database::Answers(state) => state.size,
            Database::Refuses(why) => return Err(Failure::new(doing, why)),
        };
        // On plain LXC the kernel tells the guest of the machine's memory.
        let memory = memory.total.min(facts.guest_memory.0).saturating_sub(memory.used);
        Ok(rules::no_room(size, disk.map_or(0, |disk| disk.free), memory))
    }

    /// How `proposal` could be taken back, going by what the rehearsal left.
    pub fn way_back_after(&self, proposal: &Proposal, done: &Rehearsed) -> Result<Undo, Failure> {
        if proposal.undo != Undo::Image {
            return Ok(proposal.undo);
        }
        let lock = lock(self.world)?;
        let now = lock.images.get(&Service::Synapse).and_then(|image| schema_of(self.world, image));
        Ok(done.undo(now))
    }

    fn hold(&self, rehearsal: Rehearsal) -> Result<Rehearsed, Failure> {
        let doing = "rehearse the update";
        let from = BufReader::new(backup::ask(self.world, Call::Rehearse(Box::new(rehearsal)))?);
        let lines = bounded::lines(from, bounded::LIST);
        for line in lines {
            let line = line.map_err(|error| backup::guests(error, doing))?;
            match serde_json::from_str(&line).doing(|| "understand what the rehearsal said")? {
                Progress::WaitsFor(what) => {
                    let saying = Saying::WaitsFor(what);
                    self.listener.on(&Event::Said { id: crate::update::ID, saying: &saying });
                }
                Progress::Ended(done) => return Ok(done),
            }
        }
        Err(Failure::new(doing, "it ended without a word"))
    }
}

/// The guest's half.
pub(crate) fn serve(rehearsal: &Rehearsal, to: &mut dyn Write) -> Result<(), Failure> {
    let folder = Path::new(Aside::Rehearsal.folder());
    let held = run(rehearsal, folder, to);
    let removed = aside::remove(&rehearsal.containers).and_then(|()| file::remove_partial(folder));
    let done = held?;
    removed?;
    guest::json_line(to, &Progress::Ended(done)).doing(|| "tell what the rehearsal found")
}

fn run(rehearsal: &Rehearsal, folder: &Path, to: &mut dyn Write) -> Result<Rehearsed, Failure> {
    let containers = &rehearsal.containers;
    // Whoever asked may be gone: then nothing is begun any more.
    let mut tell = |what: &str| {
        guest::json_line(to, &Progress::WaitsFor(what.to_owned())).doing(|| "tell how the rehearsal goes")
    };
    tell("what an earlier rehearsal left to be removed")?;
    aside::remove(containers)?;
    file::remove_partial(folder)?;
    let size = guest::Session::open()?.one("SELECT pg_database_size(current_database())")?;
    let size: u64 = size.parse().doing(|| "read the size of the database")?;
    // The dump, and the database that is made of it.
    room::check(folder, rehearsal_needs(size))?;
    file::make_dir(folder, Mode(0o700), Owner::ROOT)?;
    aside::prepare(containers)?;
    for path in &rehearsal.copies {
        copy(path)?;
    }
    let started = Instant::now();
    let mut done = Rehearsed::default();
    tell("the database to be copied")?;
    let dump = Aside::Rehearsal.moved(&layout::in_root("copy.dump"));
    dump::take(&dump, &|_| {})?;
    aside::start_database(containers)?;
    aside::fill(containers, File::open(dump.as_str()).doing(|| format!("open {dump}"))?)?;
    file::remove(Path::new(dump.as_str()))?;
    let mut session = guest::Session::of(&containers.aside.container(Service::Postgres), DATABASE)?;
    done.before = guest::rows(&mut session)?;
    done.copy_millis = millis(started);

    let started = Instant::now();
    let within = Duration::from_secs(rehearsal.within);
    tell("the new version to migrate the copy and to answer")?;
    aside::start_synapse(containers, within)?;
    done.start_millis = millis(started);

    let started = Instant::now();
    let open = "SELECT update_name FROM background_updates ORDER BY ordering";
    done.background_left = session.all(open)?;
    done.background = done.background_left.len();
    while !done.background_left.is_empty() && started.elapsed() < within {
        tell(&format!("data to be rewritten in the background ({} to go)", done.background_left.len()))?;
        thread::sleep(LOOK);
        done.background_left = session.all(open)?;
    }
    done.background_millis = millis(started);
    let number = |text: String| text.parse().ok();
    done.schema = number(session.one("SELECT version FROM schema_version")?);
    done.compat = number(session.one("SELECT compat_version FROM schema_compat_version")?);
    done.after = guest::rows(&mut session)?;
    Ok(done)
}

/// Copies a file of the server to where the rehearsal has it, for the same reader.
fn copy(path: &AbsPath) -> Result<(), Failure> {
    let doing = || format!("copy {path}");
    let mut from = file::open(Path::new(path.as_str())).doing(doing)?;
    let meta = from.metadata().doing(doing)?;
    let owner = Owner { uid: meta.uid(), gid: meta.gid() };
    let to = Aside::Rehearsal.moved(path);
    file::write_from(Path::new(to.as_str()), &mut from, Mode(meta.mode() & 0o777), owner)
}
