//! Checks that take a request.

use std::time::Duration;

use crate::failure::Failure;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Whether an address answers a GET with success.
pub fn answers(url: &str) -> Result<(), Failure> {
    // The guest is next to this machine, whatever proxy leads to the world.
    let agent: ureq::Agent =
        ureq::Agent::config_builder().timeout_global(Some(PATIENCE)).proxy(None).build().into();
    match agent.get(url).call() {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::new(format!("reach {url}"), error).hint(
            "the guest runs but this machine does not reach it: look at `matrix-podman status` and this machine's firewall",
        )),
    }
}
