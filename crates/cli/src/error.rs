//! What the program can end with, and its exit codes.

use matrix_podman_core::config::Mistakes;
use matrix_podman_host::failure::Failure;

/// Done.
pub const DONE: u8 = 0;
/// Something failed.
pub const FAILED: u8 = 1;
/// It was used wrongly, or the config is wrong; nothing was touched.
pub const WRONG_USE: u8 = 2;
/// There are changes to be made (`plan --exit-code`).
pub const CHANGES: u8 = 3;

/// Why a command did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The config is wrong.
    #[error("{0}")]
    Config(Mistakes),
    /// The command was used wrongly.
    #[error("{why}")]
    Usage {
        /// What is wrong.
        why: String,
        /// What to type instead.
        hint: String,
    },
    /// Something could not be done.
    #[error("{0}")]
    Failed(#[from] Failure),
    /// Whoever was asked said no.
    #[error("{summary}")]
    Declined {
        /// What became of it.
        summary: String,
        /// What to do next.
        hint: String,
    },
    /// Several things could not be done; they have been told already.
    #[error("{summary}")]
    Told {
        /// What remains to be said.
        summary: String,
        /// What to type next.
        hint: String,
    },
}

impl Error {
    /// A wrong use.
    pub fn usage(why: impl Into<String>, hint: impl Into<String>) -> Self {
        Error::Usage { why: why.into(), hint: hint.into() }
    }

    /// The exit code that goes with it.
    pub fn exit_code(&self) -> u8 {
        match self {
            Error::Config(_) | Error::Usage { .. } => WRONG_USE,
            Error::Failed(_) | Error::Declined { .. } | Error::Told { .. } => FAILED,
        }
    }

    /// What to do next.
    pub fn hint(&self) -> Option<&str> {
        match self {
            Error::Config(_) => None,
            Error::Usage { hint, .. } | Error::Declined { hint, .. } | Error::Told { hint, .. } => Some(hint),
            Error::Failed(failure) => failure.hint.as_deref(),
        }
    }
}

impl From<Mistakes> for Error {
    fn from(mistakes: Mistakes) -> Self {
        Error::Config(mistakes)
    }
}
