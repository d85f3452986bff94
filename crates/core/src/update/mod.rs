//! Updates: what may change, what has to be well before, whether a change can
//! be taken back, and what came of those that were made.

mod evidence;
mod outlook;
mod precaution;
mod preflight;
mod rehearsal;
mod request;
mod unattended;

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
};

/// The dump that is taken before the generation `number` is tried.
pub fn dump_of(number: u32) -> AbsPath {
    AbsPath::known(format!("{}/before-{number}.dump", layout::DUMPS))
}

/// The name that the database of a generation that was taken back is kept under.
pub fn database_kept(number: u32) -> String {
    format!("synapse_of_generation_{number}")
}

/// The name that the database is kept under which was replaced by a dump in
/// order to make the generation `number`.
pub fn database_replaced(number: u32) -> String {
    format!("synapse_before_generation_{number}")
}

/// Whether a database has one of the names that others are kept under.
pub fn is_kept_database(name: &str) -> bool {
    ["synapse_of_generation_", "synapse_before_generation_"]
        .iter()
        .filter_map(|start| name.strip_prefix(start))
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
