//! What is found out about a server that relays calls.

use serde::{Deserialize, Serialize};

/// What came of relaying a packet through the TURN server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RelayTried {
    /// The address that people are told, which it was tried with.
    pub uri: String,
    /// What came of it.
    pub outcome: Relayed,
}

/// How far a packet came that was to be relayed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Relayed {
    /// From one side of a call to the other.
    Through {
        /// How long all of it took, in milliseconds.
        millis: u64,
    },
    /// The server's address says nothing.
    Silent,
    /// The server does not accept the credentials that Synapse gives people.
    Refused,
    /// The server does not relay to the other side, who is at this address of its own.
    PeerRefused {
        /// The address.
        address: String,
    },
    /// The server relays, and nothing arrives at this address of its own.
    Lost {
        /// The address.
        address: String,
    },
    /// People are told of no address for packets without TLS.
    NotByPackets,
}
