//! Resources: the managed things, one file each (or one file per family).
//!
//! A resource says what it needs first and how what should be differs from what
//! is. It says what it wants to know by asking [`Observed`] for it: a question
//! that nobody has put yet is noted, answered and the resource asked again.
//! Adding one is adding a file and its line in [`all`]; see CONTRIBUTING.md.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    config::Config,
    desired::DesiredFile,
    effect::{Effect, Local},
    fact::Side,
    ids,
    lock::LockedImage,
    name::AbsPath,
    observed::{Observed, Seen},
    service::ServiceId,
};

mod backups;
mod boot;
mod database;
mod debian;
pub(crate) mod edge;
mod export;
mod files;
mod ground;
mod image;
mod lock;
mod motd;
mod off;
mod one_time_keys;
mod ports;
mod roles;
mod secrets;
mod server_name;
mod service;
mod stack;
mod storage;
mod synapse;
mod timer;
mod update;

pub use crate::ids::ResourceId;
pub use backups::is_outside;
pub use edge::{Takedown, View, edge_takedown, edge_way, outside_question, outside_view};
pub use ground::{
    BRIDGE_PID_FILES, Backend, BackendId, Claim, Locked, NoSnapshots, Place, Preflight, container_lock,
    dnsmasq_pid_file, file_system_size, find_container, foreign, guest_address, guest_state, lxc_spec, node,
    was_finished,
};
pub(crate) use ground::{cannot_have_disk, wanted_disk};
pub use image::{decide_source, image_choice, image_tag, read_lock, run_name, wanted};
pub use stack::{all_units, render_facts};
pub use timer::updates_by;

/// What resources are made from.
#[derive(Debug, Clone)]
pub struct Site {
    /// The operator's config.
    pub config: Config,
    /// The backend, decided.
    pub backend: &'static dyn Backend,
    /// Images that are tried in place of those that the lock names.
    pub trial: BTreeMap<ServiceId, LockedImage>,
}

impl Site {
    /// The site of `config`, with what the lock names.
    pub fn new(config: Config, backend: BackendId) -> Self {
        Self { config, backend: backend.backend(), trial: BTreeMap::new() }
    }
}

/// A managed thing.
pub trait Resource: Send + Sync {
    /// Its stable name.
    fn id(&self) -> ResourceId;

    /// What must be as it should before this is looked at.
    fn needs(&self) -> Vec<ResourceId>;

    /// How what should be differs from what is.
    fn diff(&self, seen: &Observed) -> Seen<Diff>;

    /// The most that a step of it can come to when its turn comes, whatever is seen
    /// of it now: a service that is just starting while the plan is made runs when
    /// it is changed.
    fn can_lead_to(&self) -> Risk {
        Risk::None
    }
}

/// How what should be differs from what is.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "lowercase", tag = "state")]
pub enum Diff {
    /// It does not; why that is so.
    Settled {
        /// Reads as a sentence fragment: "4 files are as they should be".
        why: String,
    },
    /// There is something to do.
    Change(Step),
    /// It can only be said once something else is done.
    Later {
        /// What will be done then, as a sentence in the imperative; what is
        /// found then may show that it is not needed.
        what: String,
        /// What is waited for.
        why: String,
    },
    /// It cannot be made right by this program.
    Blocked {
        /// Why.
        why: String,
        /// What to do about it.
        hint: String,
    },
}

/// One entry of a plan.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Step {
    /// What is done, as a sentence in the imperative.
    pub what: String,
    /// Why.
    pub why: String,
    /// How risky it is.
    pub risk: Risk,
    /// The files that it changes.
    pub changes: Vec<FileChange>,
    /// The acts, in order.
    #[serde(serialize_with = "describe_effects")]
    pub effects: Vec<Effect>,
}

fn describe_effects<S: serde::Serializer>(effects: &[Effect], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(effects.iter().map(Effect::describe))
}

/// How risky a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Risk {
    /// Nothing that runs is touched.
    None,
    /// A service is away for some seconds.
    Interrupts,
    /// Everything is away for some seconds.
    Outage,
}

/// How a file changes.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct FileChange {
    /// Where.
    pub side: Side,
    /// The file.
    pub path: AbsPath,
    /// What it holds now; `None` when it is not there or cannot be shown.
    pub before: Option<String>,
    /// What it will hold.
    pub after: String,
}

impl Diff {
    /// There is nothing to do.
    pub fn settled(why: impl Into<String>) -> Self {
        Diff::Settled { why: why.into() }
    }

    /// It can only be said later.
    pub fn later(what: impl Into<String>, why: impl Into<String>) -> Self {
        Diff::Later { what: what.into(), why: why.into() }
    }

    /// A step without risk that changes no files of interest.
    pub fn quiet(what: impl Into<String>, why: impl Into<String>, effects: Vec<Effect>) -> Self {
        Diff::Change(Step {
            what: what.into(),
            why: why.into(),
            risk: Risk::None,
            changes: Vec::new(),
            effects,
        })
    }
}

/// All resources of a site.
pub fn all(site: &Site) -> Vec<Box<dyn Resource>> {
    let mut all = site.backend.resources(site);
    for family in [
        boot::all(site),
        backups::all(site),
        server_name::all(site),
        update::all(site),
        debian::all(site),
        motd::all(site),
        ports::all(site),
        files::all(site),
        secrets::all(site),
        storage::all(site),
        image::all(site),
        lock::all(site),
        database::all(site),
        roles::all(site),
        one_time_keys::all(site),
        synapse::all(site),
        stack::all(site),
        service::all(site),
        off::all(site),
        export::all(site),
        timer::all(site),
        edge::all(site),
    ] {
        all.extend(family);
    }
    let last = site.backend.last(site, &all);
    all.extend(last);
    all
}

/// What everything in the guest needs: a guest that can be spoken to, and that
/// is this server's.
fn guest_ready() -> Vec<ResourceId> {
    vec![ids::SERVER_NAME]
}

/// A sentence so that it can stand behind others: its first letter small.
pub fn lower_first(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// The effect that writes `file`.
fn write(side: Side, file: &DesiredFile) -> Effect {
    Effect::Here(Local::WriteFile {
        side,
        path: file.path.clone(),
        content: file.content.clone(),
        mode: file.mode,
        owner: file.owner,
    })
}
