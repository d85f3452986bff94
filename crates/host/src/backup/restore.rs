//! The way back: a snapshot into a guest.
//!
//! Everything is put beside its place before anything that is there is touched,
//! and then takes that place (`switch`). The dump of
//! Synapse's database comes along as [`layout::restore_dump`], those of the others beside it; as
//! long as it is there, the restore is not done, and nothing but a restore goes on with the guest.

use std::{
    fs,
    io::{self, Read, Seek as _},
    path::Path,
};

use matrix_podman_core::{
    aside as beside,
    backup::{MediaList, Rows, place},
    effect::{Effect, Local},
    fact::Side,
    layout,
    name::{Mode, Owner},
    stack::RoomDatabase,
};
use rustic_core::{jiff::Timestamp, repofile::Node};

use super::{Opened, media_place};
use crate::{
    agent,
    failure::{Doing, Failure},
    file,
    guest::{
        calls::{Beside, Call, Incoming, Step, Switch, below_root},
        wire::Request,
    },
    progress::{Saying, Sink},
    world::World,
};

/// The databases that the server began with, empty, are kept with this behind their names.
const BEGUN: &str = "before_restore";

/// Room on the guest's disk that is left alone.
const SPARE: u64 = 512 << 20;

fn act(
    world: &World,
    beside: Beside,
    step: Step,
    data: &mut (dyn Read + Send),
    sink: &Sink,
) -> Result<(), Failure> {
    match world.guest()? {
        Some(guest) => guest.send(&Request::Restore(beside, step), data, None, sink),
        None => agent::restore_here(beside, &step, data),
    }
}

/// Puts files and dump of a snapshot beside a server, if there is one; that
/// goes on as it is.
pub fn put(world: &World, opened: &Opened, sink: &Sink) -> Result<(), Failure> {
    put_beside(world, Beside::Restore, opened, sink).inspect_err(|_| {
        let _ = act(world, Beside::Restore, Step::End, &mut io::empty(), &|_| {});
    })
}

/// Gives `incoming` the place of the server's data, which are set aside under the
/// name of this moment; goes on with a switch that was cut off. Only with
/// `replace` may there be a server.
pub fn switch(world: &World, incoming: Incoming, replace: bool, sink: &Sink) -> Result<(), Failure> {
    sink(Saying::WaitsFor("the services to stop".to_owned()));
    let aside = Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let step = Step::Switch(Switch { incoming, aside, replace, inwards: false });
    act(world, Beside::Restore, step, &mut io::empty(), &|_| {})
}

/// The names of what restores set aside in the guest, oldest first.
pub fn set_aside(world: &World) -> Result<Vec<String>, Failure> {
    let doing = "list what is set aside";
    serde_json::from_str(&world.lines(Call::SetAside, doing)?.concat()).doing(|| doing)
}

/// Puts files and dump of a snapshot into the guest, beside a server.
pub(super) fn put_beside(world: &World, beside: Beside, opened: &Opened, sink: &Sink) -> Result<(), Failure> {
    let quiet: &Sink = &|_| {};
    let act = |step, data: &mut (dyn Read + Send)| act(world, beside, step, data, quiet);
    let nothing = || io::empty();
    let folder = layout::machine_state(world.site().config.site());
    file::make_dir(Path::new(folder.as_str()), Mode(0o755), Owner::ROOT)?;
    let entries = opened.below(place::FILES)?;
    let dumps = opened.databases()?.into_iter().map(|database| Ok((database, opened.dump(&database)?)));
    let dumps = dumps.collect::<Result<Vec<_>, Failure>>()?;
    let size_of_dump = dumps.iter().map(|(_, parts)| size(parts)).sum::<u64>();
    let total = entries.iter().map(|(_, node)| node.meta.size).sum::<u64>() + size_of_dump;
    // The dump, and a database of thrice its size with its indexes and logs.
    let needs = total + 3 * size_of_dump + SPARE;
    act(Step::Begin { needs }, &mut nothing())?;
    let mut done = 0;
    for (path, node) in &entries {
        let path = path.to_str().ok_or_else(|| Failure::new("restore the files", "a name is not UTF-8"))?;
        let path = path.to_owned();
        let owner = Owner { uid: node.meta.uid.unwrap_or_default(), gid: node.meta.gid.unwrap_or_default() };
        let mode = node.meta.mode.unwrap_or(0o600) & 0o777;
        if node.is_dir() {
            act(Step::Folder { path, mode, owner }, &mut nothing())?;
            continue;
        }
        let modified =
            node.meta.mtime.and_then(|at| u64::try_from(at.as_nanosecond()).ok()).unwrap_or_default();
        let step = Step::File { path, mode, owner, modified };
        act(step, &mut whole(opened, [node], Path::new(folder.as_str()))?)?;
        done += node.meta.size;
        sink(Saying::Bytes { done, total: Some(total) });
    }
    let path = below_root(&layout::dumps()).to_owned();
    act(Step::Folder { path, mode: 0o700, owner: Owner::ROOT }, &mut nothing())?;
    for (database, parts) in &dumps {
        act(file_of_dump(database), &mut whole(opened, parts, Path::new(folder.as_str()))?)?;
    }
    sink(Saying::Bytes { done: done + size_of_dump, total: Some(total) });
    Ok(())
}

fn size(nodes: &[Node]) -> u64 {
    nodes.iter().map(|node| node.meta.size).sum()
}

/// The dump of a database, for root alone.
fn file_of_dump(database: &RoomDatabase) -> Step {
    let path = below_root(&database.dump_at(&layout::restore_dump())).to_owned();
    Step::File { path, mode: 0o600, owner: Owner::ROOT, modified: 0 }
}

/// Puts the dump of Synapse's database beside a server, alone.
pub(super) fn put_dump_beside(world: &World, opened: &Opened, sink: &Sink) -> Result<(), Failure> {
    let parts = opened.dump(&beside::DATABASE)?;
    let needs = size(&parts) + SPARE;
    act(world, Beside::Drill, Step::Begin { needs }, &mut io::empty(), &|_| {})?;
    let folder = layout::machine_state(world.site().config.site());
    let mut dump = whole(opened, &parts, Path::new(folder.as_str()))?;
    act(world, Beside::Drill, file_of_dump(&beside::DATABASE), &mut dump, sink)
}

/// Removes what a drill put there.
pub(super) fn end_drill(world: &World) -> Result<(), Failure> {
    act(world, Beside::Drill, Step::End, &mut io::empty(), &|_| {})
}

/// What files of the snapshot hold, one behind the other, in a file without a name.
/// Nothing is sent before all of it was read and found whole.
fn whole<'a>(
    opened: &Opened,
    nodes: impl IntoIterator<Item = &'a Node>,
    folder: &Path,
) -> Result<fs::File, Failure> {
    let doing = || format!("keep what is restored in {}", folder.display());
    let mut file = tempfile::tempfile_in(folder).doing(doing)?;
    for node in nodes {
        opened.copy(node, &mut file).map_err(|failure| failure.about_full_disk("the machine's"))?;
    }
    file.rewind().doing(doing)?;
    Ok(file)
}

/// Fills the databases from their dumps, and finds out whether everything is there.
/// PostgreSQL runs, Synapse does not.
pub fn fill(world: &World, opened: &Opened, sink: &Sink) -> Result<(), Failure> {
    let manifest = opened.manifest()?;
    let from = layout::restore_dump();
    world.apply(
        &Effect::Here(Local::RestoreDatabase { from: from.clone(), keep_as: BEGUN.to_owned() }),
        sink,
    )?;
    sink(Saying::Line("counting what came back".to_owned()));
    let doing = "see whether everything came back";
    let databases = opened.databases()?;
    let mut differences = Vec::new();
    for database in &databases {
        let rows = world.lines(Call::Rows(database.name), doing)?.concat();
        let rows: Rows = serde_json::from_str(&rows).doing(|| doing)?;
        differences.extend(manifest.differences(database.called(), &rows));
    }
    let wanted = opened.media()?;
    let paths = wanted.paths().map(media_place).collect();
    let digests = world.lines(Call::Digests(paths), doing)?;
    let mut found = MediaList::default();
    for (path, digest) in wanted.paths().zip(digests) {
        found.insert(path.to_owned(), digest);
    }
    differences
        .extend(wanted.differences(&found).iter().map(|path| format!("the media file {path} differs")));
    if !differences.is_empty() {
        return Err(Failure::new(doing, "what came back is not what was saved").evidence(differences).hint(
            "Synapse was not started; try another snapshot in another guest (`matrix-podman backup list`)",
        ));
    }
    // Synapse's last: as long as it is there, the restore is not done.
    databases.iter().rev().try_for_each(|database| {
        world.apply(
            &Effect::Here(Local::RemoveFile { side: Side::Guest, path: database.dump_at(&from) }),
            sink,
        )
    })
}
