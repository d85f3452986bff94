//! What the services say of themselves.

use std::net::SocketAddrV4;

use serde::{Deserialize, Serialize};

use super::HttpQuestion;

/// What PostgreSQL says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Database {
    /// It answered.
    Answers(DatabaseState),
    /// It did not; in its own words.
    Refuses(String),
}

/// What is in the database of Synapse.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseState {
    /// `18.1`
    pub server_version: String,
    /// `UTF8`
    pub encoding: String,
    /// `C`
    pub collate: String,
    /// `C`
    pub ctype: String,
    /// The form of the data, as Synapse counts it; `None` before its first start.
    pub schema: Option<u32>,
    /// The oldest form that a program must understand to open it.
    pub compat: Option<u32>,
    /// Rewriting that is still to be done in the background.
    pub background: Vec<String>,
    /// The size of all databases in bytes.
    pub size: u64,
}

/// What is seen from inside Synapse's container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InsideSynapse {
    /// The form of the data that its program writes.
    pub schema: Option<u32>,
    /// Whether it may write where media is kept.
    pub media_writable: bool,
    /// The other ends of its open connections.
    pub peers: Vec<SocketAddrV4>,
}

/// The public half of a signing key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// `ed25519:a_AbCd`
    pub id: String,
    /// Unpadded base64.
    pub key: String,
}

/// Something that only a logged-in user can try. It is tried with the service
/// account's token, which never leaves the guest except to the address of the
/// site itself, and what it makes it removes again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Trial {
    /// A sliding sync.
    SlidingSync,
    /// An upload of so many bytes, deleted again when it was accepted.
    Upload(u64),
    /// A sync that has nothing to tell and is asked to wait for a while.
    LongPoll {
        /// Where: the public address of Synapse.
        question: Box<HttpQuestion>,
        /// How long, in seconds.
        seconds: u16,
    },
}

/// What came of a [`Trial`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tried {
    /// The status of the answer; `None` when the connection was cut off before
    /// there was one.
    pub status: Option<u16>,
    /// `errcode` of the answer, where it is one of Matrix'.
    pub errcode: Option<String>,
    /// How long it took, in milliseconds.
    pub millis: u64,
    /// Why something that was made for it could not be removed again.
    pub left_behind: Option<String>,
}

impl Tried {
    /// What came of it, after "ends with".
    pub fn outcome(&self) -> String {
        match self.status {
            Some(status) => format!("status {status}"),
            None => "a closed connection".to_owned(),
        }
    }
}
