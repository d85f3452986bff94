//! Updates: what may change, what has to be well before, whether a change can
//! be taken back, and what came of those that were made.

mod downgrade;
mod evidence;
mod outlook;
mod precaution;
mod preflight;
mod rehearsal;
mod request;
mod unattended;

pub use downgrade::is_downgrade;
pub use evidence::telling;
pub use outlook::{NewerPackage, RUNTIME, Takes, TakesFrom, Work};
pub use precaution::{Precaution, outlived, precaution, superseded, touches_data};
pub use preflight::{checks, lost, room_runs_out};
pub use rehearsal::{Progress, Rehearsal, Rehearsed, no_room, rehearsal, rehearsal_needs};
pub use request::{Request, Target, Wanted, newest_tag};
pub use unattended::{Ended, Unattended, file as unattended_file};

pub use crate::{
    cluster::{
        FOLDER, MADE_FOR, MOVING, Move, OldCluster, Was, clusters, left_cluster, replaced_cluster,
        version_file,
    },
    history::{Generation, History, Outcome, file as history_file},
    schema::{Schema, Undo, known, undo},
    stack,
};
use crate::{
    layout,
    name::AbsPath,
    observed::{Observed, Seen},
    resource,
    service::ServiceId,
    stack::RoomDatabase,
};

/// The dump that is taken before the generation `number` is tried: that of Synapse's database,
/// beside which the others are.
pub fn dump_of(number: u32) -> AbsPath {
    AbsPath::known(format!("{}/before-{number}.dump", layout::DUMPS))
}

/// The number of the generation before which a dump was taken whose file has that name: of
/// Synapse's database, or of one beside it.
pub fn dump_number(name: &str) -> Option<u32> {
    let (number, rest) = name.strip_prefix("before-")?.split_once(".dump")?;
    (rest.is_empty() || rest.starts_with('.')).then(|| number.parse().ok())?
}

/// What the databases of a generation that was taken back are kept as, behind their names.
pub fn database_kept(number: u32) -> String {
    format!("of_generation_{number}")
}

/// The same of those that were replaced by a dump in order to make the generation `number`.
pub fn database_replaced(number: u32) -> String {
    format!("before_generation_{number}")
}

/// Whether a database has one of the names that one of `databases` is kept under.
pub fn is_kept_database(databases: &[RoomDatabase], name: &str) -> bool {
    databases
        .iter()
        .filter_map(|database| name.strip_prefix(database.name.as_str())?.strip_prefix('_'))
        .filter_map(|why| why.strip_prefix("of_generation_").or(why.strip_prefix("before_generation_")))
        .any(|number| number.parse::<u32>().is_ok_and(|parsed| parsed.to_string() == number))
}

/// The local name of the image that `service` has in the generation `number`.
pub fn tag_of(service: ServiceId, number: u32) -> String {
    format!("localhost/matrix-podman/{service}:generation-{number}")
}

/// The clusters in the guest that do not serve.
pub fn old_clusters(seen: &Observed) -> Seen<Vec<OldCluster>> {
    let (folders, lock) = (seen.clusters(), resource::read_lock(seen));
    let (folders, lock) = (folders?, lock?);
    let serves = lock.and_then(|lock| stack::cluster_major(&lock.images));
    // Without a lock it is not known which one serves, so none is called old.
    Ok(serves.map_or_else(Vec::new, |serves| clusters(folders, serves)))
}
