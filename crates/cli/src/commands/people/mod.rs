//! `user` and `token`: people with an account, and invitations to more.

pub mod token;
pub mod user;

mod password;
mod text;

use std::path::Path;

use matrix_podman_core::people::{Answer, Call};
use matrix_podman_host::{failure::Failure, world::World};

use crate::{error::Error, output::Reporter};

/// The site's world, and a way to ask Synapse about people.
struct AdminApi {
    world: World,
}

impl AdminApi {
    fn open(config: Option<&Path>, out: &Reporter) -> Result<Self, Error> {
        let (world, _) = super::world(config, out)?;
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
