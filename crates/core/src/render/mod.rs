//! Rendering: every file that follows from the config, as typed documents.
//!
//! Everything here is a pure function of [`Config`], the [`Lock`] where images
//! matter and the few [`Facts`] where the machine matters. Documents are typed
//! values that a serialiser turns to text; no YAML, JSON, unit or nginx file is
//! glued from strings.

pub mod backups;
pub mod compose;
pub mod ifupdown;
pub mod lxc;
pub mod machine;
pub mod ports;
pub mod quadlet;
pub mod signatures;
pub mod system;
pub mod timer;

use crate::{
    config::Config,
    desired::DesiredFile,
    lock::Lock,
    stack::{self, Facts, MissingImage},
};

/// Every file of the stack: the services' config, their units, and the same
/// stack as a compose file.
pub fn stack_files(config: &Config, lock: &Lock, facts: &Facts) -> Result<Vec<DesiredFile>, MissingImage> {
    let read = stack::rooms(config).map(|room| (room.files(config, facts), room.tried_files(config)));
    let mut files: Vec<DesiredFile> =
        read.flat_map(|(files, tried)| files.into_iter().chain(tried)).collect();
    files.extend(quadlet::networks(config, facts));
    files.extend(quadlet::containers(config, lock, facts)?);
    files.push(quadlet::stack_unit());
    files.extend(compose::files(config, lock, facts)?);
    Ok(files)
}
