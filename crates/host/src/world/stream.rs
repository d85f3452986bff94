//! What the guest sends piece by piece.

use std::{
    io::{self, BufReader, Read},
    sync::Arc,
};

use super::World;
use crate::{
    agent, bounded,
    failure::Failure,
    guest::{Connection, calls::Call, wire::Request},
};

impl World {
    /// The answer to `call`, to be read while it comes.
    pub fn stream(&self, call: Call) -> Result<Box<dyn Read + Send>, Failure> {
        open(self.guest()?, call)
    }

    /// The same, where it is lines.
    pub(crate) fn lines(&self, call: Call, doing: &str) -> Result<Vec<String>, Failure> {
        lines(self.guest()?, call, doing)
    }
}

/// What `guest` answers to `call`, to be read while it comes; without one, what is answered here.
pub(crate) fn open(guest: Option<Arc<Connection>>, call: Call) -> Result<Box<dyn Read + Send>, Failure> {
    match guest {
        Some(guest) => Ok(Box::new(guest.stream(&Request::Stream(call))?)),
        None => Ok(Box::new(agent::stream_here(call)?)),
    }
}

/// The same, where it is lines.
pub(crate) fn lines(guest: Option<Arc<Connection>>, call: Call, doing: &str) -> Result<Vec<String>, Failure> {
    let from = BufReader::new(open(guest, call)?);
    bounded::lines(from, bounded::LIST).collect::<io::Result<_>>().map_err(|e| Failure::carried(e, doing))
}
