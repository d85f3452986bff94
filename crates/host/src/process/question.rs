//! Questions of the core's that a command answers.

use std::time::Duration;

use matrix_podman_core::fact::{Ask, Fact, Value};

use super::Program;

/// How long a command that answers a question may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Runs the command that answers `fact`; `None` where no command does.
pub(crate) fn ask(fact: &Fact) -> Option<Result<Value, String>> {
    match fact.ask() {
        Ask::Run(argv) => {
            let output = Program::new(argv).deadline(PATIENCE).output();
            Some(fact.parse(&output).map_err(|e| e.to_string()))
        }
        Ask::Builtin => None,
    }
}
