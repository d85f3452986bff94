//! Printing: for a person at a terminal, as plain lines, or as JSON lines.
//! Data go to standard output, everything else to standard error.

mod json;
mod plain;
mod qr;
mod table;
mod terminal;

use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use matrix_podman_host::run::Listener;

use crate::error::Error;

pub use json::JsonLines;
pub use plain::Plain;
pub use qr::lines as qr_lines;
pub use table::{Table, harmless};
pub use terminal::Terminal;

/// What is wrong.
pub const RED: Style = AnsiColor::Red.on_default().bold();
/// What is well.
pub const GREEN: Style = AnsiColor::Green.on_default();
/// What wants attention.
pub const YELLOW: Style = AnsiColor::Yellow.on_default();
/// What is less important.
pub const DIM: Style = Style::new().dimmed();
/// What is more important.
pub const BOLD: Style = Style::new().bold();

/// The listener for a run, as the command was asked for.
pub fn listener(json: bool) -> Box<dyn Listener> {
    if json {
        Box::new(JsonLines)
    } else if std::io::stderr().is_terminal() {
        Box::new(Terminal::new())
    } else {
        Box::new(Plain::new())
    }
}

/// Whether a person can be asked.
pub fn can_ask() -> bool {
    std::io::stdin().is_terminal() && std::io::stderr().is_terminal()
}

/// A line of data.
pub fn data(text: &str) {
    let mut out = anstream::stdout().lock();
    // Whoever closed the pipe has read enough.
    let _ = writeln!(out, "{text}");
}

/// A line for the person at work.
pub fn say(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{text}");
}

/// Text in a style; the stream leaves it out where colours are not wanted.
pub fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// The one place that prints errors.
pub fn error(error: &Error, json: bool) {
    if json {
        let value = match error {
            Error::Config(mistakes) => serde_json::json!({"event": "error", "mistakes": mistakes}),
            Error::Failed(failure) => {
                serde_json::json!({"event": "error", "failure": failure, "text": failure.to_string()})
            }
            other => serde_json::json!({"event": "error", "text": other.to_string(), "hint": other.hint()}),
        };
        data(&value.to_string());
        return;
    }
    if let Error::Failed(failure) = error {
        for line in &failure.evidence {
            say(&styled(DIM, &format!("  | {line}")));
        }
    }
    match error {
        Error::Config(mistakes) => say(&mistakes.to_string()),
        other => say(&format!("{} {other}", styled(RED, "error:"))),
    }
    if let Some(hint) = error.hint() {
        say(&format!("{} {hint}", styled(BOLD, "next:")));
    }
}

/// Milliseconds as people say them.
pub fn duration(millis: u64) -> String {
    match millis {
        0..=999 => format!("{millis} ms"),
        1000..=59_999 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        _ => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1000),
    }
}
