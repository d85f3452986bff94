//! The words that a room says in what `verify` asks of its service.

use serde::{Deserialize, Serialize};

use super::{
    Database, DatabaseState, Gap, HttpAnswer, HttpQuestion, HttpReply, InsideSynapse, PublicKey, RelayTried,
    Seen, Trial, Tried,
};
use crate::{config::Config, name::Port};

/// What belongs together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Group {
    /// The guest and what runs in it.
    Guest,
    /// Database, cache, media, keys.
    Data,
    /// What a client finds, asked where the services listen.
    Client,
    /// What a client finds that comes from outside.
    WayIn,
    /// What another server finds.
    Federation,
}

impl Group {
    /// All, from the inside to the outside.
    pub const ALL: [Group; 5] = [Group::Guest, Group::Data, Group::Client, Group::WayIn, Group::Federation];

    /// What it is called.
    pub const fn name(self) -> &'static str {
        match self {
            Group::Guest => "guest",
            Group::Data => "data",
            Group::Client => "client",
            Group::WayIn => "way-in",
            Group::Federation => "federation",
        }
    }
}

/// One check and its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Check {
    /// Its stable name.
    pub id: &'static str,
    /// What was found.
    #[serde(flatten)]
    pub verdict: Verdict,
}

/// The answer of a check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "lowercase")]
pub enum Verdict {
    /// It is as it should be.
    Pass {
        /// What shows it.
        evidence: String,
    },
    /// It can be lived without.
    Weaker {
        /// What is missing.
        missing: String,
        /// What is weaker because of it.
        consequence: String,
    },
    /// It cannot go on like this.
    Fail {
        /// What is wrong.
        why: String,
        /// What to do about it.
        hint: String,
    },
    /// It could not be found out, which is not a pass.
    Unknown {
        /// Why.
        why: String,
    },
    /// It was not asked, on purpose: there is nothing to ask here, or it was
    /// not wanted.
    #[serde(rename = "left-out")]
    LeftOut {
        /// Why.
        why: String,
    },
}

impl Check {
    pub(crate) fn pass(id: &'static str, evidence: impl Into<String>) -> Self {
        Self { id, verdict: Verdict::Pass { evidence: evidence.into() } }
    }

    pub(crate) fn fail(id: &'static str, why: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { id, verdict: Verdict::Fail { why: why.into(), hint: hint.into() } }
    }

    pub(crate) fn weaker(
        id: &'static str,
        missing: impl Into<String>,
        consequence: impl Into<String>,
    ) -> Self {
        Self { id, verdict: Verdict::Weaker { missing: missing.into(), consequence: consequence.into() } }
    }

    pub(crate) fn unknown(id: &'static str, why: impl Into<String>) -> Self {
        Self { id, verdict: Verdict::Unknown { why: why.into() } }
    }

    pub(crate) fn gap(id: &'static str, gap: Gap) -> Self {
        let why = match gap {
            Gap::NotAsked => "it has not been looked at".to_owned(),
            Gap::Unknown(why) => why,
        };
        Self { id, verdict: Verdict::Unknown { why } }
    }

    pub(crate) fn left_out(id: &'static str, why: impl Into<String>) -> Self {
        Self { id, verdict: Verdict::LeftOut { why: why.into() } }
    }

    /// Whether it was found to be well enough, or needs no answer. What could
    /// not be found out is not.
    pub fn holds(&self) -> bool {
        !matches!(self.verdict, Verdict::Fail { .. } | Verdict::Unknown { .. })
    }

    /// Whether the work can go on.
    pub fn stops(&self) -> bool {
        matches!(self.verdict, Verdict::Fail { .. })
    }
}

/// A question of `verify` about a service, as its room knows it.
pub struct RoomCheck {
    /// What it belongs to.
    pub group: Group,
    /// Its stable name, `group/aspect`: part of the program's interface.
    pub id: &'static str,
    /// Asks it.
    pub ask: fn(&dyn RoomView) -> Seen<Check>,
}

impl RoomCheck {
    /// The question called `id`.
    pub(crate) const fn new(group: Group, id: &'static str, ask: fn(&dyn RoomView) -> Seen<Check>) -> Self {
        Self { group, id, ask }
    }
}

/// What a check of a room sees of the world.
pub trait RoomView {
    /// The operator's config.
    fn config(&self) -> &Config;

    /// Whether what takes a minute or much data is tried as well.
    fn is_slow(&self) -> bool;

    /// The address of a published port, as the machine reaches it.
    fn at(&self, port: Port) -> Seen<String>;

    /// What answers a request of the machine's.
    fn http(&self, question: &HttpQuestion) -> Seen<&HttpAnswer>;

    /// What PostgreSQL says of Synapse's database.
    fn database(&self) -> Seen<&Database>;

    /// What is seen from inside Synapse's container.
    fn inside_synapse(&self) -> Seen<&InsideSynapse>;

    /// The public half of the signing key in the guest.
    fn signing_key(&self) -> Seen<Option<&PublicKey>>;

    /// What came of something that only a logged-in user can try.
    fn tried(&self, trial: &Trial) -> Seen<&Tried>;

    /// How far a packet came that was to be relayed as those of a call are.
    fn relayed(&self) -> Seen<&RelayTried>;

    /// The ports that a router has to forward, for people.
    fn open_ports(&self) -> String;
}

/// The answer to `question`, or why the check called `id` fails; `log` prints the service's log.
pub(crate) fn answered<'a>(
    id: &'static str,
    question: &HttpQuestion,
    log: &str,
    answer: &'a HttpAnswer,
) -> Result<&'a HttpReply, Check> {
    match answer {
        HttpAnswer::Answered(reply) => Ok(reply),
        HttpAnswer::Silent(silence) => Err(Check::fail(
            id,
            format!("{}: {}", question.url, silence.why),
            format!("`matrix-podman status` says what runs, `{log}` why it does not answer"),
        )),
    }
}

/// What the database says, or the check of that name which cannot be made.
pub(crate) fn database_state<'a>(
    id: &'static str,
    view: &'a dyn RoomView,
) -> Seen<Result<&'a DatabaseState, Check>> {
    Ok(match view.database()? {
        Database::Answers(state) => Ok(state),
        Database::Refuses(_) => Err(Check::gap(id, Gap::Unknown("the database does not answer".to_owned()))),
    })
}
