//! The one way to speak with PostgreSQL, from the side that its container runs on.

pub(crate) mod dump;
mod session;
pub(crate) mod stream;

pub(crate) use session::{PSQL, Process, Session, in_database, owner, psql, psql_line, there};
