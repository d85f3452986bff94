//! The guest's half of a rehearsal: the new images on a copy of the data.

use std::{
    fs::File,
    io::Write,
    os::unix::fs::MetadataExt as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use matrix_podman_core::{
    aside::{self as beside, Aside},
    layout,
    name::{AbsPath, Mode, Owner},
    update::{Progress, Rehearsal, Rehearsed, rehearsal_needs},
};

use super::aside;
use crate::{
    failure::{Doing, Failure},
    file, json_line,
    postgres::{Session, dump, stream},
    progress::millis,
    room,
};

/// Between two looks at what is rewritten.
const LOOK: Duration = Duration::from_millis(500);

/// Holds it, tells how it goes, and removes the copy.
pub(super) fn serve(rehearsal: &Rehearsal, to: &mut dyn Write) -> Result<(), Failure> {
    let folder = Path::new(Aside::Rehearsal.folder());
    let held = run(rehearsal, folder, to);
    let removed = aside::remove(&rehearsal.containers).and_then(|()| file::remove_partial(folder));
    let done = held?;
    removed?;
    json_line::write(to, &Progress::Ended(done)).doing(|| "tell what the rehearsal found")
}

fn run(rehearsal: &Rehearsal, folder: &Path, to: &mut dyn Write) -> Result<Rehearsed, Failure> {
    let containers = &rehearsal.containers;
    // If the caller is gone, nothing more is begun.
    let mut tell = |what: &str| {
        json_line::write(to, &Progress::WaitsFor(what.to_owned())).doing(|| "tell how the rehearsal goes")
    };
    tell("what an earlier rehearsal left to be removed")?;
    aside::remove(containers)?;
    file::remove_partial(folder)?;
    // Only Synapse runs in it; other services' databases are not looked at.
    let database = beside::DATABASE;
    let size = Session::open(&database)?.one("SELECT pg_database_size(current_database())")?;
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
    dump::take(&[database], &dump, &|_| {})?;
    aside::start_database(containers)?;
    aside::fill(containers, &database, File::open(dump.as_str()).doing(|| format!("open {dump}"))?)?;
    file::remove(Path::new(dump.as_str()))?;
    let mut session = Session::of(&containers.aside.database(), &database)?;
    done.before = stream::rows(&database, &mut session)?;
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
    done.after = stream::rows(&database, &mut session)?;
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
