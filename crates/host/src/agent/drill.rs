//! The guest's half of a drill: runs what came back, and removes it.

use std::{collections::BTreeMap, fs::File, io::Write, time::Duration};

use matrix_podman_core::{
    aside::{self as beside, Containers},
    backup::{
        Rows,
        drill::{self, CameBack},
    },
    stack::{self, RoomDatabase},
};

use super::{aside, files};
use crate::{
    failure::{Doing, Failure},
    file,
    guest::calls::{Beside, drills_dump},
    json_line,
    postgres::{Session, stream},
    process::Program,
};

/// How long Synapse may take to come up.
const SYNAPSE_UP: Duration = Duration::from_secs(10 * 60);
/// How long anything else may take.
const ONCE: Duration = Duration::from_secs(120);

/// Runs what came back, and removes it.
pub fn serve(drill: &Containers, media: &[String], to: &mut dyn Write) -> Result<(), Failure> {
    let held = run(drill, media);
    let removed = aside::remove(drill).and_then(|()| file::remove_partial(Beside::Drill.folder()));
    let came_back = held?;
    removed?;
    json_line::write(to, &came_back).doing(|| "tell what came back")
}

fn run(drill: &Containers, media: &[String]) -> Result<CameBack, Failure> {
    aside::prepare(drill)?;
    let digests = files::digests_below(Beside::Drill.folder(), media)?;
    aside::start_database(drill)?;
    let tables = fill(drill, &beside::DATABASE)?;
    let mut databases = BTreeMap::new();
    for database in stack::databases() {
        if let Some(name) = database.called()
            && drills_dump(&database).exists()
        {
            databases.insert(name.to_owned(), fill(drill, &database)?);
        }
    }
    aside::start_synapse(drill, SYNAPSE_UP)?;
    let doing = "ask the drill's Synapse for its keys";
    let answer = Program::new(&drill.keys).deadline(ONCE).run_keeping(doing, &|_| {})?;
    let keys =
        drill::parse_keys(&answer).ok_or_else(|| Failure::new(doing, "its answer is not understood"))?;
    let logged_in = aside::log_in(drill)?;
    Ok(CameBack { tables, databases, media: digests, keys, logged_in })
}

/// Fills a database from its dump, which goes; the rows that came back.
fn fill(drill: &Containers, database: &RoomDatabase) -> Result<Rows, Failure> {
    let dump = drills_dump(database);
    aside::fill(drill, database, File::open(&dump).doing(|| "open the dump that came back")?)?;
    let container = drill.aside.database();
    let rows = stream::rows(database, &mut Session::of(&container, database)?)?;
    file::remove(&dump)?;
    Ok(rows)
}
