//! What can go wrong, said so that a person can act on it.

use std::io;
use std::path::{Path, PathBuf};

/// Why an image could not be built.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A program is not installed on this machine.
    #[error(
        "{doing}: the command `{command}` is not on this machine; install the Debian package `{package}`"
    )]
    MissingTool {
        /// What was being done.
        doing: String,
        /// The command that was looked for.
        command: String,
        /// The Debian package that brings it.
        package: String,
    },
    /// A program ran and failed.
    #[error("{doing}: `{command}` failed ({status})\n{output}\n{advice}")]
    Command {
        /// What was being done.
        doing: String,
        /// The program, without its arguments.
        command: String,
        /// How it ended.
        status: String,
        /// The last lines that it wrote.
        output: String,
        /// What to do next.
        advice: String,
    },
    /// A file could not be read or written.
    #[error("{doing} {}: {source}", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// To which file or directory.
        path: PathBuf,
        /// The reason the system gave.
        source: io::Error,
    },
    /// A program answered, but not with what was expected.
    #[error("{doing}: {why}; {advice}")]
    Unexpected {
        /// What was being done.
        doing: String,
        /// What was found.
        why: String,
        /// What to do next.
        advice: String,
    },
    /// The name of a recipe that does not exist.
    #[error("there is no image recipe `{0}`; there are postgres, redis, synapse and element-web")]
    UnknownRecipe(String),
}

/// Adds what was being done, and to which path, to an [`io::Error`].
pub(crate) trait IoContext<T> {
    /// Turns the error into [`Error::Io`].
    fn during(self, doing: &'static str, path: &Path) -> Result<T, Error>;
}

impl<T> IoContext<T> for io::Result<T> {
    fn during(self, doing: &'static str, path: &Path) -> Result<T, Error> {
        self.map_err(|source| Error::Io { doing, path: path.to_owned(), source })
    }
}

/// An [`Error::Unexpected`].
pub(crate) fn unexpected(doing: impl Into<String>, why: impl Into<String>, advice: &str) -> Error {
    Error::Unexpected { doing: doing.into(), why: why.into(), advice: advice.into() }
}
