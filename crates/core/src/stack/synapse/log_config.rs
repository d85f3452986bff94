//! Synapse's log config.
//!
//! Format: Python's `logging.config` dictionary schema, version 1.

use indexmap::IndexMap;
use serde::Serialize;

use crate::config::LogLevel;

/// Python's `logging.config.dictConfig`, as Synapse reads it.
#[derive(Debug, Serialize)]
pub(super) struct LogConfig {
    version: u32,
    formatters: IndexMap<&'static str, Formatter>,
    handlers: IndexMap<&'static str, Handler>,
    loggers: IndexMap<&'static str, Logger>,
    root: Root,
    disable_existing_loggers: bool,
}

#[derive(Debug, Serialize)]
struct Formatter {
    format: &'static str,
}

#[derive(Debug, Serialize)]
struct Handler {
    class: &'static str,
    formatter: &'static str,
    stream: &'static str,
}

#[derive(Debug, Serialize)]
struct Logger {
    level: &'static str,
}

#[derive(Debug, Serialize)]
struct Root {
    level: &'static str,
    handlers: [&'static str; 1],
}

/// What Synapse logs at `level`: all of it to standard output, which Podman hands
/// to the journal.
pub(super) fn of(level: LogLevel) -> LogConfig {
    LogConfig {
        version: 1,
        // The journal adds the time.
        formatters: [("line", Formatter { format: "%(levelname)s %(name)s [%(request)s] %(message)s" })]
            .into(),
        handlers: [(
            "console",
            Handler { class: "logging.StreamHandler", formatter: "line", stream: "ext://sys.stdout" },
        )]
        .into(),
        // At DEBUG this logger would write access tokens (Synapse's own default
        // log config says so).
        loggers: [("synapse.storage.SQL", Logger { level: "INFO" })].into(),
        root: Root {
            level: match level {
                LogLevel::Debug => "DEBUG",
                LogLevel::Info => "INFO",
                LogLevel::Warning => "WARNING",
                LogLevel::Error => "ERROR",
            },
            handlers: ["console"],
        },
        disable_existing_loggers: false,
    }
}
