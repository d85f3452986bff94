//! Updates: what may change, what has to be well before, whether a change can
//! be taken back, and what came of those that were made.

mod cluster;
mod evidence;
mod history;
mod outlook;
mod precaution;
mod preflight;
mod rehearsal;
mod request;
mod schema;
mod unattended;

pub use cluster::{
    FOLDER, MADE_FOR, MOVING, Move, OldCluster, Was, clusters, left_cluster, old_clusters, replaced_cluster,
    version_file,
};
pub use evidence::telling;
pub use history::{Generation, History, Outcome, file as history_file};
pub(crate) use outlook::parse_newer;
pub use outlook::{NewerPackage, Note, RUNTIME, Takes, TakesFrom, Work, notable};
pub use precaution::{Precaution, outlived, precaution, superseded, touches_data};
pub use preflight::{checks, lost, room_runs_out};
pub use rehearsal::{Progress, Rehearsal, Rehearsed, no_room, rehearsal, rehearsal_needs};
pub use request::{Request, Target, Wanted, newest_tag};
pub use schema::{Schema, Undo, known, undo};
pub use unattended::{Ended, Unattended, file as unattended_file};

use crate::{layout, name::AbsPath, service::Service};

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
pub fn tag_of(service: Service, number: u32) -> String {
    format!("localhost/matrix-podman/{service}:generation-{number}")
}
