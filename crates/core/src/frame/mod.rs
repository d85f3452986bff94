//! The words in which a room says what may be wrong with its service, and how that is checked. They are below
//! the rooms, and know nothing of questions and plans: a cause sees [`RoomCase`] of the world, a check
//! [`RoomView`], and no more.

mod check;
mod held;
mod inside;
mod log;
mod net;
mod relay;

use serde::Serialize;

use crate::{
    config::Config,
    ids::ResourceId,
    name::{AbsPath, Mode, Owner},
    service::ServiceId,
};

pub use check::{Check, Group, RoomCheck, RoomView, Verdict};
pub(crate) use check::{answered, database_state};
pub use held::HeldRequests;
pub use inside::{Database, DatabaseState, InsideSynapse, PublicKey, Trial, Tried};
pub use log::{last_words, latest, says_full, shorten};
pub use net::{
    Certificate, Distrust, HttpAnswer, HttpBody, HttpMethod, HttpQuestion, HttpReply, NameAddresses,
    PATIENCE, Silence, SrvRecord, Stage, Tls,
};
pub use relay::{RelayTried, Relayed};

/// Why a value is not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// Nobody has asked yet; the question is now noted.
    NotAsked,
    /// It was asked and could not be answered.
    Unknown(String),
}

/// A value from the world, or why it is not there.
pub type Seen<T> = Result<T, Gap>;

/// What mends something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mend {
    /// `matrix-podman up`, which shows a plan and asks.
    Up,
    /// Restarting a service.
    Restart(ServiceId),
    /// What a person has to type or decide.
    Type(String),
}

impl Mend {
    /// What to type.
    pub fn command(&self) -> String {
        match self {
            Mend::Up => "matrix-podman up".to_owned(),
            Mend::Restart(service) => format!("matrix-podman restart {service}"),
            Mend::Type(command) => command.clone(),
        }
    }

    /// Whether the program may do it when it is told to.
    pub fn is_safe(&self) -> bool {
        !matches!(self, Mend::Type(_))
    }
}

impl Serialize for Mend {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeStruct as _;
        let mut fields = serializer.serialize_struct("Mend", 2)?;
        fields.serialize_field("command", &self.command())?;
        fields.serialize_field("safe", &self.is_safe())?;
        fields.end()
    }
}

/// What a cause finds: what is wrong, what shows it, what mends it.
pub type Found = Seen<Option<(String, Vec<String>, Mend)>>;

/// A reason why a service does not work, as its room knows it.
#[derive(Debug)]
pub struct RoomCause {
    /// Its stable name, `family/aspect`: part of the program's interface.
    pub id: &'static str,
    /// Looks for it.
    pub look: fn(&dyn RoomCase) -> Found,
}

impl RoomCause {
    /// The cause called `id`.
    pub(crate) const fn new(id: &'static str, look: fn(&dyn RoomCase) -> Found) -> Self {
        Self { id, look }
    }
}

/// What a room's cause looks at.
pub trait RoomCase {
    /// The operator's config.
    fn config(&self) -> &Config;

    /// Whether something of that family was found already.
    fn has(&self, family: &str) -> bool;

    /// Whether `service` runs and answers.
    fn is_well(&self, service: ServiceId) -> Seen<bool>;

    /// Whether the container of `service` runs.
    fn runs(&self, service: ServiceId) -> Seen<bool>;

    /// The log of `service` since it last came up.
    fn journal(&self, service: ServiceId) -> Seen<&[String]>;

    /// What is at `path` in the guest.
    fn file(&self, path: &AbsPath) -> Seen<Option<GuestFile<'_>>>;

    /// Whether something is at `path` in the guest; nobody reads it.
    fn is_there(&self, path: &AbsPath) -> Seen<bool>;

    /// Whether something is mounted at `target` in the container of `service`; `None` where that is not there.
    fn is_mounted(&self, service: ServiceId, target: &str) -> Seen<Option<bool>>;

    /// Whether there is a lock: without one there was no server yet.
    fn has_lock(&self) -> Seen<bool>;

    /// What the cache answers to whoever comes with the homeserver's password.
    fn cache_answer(&self) -> Seen<&str>;

    /// How far a packet came that was to be relayed as those of a call are.
    fn relayed(&self) -> Seen<&RelayTried>;

    /// Which requests are held on purpose.
    fn held_requests(&self) -> Seen<&[HeldRequests]>;

    /// The keys that the newest message of this server is signed with.
    fn signing_keys_in_use(&self) -> Seen<&[String]>;

    /// The key in the server's own file.
    fn signing_key_on_disk(&self) -> Seen<&str>;

    /// What to type so that `command` runs in the guest.
    fn in_guest(&self, command: &str) -> String;

    /// Whether the plan would change what the resource `id` sees to.
    fn drifts(&self, id: &ResourceId) -> bool;

    /// Why the plan cannot go on with the resource `id`, and what to do; `None` where it can.
    fn blocked(&self, id: &ResourceId) -> Option<(&str, &str)>;
}

/// A file in the guest.
#[derive(Debug, Clone, Copy)]
pub struct GuestFile<'a> {
    /// Who may do what with it.
    pub mode: Mode,
    /// Whose it is.
    pub owner: Owner,
    /// What is in it, where that is text.
    pub content: Option<&'a str>,
}
