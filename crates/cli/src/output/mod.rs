//! Printing and asking: for a person at a terminal, as plain lines, or as JSON lines.
//! Commands do both through a [`Reporter`] and nothing else.

mod confirm;
mod console;
mod foreign;
mod json;
mod plain;
mod qr;
mod report;
mod reporter;
#[cfg(test)]
mod rules;
mod table;
mod terminal;
#[cfg(test)]
pub mod testing;

use anstyle::{AnsiColor, Style};
use matrix_podman_core::status;

pub use confirm::{AtStake, Confirmation, NameToType, Otherwise};
pub use console::{passing, piped_line, piped_text, say};
pub use foreign::{harmless, one_line};
pub use json::JsonLines;
pub use plain::Plain;
pub use qr::lines as qr_lines;
pub use report::{Printable, Wording};
pub use reporter::{OutputForm, Reporter};
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

/// Text in a style; the stream leaves it out where colours are not wanted.
pub fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// A size as people say it.
pub fn bytes(count: u64) -> String {
    status::human(count)
}

/// How long ago something was, as people say it.
pub fn ago(seconds: u64) -> String {
    matrix_podman_core::size::ago(seconds)
}

/// Milliseconds as people say them.
pub fn duration(millis: u64) -> String {
    match millis {
        0..=999 => format!("{millis} ms"),
        1000..=59_999 => format!("{}.{} s", millis / 1000, millis % 1000 / 100),
        _ => format!("{} min {} s", millis / 60_000, millis % 60_000 / 1000),
    }
}
