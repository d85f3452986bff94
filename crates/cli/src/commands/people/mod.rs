//! `user` and `token`: people with an account, and invitations to more.

pub mod token;
pub mod user;

mod text;

use std::path::Path;

use matrix_podman_core::people::{Answer, Call};
use matrix_podman_host::{failure::Failure, world::World};
use serde::Serialize;

use crate::{error::Error, output};

/// The site's world, and a way to ask Synapse about people.
struct Desk {
    world: World,
}

impl Desk {
    fn open(config: Option<&Path>) -> Result<Self, Error> {
        let (world, _) = super::world_in_words(config)?;
        Ok(Self { world })
    }

    fn ask(&self, call: &Call) -> Result<Answer, Error> {
        Ok(self.world.people(call)?)
    }
}

/// An answer of another kind than the question has.
fn unexpected(answer: &Answer) -> Error {
    Failure::new("understand the guest's answer", format!("it is {answer:?}")).into()
}

/// One JSON document as data.
fn json<T: Serialize>(value: &T) -> Result<(), Error> {
    let text = serde_json::to_string(value).map_err(|e| Failure::new("print the answer", e))?;
    output::data(&text);
    Ok(())
}
