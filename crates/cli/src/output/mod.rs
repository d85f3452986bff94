//! Printing: for a person at a terminal, as plain lines, or as JSON lines.
//! Data go to standard output, everything else to standard error.

mod foreign;
mod json;
mod plain;
mod qr;
mod table;
mod terminal;

use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use matrix_podman_host::progress::Listener;

use crate::error::Error;

pub use foreign::{Washed, harmless, one_line};
pub use json::JsonLines;
pub use plain::Plain;
pub use qr::lines as qr_lines;
pub use table::Table;
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
    // Whoever closed the pipe has read enough; a program gets what there is, as it is.
    let _ = match std::io::stdout().is_terminal() {
        true => writeln!(out, "{}", foreign::on_terminal(text)),
        false => writeln!(out, "{text}"),
    };
}

/// A line for the person at work.
pub fn say(text: &str) {
    let _ = writeln!(anstream::stderr().lock(), "{}", foreign::on_terminal(text));
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
            say(&styled(DIM, &format!("  | {}", harmless(line))));
        }
    }
    match error {
        Error::Config(mistakes) => say(&mistakes.to_string()),
        other => say(&format!("{} {}", styled(RED, "error:"), one_line(&other.to_string()))),
    }
    if let Some(hint) = error.hint() {
        say(&format!("{} {}", styled(BOLD, hint_label(error)), one_line(hint)));
    }
}

/// What stands before what to do next. What a guest says may have been put into its
/// mouth, so it is not told as ours.
fn hint_label(error: &Error) -> &'static str {
    match error {
        Error::Failed(failure) if failure.of_guest => "the guest suggests next:",
        _ => "next:",
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

#[cfg(test)]
mod tests {
    use matrix_podman_host::failure::Failure;

    use super::*;

    #[test]
    fn what_a_guest_suggests_is_told_as_the_guests() {
        let own = Failure::new("do it", "no").hint("matrix-podman up");
        assert_eq!(hint_label(&own.clone().into()), "next:");
        assert_eq!(hint_label(&own.of_guest(100).into()), "the guest suggests next:");
    }
}
